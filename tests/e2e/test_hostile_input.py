"""Objects and messages that are made to hurt: bombs, floods, forged lines. Refused or kept, memory stays bounded."""

import json
import re
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.dicomweb.objects import data_set, multipart, part10
from tests.fuzz.test_live_server import associate_request, converse
from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.served import Served
from tests.server.dimse.pdus import p_data, store_command
from tests.server.dimse.scu import associated, error_comment, store_bytes

MEBIBYTE = 1 << 20
MOST_GROWTH = 300 * MEBIBYTE
_SECONDS = 120
_OBJECT = {"Content-Type": "application/dicom"}
_MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=a-boundary'}
_JSON = {"Content-Type": "application/dicom+json"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("hostile") / "data", FILEROOM_STORAGE__DURABILITY="relaxed") as served:
        for _ in range(8):
            serve_others(served)  # what every first request loads is no growth
        yield served


@pytest.fixture(autouse=True)
def unhurt(served: Served) -> Iterator[None]:
    before, said = served.peak_memory(), len(served.output)
    yield
    assert requests.get(f"{served.dicomweb}/studies?limit=1", timeout=_SECONDS).ok
    after = served.peak_memory()
    assert after.keys() >= before.keys(), "a process of the server has died"
    assert all(after[process] - before[process] < MOST_GROWTH for process in before), (before, after)
    output = served.output[said:]
    assert "Traceback" not in output, output
    assert "unexpected" not in output, output
    # a line is a record: nobody but us has begun one
    assert all(re.match(r"\d{4}-\d\d-\d\dT[0-9:.+]+ [A-Z]+ +\S+( \[\S+\])?: ", line) for line in output.splitlines()), (
        output
    )
    assert output.isascii()
    assert "\x1b" not in output


def serve_others(served: Served) -> None:
    ds = data_set()
    content = encoded(ds, implicit=True)
    assert store(served, part10(ds)).status_code == 200
    assert requests.get(f"{served.dicomweb}/studies/{ds.StudyInstanceUID}/metadata", timeout=_SECONDS).ok
    with associated(served.dicom_port, (CT_IMAGE_STORAGE, str(ImplicitVRLittleEndian))) as association:
        assert store_bytes(association, content, CT_IMAGE_STORAGE, ds.SOPInstanceUID).Status == 0x0000


def store(served: Served, content: Any, headers: dict[str, str] | None = None) -> requests.Response:
    return requests.post(f"{served.dicomweb}/studies", content, headers=headers or _OBJECT, timeout=_SECONDS)


def failures(answer: requests.Response) -> list[str]:
    """What is said of each object that was refused."""
    said = answer.json()
    items = [item for tag in ("00081198", "0008119A") for item in said.get(tag, {}).get("Value", ())]
    return [item["00000902"]["Value"][0] for item in items]


# -- objects that are larger than they look ----------------------------------------------------------------------------


def with_data_set(content: bytes, transfer_syntax_uid: str) -> bytes:
    """A file with good file meta information and this data set."""
    return (
        part10(made(), DeflatedExplicitVRLittleEndian).partition(b"DICM")[0]
        + b"DICM"
        + _meta(transfer_syntax_uid)
        + content
    )


def _meta(transfer_syntax_uid: str) -> bytes:
    value = transfer_syntax_uid.encode() + b"\0" * (len(transfer_syntax_uid) % 2)
    element = struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value
    return struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(element)) + element


def implicit_element(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def test_a_deflated_bomb(served: Served) -> None:
    compressor = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = encoded(data_set(PixelData=None)) + b"\xe0\x7f\x10\x00OB\x00\x00" + struct.pack("<I", 1 << 30)
    bomb = compressor.compress(head) + b"".join(compressor.compress(bytes(MEBIBYTE)) for _ in range(260))
    bomb += compressor.flush()
    assert len(bomb) < 4 * MEBIBYTE
    [said] = failures(store(served, with_data_set(bomb, DeflatedExplicitVRLittleEndian)))
    assert said.startswith("the data set inflates to more than 256 MiB")
    with associated(served.dicom_port, (CT_IMAGE_STORAGE, str(DeflatedExplicitVRLittleEndian))) as association:
        response = store_bytes(association, bomb, CT_IMAGE_STORAGE, uid(1))
        assert (response.Status, error_comment(response)) == (0xC004, "the data set inflates to more than 256 MiB")


FLOODS = {
    "values": implicit_element(0x00100020, b"\\" * (24 * MEBIBYTE)),
    "names": implicit_element(0x00100010, b"A^B\\" * (6 * MEBIBYTE)),
    "numbers": implicit_element(0x00200032, b"1\\" * (12 * MEBIBYTE)),
    "text": implicit_element(0x00104000, "ä".encode() * (12 * MEBIBYTE)),
    "items": implicit_element(0x00400275, b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * (3 * MEBIBYTE)),
    "elements of an item": implicit_element(
        0x00400275, implicit_element(0xFFFEE000, b"".join(struct.pack("<II", n, 0) for n in range(2, 500_000)))
    ),
    "elements": b"".join(struct.pack("<HHI", 0x0041, number & 0xFFFF, 0) for number in range(65_000)),
    "group length": struct.pack("<HHI", 0x0009, 0x1001, 24 * MEBIBYTE) + bytes(24 * MEBIBYTE),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods(served: Served, name: str) -> None:
    """They are kept, as everything that has its UIDs is; what nobody could hold is left out of the index."""
    ds = data_set(PatientID=None, PatientName=None, ImagePositionPatient=None)
    before = encoded(ds, implicit=True)
    content = with_data_set(before + FLOODS[name], ImplicitVRLittleEndian)
    answer = store(served, content)
    if answer.status_code != 200:
        assert failures(answer)
        return
    [stored] = answer.json()["00081199"]["Value"]
    url = stored["00081190"]["Value"][0]
    metadata = requests.get(f"{url}/metadata", timeout=_SECONDS)
    assert metadata.status_code in (200, 406)
    if metadata.status_code == 406:
        assert "retrieve the object" in metadata.json()["detail"]
    for resource in ("/rendered", "/frames/1", ""):
        assert requests.get(url + resource, headers={"Accept": "*/*"}, timeout=_SECONDS).ok
    found = requests.get(f"{served.dicomweb}/studies", {"StudyInstanceUID": ds.StudyInstanceUID}, timeout=_SECONDS)
    assert len(found.json()) == 1


def test_long_file_meta_information(served: Served) -> None:
    ds = data_set()
    long = struct.pack("<HH2s2xI", 2, 0x102, b"OB", 24 * MEBIBYTE) + bytes(24 * MEBIBYTE)
    content = bytes(128) + b"DICM" + _meta("1.2.840.10008.1.2.1") + long + encoded(ds)
    assert store(served, content).status_code == 200


def test_a_frame_of_which_nothing_is_pixels(served: Served) -> None:
    """24 MB in the fragment of an image of 8 by 8 pixels."""
    ds = data_set(PixelData=None, BitsAllocated=8, BitsStored=8, HighBit=7)
    items = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0" + struct.pack("<I", 24 * MEBIBYTE)
    pixels = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff" + items + bytes(24 * MEBIBYTE) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    answer = store(served, with_data_set(encoded(ds) + pixels, "1.2.840.10008.1.2.4.50"))
    [stored] = answer.json()["00081199"]["Value"]
    rendered = requests.get(f"{stored['00081190']['Value'][0]}/rendered", timeout=_SECONDS)
    assert rendered.status_code == 406


# -- messages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        b"9" * (40 * MEBIBYTE),
        b"9" * 100_000,
        b"1e999999999",
        b"-1e-999999999",
        b"NaN",
        b"Infinity",
        b'"\\ud800"',
        b'"' + b"x" * (40 * MEBIBYTE) + b'"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5000 + b"." + b"9" * 5000,
    ],
    ids=[
        "40 MB of digits",
        "digits",
        "large",
        "small",
        "NaN",
        "infinity",
        "surrogate",
        "text",
        "arrays",
        "objects",
        "long",
    ],
)
def test_json_values(served: Served, value: bytes) -> None:
    for vr in ("DS", "UL", "LO") if len(value) < MEBIBYTE else ("DS",):
        store_value(served, vr, value)


def store_value(served: Served, vr: str, value: bytes) -> None:
    head = json.dumps(
        {
            "00080016": {"vr": "UI", "Value": [CT_IMAGE_STORAGE]},
            **{tag: {"vr": "UI", "Value": [uid(3, vr.encode()[0])]} for tag in ("00080018", "0020000D", "0020000E")},
        }
    )
    body = head[:-1].encode() + b',"00281053":{"vr":"%s","Value":[' % vr.encode() + value + b"]}}"
    answer = store(served, body, _JSON)
    assert answer.status_code in (200, 400, 409, 413), answer.text
    assert len(answer.text) < 10_000


def test_a_header_that_a_pattern_would_take_for_ever_to_read(served: Served) -> None:
    part = b"\r\n--a-boundary\r\nContent-Type: application/dicom\r\nX: a" + b" " * 16_000 + b"b\r\n\r\nx"
    assert store(served, part * 100 + b"\r\n--a-boundary--", _MULTIPART).status_code == 409


@pytest.mark.parametrize(
    "accept", ["a/b;" * 2000, ",".join(["a/b"] * 2000), '"' + ";" * 8000, "a/b;c*0*=" + "'" * 4000, "q=" + "9" * 8000]
)
def test_headers_that_are_long_to_read(served: Served, accept: str) -> None:
    for name in ("Accept", "Accept-Encoding", "Forwarded", "If-None-Match", "Range"):
        answer = requests.get(f"{served.dicomweb}/studies?limit=1", headers={name: accept}, timeout=_SECONDS)
        assert answer.status_code < 500


# -- what would get into answers and logs ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*VR UI:UserWarning")
@pytest.mark.parametrize(
    "value", ["1.2\r\nX-Forged: 1", "1.2\nSet-Cookie: a=b", '1.2"; filename="x', "1\x00.2", "1.2/../3"]
)
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_uids_that_would_be_headers(served: Served, keyword: str, value: str) -> None:
    answer = store(served, multipart(part10(data_set(**{keyword: value}))), _MULTIPART)
    assert answer.status_code == 409
    assert failures(answer) == [f"{keyword} has characters that no UID has (PS3.5 9.1)"]
    assert "X-Forged" not in answer.headers
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "target",
    [
        "/dicom-web/studies/1.2%0d%0aX-Forged:%201",
        "/dicom-web/studies?includefield=a%0d%0aX-Forged:%201",
        "/dicom-web/studies?%0d%0aX-Forged:%201=1",
        "/dicom-web/studies?orderby=%0d%0aX-Forged:%201&StudyDate%0d%0aX-Forged=1",
        "/dicom-web/studies/1.2/bulkdata%0d%0aX-Forged:%201",
        "/wado?requestType=WADO&studyUID=1%0d%0aX-Forged:1&seriesUID=1&objectUID=1&contentType=a/b%0d%0aX-Forged:1",
        "/viewer/%0d%0aX-Forged:%201",
        "/viewer%0d%0aX-Forged:%201/x",
        "//evil.example/%0d%0aX-Forged:%201",
    ],
)
def test_urls_that_would_be_headers(served: Served, target: str) -> None:
    head = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = converse(served.http_port, head.encode())
    assert re.match(rb"HTTP/1.1 [234]\d\d ", answer), answer
    assert b"\r\nX-Forged" not in answer.partition(b"\r\n\r\n")[0]


FORGED_TITLES = [b"A\n2026-01-01T", b"\x1b[2J\x1b]0;x\x07", b"\r\n\r\nERROR x", b"\xe2\x80\xae\xc2\x85\xff"]


@pytest.mark.parametrize("title", FORGED_TITLES)
def test_ae_titles_that_would_be_lines_of_the_log(served: Served, title: bytes) -> None:
    asked = associate_request().replace(b"FUZZ".ljust(16), title.ljust(16), 1)
    objects = p_data(0x03, store_command("1.2.3")) + p_data(0x02, b"\x08\x00\x16\x00\x04\x00\x00\x001.2\x00")
    for rest in (b"", objects, p_data(0x03, b"\xff" * 40)):
        converse(served.dicom_port, asked + rest)
    # as many bytes as a title has, in the called one
    converse(served.dicom_port, associate_request().replace(b"FILEROOM".ljust(16), title.ljust(16), 1))


@pytest.mark.filterwarnings("ignore:.*VR UI:UserWarning")
def test_values_that_would_be_lines_of_the_log(served: Served) -> None:
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "PatientName", "PatientID", "Modality", "SOPClassUID"):
        for value in ("1.2\n2026-01-01T00:00:00 ERROR forged: x", "1.2\x1b[31m", "1.2\r"):
            ds = data_set(**{keyword: value})
            content = encoded(ds, implicit=True)
            assert store(served, part10(ds)).status_code in (200, 202, 409)
            with associated(served.dicom_port, (CT_IMAGE_STORAGE, str(ImplicitVRLittleEndian))) as association:
                store_bytes(association, content, CT_IMAGE_STORAGE, uid(1, 2, 3))
    for line in (b"GET /\x1b[2J HTTP/1.1", b"G\x1bT / HTTP/1.1", b"GET /a\x0bb HTTP/1.1"):
        converse(served.http_port, line + b"\r\nHost: a\x1b[2J\r\nUser-Agent: \x1b[2J\r\n\r\n")
    with socket.create_connection(("127.0.0.1", served.http_port), timeout=_SECONDS) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n")
        assert connection.recv(12).startswith(b"HTTP/1.1 400")


def test_others_are_served_after_all_this(served: Served) -> None:
    serve_others(served)


def test_nothing_is_read_or_written_elsewhere(served: Served) -> None:
    """Paths in URLs, file names of parts, locations of bulk data."""
    secret = served.data.parent / "secret.txt"
    secret.write_text("a secret")
    for path in (
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        f"/{secret}",
        "....//secret.txt",
        "..\\secret.txt",
    ):
        for start in ("/viewer/", "/viewer/assets/", "/dicom-web/", "/"):
            head = f"GET {start}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            assert b"a secret" not in converse(served.http_port, head.encode())
    metadata = json.dumps(
        {
            "00080016": {"vr": "UI", "Value": [CT_IMAGE_STORAGE]},
            **{tag: {"vr": "UI", "Value": [uid(4)]} for tag in ("00080018", "0020000D", "0020000E")},
            "00420011": {"vr": "OB", "BulkDataURI": f"file://{secret}"},
        }
    )
    assert failures(store(served, metadata, _JSON)) == ["(0042,0011): no part of the request is at its BulkDataURI"]
    before = _files(served)
    disposition = b'Content-Disposition: attachment; filename="../../../evil.dcm"\r\nContent-Location: ../../evil'
    part = b"\r\n--a-boundary\r\nContent-Type: application/dicom\r\n" + disposition + b"\r\n\r\n" + part10()
    assert store(served, part + b"\r\n--a-boundary--", _MULTIPART).status_code == 200
    assert _outside(served, before) == []


def _files(served: Served) -> set[Path]:
    return {path for path in served.data.parent.rglob("*") if path.is_file()}


def _outside(served: Served, before: set[Path]) -> list[Path]:
    return [path for path in _files(served) - before if served.data not in path.parents or "evil" in path.name]
