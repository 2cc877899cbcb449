"""Hundreds of connections at once to the DICOM port of a whole server: polite refusals, bounds, others are served."""

import resource
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.served import Served
from tests.server.cli.senders import processes_below, wait_until
from tests.server.dimse.scu import VERIFICATION, associated, run
from tests.streaming_scu import EXPLICIT, IMPLICIT, StreamingScu, associate_request

FLOOD = 500
MAXIMUM, MAXIMUM_PER_ADDRESS = 24, 16
TIMEOUT = 3
ACCEPTED, REJECTED = 0x02, 0x03
# PS3.8 9.3.4: transient, by the presentation service provider, local-limit-exceeded
LIMIT_EXCEEDED = bytes([REJECTED, 0, 0, 0, 0, 4, 0, 2, 3, 2])
MOST_GROWTH = 64 << 20


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = {
        "FILEROOM_DICOM__MAXIMUM_ASSOCIATIONS": MAXIMUM,
        "FILEROOM_DICOM__MAXIMUM_ASSOCIATIONS_PER_ADDRESS": MAXIMUM_PER_ADDRESS,
        "FILEROOM_DICOM__ACSE_TIMEOUT": TIMEOUT,
        "FILEROOM_DICOM__NETWORK_TIMEOUT": 10 * TIMEOUT,
    }
    environment = {key: str(value) for key, value in settings.items()}
    with Served(tmp_path_factory.mktemp("overload") / "data", **environment) as served:
        yield served


@pytest.fixture(autouse=True)
def _enough_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def receivers(served: Served) -> list[int]:
    return [pid for pid, name in processes_below(served.process.pid).items() if name == "fileroom-dicom"]


def threads(served: Served) -> int:
    return max(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in receivers(served))


def connected(served: Served, stack: ExitStack, host: str = "127.0.0.1") -> socket.socket:
    connection = stack.enter_context(socket.socket())
    connection.settimeout(60)
    connection.bind((host, 0))
    connection.connect(("127.0.0.1", served.dicom_port))
    return connection


def request() -> bytes:
    content = associate_request([(VERIFICATION, IMPLICIT)])
    return struct.pack(">BxI", 0x01, len(content)) + content


def answer(connection: socket.socket) -> bytes:
    """The first bytes of what comes."""
    try:
        return connection.recv(10, socket.MSG_WAITALL)
    except ConnectionResetError:
        return b""


def is_served(served: Served, host: str) -> None:
    with associated(served.dicom_port, VERIFICATION, bind_address=(host, 0)) as association:
        assert association.send_c_echo().Status == 0


def stores(served: Served, number: int) -> None:
    content = encoded(made(SOPInstanceUID=uid(1, 1, number)))
    with StreamingScu(served.dicom_port, [(CT_IMAGE_STORAGE, EXPLICIT)]) as scu:
        assert scu.store(CT_IMAGE_STORAGE, uid(1, 1, number), [content]) == 0


def test_500_associations_at_once(served: Served) -> None:
    before = served.peak_memory()
    with ExitStack() as stack:
        connections = [connected(served, stack) for _ in range(FLOOD)]
        for connection in connections:
            connection.sendall(request())
        answers = [answer(connection) for connection in connections]
        kinds = Counter(one[:1] for one in answers)
        # each is answered, and as many are let in as may be
        assert kinds == {bytes([ACCEPTED]): MAXIMUM_PER_ADDRESS, bytes([REJECTED]): FLOOD - MAXIMUM_PER_ADDRESS}
        assert {one for one in answers if one[0] == REJECTED} == {LIMIT_EXCEEDED}
        assert threads(served) < MAXIMUM + 10
        is_served(served, "127.0.0.2")
        for connection, one in zip(connections, answers, strict=True):
            if one[0] == ACCEPTED:
                connection.sendall(struct.pack(">BxI", 0x05, 4) + bytes(4))
    wait_until(lambda: _is_let_in(served))
    after = served.peak_memory()
    assert max(after[pid] - before[pid] for pid in receivers(served)) < MOST_GROWTH
    # one line a second, not one each
    assert served.output.count("rejected: there are") < FLOOD / 5


def _is_let_in(served: Served) -> bool:
    with associated(served.dicom_port, VERIFICATION) as association:
        return bool(association.is_established)


def test_500_connections_that_say_nothing_or_little(served: Served) -> None:
    with ExitStack() as stack:
        silent = [connected(served, stack) for _ in range(FLOOD)]
        dribbling = [connected(served, stack) for _ in range(FLOOD // 2)]
        for connection in dribbling:
            connection.sendall(request()[:100])
        for number in range(5):
            run("echoscu", "127.0.0.1", served.dicom_port)
            stores(served, number)
            for connection in dribbling:
                with suppress(OSError):
                    connection.send(b"\0")
        assert threads(served) < MAXIMUM + 10
        # PS3.8 9.1.5: the ARTIM timer
        deadline = time.monotonic() + 20 * TIMEOUT
        with selectors.DefaultSelector() as selector:
            for connection in (*silent, *dribbling):
                selector.register(connection, selectors.EVENT_READ, connection)
            while selector.get_map():
                assert time.monotonic() < deadline
                for key, _ in selector.select(1):
                    assert answer(key.data) == b""
                    selector.unregister(key.data)
    is_served(served, "127.0.0.1")


def test_established_associations_that_dribble_leave_room_for_others(served: Served) -> None:
    with ExitStack() as stack:
        slow = [connected(served, stack) for _ in range(MAXIMUM_PER_ADDRESS)]
        for connection in slow:
            connection.sendall(request())
            assert answer(connection)[:1] == bytes([ACCEPTED])
            connection.sendall(struct.pack(">BxI", 0x04, 10_000) + b"half of it")
        with associated(served.dicom_port, VERIFICATION) as association:
            assert not association.is_established
        is_served(served, "127.0.0.2")
    wait_until(lambda: _is_let_in(served))


def test_a_receiver_without_descriptors_goes_on(served: Served) -> None:
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in receivers(served)}
    try:
        for pid, (_, hard) in limits.items():
            opened = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (opened + 20, hard))
        with ExitStack() as stack:
            for _ in range(200):
                connected(served, stack)
            wait_until(lambda: "see the limit of open files" in served.output)
            is_served(served, "127.0.0.1")
            stores(served, 98)
    finally:
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
    assert "Traceback" not in served.output
    stores(served, 99)
