"""Clients that are too many, too slow or silent: the others are served all the while, and memory does not grow.

All of it under TLS too, where the same is promised.

`PATIENCE` is how long others have to be answered in: far more than they need, and far less than what hangs here hangs.
"""

import os
import resource
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.certificates import Authority
from tests.dicomweb.objects import data_set, part10
from tests.served import Served

TIMEOUT = 600  # seconds for which a silent client is waited for: longer than any test here
PATIENCE = 20.0
MOST_GROWTH = 200 << 20
_MEBIBYTE = 1 << 20
_LIVE = b'{"status":"live"}'
_OBJECT = {"Content-Type": "application/dicom"}


class Plain(Served):
    """Each request over a connection of its own."""

    def get(self, path: str, timeout: float = PATIENCE, **headers: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", headers=headers, timeout=timeout, verify=self.session.verify)

    def post(self, body: bytes | Iterator[bytes], timeout: float = PATIENCE) -> requests.Response:
        url = f"{self.dicomweb}/studies"
        return requests.post(url, body, headers=_OBJECT, timeout=timeout, verify=self.session.verify)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.http_port), timeout=PATIENCE)


class Secure(Plain):
    scheme = "https"

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.parent.mkdir(exist_ok=True)
        authority = Authority(folder.parent, "authority")
        issued = authority.issue("fileroom")
        files = {"CERTIFICATE": issued.certificate, "KEY": issued.key}
        settings |= {f"FILEROOM_HTTP__TLS__{name}": str(file) for name, file in files.items()}
        super().__init__(folder, **settings)
        self.session.verify = str(authority.certificate)
        self._context = ssl.create_default_context(cafile=authority.certificate)

    def connect(self) -> socket.socket:
        return self._context.wrap_socket(super().connect(), server_hostname="127.0.0.1")


@pytest.fixture(params=[Plain, Secure], ids=["http", "https"], scope="module")
def kind(request: pytest.FixtureRequest) -> type[Plain]:
    kind: type[Plain] = request.param
    return kind


def serve(kind: type[Plain], folder: Path, **settings: str) -> Plain:
    return kind(folder / "data", FILEROOM_HTTP__TIMEOUT=str(TIMEOUT), **settings)


@pytest.fixture(autouse=True, scope="module")
def _descriptors() -> Iterator[None]:
    """Clients are many too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def served(kind: type[Plain], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    with serve(kind, tmp_path_factory.mktemp("overload")) as served:
        for _ in range(8):
            others_are_served(served)  # what every first request loads is no growth
        yield served


@pytest.fixture(autouse=True)
def unhurt(served: Plain) -> Iterator[None]:
    before, said = served.peak_memory(), len(served.output)
    yield
    others_are_served(served)
    after = served.peak_memory()
    assert after.keys() >= before.keys(), "a process of the server has died"
    assert all(after[process] - before[process] < MOST_GROWTH for process in before), (before, after)
    assert "Traceback" not in served.output[said:]
    assert "error" not in served.output[said:].lower()


def others_are_served(served: Plain) -> None:
    """A store, a search and a retrieval, each over a connection of its own."""
    ds = data_set()
    stored = served.post(part10(ds))
    assert stored.status_code == 200
    study = f"/dicom-web/studies/{ds.StudyInstanceUID}"
    assert len(served.get(f"{study}/series").json()) == 1
    assert served.get(f"{study}/metadata").ok
    assert served.get("/health/ready").ok


def upload_head(length: int) -> bytes:
    head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: application/dicom\r\nContent-Length: {length}"
    return head.encode() + b"\r\n\r\n"


def answer_of(connection: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
    return received


def received_up_to(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        received += connection.recv(65536) or pytest.fail(f"the connection ended after {len(received)} bytes")
    return received


@contextmanager
def busy(stack: ExitStack) -> Iterator[threading.Event]:
    """An event that is set at the end, for threads that go on until then."""
    over = threading.Event()
    stack.callback(over.set)
    yield over


def test_two_hundred_uploads_that_hang(served: Plain) -> None:
    content = part10(data_set())
    with ExitStack() as stack:
        hanging = [stack.enter_context(served.connect()) for _ in range(200)]
        for connection in hanging:
            connection.sendall(upload_head(len(content)) + content[:400])
        for _ in range(10):
            others_are_served(served)
        # they were waited for: whoever goes on is answered
        for connection in hanging[::50]:
            connection.sendall(content[400:])
            assert connection.recv(12) == b"HTTP/1.1 200"


def test_half_heads_that_hang_or_drip(served: Plain) -> None:
    with ExitStack() as stack, busy(stack) as over:
        hanging = [stack.enter_context(served.connect()) for _ in range(400)]

        def drip() -> None:
            while not over.wait(0.05):
                for connection in hanging[:100]:
                    try:
                        connection.send(b"X")
                    except OSError:
                        return

        for connection in hanging:
            connection.sendall(b"GET /dicom-web/studies HTTP/1.1\r\nHost: x\r\nX-Long: ")
        dripping = threading.Thread(target=drip)
        dripping.start()
        for _ in range(10):
            others_are_served(served)
        # 5 s are all that the head of a request has
        for connection in hanging[-20:]:
            assert answer_of(connection).startswith(b"HTTP/1.1 408 ")
        over.set()
        dripping.join()


def test_a_head_in_two_pieces(served: Plain) -> None:
    with served.connect() as connection:
        for _ in range(2):  # a new connection, and one that is kept
            for piece in (b"GET /health/live HTTP/1.1\r\n", b"Host: x\r\n", b"\r", b"\n"):
                connection.sendall(piece)
                time.sleep(0.05)
            assert received_up_to(connection, _LIVE).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /health/live HTTP/1.1\r\nHo")
        assert received_up_to(connection, _LIVE).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"st: x\r\nConnection: close\r\n\r\n")
        assert b"HTTP/1.1 200 " in answer_of(connection)
    with served.connect() as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
        socket.socket.shutdown(connection, socket.SHUT_WR)  # under TLS too: without a word
        assert not answer_of(connection).startswith(b"HTTP/1.1 200 ")


def test_five_hundred_connections_at_once(served: Plain) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(served.connect()) for _ in range(500)]
        others_are_served(served)
        for connection in connections:
            connection.sendall(b"GET /dicom-web/studies?limit=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        for connection in connections:
            assert connection.recv(12) == b"HTTP/1.1 200"


def test_more_connections_than_there_may_be(served: Plain) -> None:
    """Those that have been idle longest make room."""
    with ExitStack() as stack:
        connections = [stack.enter_context(served.connect()) for _ in range(1500)]
        for _ in range(3):
            others_are_served(served)
        newest = connections[-1]
        newest.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer_of(newest).startswith(b"HTTP/1.1 200 ")
        assert answer_of(connections[0]) == b""


def test_a_client_that_stops_reading_ten_gigabytes(served: Plain) -> None:
    """Frames of 1 GiB asked for ten times over, of a file with a hole in it."""
    ds = data_set(Rows=32768, Columns=32768, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=b"")
    head = part10(ds)[:-12]
    length = 1 << 30

    def body() -> Iterator[bytes]:
        yield head + b"\xe0\x7f\x10\x00OW\x00\x00" + length.to_bytes(4, "little")
        for _ in range(length >> 20):
            yield bytes(_MEBIBYTE)

    stored = served.post(body(), timeout=120)
    assert stored.status_code == 200, stored.text
    path = stored.json()["00081199"]["Value"][0]["00081190"]["Value"][0].removeprefix(served.url)
    frames = ",".join(["1"] * 10)
    with ExitStack() as stack:
        stopped = [stack.enter_context(served.connect()) for _ in range(40)]
        for number, connection in enumerate(stopped):
            resource_ = (f"/frames/{frames}", "", "/bulkdata/7FE00010")[number % 3]
            accept = 'multipart/related; type="application/octet-stream"; transfer-syntax=*, */*'
            connection.sendall(f"GET {path}{resource_} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())
            assert connection.recv(12) == b"HTTP/1.1 200"
        for _ in range(5):
            others_are_served(served)
        # whoever goes on gets what is left of it
        received = 0
        while received < 64 * _MEBIBYTE:
            received += len(stopped[0].recv(_MEBIBYTE))


def test_answers_that_nobody_closes(served: Plain) -> None:
    """gunicorn would stand still for 2 s for each client that leaves its end of the connection open."""
    with ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(served.connect())
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        others_are_served(served)


def test_slow_requests_beyond_the_maximum_make_room(kind: type[Plain], tmp_path: Path) -> None:
    content = part10(data_set())
    settings = {
        "FILEROOM_HTTP__MAXIMUM_SLOW_REQUESTS": "8",
        "FILEROOM_HTTP__WORKERS": "1",
        "FILEROOM_HTTP__THREADS": "2",
    }
    with serve(kind, tmp_path, **settings) as served, ExitStack() as stack:
        hanging = [stack.enter_context(served.connect()) for _ in range(20)]
        for connection in hanging:
            connection.sendall(upload_head(len(content)) + content[:400])
        others_are_served(served)
        answers = []
        for connection in hanging:
            connection.settimeout(0.2)
            try:
                answers.append(connection.recv(12))
            except TimeoutError:
                answers.append(b"")
        # 408: whoever is cut off is told
        assert {answer for answer in answers if answer} <= {b"HTTP/1.1 408"}
        assert answers.count(b"HTTP/1.1 408") >= 10


def test_no_thread_is_free_for_too_long(kind: type[Plain], tmp_path: Path) -> None:
    """Clients that are too slow for others to have room: those are told to come again."""
    settings = {
        "FILEROOM_HTTP__MAXIMUM_SLOW_REQUESTS": "1",
        "FILEROOM_HTTP__WORKERS": "1",
        "FILEROOM_HTTP__THREADS": "1",
        "FILEROOM_HTTP__QUEUE_TIMEOUT": "1",
    }
    with serve(kind, tmp_path, **settings) as served, ExitStack() as stack:
        for _ in range(2):
            connection = stack.enter_context(served.connect())
            connection.sendall(upload_head(1000) + b"x")
        refused = served.get("/dicom-web/studies")
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert "later" in refused.json()["detail"]


def test_all_connections_are_in_a_request(kind: type[Plain], tmp_path: Path) -> None:
    settings = {"FILEROOM_HTTP__MAXIMUM_CONNECTIONS": "16", "FILEROOM_HTTP__WORKERS": "1"}
    with serve(kind, tmp_path, **settings) as served, ExitStack() as stack:
        for _ in range(16):
            connection = stack.enter_context(served.connect())
            connection.sendall(upload_head(1000) + b"x")
        time.sleep(0.5)
        refused = served.get("/dicom-web/studies")
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0


def test_too_many_renderings(kind: type[Plain], tmp_path: Path) -> None:
    """All are made in the end where their turn comes in time; searches do not wait for them."""
    settings = {"FILEROOM_HTTP__MAXIMUM_RENDERINGS": "1", "FILEROOM_HTTP__WORKERS": "1", "FILEROOM_HTTP__THREADS": "2"}
    with serve(kind, tmp_path, **settings) as served:
        noise = os.urandom(2048 * 2048)
        ds = data_set(Rows=2048, Columns=2048, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=noise)
        stored = served.post(part10(ds)).json()
        instance = stored["00081199"]["Value"][0]["00081190"]["Value"][0].removeprefix(served.url)
        statuses: list[int] = []

        def render(number: int) -> None:
            path = f"{instance}/rendered?viewport={1000 + number},1000"
            statuses.append(served.get(path, 120, Accept="image/png").status_code)

        threads = [threading.Thread(target=render, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        while len(statuses) < 12:
            others_are_served(served)
        for thread in threads:
            thread.join()
        assert set(statuses) == {200}
        settings["FILEROOM_HTTP__QUEUE_TIMEOUT"] = "0.001"
    with serve(kind, tmp_path, **settings) as served:
        statuses.clear()
        threads = [threading.Thread(target=render, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) <= {200, 503}
        assert 503 in statuses


def test_the_longest_answer_of_a_search(kind: type[Plain], tmp_path: Path) -> None:
    with serve(kind, tmp_path, FILEROOM_HTTP__MAXIMUM_RESULTS="3") as served:
        for number in range(5):
            content = part10(data_set(PatientID=f"P{number}"))
            served.post(content)
        for query, count, more in (
            ("", 3, True),
            ("?limit=100", 3, True),
            ("?limit=2", 2, True),
            ("?offset=3", 2, False),
        ):
            answer = served.get(f"/dicom-web/studies{query}")
            assert len(answer.json()) == count
            assert ("additional results" in answer.headers.get("Warning", "")) is more
