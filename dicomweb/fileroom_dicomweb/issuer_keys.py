"""The public keys of an OpenID Connect issuer: discovered, kept, and asked for anew when it has changed them."""

import logging
import math
import threading
import time
from collections.abc import Mapping
from typing import Any

import orjson
import urllib3
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from .authentication_settings import OidcSettings

_log = logging.getLogger(__name__)

DISCOVERY = "/.well-known/openid-configuration"  # OpenID Connect Discovery 1.0 4
_FRESH_SECONDS = 300.0  # after that, keys are used while they are asked for anew
_PAUSE_SECONDS = 10.0  # between two questions, whatever kinds of keys tokens name
_TIMEOUT = urllib3.Timeout(connect=3.0, read=5.0)
_LONGEST_ANSWER = 1 << 20

# RFC 7518 3.1, RFC 8037 3.1: what a key has to be for an algorithm. A secret that both sides share is none of them, so
# nobody can sign with a public key.
_KINDS: Mapping[str, Mapping[str, str]] = {
    **{f"{kind}{size}": {"kty": "RSA"} for kind in ("RS", "PS") for size in (256, 384, 512)},
    "ES256": {"kty": "EC", "crv": "P-256"},
    "ES384": {"kty": "EC", "crv": "P-384"},
    "ES512": {"kty": "EC", "crv": "P-521"},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
}
ALGORITHMS = tuple(_KINDS)


class IssuerUnavailable(Exception):
    """The issuer does not tell its keys, and never has."""


class UnknownKey(Exception):
    """The issuer has no such key."""


class IssuerKeys:
    """For any number of threads. An issuer that goes away later does not matter until it has new keys."""

    def __init__(self, settings: OidcSettings) -> None:
        self._issuer = settings.issuer
        self._jwks_url = settings.jwks_url
        ca_certs = str(settings.ca_file) if settings.ca_file is not None else None
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False, ca_certs=ca_certs)
        self._asking = threading.Lock()
        self._refreshing = threading.Lock()
        self._keys: tuple[dict[str, Any], ...] | None = None
        self._made: dict[tuple[str | None, str], PyJWK] = {}
        self._fresh_until = -math.inf
        self._ask_after = -math.inf

    def key(self, identifier: str | None, algorithm: str) -> PyJWK:
        """The key that a token names, for its algorithm. Raises UnknownKey, IssuerUnavailable."""
        found = self._find(identifier, algorithm)
        if found is None:
            self._ask()
            found = self._find(identifier, algorithm)
        elif time.monotonic() > self._fresh_until:
            self._ask_meanwhile()
        if found is None:
            raise UnknownKey
        return found

    def _find(self, identifier: str | None, algorithm: str) -> PyJWK | None:
        keys, made = self._keys, self._made
        known = made.get((identifier, algorithm))
        if known is not None:
            return known
        fitting = [one for one in keys or () if _fits(one, identifier, algorithm)]
        if len(fitting) != 1:  # a token that names none may only mean the only one
            return None
        try:
            key = made[identifier, algorithm] = PyJWK(fitting[0], algorithm)
        except PyJWTError:
            _log.warning("a key of %s cannot be used", self._issuer)
            return None
        return key

    def _ask_meanwhile(self) -> None:
        """Nobody has to wait for keys that are known."""
        if not self._refreshing.acquire(blocking=False):
            return

        def ask() -> None:
            try:
                self._ask()
            finally:
                self._refreshing.release()

        threading.Thread(target=ask, name="issuer-keys", daemon=True).start()

    def _ask(self) -> None:
        """Fetches the keys, unless that has just been tried. Raises IssuerUnavailable where there are none."""
        with self._asking:
            if time.monotonic() >= self._ask_after:
                self._ask_after = time.monotonic() + _PAUSE_SECONDS
                try:
                    self._keys = self._fetched()
                except (urllib3.exceptions.HTTPError, ValueError, TypeError, KeyError, RecursionError) as error:
                    _log.warning("%s does not tell its keys: %s", self._issuer, _described(error))
                else:
                    self._made = {}
                    self._fresh_until = time.monotonic() + _FRESH_SECONDS
            if self._keys is None:
                raise IssuerUnavailable(
                    f"{self._issuer} has not told its keys; look whether this machine reaches it: "
                    f"{self._jwks_url or self._issuer.rstrip('/') + DISCOVERY}"
                )

    def _fetched(self) -> tuple[dict[str, Any], ...]:
        url = self._jwks_url
        if url is None:
            document = self._document(self._issuer.rstrip("/") + DISCOVERY)
            if document["issuer"] != self._issuer:  # OpenID Connect Discovery 1.0 4.3
                raise ValueError("its discovery document is one of another issuer; write the issuer to the letter")
            url = str(document["jwks_uri"])
            if self._issuer.startswith("https:") and not url.startswith("https:"):
                raise ValueError("its jwks_uri is not https")
        return tuple(one for one in self._document(url)["keys"] if isinstance(one, dict) and _is_for_signatures(one))

    def _document(self, url: str) -> dict[str, Any]:
        answer = self._http.request("GET", url, headers={"Accept": "application/json"}, preload_content=False)
        try:
            body = answer.read(_LONGEST_ANSWER + 1)
        finally:
            answer.release_conn()
        if answer.status != 200:
            raise ValueError(f"it answered {answer.status}")
        if len(body) > _LONGEST_ANSWER:
            raise ValueError("it answered more than 1 MiB")
        document = orjson.loads(body)
        if not isinstance(document, dict):
            raise TypeError("it answered no JSON object")
        return document


def _is_for_signatures(key: Mapping[str, Any]) -> bool:
    # RFC 7517 4.2, 4.3
    return key.get("use", "sig") == "sig" and "verify" in (key.get("key_ops") or ["verify"])


def _fits(key: Mapping[str, Any], identifier: str | None, algorithm: str) -> bool:
    if identifier is not None and key.get("kid") != identifier:
        return False
    if any(key.get(name) != value for name, value in _KINDS.get(algorithm, {"kty": ""}).items()):
        return False
    return bool(key.get("alg", algorithm) == algorithm)


def _described(error: Exception) -> str:
    text = (
        str(error)
        if isinstance(error, ValueError | TypeError) and not isinstance(error, orjson.JSONDecodeError)
        else ""
    )
    return text or type(error).__name__
