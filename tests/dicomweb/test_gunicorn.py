"""DICOMweb under gunicorn: dicomweb-client drives it, clients misbehave, memory stays flat."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from pydicom.uid import JPEGLSLossless, generate_uid

from tests.dicomweb.gunicorn_process import GunicornProcess
from tests.dicomweb.objects import data_set, encapsulated, multipart, part10, parts

MEBIBYTE = 1 << 20
KIND = 'multipart/related; type="application/dicom"; boundary=a-boundary'


def stored_files(gunicorn: GunicornProcess) -> list[Path]:
    return [path for path in (gunicorn.folder / "data").rglob("*") if path.suffix in (".dcm", ".part")]


def converse(gunicorn: GunicornProcess, *pieces: bytes, pause: float = 0.0, half_close: bool = False) -> bytes:
    """Sends raw bytes and returns all that comes back until the server closes the connection."""
    address = urlsplit(gunicorn.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def head(length: int | None, *lines: str, content_type: str = KIND) -> bytes:
    first = [
        "POST /dicom-web/studies HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        "Connection: close",
    ]
    first += [f"Content-Length: {length}"] if length is not None else []
    return "\r\n".join([*first, *lines, "", ""]).encode()


def test_dicomweb_client(gunicorn: GunicornProcess) -> None:
    client = DICOMwebClient(gunicorn.dicomweb_url)
    study, series = generate_uid(), generate_uid()
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    objects = [data_set(**uids, PatientName="Doe^Jane", InstanceNumber=number) for number in (1, 2)]
    for ds in objects:
        part10(ds)  # gives it file meta information
    response = client.store_instances(objects)
    assert len(response.ReferencedSOPSequence) == 2
    instance = objects[0].SOPInstanceUID

    (found,) = client.search_for_studies(search_filters={"PatientName": "doe*"}, fields=["StudyDescription"])
    assert Dataset.from_json(found).StudyInstanceUID == study
    assert len(client.search_for_series(study)) == len(client.search_for_series()) == 1
    assert len(client.search_for_instances(study, series, limit=1)) == 1
    assert len(client.search_for_instances(get_remaining=True, limit=1)) == 2

    for retrieved in (
        client.retrieve_study(study),
        client.retrieve_series(study, series),
        [client.retrieve_instance(study, series, ds.SOPInstanceUID) for ds in objects],
    ):
        assert [dict(ds) for ds in retrieved] == [dict(ds) for ds in objects]
    metadata = client.retrieve_instance_metadata(study, series, instance)
    assert len(client.retrieve_study_metadata(study)) == len(client.retrieve_series_metadata(study, series)) == 2
    assert metadata["00080018"]["Value"] == [instance]

    assert client.retrieve_instance_frames(study, series, instance, [1]) == [objects[0].PixelData]
    octets = (("application/octet-stream", "1.2.840.10008.1.2.1"),)
    assert client.retrieve_instance_frames(study, series, instance, [1], octets) == [objects[0].PixelData]
    assert client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"]) == [objects[0].PixelData]


def test_dicomweb_client_with_compressed_frames(gunicorn: GunicornProcess) -> None:
    client = DICOMwebClient(gunicorn.dicomweb_url)
    frames = [bytes([number]) * 50 for number in range(1, 4)]
    study, series, instance = generate_uid(), generate_uid(), generate_uid()
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}
    content = encapsulated(frames, JPEGLSLossless, **uids)
    url = f"{gunicorn.dicomweb_url}/studies"
    assert requests.post(url, content, headers={"Content-Type": "application/dicom"}, timeout=30).status_code == 200
    for media_types in (None, (("image/jls", JPEGLSLossless),)):
        assert client.retrieve_instance_frames(study, series, instance, [1, 3], media_types) == [frames[0], frames[2]]
    assert list(client.iter_instance_frames(study, series, instance, [2])) == [frames[1]]


def test_chunked_bodies_and_100_continue(gunicorn: GunicornProcess) -> None:
    def pieces(content: bytes) -> Iterator[bytes]:
        return (content[start : start + 100] for start in range(0, len(content), 100))

    url = f"{gunicorn.dicomweb_url}/studies"
    body = multipart(part10(), part10())
    assert requests.post(url, pieces(body), headers={"Content-Type": KIND}, timeout=30).status_code == 200
    single = {"Content-Type": "application/dicom"}
    assert requests.post(url, pieces(part10()), headers=single, timeout=30).status_code == 200
    received = converse(gunicorn, head(len(body), "Expect: 100-continue"), body, pause=0.2)
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "request_of",
    [
        pytest.param(lambda body: (head(5_000_000_000), body[:-40]), id="announced 5 GB"),
        pytest.param(lambda body: (head(len(body)), body[:-40]), id="cut"),
        pytest.param(lambda body: (head(len(body)), body[:20]), id="cut in a header"),
        pytest.param(lambda body: (head(len(body)),), id="nothing"),
        pytest.param(
            lambda body: (head(None, "Transfer-Encoding: chunked"), b"%x\r\n" % len(body), body[:-40]), id="cut chunk"
        ),
        pytest.param(lambda body: (head(None, "Transfer-Encoding: chunked"), b"zz\r\n", body), id="no chunk"),
        pytest.param(
            lambda body: (head(len(body) + 100, content_type="application/dicom"), body), id="announced more than sent"
        ),
        pytest.param(lambda _: (head(20 * MEBIBYTE), bytes(20 * MEBIBYTE)), id="no boundary"),
    ],
)
def test_bodies_that_are_not_whole(gunicorn: GunicornProcess, request_of: object) -> None:
    assert callable(request_of)
    received = converse(gunicorn, *request_of(multipart(part10())), half_close=True)
    answer, _, body = received.partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert b"application/problem+json" in answer
    assert json.loads(body)["stored"] == []
    assert stored_files(gunicorn) == []
    assert requests.get(f"{gunicorn.dicomweb_url}/studies", timeout=30).json() == []
    assert "Traceback" not in gunicorn.log.read_text()


def test_a_client_that_falls_silent(tmp_path: Path, free_port: int) -> None:
    with GunicornProcess(tmp_path, free_port, idle_timeout=0.5) as gunicorn:
        received = converse(gunicorn, head(1000), b"--a-boundary\r\n")
        assert received.startswith(b"HTTP/1.1 408")
        assert requests.get(f"{gunicorn.dicomweb_url}/studies", timeout=30).json() == []
        assert "Traceback" not in gunicorn.log.read_text()


def test_a_client_that_leaves(gunicorn: GunicornProcess) -> None:
    ds = data_set(Rows=2048, Columns=2048, PixelData=bytes(8 * MEBIBYTE))
    requests.post(
        f"{gunicorn.dicomweb_url}/studies", part10(ds), headers={"Content-Type": "application/dicom"}, timeout=30
    )
    for _ in range(8):
        with requests.get(f"{gunicorn.dicomweb_url}/studies/{ds.StudyInstanceUID}", stream=True, timeout=30) as answer:
            assert next(answer.iter_content(1000))
    assert requests.get(f"{gunicorn.dicomweb_url}/studies", timeout=30).ok
    assert "Traceback" not in gunicorn.log.read_text()


def test_a_study_much_larger_than_memory_growth(gunicorn: GunicornProcess) -> None:
    """15 objects of 20 MiB in by one request, out by one request, their pixels as bulk data."""
    study, series = generate_uid(), generate_uid()
    pixels = bytes(20 * MEBIBYTE)
    frame: dict[str, Any] = {"Rows": 2048, "Columns": 2560, "NumberOfFrames": 2, "PixelData": pixels}
    objects = [part10(StudyInstanceUID=study, SeriesInstanceUID=series, **frame) for _ in range(15)]

    def body() -> Iterator[bytes]:
        for content in objects:
            yield b"--a-boundary\r\nContent-Type: application/dicom\r\n\r\n"
            yield content
            yield b"\r\n"
        yield b"--a-boundary--"

    # what every first request loads is no growth
    warm_up = part10()
    single = {"Content-Type": "application/dicom"}
    requests.post(f"{gunicorn.dicomweb_url}/studies", warm_up, headers=single, timeout=60)
    before = gunicorn.anonymous_memory()

    stored = requests.post(f"{gunicorn.dicomweb_url}/studies", body(), headers={"Content-Type": KIND}, timeout=120)
    assert stored.status_code == 200, stored.text
    assert gunicorn.anonymous_memory() - before < 60 * MEBIBYTE

    growth = 0
    with requests.get(f"{gunicorn.dicomweb_url}/studies/{study}", stream=True, timeout=120) as answer:
        received = bytearray()
        for number, chunk in enumerate(answer.iter_content(MEBIBYTE)):
            received += chunk
            if number % 50 == 0:
                growth = max(growth, gunicorn.anonymous_memory() - before)
        content_type = answer.headers["Content-Type"]
        assert int(answer.headers["Content-Length"]) == len(received)
    assert sorted(content for _, content in parts(content_type, bytes(received))) == sorted(objects)
    assert growth < 60 * MEBIBYTE

    metadata = requests.get(f"{gunicorn.dicomweb_url}/studies/{study}/metadata", timeout=60).json()
    for one in metadata:
        with requests.get(one["7FE00010"]["BulkDataURI"], stream=True, timeout=60) as answer:
            assert sum(len(chunk) for chunk in answer.iter_content(MEBIBYTE)) == len(pixels)
    assert gunicorn.anonymous_memory() - before < 60 * MEBIBYTE
