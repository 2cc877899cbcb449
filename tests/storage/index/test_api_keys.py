"""API keys, on each kind of database."""

import datetime as dt
import re
import string

import pytest

from fileroom_storage.errors import ApiKeyExists, ApiKeyNotFound
from fileroom_storage.storage import API_KEY_PREFIX, Storage
from tests.storage.stored import tables_of


def utc(**after: int) -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(**after)


def test_a_key_is_usable_until_it_is_revoked(storage: Storage) -> None:
    created, text = storage.api_keys.create("ct-gateway", ["write", "read"], frozenset({"SÜD", "NORTH"}))
    assert re.fullmatch(rf"{API_KEY_PREFIX}[0-9a-f]{{12}}_[0-9A-Za-z_-]{{43}}", text)
    assert created.permissions == {"read", "write"}
    assert created.scope == frozenset({"SÜD", "NORTH"})
    assert storage.api_keys.usable(text) == created
    assert storage.api_keys.keys() == [created]
    assert storage.api_keys.revoke("ct-gateway") == created
    assert storage.api_keys.usable(text) is None
    [revoked] = storage.api_keys.keys()
    assert revoked.revoked_at is not None
    with pytest.raises(ApiKeyNotFound, match="fileroom keys list"):
        storage.api_keys.revoke("ct-gateway")


def test_no_more_than_a_digest_is_kept(storage: Storage) -> None:
    _, text = storage.api_keys.create("machine", ["read"])
    kept = str(tables_of(storage))
    assert text[:17].removeprefix(API_KEY_PREFIX).rstrip("_") in kept  # its name
    assert text[-43:] not in kept  # its secret


def test_nothing_but_the_very_key_is_one(storage: Storage) -> None:
    _, text = storage.api_keys.create("machine", ["read"])
    other, other_text = storage.api_keys.create("other", ["read"])
    for number in range(len(text)):
        for character in (*string.ascii_letters[:3], "_", "9", "\0", "é"):
            if text[number] != character:
                assert storage.api_keys.usable(text[:number] + character + text[number + 1 :]) is None
    mixed = f"{text[: -len(text.split('_', 2)[2])]}{other_text.split('_', 2)[2]}"
    for wrong in ("", API_KEY_PREFIX, text[:-1], f"{text}A", text.upper(), f" {text}", f"{text}\n", mixed):
        assert storage.api_keys.usable(wrong) is None, wrong
    assert storage.api_keys.usable(other_text) == other


def test_a_key_ends_by_itself(storage: Storage) -> None:
    _, over = storage.api_keys.create("over", ["read"], expires_at=utc(seconds=-1))
    _, lasting = storage.api_keys.create("lasting", ["read"], expires_at=utc(days=1))
    assert storage.api_keys.usable(over) is None
    assert storage.api_keys.usable(lasting) is not None


def test_a_name_is_one_usable_keys(storage: Storage) -> None:
    storage.api_keys.create("machine", ["read"])
    with pytest.raises(ApiKeyExists, match="machine"):
        storage.api_keys.create("machine", ["write"])
    storage.api_keys.revoke("machine")
    again, text = storage.api_keys.create("machine", ["write"])
    assert storage.api_keys.usable(text) == again
    storage.api_keys.create("over", ["read"], expires_at=utc(seconds=-1))
    storage.api_keys.create("over", ["read"])
    assert storage.api_keys.revoke(again.identifier).identifier == again.identifier
    assert storage.api_keys.usable(text) is None


def test_all_and_nothing_are_different_scopes(storage: Storage) -> None:
    everything, _ = storage.api_keys.create("all", ["admin"])
    nothing, _ = storage.api_keys.create("none", ["admin"], frozenset())
    assert everything.scope is None
    assert nothing.scope == frozenset()
