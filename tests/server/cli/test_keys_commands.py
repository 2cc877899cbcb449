"""`fileroom keys`, on each kind of database, and with a server that asks for them."""

import json
import time
from pathlib import Path

import pytest
import requests

from tests.made import part10
from tests.served import Served
from tests.server.cli.commands import fileroom, instances
from tests.server.cli.place import Place
from tests.server.cli.terminal import on_a_terminal


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Place:
    return Place(tmp_path / "data", database_url)


def test_create_list_revoke(place: Place) -> None:
    code, text, told = place.run("keys", "create", "ct gateway", "--permission", "write", "--permission", "read")
    assert code == 0
    assert text.startswith("frk_")
    assert len(text.splitlines()) == 1
    assert "not shown again" in told
    assert 'write methods = ["api_keys"]' in told
    code, made, _ = place.run(
        "keys",
        "create",
        "north",
        "--permission",
        "read",
        "--issuer",
        "NORTH",
        "--issuer",
        "OLD",
        "--days",
        "9",
        "--json",
    )
    document = json.loads(made)
    assert (code, document["name"], document["issuers"]) == (0, "north", ["NORTH", "OLD"])
    assert document["key"].startswith(f"frk_{document['id']}_")
    assert document["expires_at"].endswith("Z")

    rows = [line.split("\t") for line in place.run("keys", "list")[1].splitlines()]
    assert [(row[1], row[2], row[3], row[5].split()[0]) for row in rows] == [
        ("ct gateway", "read write", "all", "usable"),
        ("north", "read", "NORTH OLD", "until"),
    ]
    listed = place.run("keys", "list", "--json")[1]
    assert [key["permissions"] for key in json.loads(listed)] == [["read", "write"], ["read"]]
    assert text.strip()[-43:] not in listed
    assert "digest" not in listed

    assert place.run("keys", "revoke", "ct gateway")[:2] == (0, f"The key ct gateway ({rows[0][0]}) is revoked.\n")
    assert place.run("keys", "revoke", document["id"])[0] == 0
    code, _, told = place.run("keys", "revoke", "ct gateway")
    assert (code, "there is no key ct gateway to revoke" in told) == (1, True)
    assert all("revoked 20" in line for line in place.run("keys", "list")[1].splitlines())


def test_names(tmp_path: Path) -> None:
    where = ("--data", tmp_path / "data")
    assert fileroom("keys", "create", "a", "--permission", "read", *where).returncode == 0
    twice = fileroom("keys", "create", "a", "--permission", "read", *where)
    assert (twice.returncode, "there is a key a already" in twice.stderr) == (1, True)
    for name in ("", " ", "a\tb", "x" * 256):
        refused = fileroom("keys", "create", name, "--permission", "read", *where)
        assert (refused.returncode, "printable characters" in refused.stderr) == (2, True)
    assert fileroom("keys", "create", "b", *where).returncode == 2
    assert fileroom("keys", "create", "b", "--permission", "all", *where).returncode == 2


def test_nothing_to_list(tmp_path: Path) -> None:
    missing = fileroom("keys", "list", "--data", tmp_path / "none")
    assert (missing.returncode, "there are no data" in missing.stderr) == (1, True)


def test_a_server_takes_them(place: Place) -> None:
    """From the command to the machine, on each database; revoked, it gets in no more after a few seconds."""
    _, reader, _ = place.run("keys", "create", "reader", "--permission", "read", "--issuer", "NORTH")
    _, writer, _ = place.run("keys", "create", "writer", "--permission", "write")
    with Served(place.data, place.database, FILEROOM_HTTP__AUTHENTICATION__METHODS='["api_keys"]') as served:
        studies = f"{served.dicomweb}/studies"
        for number, dataset in enumerate(instances(2)):
            dataset.IssuerOfPatientID = "NORTH"
            headers = {"Content-Type": "application/dicom", "Authorization": f"Bearer {writer.strip()}"}
            stored = requests.post(studies, part10(dataset), headers=headers, timeout=60)
            assert stored.status_code == 200, (number, stored.text)
        as_reader = {"X-API-Key": reader.strip()}
        assert len(requests.get(studies, headers=as_reader, timeout=60).json()) == 1
        assert requests.get(studies, timeout=60).status_code == 401
        assert requests.get(studies, headers={"X-API-Key": writer.strip()}, timeout=60).status_code == 403
        assert place.run("keys", "revoke", "reader")[0] == 0
        deadline, refusals = time.monotonic() + 60, 0
        while refusals < 20:  # of each of the workers
            assert time.monotonic() < deadline
            refused = requests.get(studies, headers=as_reader, timeout=60).status_code == 401
            refusals = refusals + 1 if refused else 0
        assert reader.strip() not in served.output
        assert reader.strip()[-43:] not in served.output


def test_on_a_terminal(tmp_path: Path) -> None:
    where = ("--data", str(tmp_path / "data"))
    assert fileroom("keys", "create", "a", "--permission", "admin", *where).returncode == 0
    _, shown = on_a_terminal("keys", "list", *where)
    assert "Permissions" in shown
    assert "admin" in shown
