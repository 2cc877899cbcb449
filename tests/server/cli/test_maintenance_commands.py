"""`fileroom check`, `fileroom conflicts` and `fileroom db`, on each kind of database."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.made import made, part10, uid
from tests.server.cli.commands import fileroom, outcomes, write_files


class Place:
    """A data folder and a database, and commands on them."""

    def __init__(self, data: Path, database: str) -> None:
        self.data = data
        self._where = ("--data", str(data), "--database", database)

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        finished = fileroom(*arguments, *self._where)
        return finished.returncode, finished.stdout, finished.stderr

    def store(self, folder: Path) -> None:
        finished = fileroom("import", "--jobs", "1", folder, *self._where)
        assert finished.returncode == 0, finished.stderr
        assert outcomes(finished)["stored", ""]

    def objects(self) -> list[Path]:
        return sorted((self.data / "objects").rglob("*.dcm"))


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Place:
    return Place(tmp_path / "data", database_url)


class TestCheck:
    def test_all_is_well(self, place: Place, tmp_path: Path) -> None:
        write_files(tmp_path / "ct", 3)
        place.store(tmp_path / "ct")
        assert place.run("check") == (0, "Index and object store agree (bytes not verified).\n", "")
        assert place.run("check", "--verify", "--json") == (0, '{\n  "good": true,\n  "findings": []\n}\n', "")

    def test_both_directions(self, place: Place, tmp_path: Path) -> None:
        write_files(tmp_path / "ct", 5)
        place.store(tmp_path / "ct")
        missing, short, changed, *_ = place.objects()
        orphan = changed.with_name(f"{changed.parent.name}{'0' * 30}.dcm")
        orphan.write_bytes(part10(made(SOPInstanceUID=uid(2, 1, 1), StudyInstanceUID=uid(2))))
        hour_ago = time.time() - 3600
        os.utime(orphan, (hour_ago, hour_ago))
        missing.unlink()
        short.write_bytes(short.read_bytes()[:-2])
        content = bytearray(changed.read_bytes())
        content[-1] ^= 1
        changed.write_bytes(content)

        code, stdout, stderr = place.run("check")
        assert code == 1
        kinds = sorted(line.split("\t")[0] for line in stdout.splitlines())
        assert kinds == ["index row without its object", "object with another size", "object without an index row"]
        assert "fileroom check --repair" in stderr
        code, stdout, _ = place.run("check", "--verify", "--json")
        findings = json.loads(stdout)["findings"]
        assert (code, len(findings)) == (1, 4)
        assert not any(finding["repaired"] for finding in findings)

        code, stdout, _ = place.run("check", "--repair", "--json")
        assert code == 1  # nothing brings back what was cut off
        repaired = {finding["kind"]: finding["repaired"] for finding in json.loads(stdout)["findings"]}
        assert repaired == {
            "index row without its object": True,
            "object with another size": False,
            "object without an index row": True,
        }
        code, stdout, _ = place.run("check")
        assert (code, stdout.count("\n")) == (1, 1)


class TestConflicts:
    @pytest.fixture
    def conflicting(self, place: Place, tmp_path: Path) -> Place:
        for number, name in enumerate(("Doe^Jane", "Roe^Mary")):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "a.dcm").write_bytes(part10(made(PatientName=name, SOPInstanceUID=uid(1, 1, number))))
            place.store(folder)
        return place

    def test_list_show_resolve(self, conflicting: Place) -> None:
        code, stdout, _ = conflicting.run("conflicts", "list")
        assert code == 0
        [row] = [line.split("\t") for line in stdout.splitlines()]
        number = row[0]
        assert row[1:3] == ["demographics", "open"]
        assert row[5] == "PatientName"
        code, stdout, _ = conflicting.run("conflicts", "show", number)
        assert "PatientName\tDoe^Jane\tRoe^Mary" in stdout
        document = json.loads(conflicting.run("conflicts", "show", number, "--json")[1])
        assert document["differences"]["PatientName"]["object"] == {"Alphabetic": "Roe^Mary"}

        code, stdout, _ = conflicting.run("conflicts", "resolve", number, "accept")
        assert (code, stdout) == (0, f"Conflict {number} is resolved: the index now says what the object says.\n")
        assert conflicting.run("conflicts", "list") == (0, "", "")
        assert conflicting.run("conflicts", "list", "--all")[1].split("\t")[2] == "resolved (accept)"
        code, _, stderr = conflicting.run("conflicts", "resolve", number, "keep")
        assert (code, stderr) == (1, f"Error: conflict {number} is resolved already\n")

    def test_one_that_is_not_there(self, conflicting: Place) -> None:
        code, _, stderr = conflicting.run("conflicts", "show", "4711")
        assert code == 1
        assert stderr.startswith("Error: there is no conflict 4711")


class TestDatabase:
    def test_current_and_upgrade(self, place: Place) -> None:
        place.data.mkdir()
        code, stdout, _ = place.run("db", "current")
        assert (code, stdout.startswith("The database has no index.")) == (0, True)
        code, _, stderr = place.run("check")
        assert code == 1
        assert "run `fileroom db upgrade`" in stderr
        assert place.run("db", "upgrade")[1].startswith("The index is at schema")
        document = json.loads(place.run("db", "current", "--json")[1])
        assert document["current"]
        assert document["revision"] == document["newest"]
        assert place.run("db", "upgrade")[1] == f"The index is at schema {document['newest']} already.\n"
