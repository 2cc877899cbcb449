"""Kept answers are given to nobody who may not have them: by a revoked key, a token that is over, in another scope."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from fileroom_dicomweb import authentication
from fileroom_dicomweb.access import Identity, Permission
from fileroom_dicomweb.authentication_settings import AuthenticationSettings
from fileroom_storage.storage import ApiKeys, Storage
from tests.dicomweb.objects import data_set, json_of, part10
from tests.dicomweb.signed_in import key, secured
from tests.dicomweb.test_oidc_tokens import READ, settings_for, shared_issuer
from tests.dicomweb.test_recent_answers import made_searches
from tests.made import uid
from tests.oidc_issuer import OidcIssuer

__all__ = ["shared_issuer"]

STUDIES = "/dicom-web/studies"
FRAME = f"{STUDIES}/{uid(1)}/series/{uid(1, 1)}/instances/{uid(1, 1, 1)}/frames/1"
KEPT = [STUDIES, f"{STUDIES}?PatientID=P1", FRAME]
NORTH, SOUTH = frozenset({"NORTH"}), frozenset({"SOUTH"})


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    client = secured(storage)
    uids = {"StudyInstanceUID": uid(1), "SeriesInstanceUID": uid(1, 1)}
    for number in (1, 2):
        image = part10(data_set(**uids, SOPInstanceUID=uid(1, 1, number), IssuerOfPatientID="NORTH", PatientID="P1"))
        answer = client.post(STUDIES, data=image, content_type="application/dicom", headers=key(storage, f"m{number}"))
        assert answer.status_code == 200
    return client


def get(client: FlaskClient, path: str, headers: dict[str, str]) -> Any:
    return client.get(path, headers={"Accept": "*/*", **headers})


@pytest.mark.parametrize("path", KEPT)
def test_a_key_that_is_revoked(
    client: FlaskClient, storage: Storage, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would tell of it: revoking is a commit. A key that ends by itself is none."""
    monkeypatch.setattr(authentication, "KEY_SECONDS", 0.0)
    reader = key(storage, "reader", [Permission.READ])
    assert [get(client, path, reader).status_code for _ in range(3)] == [200] * 3
    storage.api_keys.revoke("reader")
    assert get(client, path, reader).status_code == 401


@pytest.mark.parametrize("path", KEPT)
def test_a_token_that_is_over(
    client: FlaskClient, storage: Storage, shared_issuer: OidcIssuer, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is committed when its time has come: only the token's own end can tell."""
    client = secured(storage, AuthenticationSettings(oidc=settings_for(shared_issuer, clock_skew=0.0)))
    asked = made_searches(monkeypatch)
    end = int(time.time()) + 4
    reader = {"Authorization": f"Bearer {shared_issuer.token(READ, exp=end)}"}
    version = storage.version()
    assert get(client, path, reader).status_code == 200
    assert get(client, path, reader).status_code == 200
    assert len(asked) <= 1
    while time.time() < end:
        time.sleep(0.1)
    refused = get(client, path, reader)
    assert (refused.status_code, storage.version()) == (401, version)
    assert "it has expired" in json_of(refused)["detail"]


def test_what_is_remembered_of_a_token_ends_with_it(
    client: FlaskClient, storage: Storage, shared_issuer: OidcIssuer
) -> None:
    settings = AuthenticationSettings(oidc=settings_for(shared_issuer, clock_skew=2.0))
    known_by = authentication.authenticator(storage, settings)
    assert known_by is not None
    now, began = time.time(), time.monotonic()
    for life, expected in ((20, 22), (100, authentication.TOKEN_SECONDS)):
        environ = {"HTTP_AUTHORIZATION": f"Bearer {shared_issuer.token(READ, exp=int(now) + life)}"}
        identity = known_by.identify(environ)
        assert isinstance(identity, Identity)
        left = identity.valid_until - began
        assert expected - 2 <= left <= expected + (time.monotonic() - began) + 1
        assert known_by.identify(environ) is identity


@pytest.mark.parametrize("path", KEPT)
def test_another_scope_or_permission(client: FlaskClient, storage: Storage, path: str) -> None:
    readers = [
        (key(storage, "all", [Permission.READ]), True),
        (key(storage, "north", [Permission.READ], NORTH), True),
        (key(storage, "south", [Permission.READ], SOUTH), False),
        (key(storage, "nothing", [Permission.READ], frozenset()), False),
    ]
    writer = key(storage, "writer", [Permission.WRITE])
    for _ in range(3):
        for reader, sees in readers:
            answer = get(client, path, reader)
            if path == FRAME:
                assert answer.status_code == (200 if sees else 404)
            else:
                assert bool(json_of(answer)) is sees
        assert get(client, path, writer).status_code == 403
        assert get(client, path, {}).status_code == 401
        assert get(client, path, {"X-API-Key": "frk_"}).status_code == 401


def test_the_same_bytes_of_another_principal(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a key stands for may change while nothing else of the request does: then it is another's answer."""
    monkeypatch.setattr(authentication, "KEY_SECONDS", 0.0)
    reader = key(storage, "reader", [Permission.READ])
    assert len(json_of(get(client, STUDIES, reader))) == 1
    usable = ApiKeys.usable

    def narrowed(self: ApiKeys, text: str) -> Any:
        found = usable(self, text)
        return None if found is None else replace(found, scope=SOUTH)

    monkeypatch.setattr(ApiKeys, "usable", narrowed)
    assert json_of(get(client, STUDIES, reader)) == []


def test_metadata_kept_on_the_disk(client: FlaskClient, storage: Storage) -> None:
    path = f"{STUDIES}/{uid(1)}/metadata"
    north, south = key(storage, "north", [Permission.READ], NORTH), key(storage, "south", [Permission.READ], SOUTH)
    zipped = {"Accept-Encoding": "gzip"}
    first = get(client, path, {**north, **zipped})
    assert first.status_code == 200
    assert list((storage.settings.data / "metadata").iterdir())
    for _ in range(2):
        assert get(client, path, {**south, **zipped}).status_code == 404
        assert get(client, path, zipped).status_code == 401
        assert get(client, path, {**north, **zipped}).data == first.data


def test_it_is_still_made_once_for_each(client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    readers = [key(storage, name, [Permission.READ]) for name in ("one", "two")]
    asked = made_searches(monkeypatch)
    for _ in range(3):
        for reader in readers:
            assert get(client, STUDIES, reader).status_code == 200
    assert len(asked) == 2


def test_many_at_once_with_different_keys(client: FlaskClient, storage: Storage) -> None:
    readers = {name: key(storage, f"r-{name}", [Permission.READ], frozenset({name})) for name in ("NORTH", "SOUTH")}
    wrong: list[str] = []

    def ask(name: str) -> None:
        own = client.application.test_client()
        found = [bool(json_of(get(own, STUDIES, readers[name]))) for _ in range(40)]
        wrong.extend(name for one in found if one is not (name == "NORTH"))

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("NORTH", "SOUTH") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
