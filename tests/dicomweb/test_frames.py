"""WADO-RS frames: bytes, media types, transfer syntaxes and frame lists."""

import numpy as np
import pytest
from flask.testing import FlaskClient
from pydicom import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)
from werkzeug.test import TestResponse

from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import data_set, encapsulated, json_of, part10, parts

ANY_OCTETS = "multipart/related; type=application/octet-stream; transfer-syntax=*"
FRAMES = [bytes([number]) * (40 + 2 * number) for number in range(1, 5)]


def path_of(answer: TestResponse) -> str:
    (item,) = json_of(answer)["00081199"]["Value"]
    return str(item["00081190"]["Value"][0])


def native(transfer_syntax_uid: UID = ExplicitVRLittleEndian, **attributes: object) -> tuple[Dataset, bytes]:
    pixels = np.arange(3 * 64, dtype="<u2").tobytes()
    ds = data_set(NumberOfFrames=3, PixelData=pixels, **attributes)
    return ds, pixels


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("numbers", [[1], [3], [1, 2, 3], [3, 1], [2, 2]])
@pytest.mark.parametrize("accept", [ANY_OCTETS, "*/*", 'multipart/related; type="application/octet-stream"', None])
def test_native(client: FlaskClient, store: Store, syntax: UID, numbers: list[int], accept: str | None) -> None:
    ds, pixels = native()
    path = path_of(store(part10(ds, syntax)))
    headers = {"Accept": accept} if accept else {}
    answer = client.get(f"{path}/frames/{','.join(map(str, numbers))}", headers=headers)
    assert answer.status_code == 200
    assert parts(answer.content_type, answer.data) == [
        ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", pixels[(n - 1) * 128 : n * 128])
        for n in numbers
    ]


@pytest.mark.parametrize(
    ("syntax", "media_type"),
    [
        (JPEGBaseline8Bit, "image/jpeg"),
        (JPEGLSLossless, "image/jls"),
        (JPEG2000, "image/jp2"),
        (HTJ2K, "image/jphc"),
        (RLELossless, "image/dicom-rle"),
    ],
)
def test_encapsulated(client: FlaskClient, store: Store, syntax: UID, media_type: str) -> None:
    path = path_of(store(encapsulated(FRAMES, syntax)))

    def received(accept: str, numbers: str = "1,2,3,4") -> list[tuple[str, bytes]]:
        answer = client.get(f"{path}/frames/{numbers}", headers={"Accept": accept})
        assert answer.status_code == 200
        return parts(answer.content_type, answer.data)

    octets = [(f"application/octet-stream; transfer-syntax={syntax}", frame) for frame in FRAMES]
    images = [(f"{media_type}; transfer-syntax={syntax}", frame) for frame in FRAMES]
    assert received(ANY_OCTETS) == octets
    assert received(f"multipart/related; type=application/octet-stream; transfer-syntax={syntax}") == octets
    assert received("*/*") == received('multipart/related; type="*/*"') == images
    assert received(f'multipart/related; type="{media_type}"') == images
    assert received(f'multipart/related; type="{media_type}"; transfer-syntax={syntax}', "4") == images[3:]
    other = "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    refused = client.get(f"{path}/frames/1", headers={"Accept": other})
    assert refused.status_code == 406
    assert f'multipart/related; type="{media_type}"; transfer-syntax={syntax}' in json_of(refused)["acceptable"]


def test_older_names(client: FlaskClient, store: Store) -> None:
    path = path_of(store(encapsulated(FRAMES, JPEGLSLossless)))
    answer = client.get(f"{path}/frames/1", headers={"Accept": "multipart/related; type=image/x-jls"})
    assert parts(answer.content_type, answer.data)[0][0] == f"image/x-jls; transfer-syntax={JPEGLSLossless}"


def test_single_part(client: FlaskClient, store: Store) -> None:
    path = path_of(store(encapsulated(FRAMES, JPEGBaseline8Bit)))
    answer = client.get(f"{path}/frames/2", headers={"Accept": "image/jpeg"})
    assert answer.content_type == f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"
    assert answer.content_length == len(FRAMES[1])
    assert answer.data == FRAMES[1]
    octets = client.get(f"{path}/frames/2", headers={"Accept": "application/octet-stream; transfer-syntax=*"})
    assert octets.data == FRAMES[1]
    assert client.get(f"{path}/frames/1,2", headers={"Accept": "image/jpeg"}).status_code == 406


def test_lists_and_ranges_keep_their_order(client: FlaskClient, store: Store) -> None:
    for content in (encapsulated(FRAMES, JPEGLSLossless), part10(native()[0])):
        path = path_of(store(content))
        single = [client.get(f"{path}/frames/{n}", headers={"Accept": ANY_OCTETS}) for n in (1, 2, 3)]
        frames = [parts(answer.content_type, answer.data)[0] for answer in single]
        answer = client.get(f"{path}/frames/3,1-2,2-3,1", headers={"Accept": ANY_OCTETS})
        assert parts(answer.content_type, answer.data) == [frames[n - 1] for n in (3, 1, 2, 2, 3, 1)]


@pytest.mark.parametrize("numbers", ["5", "1,5", "999999999", "1-5", "2,1-999999999"])
def test_frames_out_of_range(client: FlaskClient, store: Store, numbers: str) -> None:
    for content in (encapsulated(FRAMES, JPEGLSLossless), part10(native()[0])):
        answer = client.get(f"{path_of(store(content))}/frames/{numbers}")
        assert answer.status_code == 404
        assert "there is no frame" in json_of(answer)["detail"]


@pytest.mark.parametrize(
    "numbers",
    ["0", "1,0", "0-2", "x", "3-1", "1-", "1-2-3", "-1", "1,", ",1", "1,,2", "1.5", "1;2", "%C2%B2", "9" * 20],
)
def test_frame_lists_that_are_none(client: FlaskClient, store: Store, numbers: str) -> None:
    answer = client.get(f"{path_of(store(part10()))}/frames/{numbers}")
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


def test_no_pixel_data(client: FlaskClient, store: Store) -> None:
    answer = client.get(f"{path_of(store(part10(PixelData=None)))}/frames/1")
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("bits", "rows", "columns", "vr"),
    [(8, 4, 4, "OW"), (8, 3, 3, "OW"), (8, 3, 3, "OB"), (16, 4, 4, "OW"), (32, 2, 2, "OW")],
)
def test_big_endian_pixels_come_little_endian(
    client: FlaskClient, store: Store, bits: int, rows: int, columns: int, vr: str
) -> None:
    frame_length = bits // 8 * rows * columns
    little = bytes(index % 251 for index in range(2 * frame_length))
    word = max(bits // 8, 2 if vr == "OW" else 1)
    big = np.frombuffer(little, f"u{word}").byteswap().tobytes()
    ds = data_set(
        NumberOfFrames=2,
        Rows=rows,
        Columns=columns,
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelData=b"",
    )
    ds.add_new(0x7FE00010, vr, big)
    path = path_of(store(part10(ds, ExplicitVRBigEndian)))
    answer = client.get(f"{path}/frames/1,2", headers={"Accept": ANY_OCTETS})
    assert parts(answer.content_type, answer.data) == [
        ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", little[:frame_length]),
        ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", little[frame_length:]),
    ]
    assert client.get(f"{path}/bulkdata/7FE00010").data == little


def test_big_endian_bulk_data_comes_little_endian(client: FlaskClient, store: Store) -> None:
    ds = data_set()
    item = Dataset()
    words = np.arange(3000, dtype="<u2")
    item.add_new(0x54001010, "OW", words.astype(">u2").tobytes())
    ds.add_new(0x54000100, "SQ", [item])
    path = path_of(store(part10(ds, ExplicitVRBigEndian)))
    (metadata,) = json_of(client.get(f"{path}/metadata"))
    uri = metadata["54000100"]["Value"][0]["54001010"]["BulkDataURI"]
    assert client.get(uri).data == words.tobytes()


def test_bulk_data_in_one_part_or_many(client: FlaskClient, store: Store) -> None:
    path = path_of(store(part10(native()[0])))
    pixels = native()[1]
    for accept in ("application/octet-stream", "*/*", None):
        answer = client.get(f"{path}/bulkdata/7FE00010", headers={"Accept": accept} if accept else {})
        assert answer.content_type == "application/octet-stream"
        assert answer.content_length == len(pixels)
        assert answer.data == pixels
    for accept in ('multipart/related; type="application/octet-stream"', ANY_OCTETS, 'multipart/related; type="*/*"'):
        answer = client.get(f"{path}/bulkdata/7FE00010", headers={"Accept": accept})
        assert parts(answer.content_type, answer.data) == [("application/octet-stream", pixels)]


def test_compressed_pixel_data_as_bulk_data_is_its_frames(client: FlaskClient, store: Store) -> None:
    path = path_of(store(encapsulated(FRAMES, JPEGLSLossless)))
    answer = client.get(f"{path}/bulkdata/7FE00010")
    assert [content for _, content in parts(answer.content_type, answer.data)] == FRAMES


@pytest.mark.parametrize("path", ["00990001", "52009229/0/00289145", "7FE00010/0/00100010"])
def test_bulk_data_that_is_not_there(client: FlaskClient, store: Store, path: str) -> None:
    answer = client.get(f"{path_of(store(part10()))}/bulkdata/{path}")
    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["PixelData", "7FE0", "../../x", "7FE00010/", "7FE00010/x/7FE00010", "7FE00010/0"])
def test_bulk_data_paths_that_are_none(client: FlaskClient, store: Store, path: str) -> None:
    answer = client.get(f"{path_of(store(part10()))}/bulkdata/{path}")
    assert answer.status_code in (400, 404)
    assert answer.content_type == "application/problem+json"
