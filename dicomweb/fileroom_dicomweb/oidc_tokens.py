"""Access tokens of an OpenID Connect issuer: JWTs (RFC 7519, RFC 9068), and what their claims say somebody may do."""

from collections.abc import Iterator, Mapping
from typing import Any

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    PyJWTError,
)

from fileroom_storage.storage import Scope

from .access import Principal
from .authentication_settings import OidcSettings
from .issuer_keys import ALGORITHMS, IssuerKeys, UnknownKey

# RFC 9068 2.1; older issuers write JWT or nothing
_HEADER_TYPES = frozenset({None, "jwt", "at+jwt", "application/at+jwt"})
# Keycloak writes this of tokens that are for the client or for itself
_OTHER_TYPES = frozenset({"ID", "Refresh", "Offline", "Logout"})
_NAME_CLAIMS = ("sub", "client_id", "azp")

# the first that fits counts
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ExpiredSignatureError, "it has expired"),
    (ImmatureSignatureError, "it is not valid yet"),
    (InvalidAudienceError, "it is for another audience than this server"),
    (InvalidIssuerError, "it is of another issuer"),
)


class InvalidToken(Exception):
    """The text says why, and holds nothing of the token."""


class TokenVerifier:
    """Verifies tokens of one issuer."""

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self._keys = IssuerKeys(settings)

    @property
    def issuer(self) -> str:
        return self._settings.issuer

    def verify(self, token: str) -> tuple[Principal, float]:
        """Whose it is, and until when, in seconds since 1970, clocks that differ included.

        Raises InvalidToken, IssuerUnavailable.
        """
        try:
            claims = self._claims(token)
        except UnknownKey:
            raise InvalidToken("no key of the issuer has signed it") from None
        except PyJWTError as error:
            reasons = (text for kind, text in _REASONS if isinstance(error, kind))
            raise InvalidToken(next(reasons, "it is damaged, or none")) from None
        except (ValueError, TypeError, OverflowError, RecursionError):  # what no JSON should be
            raise InvalidToken("it is damaged, or none") from None
        return self._principal(claims), float(claims["exp"]) + self._settings.clock_skew

    def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        algorithm, kind = header.get("alg"), header.get("typ")
        if algorithm not in ALGORITHMS:
            raise InvalidToken("it is not signed by an algorithm with a public key")
        if (kind.lower() if isinstance(kind, str) else kind) not in _HEADER_TYPES:
            raise InvalidToken("it is no access token")
        claims: dict[str, Any] = jwt.decode(
            token,
            self._keys.key(header.get("kid"), algorithm),
            algorithms=[algorithm],
            audience=self._settings.audience,
            issuer=self._settings.issuer,
            leeway=self._settings.clock_skew,
            options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
        )
        if claims.get("typ") in _OTHER_TYPES:
            raise InvalidToken("it is no access token")
        return claims

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        settings = self._settings
        names = (claims.get(name) for name in (settings.name_claim, *_NAME_CLAIMS))
        name = next((name for name in names if isinstance(name, str) and name.strip() and name.isprintable()), None)
        if name is None:
            raise InvalidToken("it does not say whose it is")
        roles = {role for path in settings.role_claims for role in _words(claims, path)}
        permissions = frozenset(permission for permission, giving in settings.roles.items() if giving & roles)
        return Principal(name, permissions, self._scope(claims))

    def _scope(self, claims: Mapping[str, Any]) -> Scope:
        settings = self._settings
        if settings.scope_claim is None:
            return None
        values = frozenset(_values(claims, settings.scope_claim))
        if not settings.scopes:
            return values
        granted = [settings.scopes[value] for value in values if value in settings.scopes]
        issuers: set[str] = set()
        for some in granted:
            if some is None:
                return None
            issuers |= some
        return frozenset(issuers)


def _words(claims: Mapping[str, Any], path: str) -> Iterator[str]:
    """The same of what may be written as one text with spaces, as `scope` is (RFC 8693 4.2)."""
    found = _at(claims, path)
    yield from found.split() if isinstance(found, str) else _values(claims, path)


def _values(claims: Mapping[str, Any], path: str) -> Iterator[str]:
    """The texts at a path of names; of an object, as Keycloak writes organizations, its names."""
    found = _at(claims, path)
    if isinstance(found, str):
        yield found
    elif isinstance(found, list | dict):
        yield from (one for one in found if isinstance(one, str))


def _at(claims: Any, path: str) -> Any:
    """Names may hold dots themselves: `https://example.org/roles`, `resource_access.my.client.roles`."""
    if not isinstance(claims, dict):
        return None
    if path in claims:
        return claims[path]
    steps = path.split(".")
    for end in range(1, len(steps)):
        name = ".".join(steps[:end])
        if name in claims:
            found = _at(claims[name], ".".join(steps[end:]))
            if found is not None:
                return found
    return None
