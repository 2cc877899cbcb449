"""Answers that the kernel sends from files: the same bytes as those that are read, over real connections."""

import os
import socket
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import requests
from flask.testing import FlaskClient
from pydicom import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    generate_uid,
)

from fileroom_dicomweb import create_app
from fileroom_dicomweb.stored_answer import StoredAnswer
from fileroom_server.http_clients import ClientSocket
from fileroom_server.http_repeats import Repeats
from fileroom_server.http_stretches import StretchSender, _send_stretch
from fileroom_server.http_threads import RequestThreads
from fileroom_storage.objects import FilesystemObjectStore
from fileroom_storage.storage import Piece, Storage, StorageSettings, Stretch
from tests.dicomweb.objects import data_set, encapsulated, part10, parts
from tests.served import Served

ANY = "multipart/related; type=application/octet-stream; transfer-syntax=*"
FRAMES = 100
_MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("stretches") / "data") as served:
        yield served


@pytest.fixture(scope="module")
def reading(served: Served) -> Iterator[FlaskClient]:
    """The same storage without our server: what is stored is read, and its bytes iterated over."""
    with Storage.open(StorageSettings(served.data)) as storage:
        yield create_app(storage).test_client()


def native(syntax: UID = ExplicitVRLittleEndian) -> bytes:
    frames = np.arange(FRAMES * 64, dtype="<u2").tobytes()
    return part10(data_set(NumberOfFrames=FRAMES, PixelData=frames), syntax)


def single_bits() -> bytes:
    size = {"Rows": 3, "Columns": 7, "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "NumberOfFrames": FRAMES}
    return part10(data_set(PixelData=os.urandom(3 * 7 * FRAMES // 8 // 2 * 2 + 2), **size))


def several_fragments() -> bytes:
    from pydicom.encaps import encapsulate

    frames = [bytes([number]) * (40 + 2 * number) for number in range(1, FRAMES + 1)]
    ds = data_set(NumberOfFrames=FRAMES)
    ds.PixelData = encapsulate(frames, fragments_per_frame=3)
    ds["PixelData"].VR = "OB"
    return part10(ds, JPEGLSLossless)


OBJECTS = {
    "native": native(),
    "deflated": native(DeflatedExplicitVRLittleEndian),
    "big endian": native(ExplicitVRBigEndian),
    "single bits": single_bits(),
    "compressed": encapsulated([os.urandom(2 * number + 2) for number in range(FRAMES)], JPEGLSLossless),
    "several fragments": several_fragments(),
}


@pytest.fixture(scope="module", params=OBJECTS)
def path(request: pytest.FixtureRequest, served: Served) -> str:
    return stored(served, OBJECTS[request.param])


def stored(served: Served, content: bytes) -> str:
    answer = requests.post(
        f"{served.dicomweb}/studies", content, headers={"Content-Type": "application/dicom"}, timeout=60
    )
    assert answer.status_code == 200
    (item,) = answer.json()["00081199"]["Value"]
    return str(item["00081190"]["Value"][0]).removeprefix(served.url)


def bodies(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    return parts(content_type, body) if content_type.startswith("multipart/") else [(content_type, body)]


@pytest.mark.parametrize(
    ("name", "accept"),
    [
        ("/frames/1", ANY),
        ("/frames/1", "application/octet-stream; transfer-syntax=*"),
        ("/frames/100,3-5,1", ANY),
        ("/frames/1-100", ANY),
        ("", "application/dicom; transfer-syntax=*"),
        ("", "multipart/related; type=application/dicom; transfer-syntax=*"),
        ("/bulkdata/7FE00010", "*/*"),
        ("/bulkdata/7FE00010", ANY),
        ("/bulkdata", "*/*"),
    ],
)
def test_the_same_as_what_is_read(served: Served, reading: FlaskClient, path: str, name: str, accept: str) -> None:
    headers = {"Accept": accept}
    expected = reading.get(f"{path}{name}", headers=headers)
    with requests.Session() as session:
        # the connection is good for more than one
        for _ in range(3):
            answer = session.get(f"{served.url}{path}{name}", headers=headers, timeout=60)
            assert answer.status_code == expected.status_code == 200
            # part types name the host where they name a location
            assert [body for _, body in bodies(answer.headers["Content-Type"], answer.content)] == [
                body for _, body in bodies(expected.content_type, expected.data)
            ]
            assert answer.headers.get("Content-Length") == expected.headers.get("Content-Length")
            assert answer.headers["ETag"] == expected.headers["ETag"] or name == "/bulkdata"


def test_heads_ranges_and_what_is_there_already(served: Served) -> None:
    path = stored(served, native())
    with requests.Session() as session:
        url = f"{served.url}{path}/bulkdata/7FE00010"
        whole = session.get(url, timeout=60)
        head = session.head(url, timeout=60)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == str(len(whole.content)) == str(FRAMES * 128)
        part = session.get(url, headers={"Range": "bytes=100-299"}, timeout=60)
        assert (part.status_code, part.content) == (206, whole.content[100:300])
        outside = session.get(url, headers={"Range": f"bytes={FRAMES * 128}-"}, timeout=60)
        assert outside.status_code == 416
        again = session.get(url, headers={"If-None-Match": whole.headers["ETag"]}, timeout=60)
        assert (again.status_code, again.content) == (304, b"")
        for name in ("/frames/1", "/frames/1-100", ""):
            head = session.head(f"{served.url}{path}{name}", headers={"Accept": "*/*"}, timeout=60)
            assert (head.status_code, head.content) == (200, b"")


def test_many_at_once(served: Served, reading: FlaskClient) -> None:
    ds = data_set(Rows=512, Columns=512, PixelData=os.urandom(512 * 512 * 2))
    path = stored(served, part10(ds))
    expected = reading.get(f"{path}/frames/1", headers={"Accept": ANY}).data[-len(ds.PixelData) - 100 :]
    assert ds.PixelData in expected
    wrong: list[str] = []

    def get() -> None:
        with requests.Session() as session:
            for _ in range(20):
                answer = session.get(f"{served.url}{path}/frames/1", headers={"Accept": ANY}, timeout=60)
                if parts(answer.headers["Content-Type"], answer.content)[0][1] != ds.PixelData:
                    wrong.append("frame")

    threads = [threading.Thread(target=get) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_clients_that_leave(served: Served) -> None:
    ds = data_set(Rows=2048, Columns=2048, PixelData=bytes(8 * _MEBIBYTE))
    path = stored(served, part10(ds))
    for name in ("", "/frames/1", "/bulkdata/7FE00010"):
        for _ in range(4):
            with requests.get(f"{served.url}{path}{name}", stream=True, timeout=30) as answer:
                assert next(answer.iter_content(1000))
    assert requests.get(f"{served.dicomweb}/studies", timeout=30).ok
    assert "Traceback" not in served.output
    assert "Socket error" not in served.output


def test_files_are_closed(served: Served) -> None:
    path = stored(served, native())

    def open_objects() -> int:
        processes = served.peak_memory()
        links = (link for process in processes for link in Path(f"/proc/{process}/fd").iterdir())
        return sum(link.readlink().suffix == ".dcm" for link in links if link.is_symlink())

    for method in ("GET", "HEAD"):
        for name in ("", "/frames/1", "/frames/1-100", "/bulkdata/7FE00010", "/bulkdata"):
            assert requests.request(method, f"{served.url}{path}{name}", timeout=60).ok
    deadline = time.monotonic() + 10
    while open_objects() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert open_objects() == 0


@pytest.fixture
def pair() -> Iterator[tuple[ClientSocket, socket.socket]]:
    listener = socket.create_server(("127.0.0.1", 0))
    sending = socket.create_connection(listener.getsockname())
    receiving, _ = listener.accept()
    client = ClientSocket.of(sending, RequestThreads(1, 1), 0)
    with listener, client, receiving:
        yield client, receiving


def stretch(tmp_path: Path, size: int, length: int) -> Stretch:
    store = FilesystemObjectStore(tmp_path / "data", durability="relaxed")
    with store.create() as writer:
        writer.write(bytes(size))
        return Stretch(store.open_stretches(writer.commit()), 0, length)


def test_a_client_that_takes_nothing(tmp_path: Path, pair: tuple[ClientSocket, socket.socket]) -> None:
    pair[0].settimeout(0.1)
    with pytest.raises(TimeoutError):
        _send_stretch(pair[0], stretch(tmp_path, 64 * _MEBIBYTE, 64 * _MEBIBYTE))


def test_an_object_that_becomes_shorter(tmp_path: Path, pair: tuple[ClientSocket, socket.socket]) -> None:
    pair[0].settimeout(5)
    shorter = stretch(tmp_path, 1000, 1001)
    with pytest.raises(ConnectionResetError):
        _send_stretch(pair[0], shorter)
    # as it is where the bytes are read
    with pytest.raises(ConnectionResetError):
        list(StoredAnswer(_one(shorter)))


def _one(piece: Piece) -> Generator[Piece, None, None]:
    yield piece


def test_connections_that_are_not_plain_are_left_to_the_server(served: Served, reading: FlaskClient) -> None:
    """TLS, say: there the bytes are read, as any WSGI server does it."""
    path = stored(served, native())
    statuses: list[str] = []

    def start_response(status: str, _headers: object, _error: object = None) -> object:
        statuses.append(status)
        return lambda _data: None

    application = StretchSender(reading.application.wsgi_app, Repeats(lambda: None, 1.0))
    builder = reading.application.test_request_context(f"{path}/frames/2", headers={"Accept": ANY})
    answer = application(builder.request.environ, cast("object", start_response))  # type: ignore[arg-type]
    assert isinstance(answer, StoredAnswer)
    assert statuses == ["200 OK"]
    assert np.arange(64, 128, dtype="<u2").tobytes() in b"".join(answer)
    answer.close()


def test_what_is_said_before_the_first_byte(served: Served) -> None:
    ds: Dataset = data_set(StudyInstanceUID=generate_uid())
    path = stored(served, part10(ds))
    with Storage.open(StorageSettings(served.data)) as storage:
        (instance,) = storage.locate({"SOPInstanceUID": ds.SOPInstanceUID})
    file = served.data / "objects" / instance.location
    os.truncate(file, instance.size - 2)
    for name in ("", "/frames/1", "/bulkdata/7FE00010"):
        answer = requests.get(f"{served.url}{path}{name}", timeout=60)
        assert answer.status_code == 500
        assert "fileroom check" in answer.json()["detail"]
