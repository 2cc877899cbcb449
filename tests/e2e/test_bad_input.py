"""Hostile and broken input against a whole server: each gets a clear answer, nothing grows, the next request works."""

import json
import re
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from tests.dicomweb.objects import multipart
from tests.made import CT_IMAGE_STORAGE, encoded, made, part10, uid
from tests.served import Served
from tests.server.dimse.pdus import A_ABORT, IMPLICIT, P_DATA_TF, find_bytes, nested, p_data, raw, store_command
from tests.server.dimse.scu import (
    PATIENT_ROOT_FIND,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
    associated,
    error_comment,
    find,
    identifier,
    retrieved,
    store_bytes,
)

EXPLICIT = "1.2.840.10008.1.2.1"
MULTIPART = 'multipart/related; type="application/dicom"; boundary=a-boundary'
ONE_OBJECT = {"Content-Type": "application/dicom"}
# what no log and no answer to somebody else may hold.
NAME, PATIENT_ID = "Zwetschgenbaum^Gisela", "ZWETSCHGE-1"
FIVE_GB = 5_000_000_000
MOST_GROWTH = 100 << 20
PATIENCE = 6  # seconds that the server waits for a peer that fell silent
PEER = '[{"ae_title": "DESTINATION", "host": "127.0.0.1", "port": 1}]'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    patience = str(PATIENCE)
    server = Served(
        tmp_path_factory.mktemp("bad_input") / "data",
        FILEROOM_DICOM__NETWORK_TIMEOUT=patience,
        FILEROOM_DICOM__ACSE_TIMEOUT=patience,
        FILEROOM_HTTP__TIMEOUT=patience,
        FILEROOM_PEERS=PEER,
    )
    with server:
        for number in range(8):  # what every first request loads is no growth
            good_requests(server, number)
        yield server


@pytest.fixture(autouse=True)
def unhurt(served: Served, request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: good requests work at once, the same processes run, none has grown, nothing is told."""
    before = served.peak_memory()
    said = len(served.output)
    yield
    good_requests(served, request.node.name)
    after = served.peak_memory()
    assert after.keys() == before.keys(), "a process of the server has died"
    assert all(after[process] - before[process] < MOST_GROWTH for process in after), (before, after)
    output = served.output[said:]
    assert "Traceback" not in output, output
    assert "unexpected" not in output, output
    assert "internal error" not in output, output
    assert not re.search("zwetschge|gisela", output, re.IGNORECASE), output


def good_requests(served: Served, name: object) -> None:
    """A store and a search by each protocol."""
    study, objects = good_study(name), [made(**good(name, instance)) for instance in (1, 2)]
    with associated(served.dicom_port, VERIFICATION, (CT_IMAGE_STORAGE, EXPLICIT), STUDY_ROOT_FIND) as association:
        assert association.is_established
        assert association.send_c_echo().Status == 0x0000
        response = store_bytes(association, encoded(objects[0]), CT_IMAGE_STORAGE, objects[0].SOPInstanceUID, 3)
        assert response.Status == 0x0000
        answers, status = find(association, identifier("STUDY", StudyInstanceUID=study))
        assert (len(answers), status.Status) == (1, 0x0000)
    stored = requests.post(f"{served.dicomweb}/studies", part10(objects[1]), headers=ONE_OBJECT, timeout=30)
    assert stored.status_code == 200
    found = requests.get(f"{served.dicomweb}/studies/{study}/instances", timeout=30).json()
    assert len(found) == 2


def good_study(name: object) -> str:
    return uid("7", zlib.crc32(str(name).encode()))


def good(name: object, instance: int) -> dict[str, str]:
    study = good_study(name)
    return {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.1",
        "SOPInstanceUID": f"{study}.1.{instance}",
        "PatientID": "GOOD",
    }


def secret(**attributes: Any) -> Dataset:
    return made(PatientName=NAME, PatientID=PATIENT_ID, **{"SOPInstanceUID": uid(6, 6, 6)} | attributes)


def file_of(data_set: bytes, transfer_syntax_uid: str = EXPLICIT) -> bytes:
    """The data set, whatever it is, behind good file meta information."""
    length = len(encoded(secret(), implicit=transfer_syntax_uid == IMPLICIT))
    return part10(secret(), transfer_syntax_uid)[:-length] + data_set


# -- objects -----------------------------------------------------------------------------------------------------


class BadObject(NamedTuple):
    data_set: bytes
    status: int  # of C-STORE
    comment: str  # what the sender is told
    transfer_syntax_uid: str = EXPLICIT


IMAGE = {"Rows": 64, "Columns": 64, "BitsAllocated": 8, "PixelData": bytes(64 * 64)}
BAD_OBJECTS = {
    "no DICOM": BadObject(b"%PDF-1.7 this is a report about Gisela" * 10, 0xC001, ""),
    "cut in the pixels": BadObject(
        encoded(secret(**IMAGE))[:-1000], 0xC001, "cut off, or a wrong length, in (7FE0,0010) at byte "
    ),
    "cut in a header": BadObject(encoded(secret(**IMAGE))[:-4101], 0xC001, ""),
    "no SOP Instance UID": BadObject(encoded(secret(SOPInstanceUID=None)), 0xC005, "no SOPInstanceUID"),
    "no study": BadObject(encoded(secret(StudyInstanceUID=None)), 0xC005, "no StudyInstanceUID"),
    "empty series": BadObject(encoded(secret(SeriesInstanceUID="")), 0xC005, "no SeriesInstanceUID"),
    "65 characters": BadObject(encoded(secret(SOPInstanceUID="1." + "2" * 63)), 0xC006, "has 65 characters"),
    "1000 characters": BadObject(encoded(secret(StudyInstanceUID="1." * 500)), 0xC006, "1000 characters"),
    "a path": BadObject(encoded(secret(SeriesInstanceUID="../../../etc/passwd")), 0xC006, "characters that no UID has"),
    "an absolute path": BadObject(encoded(secret(SOPInstanceUID="/tmp/x")), 0xC006, "characters that no UID has"),
    "only dots": BadObject(encoded(secret(StudyInstanceUID="..")), 0xC006, "characters that no UID has"),
    "NUL in a UID": BadObject(encoded(secret(SOPInstanceUID="1.2\0.3")), 0xC006, "characters that no UID has"),
    "SQL in a UID": BadObject(encoded(secret(StudyInstanceUID="1'; DROP TABLE x")), 0xC006, "no UID has"),
    "nested": BadObject(encoded(secret(), implicit=True) + nested(10_000), 0xC003, "nested more than", IMPLICIT),
    "nested, lengths given": BadObject(
        encoded(secret(), implicit=True) + nested(10_000, delimited=False),
        0xC003,
        "nested more than",
        IMPLICIT,
    ),
    "4 GB of text announced": BadObject(
        encoded(secret()) + b"\x40\x00\x00\x40UT\x00\x00\xf0\xff\xff\xff" + b"text",
        0xC001,
        "a wrong length, in (0040,4000)",
    ),
    "4 GB of pixels announced": BadObject(
        encoded(secret()) + b"\xe0\x7f\x10\x00OW\x00\x00\xfe\xff\xff\xff" + bytes(100),
        0xC001,
        "a wrong length, in (7FE0,0010)",
    ),
    "a sequence without end": BadObject(encoded(secret()) + b"\x40\x00\x75\x02SQ\x00\x00\xff\xff\xff\xff", 0xC001, ""),
    "an item longer than all": BadObject(
        encoded(secret())
        + b"\x40\x00\x75\x02SQ\x00\x00\xff\xff\xff\xff"
        + b"\xfe\xff\x00\xe0\xf0\xff\xff\xff"
        + bytes(8),
        0xC001,
        "",
    ),
}


@pytest.mark.filterwarnings("ignore:.*VR UI:UserWarning")  # pydicom's, about what is made here
@pytest.mark.parametrize("bad", BAD_OBJECTS.values(), ids=BAD_OBJECTS.keys())
def test_unusable_objects(served: Served, bad: BadObject) -> None:
    with associated(served.dicom_port, (CT_IMAGE_STORAGE, bad.transfer_syntax_uid)) as association:
        response = store_bytes(association, bad.data_set, CT_IMAGE_STORAGE, uid(6, 6, 6))
        comment = error_comment(response)
        assert (response.Status, bool(comment)) == (bad.status, True), comment
        assert bad.comment in comment
        same = made(**good("same association", 1))
        content = encoded(same, implicit=bad.transfer_syntax_uid == IMPLICIT)
        assert store_bytes(association, content, CT_IMAGE_STORAGE, same.SOPInstanceUID).Status == 0x0000

    body = multipart(file_of(bad.data_set, bad.transfer_syntax_uid), part10(made(**good("beside", 1))))
    answer = requests.post(f"{served.dicomweb}/studies", body, headers={"Content-Type": MULTIPART}, timeout=30)
    assert answer.status_code == 202
    response_set = answer.json()
    failed = [item for tag in ("00081198", "0008119A") for item in response_set.get(tag, {}).get("Value", ())]
    assert len(failed) == 1
    assert failed[0]["00081197"]["Value"] == [0xC000]
    [said] = failed[0]["00000902"]["Value"]
    assert said
    assert bad.comment in said
    assert len(response_set["00081199"]["Value"]) == 1
    assert "Traceback" not in answer.text
    assert "Zwetschge" not in answer.text

    assert requests.get(f"{served.dicomweb}/studies", {"PatientID": PATIENT_ID}, timeout=30).json() == []


@pytest.mark.parametrize(
    "content", [b"", b"DICM", bytes(132), b"PK\x03\x04" * 1000, b"\x89PNG" * 100, bytes(128) + b"DICM"]
)
def test_files_of_other_kinds(served: Served, content: bytes) -> None:
    answer = requests.post(
        f"{served.dicomweb}/studies", multipart(content), headers={"Content-Type": MULTIPART}, timeout=30
    )
    assert answer.status_code == 409
    assert answer.json()["0008119A"]["Value"][0]["00000902"]["Value"][0]


# -- character sets ----------------------------------------------------------------------------------------------

CHARACTER_SETS = {
    "none, but UTF-8": (None, "Müller^Zoë".encode()),
    "none, but Latin-1": (None, "Müller^Zoë".encode("latin-1")),
    "UTF-8, but Latin-1": ("ISO_IR 192", "Müller^Zoë".encode("latin-1")),
    "unknown, UTF-8": ("ISO_IR 999", "Müller^Zoë".encode()),
    "unknown, Latin-1": ("LATIN-ONE", "Müller^Zoë".encode("latin-1")),
    "a typing error": ("ISO IR 100", "Müller^Zoë".encode("latin-1")),
}


def character_set_element(character_set: str | None) -> bytes:
    if character_set is None:
        return b""
    value = character_set.encode() + b" " * (len(character_set) % 2)
    return b"\x08\x00\x05\x00CS" + struct.pack("<H", len(value)) + value


@pytest.mark.parametrize("protocol", ["C-STORE", "STOW-RS"])
@pytest.mark.parametrize("case", CHARACTER_SETS)
def test_wrong_and_unknown_character_sets(served: Served, case: str, protocol: str) -> None:
    character_set, name = CHARACTER_SETS[case]
    number = 100 + 2 * list(CHARACTER_SETS).index(case) + (protocol == "C-STORE")
    study, series, instance = uid(number), uid(number, 1), uid(number, 1, 1)
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}
    placeholder = b"X" * len(name)
    dataset = made(**uids, SpecificCharacterSet=None, PatientName=placeholder.decode(), PatientID=f"CS{number}")
    data_set = character_set_element(character_set) + encoded(dataset).replace(placeholder, name)
    if protocol == "C-STORE":
        with associated(served.dicom_port, (CT_IMAGE_STORAGE, EXPLICIT)) as association:
            assert store_bytes(association, data_set, CT_IMAGE_STORAGE, instance).Status == 0x0000
    else:
        content = file_of(data_set)
        answer = requests.post(f"{served.dicomweb}/studies", content, headers=ONE_OBJECT, timeout=30)
        assert answer.status_code == 200

    with associated(served.dicom_port, PATIENT_ROOT_FIND) as association:
        query = identifier("STUDY", PatientID=f"CS{number}", PatientName="MULLER^Z*", StudyInstanceUID="")
        [answered], status = find(association, query, PATIENT_ROOT_FIND)
        assert status.Status == 0x0000
        assert answered.StudyInstanceUID == study
        assert str(answered.PatientName) == "Müller^Zoë"
    [found] = requests.get(
        f"{served.dicomweb}/studies", {"PatientName": "müller^zoe", "PatientID": f"CS{number}"}, timeout=30
    ).json()
    assert found["00100010"]["Value"] == [{"Alphabetic": "Müller^Zoë"}]
    url = f"{served.dicomweb}/studies/{study}/series/{series}/instances/{instance}"
    assert requests.get(f"{url}/metadata", timeout=30).json()[0]["00100010"] == found["00100010"]
    kept = requests.get(url, headers={"Accept": "application/dicom"}, timeout=30)
    assert kept.content.endswith(data_set)


# -- identifiers and URLs ----------------------------------------------------------------------------------------

NO_UIDS = ["1." + "2" * 100, "../../../etc/passwd", "1.2'; DROP TABLE study; --", "%", "1.2\0.3"]


@pytest.mark.filterwarnings("ignore:.*VR UI:UserWarning")
@pytest.mark.parametrize("value", NO_UIDS)
def test_what_is_no_uid_in_an_identifier(served: Served, value: str) -> None:
    with associated(served.dicom_port, STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET) as association:
        query = identifier("STUDY", StudyInstanceUID=value)
        answers, status = find(association, query)
        assert (answers, status.Status) == ([], 0x0000)  # nothing can have it
        moved = retrieved(association.send_c_move(query, "DESTINATION", STUDY_ROOT_MOVE))
        got = retrieved(association.send_c_get(query, STUDY_ROOT_GET))
        for pending, status, failed in (moved, got):
            assert (pending, status.Status) == ([], 0xA900)
            assert status.ErrorComment == "StudyInstanceUID has a value that is no UID (PS3.5 9.1)"
            assert not failed


@pytest.mark.parametrize("path", ["", "/metadata", "/series", "/series/1.2/instances/1.3/frames/1"])
@pytest.mark.parametrize(
    "study", ["1" * 65, "%2e%2e", "..%2f..%2fetc%2fpasswd", "1.2%00", "1.2%27", "*", "1%5C2", "%ff"]
)
def test_what_is_no_uid_in_a_url(served: Served, study: str, path: str) -> None:
    answer = over_http(served, f"GET /dicom-web/studies/{study}{path} HTTP/1.1\r\nHost: x\r\n".encode())
    assert answer.status in (400, 404)
    assert answer.problem["detail"]


@pytest.mark.parametrize("delimited", [True, False])
def test_a_nested_identifier(served: Served, delimited: bool) -> None:
    with raw(served.dicom_port) as (association, _):
        status = find_bytes(
            association, b"\x08\x00\x52\x00\x06\x00\x00\x00SERIES" + nested(10_000, delimited=delimited)
        )
        assert (status.Status, error_comment(status)) == (0xA900, "the identifier cannot be read: nested too deep")


@pytest.mark.parametrize(
    ("name", "comment"),
    [
        ("?" * 60_000, "PatientName is too long to search by; shorten it"),
        ("\\".join(["ab*"] * 3000), "PatientName has 3000 values; ask for 200 at a time"),
    ],
)
def test_keys_beyond_what_a_database_can_match(served: Served, name: str, comment: str) -> None:
    with associated(served.dicom_port, STUDY_ROOT_FIND) as association:
        answers, status = find(association, identifier("STUDY", PatientName=name))
        assert (answers, status.Status, status.ErrorComment) == ([], 0xA900, comment)


def test_thousands_of_keys(served: Served) -> None:
    query = identifier("STUDY", PatientID="GOOD")
    for element in range(0x1000, 0x1000 + 5000):
        query.add(DataElement(0x00110000 + element, "LO", "'; --", validation_mode=IGNORE))
    with associated(served.dicom_port, STUDY_ROOT_FIND) as association:
        answers, status = find(association, query)
        assert answers
        assert status.Status == 0x0000


@pytest.mark.parametrize(
    "query",
    [
        "PatientName=*" + "%25*_*" * 300,
        "PatientName=" + "*A" * 500,
        "ImageType=" + "*A" * 200 + "*B",
        "PatientID=%27%20OR%201=1%20--",
        "PatientID=%00",
        "PatientName=%ED%A0%80",
        "limit=-1",
        "limit=1e9",
        "offset=999999999999999999",
        "limit=2147483648&offset=2147483648",
        "StudyInstanceUID=" + ",".join(["1.2"] * 1500),
        "&".join(["PatientID=x"] * 100),
        "a" * 8000,
        "includefield=" + "x" * 5000,
        "fuzzymatching=true&PatientName=" + "a%20" * 500,
        "NumberOfFrames=" + "9" * 400,
    ],
)
def test_hostile_searches(served: Served, query: str) -> None:
    made_for_image_type = part10(made(**good("image type", 1), ImageType=["A" * 250]))
    requests.post(f"{served.dicomweb}/studies", made_for_image_type, headers=ONE_OBJECT, timeout=30)
    answer = requests.get(f"{served.dicomweb}/instances?{query}", timeout=30)
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["detail"]


# -- announced and not sent, cut off, silent ---------------------------------------------------------------------


class Answer(NamedTuple):
    status: int
    content_type: str
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.content_type == "application/problem+json", self.body
        problem: dict[str, Any] = json.loads(self.body)
        assert "Traceback" not in str(problem)
        return problem


def over_http(served: Served, head: bytes, body: bytes = b"") -> Answer:
    """Sends this and no more; what comes back."""
    with connected(served, head, body) as connection:
        connection.shutdown(socket.SHUT_WR)
        return received(connection)


def connected(served: Served, head: bytes, body: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", served.http_port), timeout=30)
    connection.sendall(head + b"Connection: close\r\n\r\n" + body)
    return connection


def received(connection: socket.socket) -> Answer:
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    types = re.findall(rb"(?i)\r\ncontent-type: ([^\r]*)", head)
    assert types, answer
    return Answer(int(head.split()[1]), types[0].decode(), body)


def store_head(*lines: str, content_type: str = MULTIPART) -> bytes:
    first = ["POST /dicom-web/studies HTTP/1.1", "Host: localhost", f"Content-Type: {content_type}"]
    return "\r\n".join([*first, *lines, ""]).encode()


WHOLE = multipart(part10(secret()))
ANNOUNCED = f"Content-Length: {FIVE_GB}"
CHUNKED = "Transfer-Encoding: chunked"
NOT_WHOLE = {
    "5 GB by Content-Length": (store_head(ANNOUNCED), WHOLE[:-40]),
    "5 GB of one object": (store_head(ANNOUNCED, content_type="application/dicom"), part10(secret())),
    "5 GB in a chunk": (store_head(CHUNKED), b"%X\r\n" % FIVE_GB + WHOLE[:-40]),
    "5 GB, nothing sent": (store_head(ANNOUNCED), b""),
    "cut in a part": (store_head(f"Content-Length: {len(WHOLE)}"), WHOLE[: len(WHOLE) // 2]),
    "no boundary": (store_head(f"Content-Length: {8 << 20}"), bytes(8 << 20)),
    "another boundary": (store_head(f"Content-Length: {len(WHOLE)}"), WHOLE.replace(b"a-bound", b"b-bound")),
    "no closing boundary": (store_head(f"Content-Length: {len(WHOLE[:-20])}"), WHOLE[:-20]),
}


@pytest.mark.parametrize("case", NOT_WHOLE)
def test_bodies_that_are_not_whole(served: Served, case: str) -> None:
    head, body = NOT_WHOLE[case]
    answer = over_http(served, head, body)
    assert answer.status == 400
    assert answer.problem["detail"].startswith("The request was not whole: ")
    assert answer.problem["stored"] == []
    assert not left_behind(served)


def left_behind(served: Served) -> list[Path]:
    return [path for path in served.data.rglob("*") if path.suffix == ".part"]


@pytest.mark.parametrize("reset", [True, False])
def test_a_client_that_goes_away_within_a_part(served: Served, reset: bool) -> None:
    with connected(served, store_head(ANNOUNCED), WHOLE[: len(WHOLE) // 2]) as connection:
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    deadline = time.monotonic() + 20
    while left_behind(served):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">BxI", P_DATA_TF, 0xFFFFFFF0),
        struct.pack(">BxI", P_DATA_TF, 6) + struct.pack(">IBB", 0xFFFFFFF0, 1, 3),
        p_data(0x03, b"\x00\x00\x00\x01\x02\x00\x00\x00\xff\x7f"),
        p_data(0x03, b"\x00\x00\x02\x00\xff\xff\xff\xff1.2"),
        p_data(0x02, b"a data set without a command"),
    ],
    ids=["PDU length", "item length", "unknown command", "element length", "no command"],
)
def test_lies_within_an_association(served: Served, sent: bytes) -> None:
    with raw(served.dicom_port) as (association, connection):
        connection.sendall(sent)
        deadline = time.monotonic() + 20
        while association.is_established:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert association.is_aborted


def test_a_pdu_of_4_gb_before_the_association(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.dicom_port), timeout=30) as connection:
        connection.sendall(struct.pack(">BxI", 0x01, 0xFFFFFFF0) + bytes(1000))
        # PS3.8 9.3.8: by the service provider, invalid PDU parameter value
        assert connection.recv(100) == bytes([A_ABORT, 0, 0, 0, 0, 4, 0, 0, 2, 6])


def test_an_object_cut_off_by_an_abort(served: Served) -> None:
    with raw(served.dicom_port) as (association, connection):
        connection.sendall(p_data(0x03, store_command(uid(6, 6, 6))))
        for _ in range(200):
            connection.sendall(p_data(0x00, bytes(100_000)))
        association.abort()
    assert requests.get(f"{served.dicomweb}/instances", {"SOPInstanceUID": uid(6, 6, 6)}, timeout=30).json() == []


def test_peers_that_hang(served: Served) -> None:
    """All at once: they hold nobody up, and are told or let go of when their time is over."""
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection(("127.0.0.1", served.http_port)))
        half_a_head = stack.enter_context(socket.create_connection(("127.0.0.1", served.http_port), timeout=30))
        half_a_head.sendall(b"GET /dicom-web/studies HTTP/1.1\r\nHost: local")
        in_a_part = stack.enter_context(connected(served, store_head(ANNOUNCED), WHOLE[: len(WHOLE) // 2]))
        in_a_chunk = stack.enter_context(connected(served, store_head(CHUNKED), b"12A05F200\r\n--a-bound"))
        half_a_request = stack.enter_context(socket.create_connection(("127.0.0.1", served.dicom_port), timeout=30))
        half_a_request.sendall(b"\x01\x00\x00\x00\x00\x80half of it")
        association, connection = stack.enter_context(raw(served.dicom_port))
        connection.sendall(p_data(0x03, store_command(uid(6, 6, 6))) + p_data(0x00, bytes(1000))[:500])

        start = time.monotonic()
        good_requests(served, "while others hang")
        assert time.monotonic() - start < PATIENCE

        assert received(half_a_head).status == 408
        for hanging in (in_a_part, in_a_chunk):
            answer = received(hanging)
            assert answer.status == 408
            assert "fell silent" in answer.problem["detail"]
        with suppress(ConnectionResetError):
            assert half_a_request.recv(100)[:1] in (b"", bytes([A_ABORT]))
        deadline = time.monotonic() + 3 * PATIENCE
        while association.is_established:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert not left_behind(served)
