"""/metrics of a running server: exact counts of what was sent and asked, whichever process did it, and whoever died."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from fileroom_server.metrics.table import METRICS
from fileroom_storage.storage import Storage, StorageSettings
from tests.dicomweb.objects import multipart
from tests.made import CT_IMAGE_STORAGE, made, part10, uid
from tests.scraped import Scrape
from tests.served import FILEROOM, Served

MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=a-boundary'}
STORAGE, VERIFICATION = UID(CT_IMAGE_STORAGE), UID("1.2.840.10008.1.1")
FIND, GET = UID("1.2.840.10008.5.1.4.1.2.2.1"), UID("1.2.840.10008.5.1.4.1.2.2.3")
PIXELS = bytes(range(256)) * 512  # enough to be written while it is received


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path / "data", FILEROOM_DICOM__REQUIRE_CALLED_AE_TITLE="true") as served:
        yield served


def associate(served: Served, called: str = "FILEROOM") -> Association:
    entity = AE("SENDER")
    for context in (
        STORAGE,
        FIND,
        GET,
        VERIFICATION,
    ):
        entity.add_requested_context(context, ExplicitVRLittleEndian)
    return entity.associate(
        "127.0.0.1",
        served.dicom_port,
        ae_title=called,
        ext_neg=[build_role(STORAGE, scp_role=True, scu_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, lambda _event: 0x0000)],
    )


def instance(number: int, **attributes: object) -> Dataset:
    dataset = made(SOPInstanceUID=uid(1, 1, number), **attributes)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def send(association: Association, *objects: Dataset) -> list[int]:
    return [association.send_c_store(one).Status for one in objects]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def with_pixels(number: int) -> Dataset:
    return instance(number, PixelData=PIXELS, Rows=256, Columns=256, BitsAllocated=16)


def test_everything_is_counted_once(served: Served, tmp_path: Path) -> None:
    assert not associate(served, "SOMEBODY").is_established
    association = associate(served)
    assert association.send_c_echo().Status == 0
    stored = [instance(1), instance(2), with_pixels(3)]
    refused = [instance(4, StudyInstanceUID=None), instance(5, SeriesInstanceUID="../x")]
    conflicting = [instance(6, PatientID="P2")]
    assert send(association, *stored, *stored[:2], *conflicting) == [0] * 6
    assert send(association, *refused) == [0xC005, 0xC006]
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", uid(1)
    for _ in range(3):
        answers = list(association.send_c_find(identifier, FIND))
        assert [status.Status for status, _ in answers] == [0xFF00, 0x0000]
    retrieved = list(association.send_c_get(identifier, GET))[-1][0]
    assert retrieved.NumberOfCompletedSuboperations == 4
    # the connection of the one that was rejected is counted until it is closed
    eventually(lambda: Scrape(served).value("fileroom_associations_open") == 1)
    association.release()

    body = multipart(*(part10(one) for one in (instance(7), instance(7), instance(8, StudyInstanceUID=None))))
    answer = requests.post(f"{served.dicomweb}/studies", body, headers=MULTIPART, timeout=30)
    assert answer.status_code == 202
    for _ in range(4):
        requests.get(f"{served.dicomweb}/studies?PatientID=P1", timeout=30).raise_for_status()
    assert requests.get(f"{served.dicomweb}/studies?0", timeout=30).status_code == 400
    object_url = f"{served.dicomweb}/studies/{uid(1)}/series/{uid(1, 1)}/instances/{uid(1, 1, 3)}"
    whole = requests.get(object_url, timeout=30).content
    assert requests.get(f"{served.dicomweb}/nothing", timeout=30).status_code == 404
    assert requests.get(f"{object_url}/thumbnail", timeout=30).ok

    folder = tmp_path / "to import"
    folder.mkdir()
    for number in (9, 10):
        (folder / str(number)).write_bytes(part10(instance(number)))
    (folder / "text").write_text("no object")
    subprocess.run([FILEROOM, "import", "--data", served.data, folder], check=True, capture_output=True)

    eventually(lambda: Scrape(served).value("fileroom_associations_open") == 0)
    seen = Scrape(served)
    assert seen.value("fileroom_associations_accepted_total") == 1
    assert seen.by("fileroom_associations_rejected_total", "reason") == {"called AE title": 1}
    assert seen.by("fileroom_associations_ended_total", "how") == {"released": 1}
    assert seen.by("fileroom_dimse_requests_total", "service") == {"C-ECHO": 1, "C-STORE": 8, "C-FIND": 3, "C-GET": 1}
    assert seen.by("fileroom_dimse_requests_total", "status", service="C-STORE") == {
        "0x0000": 6,
        "0xC005": 1,
        "0xC006": 1,
    }
    assert seen.by("fileroom_dimse_request_duration_seconds_count", "service")["C-STORE"] == 8
    assert seen.by("fileroom_stores_total", "outcome", source="C-STORE") == {
        "stored": 3,
        "duplicate": 2,
        "conflict": 1,
        "refused": 2,
    }
    assert seen.by("fileroom_stores_total", "outcome", source="STOW-RS") == {"stored": 1, "duplicate": 1, "refused": 1}
    assert seen.by("fileroom_stores_total", "outcome", source="import") == {"stored": 2, "refused": 1}
    assert seen.by("fileroom_refusals_total", "reason") == {"missing UID": 2, "invalid UID": 1, "not DICOM": 1}
    assert seen.by("fileroom_errors_total", "kind", service="C-STORE") == {"UnusableObject": 2}
    assert seen.by("fileroom_errors_total", "kind", service="HTTP") == {"InvalidQuery": 1, "NotFound": 1}
    assert seen.value("fileroom_conflicts_open") == 1

    stages = seen.by("fileroom_store_stage_duration_seconds_count", "stage", source="C-STORE")
    # what is refused has been parsed, and that with pixels was written while it came
    assert stages == {"receive": 8, "parse": 8, "write": 5, "sync": 6, "wait": 6, "commit": 6, "total": 6}
    stages = seen.by("fileroom_store_stage_duration_seconds_count", "stage", source="import")
    assert stages == dict.fromkeys(("receive", "parse", "sync", "wait", "commit", "total"), 2)
    assert seen.value("fileroom_index_commit_objects_sum") == 6 + 2 + 2
    assert seen.value("fileroom_index_commit_duration_seconds_count") == seen.value(
        "fileroom_index_commit_objects_count"
    )
    assert seen.value("fileroom_index_queue_length") == 0
    with Storage.open(StorageSettings(served.data)) as storage:
        sizes = {one.sop_instance_uid: one.size for one in storage.locate({"StudyInstanceUID": uid(1)})}
    sent = [*stored, *stored[:2], *conflicting]
    assert seen.value("fileroom_stored_bytes_total", source="C-STORE") == sum(sizes[one.SOPInstanceUID] for one in sent)
    assert seen.value("fileroom_dimse_bytes_total", direction="received") > len(PIXELS)
    assert seen.value("fileroom_dimse_bytes_total", direction="sent") > len(PIXELS)  # by C-GET
    assert seen.by("fileroom_retrieved_instances_total", "outcome") == {"completed": 4}
    assert seen.value("fileroom_retrieved_bytes_total", service="C-GET") == sum(
        sizes[one.SOPInstanceUID] for one in [*stored, *conflicting]
    )

    assert seen.value("fileroom_query_duration_seconds_count", service="C-FIND", level="STUDY") == 3
    assert seen.value("fileroom_query_duration_seconds_count", service="QIDO-RS", level="STUDY") == 5
    assert seen.by("fileroom_kept_answers_total", "result", kept="c_find") == {"hit": 2, "miss": 1}
    # each worker of HTTP makes an answer, or looks it up, as it comes
    hits = sum(seen.value("fileroom_kept_answers_total", kept=kept, result="hit") for kept in ("requests", "responses"))
    searches = seen.value("fileroom_index_search_duration_seconds_count", level="STUDY")
    assert hits + searches == 4 + 1
    assert seen.by("fileroom_http_requests_total", "status", operation="search_for_studies") == {"200": 4, "400": 1}
    assert seen.by("fileroom_http_requests_total", "status", operation="store") == {"202": 1}
    assert seen.by("fileroom_http_requests_total", "status", operation="other") == {"404": 1}
    assert seen.value("fileroom_http_request_duration_seconds_count", operation="search_for_studies") == 5
    assert seen.value("fileroom_http_bytes_total", direction="received") == len(body)
    assert seen.value("fileroom_http_bytes_total", direction="sent") > len(whole) + len(answer.content)
    assert seen.value("fileroom_retrieved_bytes_total", service="WADO-RS") > len(whole)
    assert seen.value("fileroom_rendering_duration_seconds_count") == 1
    assert seen.by("fileroom_ready", "part") == {"storage": 1, "dicom": 1}
    usage = os.statvfs(served.data)
    assert seen.value("fileroom_data_size_bytes") == usage.f_frsize * usage.f_blocks
    assert 0 < seen.value("fileroom_data_free_bytes") <= seen.value("fileroom_data_size_bytes")
    assert seen.by("fileroom_build_info", "database") == {"sqlite": 1}
    assert "Doe" not in seen.text
    assert "P1" not in seen.text
    assert uid(1) not in seen.text


def answered(connection: socket.socket, request: bytes) -> bytes:
    """The body of the answer."""
    connection.sendall(request)
    with connection.makefile("rb") as stream:
        length = 0
        while line := stream.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return stream.read(length)


def test_requests_that_are_answered_before_they_are_read_are_counted(tmp_path: Path) -> None:
    ask = b"GET /dicom-web/studies?PatientID=P1 HTTP/1.1\r\nHost: pacs\r\n\r\n"
    with Served(tmp_path / "data", FILEROOM_HTTP__WORKERS="1") as served:
        association = associate(served)
        assert send(association, instance(1)) == [0]
        association.release()
        before = Scrape(served)
        with socket.create_connection(("127.0.0.1", served.http_port), 30) as connection:
            bodies = {answered(connection, ask) for _ in range(10)}
            [body] = bodies
            named = ask.replace(b"\r\n\r\n", b"\r\nX-Request-ID: of-the-client\r\n\r\n")
            assert {answered(connection, named) for _ in range(3)} == bodies  # these are read each time
        with socket.create_connection(("127.0.0.1", served.http_port), 30) as connection:
            answered(connection, b"nonsense\r\n\r\n")
        seen = Scrape(served)
    assert seen.by("fileroom_http_requests_total", "status", operation="search_for_studies") == {"200": 13}
    assert seen.value("fileroom_http_request_duration_seconds_count", operation="search_for_studies") == 13
    assert seen.value("fileroom_query_duration_seconds_count", service="QIDO-RS", level="STUDY") == 13
    assert seen.value("fileroom_index_search_duration_seconds_count", level="STUDY") == 1
    assert seen.value("fileroom_kept_answers_total", kept="requests", result="hit") >= 7
    sent = "fileroom_http_bytes_total"
    assert seen.value(sent, direction="sent") == before.value(sent, direction="sent") + 13 * len(body) + len(
        before.text
    )
    assert seen.by("fileroom_http_requests_total", "status", operation="other") == {"400": 1}
    assert seen.by("fileroom_errors_total", "kind", service="HTTP") == {"InvalidRequestLine": 1}


def receivers(served: Served) -> list[int]:
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if Path(f"/proc/{pid}/comm").read_text().startswith("fileroom-dicom")]


def test_counters_do_not_go_backwards(served: Served) -> None:
    """A receiver that is killed leaves what it has counted; the one that comes for it counts on."""
    association = associate(served)
    assert send(association, *map(instance, range(1, 6))) == [0] * 5
    before = Scrape(served)
    assert before.by("fileroom_stores_total", "outcome", source="C-STORE") == {"stored": 5}
    killed = receivers(served)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(receivers(served)) == len(killed) and not {*receivers(served)} & {*killed})
    eventually(lambda: Scrape(served).value("fileroom_ready", part="dicom") == 1)
    between = Scrape(served)
    counted = [metric.name for metric in METRICS if metric.kind == "counter"]
    assert len(counted) > 10
    for name in counted:
        for labels, value in before.samples.get(name, {}).items():
            assert between.samples[name][labels] >= value, name
    assert between.value("fileroom_associations_open") == 0
    assert between.value("fileroom_index_queue_length") == 0
    association = associate(served)
    assert send(association, *map(instance, range(6, 9))) == [0] * 3
    association.release()
    after = Scrape(served)
    assert after.by("fileroom_stores_total", "outcome", source="C-STORE") == {"stored": 8}
    assert after.value("fileroom_associations_accepted_total") == 2


def test_metrics_can_be_switched_off(tmp_path: Path) -> None:
    with Served(tmp_path / "data", FILEROOM_METRICS__ENABLED="false") as served:
        assert requests.get(f"{served.url}/metrics", timeout=30).status_code == 404
        association = associate(served)
        assert send(association, instance(1)) == [0]
        association.release()


def test_openmetrics_is_told_to_those_who_ask_for_it(served: Served) -> None:
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = requests.get(f"{served.url}/metrics", headers=headers, timeout=30)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
