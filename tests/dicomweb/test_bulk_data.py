"""WADO-RS bulk data: by range, in the form asked for, as what it is."""

import pytest
from flask.testing import FlaskClient
from pydicom import Dataset
from pydicom.uid import JPEGLSLossless, generate_uid

from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import data_set, encapsulated, json_of, part10, parts

OCTETS = "application/octet-stream"
PARTS = f'multipart/related; type="{OCTETS}"'
VALUE = bytes(range(250)) * 20
PDF = b"%PDF-1.7" + bytes(2000)


@pytest.fixture
def url(store: Store) -> str:
    """Where a private value of 5000 bytes is found."""
    ds = data_set()
    ds.private_block(0x0099, "FILEROOM TEST", create=True).add_new(1, "OB", VALUE)
    return f"{stored(store, ds)}/bulkdata/00991001"


def stored(store: Store, ds: Dataset) -> str:
    assert store(part10(ds)).status_code == 200
    return f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=0-0", 0, 1),
        ("bytes=4999-4999", 4999, 5000),
        ("bytes=4000-9999", 4000, 5000),
        ("bytes=100-", 100, 5000),
        ("bytes=-100", 4900, 5000),
        ("bytes=-9999", 0, 5000),
        ("bytes=0-", 0, 5000),
        ("Bytes = 10-19", 10, 20),
    ],
)
def test_a_range(client: FlaskClient, url: str, asked: str, start: int, end: int) -> None:
    answer = client.get(url, headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.data == VALUE[start:end]
    assert answer.content_length == end - start
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/5000"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.content_type == OCTETS


@pytest.mark.parametrize("asked", ["bytes=5000-", "bytes=5000-6000", "bytes=-0", "bytes=99999999999999999999-"])
def test_a_range_that_begins_behind_the_end(client: FlaskClient, url: str, asked: str) -> None:
    answer = client.get(url, headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */5000"
    assert answer.content_type == "application/problem+json"
    assert "5000 bytes" in json_of(answer)["detail"]


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=x-y",
        "bytes=9-1",
        "lines=1-2",
        "bytes=0-9,20-29",
        f"bytes=0-{'9' * 5000}",
        "bytes=-",
    ],
)
def test_what_is_no_range_or_several_gives_the_whole(client: FlaskClient, url: str, asked: str) -> None:
    answer = client.get(url, headers={"Range": asked})
    assert (answer.status_code, answer.data) == (200, VALUE)
    assert "Content-Range" not in answer.headers


def test_a_range_on_condition(client: FlaskClient, url: str) -> None:
    tag = client.get(url).headers["ETag"]
    assert tag.startswith('"')
    for condition, status in ((tag, 206), (f"W/{tag}", 200), ('"other"', 200), ("Sat, 21 Nov 2026 05:36:30 GMT", 200)):
        answer = client.get(url, headers={"Range": "bytes=0-9", "If-Range": condition})
        assert (answer.status_code, answer.data) == (status, VALUE[:10] if status == 206 else VALUE), condition
    assert client.get(url, headers={"Range": "bytes=0-9", "If-None-Match": tag}).status_code == 304
    assert client.get(url, headers={"If-None-Match": tag}).status_code == 304


def test_head_has_no_range(client: FlaskClient, url: str) -> None:
    answer = client.head(url, headers={"Range": "bytes=0-9"})
    assert (answer.status_code, answer.data, answer.content_length) == (200, b"", 5000)
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_a_range_in_a_part(client: FlaskClient, url: str) -> None:
    """As dicomweb-client asks for it."""
    answer = client.get(url, headers={"Accept": PARTS, "Range": "bytes=10-19"})
    assert answer.status_code == 206
    assert parts(answer.content_type, answer.data) == [(OCTETS, VALUE[10:20])]
    assert b"\r\nContent-Range: bytes 10-19/5000\r\n" in answer.data


def test_in_parts(client: FlaskClient, url: str) -> None:
    answer = client.get(url, headers={"Accept": PARTS})
    assert parts(answer.content_type, answer.data) == [(OCTETS, VALUE)]
    # PS3.18 10.4.3.3.5
    assert f"\r\nContent-Location: http://localhost{url}\r\n".encode() in answer.data
    assert answer.headers["ETag"].startswith("W/")


@pytest.mark.parametrize("accept", [OCTETS, "*/*", "application/*", f"{OCTETS}; transfer-syntax=*", None])
def test_a_single_part(client: FlaskClient, url: str, accept: str | None) -> None:
    answer = client.get(url, headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.content_type, answer.data) == (200, OCTETS, VALUE)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/pdf", "application/pdf"),
        ("*/*", "application/pdf"),
        (OCTETS, OCTETS),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/pdf"),
    ],
)
def test_an_encapsulated_document(client: FlaskClient, store: Store, accept: str, content_type: str) -> None:
    ds = data_set(EncapsulatedDocument=PDF, MIMETypeOfEncapsulatedDocument="application/pdf", PixelData=None)
    answer = client.get(f"{stored(store, ds)}/bulkdata/00420011", headers={"Accept": accept})
    assert (answer.status_code, answer.content_type, answer.data) == (200, content_type, PDF)
    # browsers show no PDF in a sandbox
    assert ("Content-Security-Policy" in answer.headers) is (content_type == OCTETS)


def test_a_document_in_parts_and_by_range(client: FlaskClient, store: Store) -> None:
    ds = data_set(EncapsulatedDocument=PDF, MIMETypeOfEncapsulatedDocument="application/pdf", PixelData=None)
    url = f"{stored(store, ds)}/bulkdata/00420011"
    answer = client.get(url, headers={"Accept": 'multipart/related; type="application/pdf"'})
    assert parts(answer.content_type, answer.data) == [("application/pdf", PDF)]
    answer = client.get(url, headers={"Accept": "application/pdf", "Range": "bytes=0-7"})
    assert (answer.status_code, answer.data, answer.content_type) == (206, b"%PDF-1.7", "application/pdf")


def test_a_document_that_would_be_a_page_of_ours(client: FlaskClient, store: Store) -> None:
    script = b"<script>alert(1)</script>" * 100
    ds = data_set(EncapsulatedDocument=script, MIMETypeOfEncapsulatedDocument="text/html", PixelData=None)
    answer = client.get(f"{stored(store, ds)}/bulkdata/00420011", headers={"Accept": "text/html"})
    assert answer.content_type == "text/html"
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("declared", ["nonsense", "text/html\r\nX: y", "a/b; c=d", ""])
def test_a_document_of_no_media_type(client: FlaskClient, store: Store, declared: str) -> None:
    ds = data_set(EncapsulatedDocument=PDF, MIMETypeOfEncapsulatedDocument=declared, PixelData=None)
    answer = client.get(f"{stored(store, ds)}/bulkdata/00420011")
    assert (answer.status_code, answer.content_type) == (200, OCTETS)


def test_a_colour_profile(client: FlaskClient, store: Store) -> None:
    item = {"ICCProfile": bytes(3000)}
    ds = data_set(ICCProfile=bytes(2000), OpticalPathSequence=[item])
    path = stored(store, ds)
    for name, length in (("00282000", 2000), ("00480105/0/00282000", 3000)):
        for accept in ("application/vnd.iccprofile", "*/*"):
            answer = client.get(f"{path}/bulkdata/{name}", headers={"Accept": accept})
            assert (answer.content_type, len(answer.data)) == ("application/vnd.iccprofile", length)
        assert client.get(f"{path}/bulkdata/{name}", headers={"Accept": OCTETS}).content_type == OCTETS


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("00991002", 404),
        ("00991001/0/00100010", 404),
        ("00081110/0/00081150", 404),
        ("0099100", 400),
        ("PixelData", 400),
        ("00991001/x/00100010", 400),
        ("..%2f..%2fmetadata", 400),
        ("00991001/", 400),
    ],
)
def test_what_is_not_there(client: FlaskClient, url: str, path: str, status: int) -> None:
    answer = client.get(f"{url.rpartition('/')[0]}/{path}", headers={"Range": "bytes=0-1", "If-None-Match": "*"})
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert json_of(answer)["detail"]


def test_what_it_cannot_be_given_as(client: FlaskClient, url: str) -> None:
    answer = client.get(url, headers={"Accept": "image/png"})
    assert answer.status_code == 406
    assert json_of(answer)["acceptable"] == [OCTETS, PARTS]


def test_unknown_instance(client: FlaskClient, url: str) -> None:
    uid = generate_uid()
    assert client.get(f"/dicom-web/studies/{uid}/series/{uid}/instances/{uid}/bulkdata/00991001").status_code == 404


@pytest.mark.parametrize("steps", [0, 1, 2], ids=["instance", "series", "study"])
def test_all_bulk_data(client: FlaskClient, store: Store, steps: int) -> None:
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    ds = data_set(**uids, InstanceNumber=1)
    ds.private_block(0x0099, "FILEROOM TEST", create=True).add_new(1, "OB", VALUE)
    path = stored(store, ds)
    store(encapsulated([bytes(50), bytes(60)], JPEGLSLossless, **uids, InstanceNumber=2))
    resource = path.rsplit("/", 2 * steps)[0] if steps else path
    answer = client.get(f"{resource}/bulkdata", headers={"Accept": PARTS})
    assert answer.status_code == 200
    locations = [line for line in answer.data.split(b"\r\n") if line.startswith(b"Content-Location: ")]
    urls = [line.decode().removeprefix("Content-Location: ") for line in locations]
    received = parts(answer.content_type, answer.data)
    assert len(urls) == len(received) == (4 if steps else 2)
    for url, (content_type, content) in zip(urls, received, strict=True):
        single = f"{OCTETS}; transfer-syntax=*"
        assert client.get(url, headers={"Accept": single}).data == content
        assert content_type.startswith(OCTETS)
    assert client.get(f"{resource}/bulkdata", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert client.get(f"{resource}/bulkdata", headers={"Accept": "image/png"}).status_code == 406
    assert client.get("/dicom-web/studies/1.2.3/bulkdata").status_code == 404
