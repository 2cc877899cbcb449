"""Who sent a request: by a bearer token or an API key, remembered for a short time."""

import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING

from fileroom_storage.errors import StorageError
from fileroom_storage.storage import API_KEY_PREFIX, ApiKeys, Storage

from .access import IDENTITY, AccessRefused, Identity, Permission, Principal
from .authentication_settings import AuthenticationSettings
from .issuer_keys import IssuerUnavailable
from .oidc_tokens import InvalidToken, TokenVerifier

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger(__name__)

# Seconds that what was found out is believed: so long does a key live that is revoked, and a token of a key that the
# issuer has withdrawn.
KEY_SECONDS = 3.0
TOKEN_SECONDS = 60.0
_MOST_REMEMBERED = 4096


class Authenticator:
    """For one process. What clients send is never kept, only a digest of it under a key of this process."""

    def __init__(self, settings: AuthenticationSettings, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys if settings.api_keys else None
        self._tokens = TokenVerifier(settings.oidc) if settings.oidc is not None else None
        self._secret = secrets.token_bytes(32)
        self._lock = Lock()
        self._remembered: OrderedDict[bytes, Identity] = OrderedDict()

    def identify(self, environ: "WSGIEnvironment") -> Identity | AccessRefused:
        credential = _credential(environ)
        if credential is None:
            # RFC 6750 3.1: without credentials no error is named
            return AccessRefused(HTTPStatus.UNAUTHORIZED, f"Log in: send {self._wanted()}.")
        digest = hmac.digest(self._secret, credential.encode("latin-1"), sha256)
        known = self._remembered.get(digest)
        if known is not None and time.monotonic() < known.valid_until:
            return known
        try:
            identity = self._identity(credential)
        except InvalidToken as error:
            _log.info("a token is refused: %s", error)
            return _invalid(f"The token is refused: {error}; log in again.")
        except (IssuerUnavailable, StorageError) as error:
            _log.error("nobody can be let in: %s", error)  # it says what to do; where it arose does not
            return AccessRefused(
                HTTPStatus.SERVICE_UNAVAILABLE, "Who you are cannot be found out now; try again later."
            )
        if identity is None:
            return _invalid("The API key is unknown, revoked or over; ask who runs this server for another.")
        with self._lock:
            self._remembered[digest] = identity
            self._remembered.move_to_end(digest)
            while len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return identity

    def _identity(self, credential: str) -> Identity | None:
        now = time.monotonic()
        if credential.startswith(API_KEY_PREFIX):
            key = self._api_keys.usable(credential) if self._api_keys is not None else None
            if key is None:
                return None
            left = KEY_SECONDS
            if key.expires_at is not None:
                left = min(left, (key.expires_at - datetime.now(UTC).replace(tzinfo=None)).total_seconds())
            permissions = frozenset(Permission(name) for name in key.permissions)
            return Identity(Principal(f"key:{key.name}", permissions, key.scope), now + left)
        if self._tokens is None:
            raise InvalidToken("only API keys are taken here")
        principal, expires_at = self._tokens.verify(credential)
        return Identity(principal, now + min(TOKEN_SECONDS, expires_at - time.time()))

    def _wanted(self) -> str:
        token = f"a token of {self._tokens.issuer} as Authorization: Bearer" if self._tokens is not None else None
        key = "an API key as X-API-Key" if self._api_keys is not None else None
        return " or ".join(filter(None, (token, key)))


def authenticator(storage: Storage, settings: AuthenticationSettings | None) -> Authenticator | None:
    return Authenticator(settings, storage.api_keys) if settings is not None else None


class Identifying:
    """WSGI middleware that finds out who asks before anything is answered, kept answers too."""

    def __init__(self, application: "WSGIApplication", found_by: Authenticator) -> None:
        self._application = application
        self._found_by = found_by

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ[IDENTITY] = self._found_by.identify(environ)
        return self._application(environ, start_response)


def _credential(environ: "WSGIEnvironment") -> str | None:
    scheme, _, value = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":  # RFC 9110 11.1: its case does not count
        return str(value.strip())
    key: str | None = environ.get("HTTP_X_API_KEY")
    return key.strip() if key is not None else None


def _invalid(detail: str) -> AccessRefused:
    return AccessRefused(HTTPStatus.UNAUTHORIZED, detail, "invalid_token")
