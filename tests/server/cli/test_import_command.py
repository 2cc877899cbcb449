"""`fileroom import`: what it finds, what becomes of it, and that it can be run again."""

import json
import os
import shutil
import signal
import sqlite3
import zipfile
from collections import Counter
from pathlib import Path

import pydicom.data
import pytest
import requests

from tests.corpus import corpus_files
from tests.databases import Databases, copy_index
from tests.made import made, part10, uid
from tests.served import Served
from tests.server.cli.commands import begun, fileroom, outcomes, report_lines, write_files
from tests.server.cli.senders import is_running, processes_below, wait_until

PYDICOM = Path(pydicom.data.__file__).parent
STORED, THERE = ("stored", ""), ("already there", "")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    copy_index(tmp_path / "data")
    return tmp_path / "data"


class TestSources:
    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        """The import makes it."""
        return tmp_path / "data"

    def test_every_file_of_a_tree_has_an_outcome(self, data: Path, tmp_path: Path) -> None:
        report = tmp_path / "report.jsonl"
        finished = fileroom("import", "--data", data, "--report", report, PYDICOM / "test_files")
        assert finished.returncode == 0, finished.stderr
        files = [path for path in (PYDICOM / "test_files").rglob("*") if path.is_file()]
        lines = report_lines(report)
        assert sorted(line["file"] for line in lines) == sorted(map(str, files))
        assert Counter((line["outcome"], line["reason"] or "") for line in lines) == Counter(
            {
                ("already stored" if outcome == "already there" else outcome, reason): number
                for (outcome, reason), number in outcomes(finished).items()
                if number
            }
        )
        by_name = {Path(line["file"]).name: line for line in lines}
        assert by_name["CT_small.dcm"]["outcome"] == "stored"
        assert by_name["CT_small.dcm"]["sop_instance_uid"] == "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"
        assert by_name["README.txt"]["reason"] == "not DICOM"
        assert by_name["rtplan_truncated.dcm"]["reason"] == "truncated"
        assert by_name["DICOMDIR"]["reason"] == "not a composite instance"

    def test_the_corpus(self, data: Path, corpus: Path) -> None:
        finished = fileroom("import", "--data", data, corpus)
        assert finished.returncode == 0, finished.stderr
        found = outcomes(finished)
        assert sum(found.values()) == sum(1 for path in corpus.rglob("*") if path.is_file())
        assert sum(found.values()) >= len(corpus_files())
        assert found[STORED] > 800

    def test_what_is_no_dicom_is_no_failure(self, data: Path, tmp_path: Path) -> None:
        folder = tmp_path / "pictures"
        folder.mkdir()
        (folder / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(1500))
        (folder / "notes.txt").write_text("nothing to see\n" * 1000)
        (folder / "empty").touch()
        finished = fileroom("import", "--data", data, folder)
        assert (finished.returncode, outcomes(finished)) == (0, {STORED: 0, THERE: 0, ("refused", "not DICOM"): 3})

    def test_names_that_are_not_utf8(self, data: Path, tmp_path: Path) -> None:
        folder = tmp_path / "names"
        folder.mkdir()
        name = folder / b"b\xfcro.dcm".decode("utf-8", "surrogateescape")
        name.write_bytes(part10(made()))
        report = tmp_path / "report.jsonl"
        finished = fileroom("import", "--data", data, "--report", report, folder)
        assert (finished.returncode, outcomes(finished)[STORED]) == (0, 1)
        assert report_lines(report)[0]["file"].endswith("b\\udcfcro.dcm")
        assert report.stat().st_mode & 0o777 == 0o600

    def test_links_that_go_round_and_links_to_nothing(self, data: Path, tmp_path: Path) -> None:
        folder = tmp_path / "links"
        write_files(folder, 2)
        (folder / "below").mkdir()
        (folder / "below" / "round").symlink_to(folder)
        (folder / "nothing").symlink_to(tmp_path / "gone")
        finished = fileroom("import", "--data", data, folder)
        assert outcomes(finished) == {STORED: 2, THERE: 0, ("failed", "No such file or directory"): 1}
        assert finished.returncode == 1
        assert f"failed: {folder / 'nothing'}: No such file or directory" in finished.stderr

    def test_a_pipe_is_not_opened(self, data: Path, tmp_path: Path) -> None:
        folder = tmp_path / "pipes"
        folder.mkdir()
        os.mkfifo(folder / "pipe")
        finished = fileroom("import", "--data", data, folder, folder / "pipe")
        assert outcomes(finished) == {STORED: 0, THERE: 0, ("refused", "not a file"): 2}

    def test_its_own_data_are_passed_by(self, tmp_path: Path) -> None:
        write_files(tmp_path / "ct", 3)
        for expected in ({STORED: 3, THERE: 0}, {STORED: 0, THERE: 3}):
            finished = fileroom("import", "--data", tmp_path / "data", "--again", tmp_path)
            assert outcomes(finished) == expected

    def test_a_path_that_is_not_there(self, data: Path, tmp_path: Path) -> None:
        finished = fileroom("import", "--data", data, tmp_path / "nothing")
        assert finished.returncode == 2
        assert "does not exist" in finished.stderr
        assert not data.exists()


class TestArchives:
    def test_members_are_stored_whatever_they_are_called(self, data: Path, tmp_path: Path) -> None:
        archive = tmp_path / "study.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
            for number, name in enumerate(("a.dcm", "deep/er/b", "../../c.dcm", "/etc/d.dcm")):
                members.writestr(name, part10(made(SOPInstanceUID=uid(7, number))))
            members.writestr("deep/readme.txt", "text")
        report = tmp_path / "report.jsonl"
        finished = fileroom("import", "--data", data, "--report", report, tmp_path)
        # the report, which is in the folder too, is no DICOM either
        assert outcomes(finished) == {STORED: 4, THERE: 0, ("refused", "not DICOM"): 2}
        assert f"{archive}!../../c.dcm" in {line["file"] for line in report_lines(report)}
        again = fileroom("import", "--data", data, archive)
        assert outcomes(again)[THERE] == 4

    def test_an_archive_of_any_name_when_it_is_named(self, data: Path, tmp_path: Path) -> None:
        archive = tmp_path / "export"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as members:
            members.writestr("a", part10(made()))
        assert outcomes(fileroom("import", "--data", data, archive))[STORED] == 1

    def test_many_members_in_several_processes(self, data: Path, tmp_path: Path) -> None:
        files = write_files(tmp_path / "ct", 200)
        archive = tmp_path / "ct.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
            for file in files:
                members.write(file, file.name)
        assert outcomes(fileroom("import", "--jobs", "3", "--data", data, archive)) == {STORED: 200, THERE: 0}

    def test_encrypted_members(self, data: Path, tmp_path: Path) -> None:
        archive = tmp_path / "secret.zip"
        with zipfile.ZipFile(archive, "w") as members:
            members.writestr("a.dcm", part10(made()))
        content = bytearray(archive.read_bytes())
        content[6] |= 1  # general purpose flags: of the local header, then of the central directory's
        content[content.index(b"PK\x01\x02") + 8] |= 1
        archive.write_bytes(content)
        finished = fileroom("import", "--data", data, archive)
        assert (finished.returncode, outcomes(finished)) == (0, {STORED: 0, THERE: 0, ("refused", "encrypted"): 1})

    def test_bombs_are_not_unpacked(self, data: Path, tmp_path: Path) -> None:
        archive = tmp_path / "bomb.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
            members.writestr("bomb.dcm", bytes(128) + b"DICM" + bytes(100 << 20))
            members.writestr("a.dcm", part10(made()))
        finished = fileroom("import", "--data", data, archive)
        assert outcomes(finished) == {STORED: 0, THERE: 0, ("refused", "a zip bomb"): 1}
        finished = fileroom("import", "--data", data, "--zip-ratio", "5000", "--zip-member-size", "10", archive)
        assert outcomes(finished) == {STORED: 1, THERE: 0, ("refused", "too large"): 1}
        assert not list((data / "incoming").iterdir())

    def test_damaged_archives(self, data: Path, tmp_path: Path) -> None:
        archive = tmp_path / "damaged.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as members:
            members.writestr("a.dcm", part10(made(SOPInstanceUID=uid(8, 1))))
            members.writestr("b.dcm", part10(made(SOPInstanceUID=uid(8, 2))))
        content = bytearray(archive.read_bytes())
        content[content.index(b"DICM") + 200] ^= 0xFF
        archive.write_bytes(content)
        finished = fileroom("import", "--data", data, archive)
        assert (finished.returncode, outcomes(finished)) == (
            0,
            {STORED: 1, THERE: 0, ("refused", "damaged in the archive"): 1},
        )


class TestMediaDirectory:
    def test_what_it_names_is_stored(self, data: Path) -> None:
        finished = fileroom("import", "--data", data, PYDICOM / "test_files" / "dicomdirtests" / "DICOMDIR")
        assert finished.returncode == 0, finished.stderr
        assert outcomes(finished) == {STORED: 31, THERE: 0}

    def test_files_that_are_missing_are_told(self, data: Path, tmp_path: Path) -> None:
        disc = tmp_path / "disc"
        shutil.copytree(PYDICOM / "test_files" / "dicomdirtests", disc)
        shutil.rmtree(disc / "77654033" / "CT2")
        finished = fileroom("import", "--data", data, disc / "DICOMDIR")
        assert finished.returncode == 1
        found = outcomes(finished)
        assert found["failed", "missing, though the DICOMDIR names it"] == 4
        assert found[STORED] == 27
        assert str(disc / "77654033" / "CT2" / "17106") in finished.stderr

    def test_names_in_lower_case_are_found(self, data: Path, tmp_path: Path) -> None:
        disc = tmp_path / "disc"
        shutil.copytree(PYDICOM / "test_files" / "dicomdirtests", disc)
        for folder in (disc / "77654033").iterdir():
            folder.rename(folder.with_name(folder.name.lower()))
        assert outcomes(fileroom("import", "--data", data, disc / "DICOMDIR")) == {STORED: 31, THERE: 0}

    def test_a_folder_with_one_is_walked(self, data: Path) -> None:
        finished = fileroom("import", "--data", data, PYDICOM / "test_files" / "dicomdirtests")
        assert finished.returncode == 0
        found = outcomes(finished)
        assert found[STORED] > 31
        assert found["refused", "not a composite instance"] >= 5


class TestAgain:
    def test_a_second_run_finds_all_there(self, data: Path, tmp_path: Path) -> None:
        write_files(tmp_path / "ct", 100)
        (tmp_path / "ct" / "note.txt").write_text("x")
        first = fileroom("import", "--data", data, tmp_path / "ct")
        assert outcomes(first) == {STORED: 100, THERE: 0, ("refused", "not DICOM"): 1}
        for option in ([], ["--again"]):
            again = fileroom("import", "--data", data, *option, tmp_path / "ct")
            assert (again.returncode, outcomes(again)) == (
                0,
                {STORED: 0, THERE: 100, ("refused", "not DICOM"): 1},
            )
        objects = [path for path in (data / "objects").rglob("*") if path.is_file()]
        assert len(objects) == 100

    def test_what_was_changed_or_deleted_since_is_read_again(self, data: Path, tmp_path: Path) -> None:
        files = write_files(tmp_path / "ct", 10)
        assert outcomes(fileroom("import", "--data", data, tmp_path / "ct"))[STORED] == 10
        files[0].write_bytes(part10(made(SOPInstanceUID=uid(99), InstanceNumber=1000)))
        assert outcomes(fileroom("import", "--data", data, tmp_path / "ct")) == {STORED: 1, THERE: 9}
        with sqlite3.connect(data / "index.sqlite") as index:
            index.execute("DELETE FROM dicom_instance WHERE sop_instance_uid = ?", (uid(99),))
        assert outcomes(fileroom("import", "--data", data, tmp_path / "ct")) == {STORED: 1, THERE: 9}

    def test_ctrl_c_and_then_on(self, data: Path, tmp_path: Path) -> None:
        write_files(tmp_path / "ct", 1500)
        running = begun("import", "--data", data, "--jobs", "1", tmp_path / "ct", FILEROOM_STORAGE__DURABILITY="full")
        wait_until(lambda: any((data / "objects").rglob("*.dcm")))
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=60)
        assert running.returncode == 130, stderr
        stored = int(stdout.splitlines()[0].split("\t")[2])
        assert 0 < stored < 1500
        assert "Traceback" not in stderr
        assert "run the same command again" in stderr
        with sqlite3.connect(data / "index.sqlite") as index:
            assert index.execute("SELECT count(*) FROM dicom_instance").fetchone() == (stored,)
            assert index.execute("SELECT state, stored FROM import_job").fetchall() == [("interrupted", stored)]
        finished = fileroom("import", "--data", data, tmp_path / "ct")
        assert outcomes(finished) == {STORED: 1500 - stored, THERE: stored}


class TestFailures:
    def test_a_database_that_is_away(self, tmp_path: Path, free_port: int) -> None:
        write_files(tmp_path / "ct", 1)
        database = f"postgresql://nobody@127.0.0.1:{free_port}/nothing"
        finished = fileroom("import", "--data", tmp_path / "data", "--database", database, tmp_path / "ct")
        assert finished.returncode == 1
        assert finished.stderr.startswith("Error: the index cannot be reached")
        assert "Traceback" not in finished.stderr

    def test_databases_that_go_away(self, databases: Databases, tmp_path: Path) -> None:
        """The imports stop, and say what was done and what to do. Both at once, for each waits a while first."""
        write_files(tmp_path / "ct", 1000)
        imports = []
        for kind in ("mariadb", "postgresql"):
            data = tmp_path / kind
            with databases.fresh(kind, tmp_path) as database:
                imports.append(begun("import", "--data", data, "--database", database, tmp_path / "ct"))
                wait_until(lambda: any((data / "objects").rglob("*.dcm")))  # noqa: B023  # called here and now
        for running in imports:
            stdout, stderr = running.communicate(timeout=120)
            assert running.returncode == 1
            assert stdout.startswith("stored\t\t"), stderr
            assert "Error: the import stopped: " in stderr
            assert "Traceback" not in stderr

    def test_an_object_store_that_goes_away(self, data: Path, tmp_path: Path) -> None:
        write_files(tmp_path / "ct", 100)
        (data / "objects").write_text("this is no folder")
        finished = fileroom("import", "--data", data, tmp_path / "ct")
        assert finished.returncode == 1
        assert "Traceback" not in finished.stderr
        assert "object store" in finished.stderr

    def test_a_report_that_cannot_be_written(self, data: Path, tmp_path: Path) -> None:
        write_files(tmp_path / "ct", 1)
        finished = fileroom("import", "--data", data, "--report", tmp_path / "no" / "report", tmp_path / "ct")
        assert finished.returncode == 2
        assert "cannot be written" in finished.stderr

    def test_conflicts_are_kept_and_told(self, data: Path, tmp_path: Path) -> None:
        folder = tmp_path / "ct"
        folder.mkdir()
        (folder / "1").write_bytes(part10(made(SOPInstanceUID=uid(1), StudyDescription="one")))
        (folder / "2").write_bytes(part10(made(SOPInstanceUID=uid(1), StudyDescription="two")))
        finished = fileroom("import", "--data", data, "--jobs", "1", folder)
        assert (finished.returncode, outcomes(finished)) == (0, {STORED: 2, THERE: 0})
        assert "fileroom conflicts list" in finished.stderr


def test_json(data: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "ct", 2)
    document = json.loads(fileroom("import", "--json", "--data", data, tmp_path / "ct").stdout)
    assert document["outcomes"][0] == {"outcome": "stored", "reason": None, "files": 2}


def test_beside_a_running_server(data: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "ct", 40)
    with Served(data) as served:
        finished = fileroom("import", "--data", data, tmp_path / "ct")
        assert (finished.returncode, outcomes(finished)[STORED]) == (0, 40)
        answer = requests.get(f"{served.dicomweb}/studies/{uid(1)}/instances", timeout=30)
        assert len(answer.json()) == 40


def test_an_import_process_that_dies(data: Path, tmp_path: Path) -> None:
    """What was on its way failed, the rest is imported by others, and another run makes it whole."""
    write_files(tmp_path / "ct", 1000)
    running = begun("import", "--data", data, "--jobs", "1", tmp_path / "ct", FILEROOM_STORAGE__DURABILITY="full")
    wait_until(lambda: any((data / "objects").rglob("*.dcm")))
    child = next(pid for pid, name in processes_below(running.pid).items() if name == "fileroom-import")
    os.kill(child, signal.SIGKILL)
    stdout, stderr = running.communicate(timeout=120)
    assert running.returncode == 1, stderr
    rows = {tuple(line.split("\t")[:2]): int(line.split("\t")[2]) for line in stdout.splitlines()}
    failed = rows["failed", "an import process ended unexpectedly; run the import again"]
    assert 0 < failed < 200
    assert rows[STORED] + failed == 1000
    again = outcomes(fileroom("import", "--data", data, tmp_path / "ct"))
    assert sum(again.values()) == again[STORED] + again[THERE] == 1000


def test_its_processes_end_with_it(data: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "ct", 1000)
    running = begun("import", "--data", data, tmp_path / "ct", FILEROOM_STORAGE__DURABILITY="full")
    wait_until(lambda: any((data / "objects").rglob("*.dcm")))
    below = processes_below(running.pid)
    running.kill()
    running.communicate()
    wait_until(lambda: not any(map(is_running, below)))
    assert sum(outcomes(fileroom("import", "--data", data, tmp_path / "ct")).values()) == 1000
