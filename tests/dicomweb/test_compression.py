"""Content-Encoding: who gets gzip, of what, and that it is streamed."""

import gzip
import zlib

import pytest
from flask.testing import FlaskClient
from pydicom.uid import JPEGLSLossless

from fileroom_storage.storage import Storage
from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import data_set, encapsulated, json_of, part10, parts
from tests.dicomweb.test_qido import _Cursor

XML_PARTS = 'multipart/related; type="application/dicom+xml"'


@pytest.fixture
def path(store: Store) -> str:
    ds = data_set(PatientComments="x" * 3000)
    assert store(part10(ds)).status_code == 200
    return f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


@pytest.mark.parametrize(
    ("accept_encoding", "compressed"),
    [
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("gzip;q=1.0, identity; q=0.5, *;q=0", True),
        ("x-gzip", True),
        ("GZIP", True),
        ("*", True),
        ("br;q=1, gzip;q=0.1", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=0.5, identity;q=1", False),
        ("identity", False),
        ("br", False),
        ("", False),
        ("nonsense;;q", False),
        (None, False),
    ],
)
def test_who_gets_gzip(client: FlaskClient, path: str, accept_encoding: str | None, compressed: bool) -> None:
    headers = {} if accept_encoding is None else {"Accept-Encoding": accept_encoding}
    plain = client.get(f"{path}/metadata", headers={"Accept-Encoding": "identity"})
    answer = client.get(f"{path}/metadata", headers=headers)
    assert answer.headers.get("Content-Encoding") == ("gzip" if compressed else None)
    assert (gzip.decompress(answer.data) if compressed else answer.data) == plain.data
    assert answer.headers["Content-Type"] == "application/dicom+json"
    assert "accept-encoding" in answer.headers["Vary"].lower()
    # one weak tag is right for every encoding
    assert answer.headers["ETag"] == plain.headers["ETag"]
    known = {**headers, "If-None-Match": answer.headers["ETag"]}
    again = client.get(f"{path}/metadata", headers=known)
    assert again.status_code == 304
    assert "Content-Encoding" not in again.headers


def test_xml_in_parts(client: FlaskClient, path: str) -> None:
    answer = client.get(f"{path}/metadata", headers={"Accept": XML_PARTS, "Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    ((content_type, content),) = parts(answer.content_type, gzip.decompress(answer.data))
    assert content_type == "application/dicom+xml"
    assert content.startswith(b"<?xml")


@pytest.mark.parametrize(
    "accept", ["*/*", "application/octet-stream", "multipart/related; type=application/octet-stream"]
)
@pytest.mark.parametrize("name", ["", "/frames/1", "/bulkdata/7FE00010"])
def test_pixels_are_never_compressed(client: FlaskClient, store: Store, name: str, accept: str) -> None:
    ds = data_set(Rows=100, Columns=100, PixelData=bytes(20000))
    frame = encapsulated([bytes(5000)], JPEGLSLossless, StudyInstanceUID=ds.StudyInstanceUID)
    store(part10(ds), frame)
    for found in json_of(client.get(f"/dicom-web/studies/{ds.StudyInstanceUID}/instances")):
        accepted = accept if name else "*/*"
        answer = client.get(
            found["00081190"]["Value"][0] + name, headers={"Accept": accepted, "Accept-Encoding": "gzip"}
        )
        assert answer.status_code in (200, 406), answer.data
        assert "Content-Encoding" not in answer.headers or answer.status_code == 406


def test_small_answers_are_left_alone(client: FlaskClient, path: str) -> None:
    answer = client.get("/health/live", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    refused = client.get(f"{path}/frames/0", headers={"Accept-Encoding": "gzip"})
    assert refused.status_code == 400
    assert json_of(refused)["status"] == 400


def test_the_length_is_that_of_what_is_sent(client: FlaskClient, path: str) -> None:
    answer = client.get("/", headers={"Accept-Encoding": "gzip"})
    assert answer.headers.get("Content-Length", str(len(answer.data))) == str(len(answer.data))
    head = client.head(f"{path}/metadata", headers={"Accept-Encoding": "gzip"})
    assert (head.status_code, head.data, head.headers["Content-Encoding"]) == (200, b"", "gzip")
    assert "Content-Length" not in head.headers


def test_compressed_answers_are_streamed_and_the_cursor_is_closed(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = _Cursor(1_000_000)
    monkeypatch.setattr(storage, "find", cursor)
    answer = client.get("/dicom-web/studies", buffered=False, headers={"Accept-Encoding": "gzip"})
    chunks = answer.iter_encoded()
    inflater = zlib.decompressobj(31)
    text = b""
    while len(text) < 10_000:
        text += inflater.decompress(bytes(next(chunks)))
    assert text.startswith(b"[{")
    assert cursor.given < 500_000
    answer.close()
    assert cursor.closed


def test_an_answer_of_which_nothing_is_read(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = _Cursor(1_000_000)
    monkeypatch.setattr(storage, "find", cursor)
    client.get("/dicom-web/studies", buffered=False, headers={"Accept-Encoding": "gzip"}).close()
    assert cursor.closed
    cursor = _Cursor(1_000_000)
    monkeypatch.setattr(storage, "find", cursor)
    client.head("/dicom-web/studies", headers={"Accept-Encoding": "gzip"}).close()
    assert cursor.closed


def test_an_answer_that_breaks_off_has_no_end(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(storage, "find", _Cursor(1_000_000, fails_after=20_000))
    inflater = zlib.decompressobj(31)
    with client.get("/dicom-web/studies", buffered=False, headers={"Accept-Encoding": "gzip"}) as answer:
        chunks = answer.iter_encoded()
        text = inflater.decompress(next(chunks))
        with pytest.raises(ConnectionResetError):
            text += b"".join(inflater.decompress(chunk) for chunk in chunks)
    assert not inflater.eof
