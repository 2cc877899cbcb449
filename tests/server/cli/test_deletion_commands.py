"""`fileroom delete` and `fileroom deleted`, on each kind of database."""

import json
from pathlib import Path

import pytest

from tests.made import uid
from tests.server.cli.commands import fileroom, write_files
from tests.server.cli.place import Place
from tests.server.cli.terminal import on_a_terminal

OBJECTS = 3


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Place:
    place = Place(tmp_path / "data", database_url)
    for study in (1, 2):
        write_files(tmp_path / "ct", OBJECTS, study)
    place.store(tmp_path / "ct")
    return place


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The same on SQLite, for what does not touch the index."""
    write_files(tmp_path / "ct", OBJECTS)
    assert fileroom("import", "--data", tmp_path / "data", tmp_path / "ct").returncode == 0
    return tmp_path / "data"


def test_delete_list_restore_purge(place: Place) -> None:
    code, stdout, stderr = place.run("delete", uid(1))
    assert (code, stderr) == (0, "")
    assert stdout.startswith("3 objects deleted, 0.0 MB.\nUntil ")
    assert place.run("delete", uid(2), uid(2, 1), uid(2, 1, 0))[1].startswith("1 object deleted")
    listed = [line.split("\t") for line in place.run("deleted", "list")[1].splitlines()]
    assert [(row[2], row[3], row[6:]) for row in listed] == [
        ("request", "1", [uid(2), uid(2, 1), uid(2, 1, 0)]),
        ("request", "3", [uid(1), "", ""]),
    ]
    of_instance, of_study = (row[0] for row in listed)
    assert f"`fileroom deleted restore {of_study}`" in stdout

    assert place.run("deleted", "restore", of_study) == (0, "3 objects restored.\n", "")
    code, _, stderr = place.run("deleted", "restore", of_study)
    assert (code, stderr.startswith(f"Error: there is no deletion {of_study} ")) == (1, True)
    assert place.run("deleted", "purge") == (0, "0 objects purged.\n", "")
    assert place.run("deleted", "purge", of_instance) == (0, "1 object purged.\n", "")
    assert len(place.objects()) == 2 * OBJECTS - 1
    assert place.run("deleted", "list") == (0, "", "")
    assert place.run("deleted", "list", "--json") == (0, "[]\n", "")
    assert place.run("check", "--verify")[0] == 0


def test_json(place: Place) -> None:
    deletion = json.loads(place.run("delete", uid(1), uid(1, 1), "--json")[1])
    assert (deletion["objects"], deletion["series_instance_uid"]) == (3, uid(1, 1))
    assert deletion["at"].endswith("Z")
    assert deletion["purge_at"] > deletion["at"]
    assert json.loads(place.run("deleted", "list", "--json")[1]) == [deletion]
    restored = json.loads(place.run("deleted", "restore", str(deletion["id"]), "--json")[1])
    assert restored == {"id": deletion["id"], "restored": 3, "already_stored": 0, "in_conflict": 0, "lost": 0}


def test_an_object_that_was_lost(place: Place) -> None:
    deletion = json.loads(place.run("delete", uid(1), "--json")[1])
    for path in place.objects():
        path.unlink()
    code, stdout, _ = place.run("deleted", "restore", str(deletion["id"]))
    assert code == 1
    assert stdout.startswith("0 objects restored.\n3 objects cannot be read")
    assert place.run("deleted", "purge", "--all")[1] == "3 objects purged.\n"


def test_what_is_not_there(data: Path) -> None:
    finished = fileroom("delete", uid(7), "--data", data)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith("Error: Nothing is stored under these UIDs")
    assert fileroom("delete", "--data", data).returncode == 2
    assert fileroom("deleted", "purge", "1", "--all", "--data", data).returncode == 2
    assert fileroom("deleted", "restore", "x", "--data", data).returncode == 2


def test_without_undo_time(data: Path) -> None:
    finished = fileroom("delete", uid(1), "--data", data, FILEROOM_STORAGE__UNDO_TIME="0")
    assert finished.stdout == "3 objects deleted, 0.0 MB.\n"
    assert list((data / "objects").rglob("*.dcm")) == []


@pytest.mark.parametrize("command", [("delete",), ("deleted",), ("deleted", "list"), ("deleted", "restore")])
def test_help(command: tuple[str, ...]) -> None:
    finished = fileroom(*command, "--help")
    assert finished.returncode == 0
    assert ("Example: fileroom delete" in finished.stdout) or command == ("deleted",)


def test_in_a_terminal(data: Path) -> None:
    assert "There is nothing to restore." in on_a_terminal("deleted", "list", "--data", data)[1]
    assert "There are no open conflicts." in on_a_terminal("conflicts", "list", "--data", data)[1]
    assert fileroom("delete", uid(1), uid(1, 1), uid(1, 1, 0), "--data", data).returncode == 0
    code, text = on_a_terminal("deleted", "list", "--data", data)
    assert code == 0
    assert "…" not in text
    assert "request" in text


def test_a_purge_in_a_terminal_asks(data: Path) -> None:
    deletion = json.loads(fileroom("delete", uid(1), "--json", "--data", data).stdout)
    code, text = on_a_terminal("deleted", "purge", "--all", "--data", data, answer="n\n")
    assert code == 1
    assert "Remove 3 objects for good? [y/N]" in text
    code, text = on_a_terminal("deleted", "purge", str(deletion["id"]), "--yes", "--data", data)
    assert (code, "3 objects purged." in text) == (0, True)
