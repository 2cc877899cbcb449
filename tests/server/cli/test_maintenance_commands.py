"""`fileroom check`, `fileroom conflicts` and `fileroom db`, on each kind of database."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.made import made, part10, uid
from tests.server.cli.commands import fileroom, write_files
from tests.server.cli.place import Place


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Place:
    return Place(tmp_path / "data", database_url)


CHECKED = '{\n  "good": true,\n  "findings": [],\n  "young": 0\n}\n'


class TestCheck:
    def test_all_is_well(self, place: Place, tmp_path: Path) -> None:
        write_files(tmp_path / "ct", 3)
        place.store(tmp_path / "ct")
        assert place.run("check") == (0, "Index and object store agree (bytes not verified).\n", "")
        assert place.run("check", "--verify", "--json") == (0, CHECKED, "")

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

        assert place.run("check", "--json")[1].count("fileroom delete") == 0
        code, stdout, _ = place.run("check", "--repair", "--json")
        assert f"fileroom delete {uid(1)} {uid(1, 1)} {uid(1, 1)}." in stdout
        assert code == 1  # nothing brings back what was cut off
        repaired = {finding["kind"]: finding["repaired"] for finding in json.loads(stdout)["findings"]}
        assert repaired == {
            "index row without its object": True,
            "object with another size": False,
            "object without an index row": True,
        }
        code, stdout, _ = place.run("check")
        assert (code, stdout.count("\n")) == (1, 1)

    def test_what_may_be_coming_in_is_counted_but_not_wrong(self, place: Place, tmp_path: Path) -> None:
        write_files(tmp_path / "ct", 1)
        place.store(tmp_path / "ct")
        (only,) = place.objects()
        only.with_name(f"{only.parent.name}{'0' * 30}.dcm").write_bytes(part10(made(SOPInstanceUID=uid(2, 1, 1))))
        code, stdout, stderr = place.run("check", "--repair")
        assert (code, stdout) == (0, "Index and object store agree (bytes not verified).\n")
        assert stderr == (
            "1 object without an index row younger than 10 minutes: perhaps just coming in; check again later\n"
        )
        assert json.loads(place.run("check", "--json")[1]) == {"good": True, "findings": [], "young": 1}
        assert len(place.objects()) == 2


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

    def test_one_of_the_bytes_alone(self, place: Place, tmp_path: Path) -> None:
        """Two objects of one SOP Instance UID that differ in nothing that is indexed."""
        for number, pixels in enumerate((b"\0\0", b"\1\1")):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "a.dcm").write_bytes(part10(made(PixelData=pixels, Rows=1, Columns=1, BitsAllocated=16)))
            place.store(folder)
        [row] = [line.split("\t") for line in place.run("conflicts", "list")[1].splitlines()]
        assert row[1] == "content"
        assert row[5] == "pixel data or attributes that are not indexed"
        stdout = place.run("conflicts", "show", row[0])[1]
        assert "Differs in\tpixel data or attributes that are not indexed" in stdout
        [digests] = [line.split("\t") for line in stdout.splitlines() if line.startswith("SHA-256")]
        assert len({*digests[1:]}) == 2
        document = json.loads(place.run("conflicts", "show", row[0], "--json")[1])
        assert document["detected_at"].endswith("Z")
        assert document["differences"] == {}

        code, stdout, _ = place.run("conflicts", "resolve", row[0], "keep")
        assert code == 0
        assert "is deleted; `fileroom deleted list` shows" in stdout
        [deleted] = json.loads(place.run("deleted", "list", "--json")[1])
        assert (deleted["reason"], deleted["objects"]) == ("conflict", 1)
        assert place.run("deleted", "restore", str(deleted["id"]))[0] == 0
        assert place.run("conflicts", "list")[1].split("\t")[2] == "open"


class TestDatabase:
    def test_current_and_upgrade(self, place: Place) -> None:
        code, stdout, _ = place.run("db", "current")
        assert (code, stdout.startswith("The database has no index.")) == (0, True)
        assert not place.data.exists()  # an index elsewhere needs none
        place.data.mkdir()
        code, _, stderr = place.run("check")
        assert code == 1
        assert "run `fileroom db upgrade`" in stderr
        assert place.run("db", "upgrade")[1].startswith("The index is at schema")
        document = json.loads(place.run("db", "current", "--json")[1])
        assert document["current"]
        assert document["revision"] == document["newest"]
        assert place.run("db", "upgrade")[1] == f"The index is at schema {document['newest']} already.\n"

    def test_without_a_database_the_data_folder_counts(self, tmp_path: Path) -> None:
        finished = fileroom("db", "current", "--data", tmp_path / "none")
        assert (finished.returncode, finished.stdout) == (1, "")
        assert finished.stderr.startswith(f"Error: there are no data in {tmp_path / 'none'}")
        upgraded = fileroom("db", "upgrade", "--data", tmp_path / "new")
        assert upgraded.returncode == 0, upgraded.stderr
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
        assert fileroom("db", "current", "--data", tmp_path / "new").stdout.endswith("the newest.\n")
