"""Deletion and rejection on a running server: dcmtk's tools, the package `dicomweb-client`, and commands beside it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset

from tests.databases import DATABASES, Databases
from tests.made import made, part10, uid
from tests.served import Served
from tests.server.cli.commands import fileroom
from tests.server.cli.senders import wait_until
from tests.storage.test_rejection import note

CODE = "113001^DCM"
JSON = {"Accept": "application/json"}


class Site:
    """A server, its database, and what its clients do."""

    def __init__(self, served: Served, database: str, folder: Path) -> None:
        self.served = served
        self.folder = folder
        self._where = ("--data", str(served.data), "--database", database)

    def tool(self, name: str, *arguments: str) -> str:
        command = [name, "-v", "-aec", "FILEROOM", *arguments]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout + finished.stderr

    def send(self, *datasets: Dataset) -> None:
        files = []
        for number, dataset in enumerate(datasets):
            path = self.folder / f"{number}.dcm"
            path.write_bytes(part10(dataset))
            files.append(str(path))
        self.tool("storescu", "-R", "127.0.0.1", str(self.served.dicom_port), *files)

    def found(self, level: str) -> int:
        """How many there are of study 1."""
        keys = [f"QueryRetrieveLevel={level}", f"StudyInstanceUID={uid(1)}", "SOPInstanceUID", "SeriesInstanceUID"]
        keys = keys[:2] if level == "STUDY" else keys
        options = [part for key in keys for part in ("-k", key)]
        if level == "IMAGE":
            options[-1] = f"SeriesInstanceUID={uid(1, 1)}"
        return self.tool("findscu", "-S", *options, "127.0.0.1", str(self.served.dicom_port)).count("(Pending)")

    def got(self) -> int:
        folder = self.folder / "got"
        folder.mkdir(exist_ok=True)
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid(1)}"]
        self.tool("getscu", "-S", *keys, "-od", str(folder), "127.0.0.1", str(self.served.dicom_port))
        files = list(folder.iterdir())
        for path in files:
            path.unlink()
        return len(files)

    def command(self, *arguments: str) -> Any:
        finished = fileroom(*arguments, "--json", *self._where)
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)

    def objects(self) -> int:
        return len(list((self.served.data / "objects").rglob("*.dcm")))


@pytest.fixture(params=DATABASES)
def site(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Site]:
    with databases.fresh(request.param, tmp_path) as url, Served(tmp_path / "data", url) as served:
        site = Site(served, url, tmp_path)
        site.send(*(made(SOPInstanceUID=uid(1, 1, number), InstanceNumber=number) for number in (1, 2, 3)))
        assert (site.found("STUDY"), site.found("IMAGE"), site.got()) == (1, 3, 3)
        yield site


def test_delete_and_restore(site: Site) -> None:
    DICOMwebClient(site.served.dicomweb).delete_instance(uid(1), uid(1, 1), uid(1, 1, 1))
    assert (site.found("IMAGE"), site.got()) == (2, 2)
    DICOMwebClient(site.served.dicomweb).delete_study(uid(1))
    assert (site.found("STUDY"), site.found("IMAGE")) == (0, 0)
    assert site.objects() == 3
    for deletion in site.command("deleted", "list"):
        answer = requests.post(f"{site.served.dicomweb}/deletions/{deletion['id']}/restore", timeout=60)
        assert answer.json()["restored"] == deletion["objects"]
    assert (site.found("STUDY"), site.found("IMAGE"), site.got()) == (1, 3, 3)
    assert site.command("delete", uid(1), uid(1, 1))["objects"] == 3
    assert site.found("STUDY") == 0
    assert site.command("check", "--verify")["good"]


def test_a_note_that_is_sent_rejects_and_can_be_revoked(site: Site) -> None:
    site.send(note(1, 2))
    assert (site.found("IMAGE"), site.got()) == (1, 2)
    site.send(made(SOPInstanceUID=uid(1, 1, 1), InstanceNumber=1))
    assert site.found("IMAGE") == 1
    [deletion] = site.command("deleted", "list")
    assert (deletion["code"], deletion["objects"], deletion["purge_at"]) == ("113001", 2, None)
    assert site.command("deleted", "restore", str(deletion["id"]))["restored"] == 2
    assert (site.found("IMAGE"), site.got()) == (3, 3)


def test_a_note_that_is_made_here_is_one_to_dcmtk(site: Site) -> None:
    url = f"{site.served.dicomweb}/studies/{uid(1)}"
    answer = requests.post(f"{url}/reject/{CODE}", timeout=60)
    assert answer.status_code == 200
    assert (site.found("STUDY"), site.found("IMAGE"), site.got()) == (1, 0, 1)
    [series] = requests.get(f"{url}/series", headers=JSON, timeout=60).json()
    uids = (series["0020000E"]["Value"][0], answer.json()["rejection_note_uid"])
    file = requests.get(
        f"{url}/series/{uids[0]}/instances/{uids[1]}", headers={"Accept": "application/dicom"}, timeout=60
    )
    path = site.folder / "note.dcm"
    path.write_bytes(file.content)
    shown = subprocess.run(["dsrdump", "-v", "+Pc", str(path)], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    assert "Key Object Selection Document" in shown.stdout
    assert '<CONTAINER:(113001,DCM,"Rejected for Quality Reasons")=SEPARATE>' in shown.stdout
    assert shown.stdout.count("contains IMAGE:") == 3, shown.stdout
    assert "E: " not in shown.stderr


def test_a_running_server_purges_by_itself(databases: Databases, tmp_path: Path) -> None:
    with (
        databases.fresh("sqlite", tmp_path) as url,
        Served(tmp_path / "data", url, FILEROOM_STORAGE__UNDO_TIME="1") as served,
    ):
        site = Site(served, url, tmp_path)
        site.send(made())
        assert requests.delete(f"{served.dicomweb}/studies/{uid(1)}", timeout=60).status_code == 200
        wait_until(lambda: site.objects() == 0)
        assert requests.get(f"{served.dicomweb}/deletions", timeout=60).json() == []
        # and the same again is new
        site.send(made())
        assert site.found("STUDY") == 1
