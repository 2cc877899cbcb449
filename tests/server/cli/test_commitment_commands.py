"""`fileroom commitments`, on each kind of database."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from fileroom_storage.storage import Claim, CommitmentRequest, Reference, Storage, StorageSettings
from tests.made import CT_IMAGE_STORAGE, uid
from tests.server.cli.place import Place
from tests.server.cli.terminal import on_a_terminal

WAITING, GIVEN_UP, REPORTED = uid(77, 1), uid(77, 2), uid(77, 3)
REASON = "MODALITY accepts no association for storage commitment"


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Place:
    """One that waits, one that was given up, one that was reported with a failure."""
    with Storage.open(StorageSettings(tmp_path / "data", database_url)) as storage:
        storage.create_schema_if_empty()
        instances = [Reference(CT_IMAGE_STORAGE, uid(1, 1, number)) for number in range(2)]
        patience = {WAITING: timedelta(days=1), GIVEN_UP: timedelta(0), REPORTED: timedelta(days=1)}
        for transaction, seconds in patience.items():
            request = CommitmentRequest(transaction, instances, "MODALITY", "FILEROOM", "10.0.0.7")
            commitment = storage.commitments.request(request, Claim("test", timedelta(minutes=5)), seconds)
            assert commitment is not None
            if transaction == REPORTED:
                storage.commitments.reported(commitment.pk, {instances[1]: 0x0112})
            else:
                storage.commitments.postpone(commitment.pk, timedelta(hours=1), REASON)
    return Place(tmp_path / "data", database_url)


def test_list(place: Place) -> None:
    code, stdout, stderr = place.run("commitments", "list")
    assert (code, stderr) == (0, "")
    rows = [line.split("\t") for line in stdout.splitlines()]
    assert [(row[0], row[1], row[2], row[4], row[5], row[6], row[8]) for row in rows] == [
        (GIVEN_UP, "MODALITY", "given up", "2", "", "1", REASON),
        (WAITING, "MODALITY", "pending", "2", "", "1", REASON),
    ]
    documents = json.loads(place.run("commitments", "list", "--all", "--json")[1])
    assert [(one["transaction_uid"], one["state"], one["failed"]) for one in documents] == [
        (REPORTED, "reported", 1),
        (GIVEN_UP, "given up", None),
        (WAITING, "pending", None),
    ]
    assert documents[0]["settled_at"].endswith("Z")
    assert documents[2]["due_at"] > documents[2]["requested_at"]


def test_show(place: Place) -> None:
    code, stdout, _ = place.run("commitments", "show", REPORTED)
    assert code == 0
    assert f"{uid(1, 1, 1)}\t0x0112\tno such object instance" in stdout.splitlines()
    document = json.loads(place.run("commitments", "show", REPORTED, "--json")[1])
    assert document["failed_instances"] == [
        {"sop_class_uid": CT_IMAGE_STORAGE, "sop_instance_uid": uid(1, 1, 1), "failure_reason": 0x0112}
    ]
    assert json.loads(place.run("commitments", "show", WAITING, "--json")[1])["failed_instances"] == []


def test_retry(place: Place) -> None:
    for transaction in (WAITING, GIVEN_UP):
        code, stdout, _ = place.run("commitments", "retry", transaction)
        assert (code, stdout) == (0, "The server reports to MODALITY within a few seconds.\n")
        document = json.loads(place.run("commitments", "show", transaction, "--json")[1])
        assert (document["state"], document["settled_at"]) == ("pending", None)
    code, _, stderr = place.run("commitments", "retry", REPORTED)
    assert (code, "has been reported" in stderr) == (1, True)
    code, _, stderr = place.run("commitments", "retry", uid(9))
    assert (code, "`fileroom commitments list --all` shows them" in stderr) == (1, True)


def test_nothing_to_show(tmp_path: Path) -> None:
    with Storage.open(StorageSettings(tmp_path / "data")) as storage:
        storage.create_schema_if_empty()
    _, shown = on_a_terminal("commitments", "list", "--data", tmp_path / "data")
    assert "No storage commitment waits." in shown
