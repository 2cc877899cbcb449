"""The audit log of a running server: who did what to which study, and a collector that misses nothing."""

import json
import os
import re
import signal
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from lxml import etree
from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_ECHO

from tests.certificates import Authority
from tests.databases import free_port
from tests.made import CT_IMAGE_STORAGE, encoded, made, part10, uid
from tests.served import Served
from tests.server.cli.commands import fileroom, write_files
from tests.server.dimse.scu import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    VERIFICATION,
    associated,
    find,
    identifier,
    retrieved,
    store_bytes,
)
from tests.server.test_audit_message import schema
from tests.syslog_collector import SyslogCollector

SECONDS = 60
MESSAGE = re.compile(rb"<(\d+)>1 \S+Z \S+ fileroom \d+ DICOM\+RFC3881 - \xef\xbb\xbf(<\?xml.*)")
PLACE = re.compile(rb"fileroom:audit_log:(\d+:\d+)")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("audited") / "data") as served:
        yield served


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"in vain: {what}")
        time.sleep(0.1)


def listed(served: Served, *arguments: str) -> list[dict[str, Any]]:
    finished = fileroom("audit", "list", "--json", "--data", served.data, *arguments)
    assert finished.returncode == 0, finished.stderr
    rows: list[dict[str, Any]] = json.loads(finished.stdout)
    return rows


def told(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["event"]["meaning"], row["action"], row["outcome"], row["user_id"])


def store(port: int, study: int, number: int, calling: str = "CT1") -> None:
    with associated(port, CT_IMAGE_STORAGE, calling=calling) as association:
        for instance in range(number):
            data_set = made(
                StudyInstanceUID=uid(study),
                SeriesInstanceUID=uid(study, 1),
                SOPInstanceUID=uid(study, 1, instance),
                PatientID=f"P{study}",
            )
            response = store_bytes(
                association, encoded(data_set, implicit=True), CT_IMAGE_STORAGE, data_set.SOPInstanceUID
            )
            assert response.Status == 0


def of_study(served: Served, study: int, event: str) -> list[tuple[Any, ...]]:
    return [told(row) for row in listed(served, "--study", uid(study)) if row["event"]["meaning"] == event]


def test_what_an_association_brings(served: Served) -> None:
    store(served.dicom_port, 1, 3)
    until(lambda: len(listed(served, "--study", uid(1))) >= 2, "the counts at the end of the association")
    begin, transferred = listed(served, "--study", uid(1))[:2]
    assert told(begin) == ("Begin Transferring DICOM Instances", "E", 0, "CT1")
    assert told(transferred) == ("DICOM Instances Transferred", "C", 0, "CT1")
    assert transferred["detail"]["sop_classes"] == {CT_IMAGE_STORAGE: 3}
    assert (begin["patient_id"], transferred["patient_id"]) == ("P1", "P1")
    assert (transferred["remote_address"], transferred["called_ae_title"]) == ("127.0.0.1", "FILEROOM")


def test_queries_and_retrievals_over_dimse(served: Served) -> None:
    store(served.dicom_port, 2, 2)
    query = identifier("STUDY", StudyInstanceUID=uid(2), PatientName="D*")
    with associated(served.dicom_port, STUDY_ROOT_FIND, calling="READER") as association:
        for _ in range(3):
            assert len(find(association, query)[0]) == 1
    with associated(served.dicom_port, STUDY_ROOT_GET, CT_IMAGE_STORAGE, calling="READER") as association:
        retrieved(association.send_c_get(identifier("STUDY", StudyInstanceUID=uid(2)), STUDY_ROOT_GET))

    def queries() -> list[dict[str, Any]]:
        return [row for row in listed(served) if told(row)[::3] == ("Query", "READER")]

    until(lambda: bool(queries()), "the query")
    assert told(queries()[0]) == ("Query", "E", 0, "READER")
    assert "query" in queries()[0]["detail"]
    until(lambda: len(of_study(served, 2, "DICOM Instances Transferred")) == 2, "the C-GET")
    assert of_study(served, 2, "DICOM Instances Transferred")[1][1:] == ("R", 4, "READER"), (
        "the SCU took no sub-operation"
    )


def test_what_is_done_over_http(served: Served) -> None:
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + part10(
        made(StudyInstanceUID=uid(3), SeriesInstanceUID=uid(3, 1), SOPInstanceUID=uid(3, 1, 1), PatientID="P3")
    )
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    assert requests.post(f"{served.dicomweb}/studies", body + b"\r\n--b--\r\n", headers=headers, timeout=60).ok
    for _ in range(5):
        assert requests.get(f"{served.dicomweb}/studies?PatientID=P3", timeout=60).ok
    assert requests.get(f"{served.dicomweb}/studies/{uid(3)}/metadata", timeout=60).ok
    assert requests.get(f"{served.dicomweb}/studies/{uid(3)}", timeout=60).ok
    assert requests.get(f"{served.dicomweb}/studies/{uid(33)}/metadata", timeout=60).status_code == 404
    assert requests.delete(f"{served.dicomweb}/studies/{uid(3)}", timeout=60).ok
    until(lambda: len(listed(served, "--study", uid(33))) == 1, "what was not found")
    assert told(listed(served, "--study", uid(33))[0]) == ("DICOM Instances Accessed", "R", 4, None)
    until(lambda: len(listed(served, "--study", uid(3))) >= 5, "all of it")
    assert sorted(told(row)[:3] for row in listed(served, "--study", uid(3)) if row["source"] == "HTTP") == [
        ("Begin Transferring DICOM Instances", "E", 0),
        ("DICOM Instances Accessed", "R", 0),
        ("DICOM Instances Transferred", "C", 0),
        ("DICOM Instances Transferred", "R", 0),
        ("DICOM Study Deleted", "D", 0),
    ]
    [first, *_] = [row for row in listed(served) if told(row)[0] == "Query" and row["source"] == "HTTP"]
    assert first["remote_address"] == "127.0.0.1"


def test_what_is_asked_again_is_counted(served: Served) -> None:
    """Kept answers too, which never get as far as Flask."""
    with requests.Session() as session:
        for _ in range(20):
            assert session.get(f"{served.dicomweb}/studies?PatientID=AGAIN", timeout=60).ok
    asked = b64encode(b"PatientID=AGAIN").decode()
    rows = [row for row in listed(served) if row["detail"].get("query") == asked and "times" not in row["detail"]]
    assert 1 <= len(rows) <= 2, "one in each worker"


def test_names_are_not_in_the_log_of_the_program(served: Served) -> None:
    assert "Doe" not in served.output
    assert "PatientName" not in served.output


def test_commands(served: Served, tmp_path: Path) -> None:
    data = ("--data", str(served.data))
    deleted = fileroom("delete", uid(2), *data)
    assert deleted.returncode == 0, deleted.stderr
    [row] = [row for row in listed(served, "--study", uid(2)) if row["event"]["meaning"] == "DICOM Study Deleted"]
    assert row["source"] == "command line"
    assert row["user_id"]

    verified = fileroom("audit", "verify", *data)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert re.fullmatch(r"The audit log is unbroken: \d+ rows\.\n", verified.stdout)
    heads = tmp_path / "heads"
    heads.write_text(fileroom("audit", "heads", *data).stdout)
    assert fileroom("audit", "verify", "--heads", heads, *data).returncode == 0
    heads.write_text(re.sub(r"[0-9a-f]{64}", "0" * 64, heads.read_text()))
    broken = fileroom("audit", "verify", "--heads", heads, *data)
    assert broken.returncode == 1
    assert "a head that was kept names a row that is not there any more" in broken.stdout
    heads.write_text("nonsense\n")
    assert "is no file that `fileroom audit heads` wrote" in fileroom("audit", "verify", "--heads", heads, *data).stderr

    exported = fileroom("audit", "export", "--since", "1h", *data)
    messages = etree.fromstring(exported.stdout.encode())
    assert len(messages) >= 10
    for message in messages:
        schema().assertValid(message)
    used = [row for row in listed(served) if row["event"]["meaning"] == "Audit Log Used"]
    assert {"fileroom audit list", "fileroom audit export"} <= {row["detail"]["by"] for row in used}
    plain = fileroom("audit", "list", "--since", "1h", *data).stdout
    assert "Begin Transferring DICOM Instances" in plain
    assert "is no time; write" in fileroom("audit", "list", "--since", "yesterday", *data).stderr


def test_what_is_imported(served: Served, tmp_path: Path) -> None:
    write_files(tmp_path / "ct", 5, 4)
    finished = fileroom("import", "--data", served.data, "--jobs", "1", tmp_path / "ct")
    assert finished.returncode == 0, finished.stderr
    begin, imported = listed(served, "--study", uid(4))
    assert (begin["event"]["meaning"], begin["source"]) == ("Begin Transferring DICOM Instances", "command line")
    assert told(imported)[:3] == ("Import", "C", 0)
    assert sum(imported["detail"]["sop_classes"].values()) == 5


def test_what_a_peer_may_not_ask_for(tmp_path: Path) -> None:
    """Of services that it may not use, the contexts are rejected; these requests come all the same."""
    peers = [{"ae_title": "CT1", "host": "127.0.0.1", "port": 104, "services": ["store"]}]
    with Served(tmp_path / "data", FILEROOM_PEERS=json.dumps(peers)) as served:
        with associated(served.dicom_port, CT_IMAGE_STORAGE, VERIFICATION, calling="CT1") as association:
            request = C_ECHO()
            request.MessageID, request.AffectedSOPClassUID = 1, UID(VERIFICATION)
            association._reactor_checkpoint.clear()
            association.dimse.send_msg(request, 1)
            _, response = association.dimse.get_msg(block=True)
            association._reactor_checkpoint.set()
            assert isinstance(response, C_ECHO)
            assert response.Status == 0x0124
        until(lambda: any(told(row)[0] == "Security Alert" for row in listed(served)), "the alert")
        [alert] = [row for row in listed(served) if told(row)[0] == "Security Alert"]
    assert (told(alert)[1:], alert["type"]["meaning"]) == (("E", 4, "CT1"), "Use of Restricted Function")
    assert "0124" in alert["detail"]["reason"]


def test_start_and_stop(tmp_path: Path) -> None:
    with Served(tmp_path / "data") as served:
        pass
    kinds = [row["type"]["meaning"] for row in listed(served) if row["type"]]
    assert kinds == ["Application Start", "Application Stop"]


def test_whoever_is_turned_away(tmp_path: Path) -> None:
    peers = [{"ae_title": "CT1", "host": "127.0.0.1", "port": 104}]
    known = {"FILEROOM_DICOM__CALLING_AE_TITLES": "peers", "FILEROOM_PEERS": json.dumps(peers)}
    with Served(tmp_path / "data", **known) as served:
        with associated(served.dicom_port, CT_IMAGE_STORAGE, calling="STRANGER") as association:
            assert association.is_rejected
        until(lambda: any(told(row)[0] == "Security Alert" for row in listed(served)), "the alert")
        [alert] = [row for row in listed(served) if told(row)[0] == "Security Alert"]
    assert told(alert) == ("Security Alert", "E", 4, "STRANGER")
    assert alert["type"]["meaning"] == "Node Authentication"
    assert alert["remote_address"] == "127.0.0.1"


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_collector_that_is_killed_and_a_server_that_is_killed_miss_nothing(tmp_path: Path, transport: str) -> None:
    port, file = free_port(), tmp_path / "messages"
    certificate = None
    environment = {
        "FILEROOM_AUDIT__SYSLOG_HOST": "localhost",
        "FILEROOM_AUDIT__SYSLOG_PORT": str(port),
        "FILEROOM_AUDIT__SYSLOG_TRANSPORT": transport,
        "FILEROOM_AUDIT__SYSLOG_CONFIRM_TIME": "0.5",
    }
    if transport == "tls":
        authority = Authority(tmp_path, "authority")
        certificate = authority.issue("localhost")
        environment["FILEROOM_AUDIT__SYSLOG_CA"] = str(authority.certificate)

    def received() -> set[bytes]:
        return {place for message in SyslogCollector.messages(file) for place in PLACE.findall(message)}

    def written(served: Served) -> set[bytes]:
        return {f"{row['chain']}:{row['sequence']}".encode() for row in listed(served)}

    served = Served(tmp_path / "data", **environment).wait_until_ready()
    try:
        store(served.dicom_port, 1, 1)  # before there is a collector
        collector = SyslogCollector(port, file, certificate)
        until(lambda: len(received()) >= 3, "what happened before the collector was there")
        collector.kill()
        store(served.dicom_port, 2, 1)
        for process in [*_children(served.process.pid), served.process.pid]:
            os.kill(process, signal.SIGKILL)
    finally:
        served.close()
    with Served(tmp_path / "data", **environment) as served:
        store(served.dicom_port, 3, 1)
        collector = SyslogCollector(port, file, certificate)
        try:
            before = written(served)
            until(lambda: before <= received(), "all that was written")
        finally:
            collector.kill()
    for message in SyslogCollector.messages(file):
        parts = MESSAGE.fullmatch(message)
        assert parts, message
        assert int(parts[1]) >> 3 == 10
        schema().assertValid(etree.fromstring(parts[2]))


def _children(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_children(child)]
    return found
