"""Access tokens of a real issuer, a process of its own: which are believed, and what they let somebody do."""

import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from flask.testing import FlaskClient

from fileroom_dicomweb import authentication, issuer_keys
from fileroom_dicomweb.access import Permission, Principal
from fileroom_dicomweb.authentication_settings import AuthenticationSettings, OidcSettings
from fileroom_storage.storage import Storage
from tests.dicomweb.objects import json_of
from tests.dicomweb.signed_in import key, secured
from tests.dicomweb.test_access import note_principals
from tests.made import made, uid
from tests.oidc_issuer import AUDIENCE, OidcIssuer, new_key
from tests.storage.stored import store

STUDIES = "/dicom-web/studies"
READ = "fileroom-read"
ROLES = {
    Permission.READ: frozenset({READ}),
    Permission.WRITE: frozenset({"fileroom-write"}),
    Permission.DELETE: frozenset({"fileroom-delete"}),
    Permission.ADMIN: frozenset({"fileroom-admin"}),
}


@pytest.fixture(scope="module")
def shared_issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcIssuer]:
    """For tests that do not change it."""
    with OidcIssuer(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[OidcIssuer]:
    with OidcIssuer(tmp_path) as issuer:
        yield issuer


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered, and the issuer may be asked as often as is wanted."""
    monkeypatch.setattr(authentication, "TOKEN_SECONDS", 0.0)
    monkeypatch.setattr(issuer_keys, "_PAUSE_SECONDS", 0.0)


def settings_for(of: OidcIssuer, **changes: Any) -> OidcSettings:
    return replace(OidcSettings(of.url, (AUDIENCE,), roles=ROLES), **changes)


def client_of(storage: Storage, of: OidcIssuer, **changes: Any) -> FlaskClient:
    return secured(storage, AuthenticationSettings(oidc=settings_for(of, **changes)))


def status(client: FlaskClient, token: str, path: str = STUDIES, method: str = "GET") -> int:
    return client.open(path, method=method, headers={"Authorization": f"Bearer {token}"}).status_code


def refused(client: FlaskClient, token: str) -> str:
    """Why: the problem's detail, which holds nothing of the token."""
    answer = client.get(STUDIES, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401, answer.data
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="fileroom", error="invalid_token"'
    detail = json_of(answer)["detail"]
    assert not any(part and part in detail for part in token.split("."))
    return str(detail)


def now(seconds: int = 0) -> int:
    return int(time.time()) + seconds


def test_a_good_token(storage: Storage, shared_issuer: OidcIssuer) -> None:
    client = client_of(storage, shared_issuer)
    token = shared_issuer.token(READ)
    assert status(client, token) == 200
    assert refused(client, f"{token[:-4]}AAAA").startswith("The token is refused: it is damaged")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": now(-61)}, "it has expired"),
        ({"exp": None}, "it is damaged"),
        ({"exp": "soon"}, "it is damaged"),
        ({"nbf": now(3600)}, "not valid yet"),
        ({"iat": now(3600)}, "not valid yet"),
        ({"aud": "account"}, "another audience"),
        ({"aud": ["account", "fileroom2"]}, "another audience"),
        ({"aud": None}, "it is damaged"),
        ({"iss": "https://evil.example/realms/hospital"}, "another issuer"),
        ({"iss": None}, "it is damaged"),
        ({"typ": "ID"}, "no access token"),
        ({"typ": "Refresh"}, "no access token"),
        ({"preferred_username": None, "sub": None}, "does not say whose"),
    ],
)
def test_claims_that_are_not_right(
    storage: Storage, shared_issuer: OidcIssuer, claims: dict[str, Any], reason: str
) -> None:
    assert reason in refused(client_of(storage, shared_issuer), shared_issuer.token(READ, **claims))


@pytest.mark.parametrize(
    "claims", [{"exp": now(-20)}, {"nbf": now(20)}, {"iat": now(20)}, {"aud": ["other", AUDIENCE]}, {"iat": None}]
)
def test_clocks_may_differ(storage: Storage, shared_issuer: OidcIssuer, claims: dict[str, Any]) -> None:
    claims = {
        name: value + now() - START if name in ("exp", "nbf", "iat") and value else value
        for name, value in claims.items()
    }
    assert status(client_of(storage, shared_issuer), shared_issuer.token(READ, **claims)) == 200


START = now()


def test_without_a_skew_clocks_count_exactly(storage: Storage, shared_issuer: OidcIssuer) -> None:
    client = client_of(storage, shared_issuer, clock_skew=0.0)
    assert "expired" in refused(client, shared_issuer.token(READ, exp=now(-2)))


def part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def unsigned(shared_issuer: OidcIssuer, **header: Any) -> str:
    claims = jwt.decode(shared_issuer.token(READ), options={"verify_signature": False})
    return f"{part(header)}.{part(claims)}"


def test_tokens_that_nobody_signed(storage: Storage, shared_issuer: OidcIssuer) -> None:
    client = client_of(storage, shared_issuer)
    kid = shared_issuer.keys()[0]["kid"]
    for algorithm in ("none", "None", "NONE", "", "HS256", None, 5, ["RS256"]):
        for end in (".", "", "." + part(b"x")):
            refused(client, unsigned(shared_issuer, alg=algorithm, kid=kid) + end)


def test_a_public_key_is_no_secret(storage: Storage, shared_issuer: OidcIssuer) -> None:
    """HS256 with the public key, in each of its encodings, as the secret; and with the secret that the issuer lists."""
    client = client_of(storage, shared_issuer)
    jwk = shared_issuer.keys()[0]
    public: Any = jwt.PyJWK(jwk).key
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), der, json.dumps(jwk).encode(), b"secret"):
        for kid in (jwk["kid"], "shared"):
            signed = unsigned(shared_issuer, alg="HS256", typ="JWT", kid=kid)
            signature = hmac.digest(secret, signed.encode(), hashlib.sha256)
            assert "algorithm with a public key" in refused(client, f"{signed}.{part(signature)}")


def test_tokens_of_another_key(storage: Storage, shared_issuer: OidcIssuer) -> None:
    client = client_of(storage, shared_issuer)
    claims = jwt.decode(shared_issuer.token(READ), options={"verify_signature": False})
    other: Any = new_key("RS256")
    kid = shared_issuer.keys()[0]["kid"]
    # with the ID of the issuer's, with one of its own, with none, with a key that it brings
    for header in (
        {"kid": kid},
        {"kid": "unknown"},
        {},
        {"kid": kid, "jwk": {"kty": "RSA"}, "jku": "http://evil.example"},
    ):
        refused(client, jwt.encode(claims, other, "RS256", headers=header))
    # an algorithm that the key is not for
    refused(client, jwt.encode(claims, new_key("ES256"), "ES256", headers={"kid": kid}))
    refused(client, jwt.encode(claims, other, "PS256", headers={"kid": kid}))


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", 5])
def test_what_is_signed_for_something_else(storage: Storage, shared_issuer: OidcIssuer, kind: object) -> None:
    assert "no access token" in refused(
        client_of(storage, shared_issuer), shared_issuer.token(READ, header={"typ": kind})
    )


@pytest.mark.parametrize("kind", ["at+jwt", "application/at+jwt", "JWT", "AT+JWT"])
def test_kinds_of_access_tokens(storage: Storage, shared_issuer: OidcIssuer, kind: str) -> None:
    assert status(client_of(storage, shared_issuer), shared_issuer.token(READ, header={"typ": kind})) == 200


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "é",
        "x" * 4000,
        f"{part(b'[' * 3000)}.{part({})}.x",
        f"{part(b'{' * 3)}..",
        f"{part({'alg': 'RS256', 'kid': {}})}.{part({})}.x",
        f"{part({'alg': 'RS256', 'crit': ['b64'], 'b64': False})}.{part({})}.x",
        f"{part([])}.{part([])}.x",
        f"{part(5)}.{part(5)}.x",
        f"{part({'alg': 'RS256', 'kid': 'x' * 2000})}.{part({})}.x",
        "frk_",
        "frk_000000000000_short",
    ],
)
def test_what_is_no_token_at_all(storage: Storage, shared_issuer: OidcIssuer, token: str) -> None:
    client = client_of(storage, shared_issuer)
    assert status(client, token) == 401
    assert client.get(STUDIES, headers={"X-API-Key": token}).status_code == 401


def test_kid_of_something_signed_that_is_no_object(storage: Storage, shared_issuer: OidcIssuer) -> None:
    client = client_of(storage, shared_issuer)
    token = shared_issuer.token(READ)
    head, _, signature = token.split(".")
    refused(client, f"{head}.{part([1])}.{signature}")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "EdDSA"])
@pytest.mark.usefixtures("impatient")
def test_keys_are_rotated(storage: Storage, issuer: OidcIssuer, algorithm: str) -> None:
    client = client_of(storage, issuer)
    first = issuer.token(READ)
    assert status(client, first) == 200
    issuer.rotate(algorithm=algorithm)
    second = issuer.token(READ)
    assert jwt.get_unverified_header(second)["alg"] == algorithm
    assert status(client, second) == 200
    assert status(client, first) == 200


@pytest.mark.usefixtures("impatient")
def test_a_key_that_is_withdrawn_is_believed_no_more(
    storage: Storage, issuer: OidcIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(storage, issuer)
    first = issuer.token(READ)
    assert status(client, first) == 200
    issuer.rotate(keep=False)
    assert status(client, first) == 200  # until the keys are asked for anew
    monkeypatch.setattr(issuer_keys, "_FRESH_SECONDS", 0.0)
    assert status(client, issuer.token(READ)) == 200
    assert "no key of the issuer" in refused(client, first)


@pytest.mark.usefixtures("impatient")
def test_a_token_without_a_key_id(storage: Storage, issuer: OidcIssuer) -> None:
    client = client_of(storage, issuer)
    ring = json.loads((issuer.folder / "keys.json").read_text())
    [(algorithm, text)] = ring.values()
    claims = jwt.decode(issuer.token(READ), options={"verify_signature": False})
    token = jwt.encode(claims, text, algorithm)
    assert "kid" not in jwt.get_unverified_header(token)
    assert status(client, token) == 200
    issuer.rotate()
    assert status(client_of(storage, issuer), token) == 401  # which of two?
    issuer.rotate(keep=False, algorithm="ES256")
    assert status(client_of(storage, issuer), token) == 401


def test_inventing_key_ids_does_not_make_us_ask_the_issuer_each_time(storage: Storage, issuer: OidcIssuer) -> None:
    client = client_of(storage, issuer)
    assert status(client, issuer.token(READ)) == 200
    claims = jwt.decode(issuer.token(READ), options={"verify_signature": False})
    other: Any = new_key("RS256")
    for number in range(20):
        assert status(client, jwt.encode(claims, other, "RS256", headers={"kid": f"{number}"})) == 401
    assert issuer.asked() == {"discovery": 1, "keys": 1, "tokens": 0}


def test_keys_are_asked_for_once_for_many_tokens(storage: Storage, issuer: OidcIssuer) -> None:
    client = client_of(storage, issuer)
    for _ in range(10):
        assert status(client, issuer.token(READ)) == 200
    assert issuer.asked() == {"discovery": 1, "keys": 1, "tokens": 0}


@pytest.mark.usefixtures("impatient")
def test_the_issuer_goes_away(storage: Storage, issuer: OidcIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuer_keys, "_FRESH_SECONDS", 0.0)  # each token would have the keys asked for anew
    client = client_of(storage, issuer)
    first, second = issuer.token(READ), issuer.token(READ, jti="2")
    assert status(client, first) == 200
    issuer.stop()
    for _ in range(3):
        assert status(client, first) == 200
        assert status(client, second) == 200
    # who has never had the keys cannot tell who asks
    fresh = client_of(storage, issuer)
    answer = fresh.get(STUDIES, headers={"Authorization": f"Bearer {first}"})
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert issuer.url not in answer.text
    machine = fresh.get(STUDIES, headers=key(storage, "machine"))
    assert machine.status_code == 200  # keys of machines need no issuer
    issuer.start()
    assert status(fresh, first) == 200


def test_a_document_of_another_issuer(storage: Storage, shared_issuer: OidcIssuer) -> None:
    """Its discovery document has to name the issuer to the letter (OpenID Connect Discovery 1.0 4.3)."""
    client = client_of(storage, shared_issuer, issuer=f"{shared_issuer.url}/")
    assert status(client, shared_issuer.token(READ, iss=f"{shared_issuer.url}/")) == 503


def test_an_issuer_that_is_reached_by_another_address(storage: Storage, shared_issuer: OidcIssuer) -> None:
    issuer = "https://login.example.org/realms/hospital"
    client = client_of(storage, shared_issuer, issuer=issuer, jwks_url=f"{shared_issuer.url}/certs")
    assert status(client, shared_issuer.token(READ, iss=issuer)) == 200
    assert "another issuer" in refused(client, shared_issuer.token(READ))


def test_what_answers_no_keys(storage: Storage, shared_issuer: OidcIssuer) -> None:
    for url in (f"{shared_issuer.origin}/nothing", f"{shared_issuer.origin}/test/asked", f"{shared_issuer.url}/auth"):
        assert status(client_of(storage, shared_issuer, jwks_url=url), shared_issuer.token(READ)) == 503


@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        ([], set()),
        (["offline_access", "read", "admin"], set()),
        ([READ], {"GET"}),
        (["fileroom-write"], {"POST"}),
        ([READ, "fileroom-delete"], {"GET", "DELETE"}),
        (["fileroom-admin"], {"GET", "POST", "DELETE"}),
    ],
)
def test_roles(storage: Storage, shared_issuer: OidcIssuer, roles: list[str], allowed: set[str]) -> None:
    client = client_of(storage, shared_issuer)
    token = shared_issuer.token(*roles)
    for method, path in (("GET", STUDIES), ("POST", STUDIES), ("DELETE", f"{STUDIES}/{uid(1)}")):
        assert (status(client, token, path, method) != 403) is (method in allowed), method


@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": [READ, 5, None]}}),
        ("resource_access.my.client.roles", {"resource_access": {"my.client": {"roles": [READ]}}}),
        ("https://example.org/roles", {"https://example.org/roles": [READ]}),
        ("scope", {"scope": f"openid {READ} profile"}),
        ("groups", {"groups": [READ]}),
    ],
)
def test_where_roles_may_stand(storage: Storage, shared_issuer: OidcIssuer, path: str, claims: dict[str, Any]) -> None:
    client = client_of(storage, shared_issuer, role_claims=("nowhere", path))
    assert status(client, shared_issuer.token(**{"realm_access": None, **claims})) == 200
    assert status(client, shared_issuer.token(realm_access=None)) == 403


def test_a_role_of_a_similar_name_is_another(storage: Storage, shared_issuer: OidcIssuer) -> None:
    client = client_of(storage, shared_issuer)
    for role in ("Fileroom-Read", "fileroom-read2", "x fileroom-read", "fileroom-read "):
        assert status(client, shared_issuer.token(role)) == 403


@pytest.mark.parametrize(
    ("changes", "claims", "seen"),
    [
        ({}, {}, {"NORTH", "SOUTH", "DEFAULT_DOMAIN"}),
        ({"scope_claim": "issuers"}, {}, set()),
        ({"scope_claim": "issuers"}, {"issuers": []}, set()),
        ({"scope_claim": "issuers"}, {"issuers": ["NORTH"]}, {"NORTH"}),
        ({"scope_claim": "issuers"}, {"issuers": "SOUTH"}, {"SOUTH"}),
        ({"scope_claim": "issuers"}, {"issuers": "NORTH SOUTH"}, set()),
        ({"scope_claim": "issuers"}, {"issuers": "*"}, set()),
        ({"scope_claim": "issuers"}, {"issuers": 5}, set()),
        ({"scope_claim": "issuers"}, {"issuers": ["NORTH", None, ["SOUTH"]]}, {"NORTH"}),
        ({"scope_claim": "issuers"}, {"issuers": ["DEFAULT_DOMAIN"]}, {"DEFAULT_DOMAIN"}),
        # Keycloak's organizations, with and without their attributes
        ({"scope_claim": "organization"}, {"organization": {"NORTH": {"id": "1"}}}, {"NORTH"}),
        (
            {"scope_claim": "organization", "scopes": {"clinic": frozenset({"NORTH", "SOUTH"})}},
            {"organization": ["clinic", "NORTH"]},
            {"NORTH", "SOUTH"},
        ),
        (
            {"scope_claim": "organization", "scopes": {"clinic": frozenset({"NORTH"})}},
            {"organization": ["SOUTH"]},
            set(),
        ),
        (
            {"scope_claim": "realm_access.roles", "scopes": {"radiology": None, READ: frozenset({"SOUTH"})}},
            {"realm_access": {"roles": [READ]}},
            {"SOUTH"},
        ),
        (
            {"scope_claim": "realm_access.roles", "scopes": {"radiology": None}},
            {"realm_access": {"roles": [READ, "radiology"]}},
            {"NORTH", "SOUTH", "DEFAULT_DOMAIN"},
        ),
    ],
)
def test_scopes(
    storage: Storage, shared_issuer: OidcIssuer, changes: dict[str, Any], claims: dict[str, Any], seen: set[str]
) -> None:
    for study, name in enumerate(("NORTH", "SOUTH", None), 1):
        numbers = {
            "StudyInstanceUID": uid(study),
            "SeriesInstanceUID": uid(study, 1),
            "SOPInstanceUID": uid(study, 1, 1),
        }
        store(storage, made(IssuerOfPatientID=name, **numbers))
    client = client_of(storage, shared_issuer, **changes)
    token = shared_issuer.token(READ, **claims)
    answer = client.get(f"{STUDIES}?includefield=00100021", headers={"Authorization": f"Bearer {token}"})
    assert {study["00100021"]["Value"][0] for study in json_of(answer)} == seen


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({}, "somebody"),
        ({"preferred_username": None}, "id-of-somebody"),
        ({"preferred_username": " ", "sub": None, "azp": "a-client"}, "a-client"),
        ({"preferred_username": "x\nWARNING forged"}, "id-of-somebody"),
    ],
)
def test_who_it_is(storage: Storage, shared_issuer: OidcIssuer, claims: dict[str, Any], name: str) -> None:
    seen: list[Principal] = []
    client = client_of(storage, shared_issuer)
    note_principals(client.application, seen)
    assert status(client, shared_issuer.token(READ, **claims)) == 200
    assert seen == [Principal(name, frozenset({Permission.READ}))]


def test_the_log_has_no_token(storage: Storage, shared_issuer: OidcIssuer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = client_of(storage, shared_issuer)
    [text] = key(storage, "machine").values()
    tokens = [shared_issuer.token(READ), shared_issuer.token(READ, exp=now(-100)), f"{text[:-1]}?", text]
    for token in tokens:
        status(client, token)
        status(client_of(storage, shared_issuer, jwks_url=f"{shared_issuer.origin}/nothing"), token)
    assert "a token is refused: it has expired" in caplog.text
    for token in tokens:
        assert token not in caplog.text
        assert token.rpartition(".")[2][-20:] not in caplog.text


def test_only_keys_where_there_is_no_issuer(storage: Storage, shared_issuer: OidcIssuer) -> None:
    client = secured(storage, AuthenticationSettings(oidc=None))
    assert "only API keys are taken here" in refused(client, shared_issuer.token(READ))
    only_tokens = secured(storage, AuthenticationSettings(oidc=settings_for(shared_issuer), api_keys=False))
    assert only_tokens.get(STUDIES, headers=key(storage, "machine")).status_code == 401
    assert status(only_tokens, shared_issuer.token(READ)) == 200
