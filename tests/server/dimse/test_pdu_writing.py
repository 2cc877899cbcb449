"""PDUs that are read into their places: the same bytes as those made fragment by fragment; sends that come in parts."""

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom_server import pdu_writing
from fileroom_server.pace import Pace
from fileroom_server.pdu_writing import LAST, PduWindow, pdu_head, send_encoded
from fileroom_server.sent_messages import fragments_of
from fileroom_storage.errors import ObjectMissing
from fileroom_storage.objects import FilesystemObjectStore, ObjectFile

WINDOW = 1000


@pytest.fixture
def store(tmp_path: Path) -> FilesystemObjectStore:
    return FilesystemObjectStore(tmp_path / "data", durability="relaxed")


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdu_writing, "_WINDOW", WINDOW)


def opened(store: FilesystemObjectStore, content: bytes) -> ObjectFile:
    with store.create() as writer:
        writer.write(content)
        return store.open_stretches(writer.commit())


def one_by_one(content: bytes, fragment_length: int, context_id: int) -> bytes:
    """The slow way: a head before each fragment."""
    fragments = [bytes(fragment) for fragment in fragments_of(content, fragment_length)] or [b""]
    heads = [pdu_head(context_id, 0, len(fragment)) for fragment in fragments]
    heads[-1] = pdu_head(context_id, LAST, len(fragments[-1]))
    return b"".join(head + fragment for head, fragment in zip(heads, fragments, strict=True))


def test_a_head() -> None:
    # PS3.8 9.3.5: type, reserved, length; length of the item, presentation context, message control header
    assert pdu_head(3, LAST, 10) == struct.pack(">BBIIBB", 4, 0, 16, 12, 3, 2)


@pytest.mark.usefixtures("small_window")
def test_any_objects_one_after_the_other(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = FilesystemObjectStore(tmp_path_factory.mktemp("pdus") / "data", durability="relaxed")

    @settings(deadline=None)
    @given(
        st.integers(2, 2 * WINDOW),
        st.lists(st.tuples(st.integers(0, 4 * WINDOW), st.integers(0, 40), st.sampled_from([1, 3, 255])), max_size=6),
    )
    def check(fragment_length: int, objects: list[tuple[int, int, int]]) -> None:
        window = PduWindow(fragment_length)
        for length, offset, context_id in objects:
            content = bytes(index % 251 for index in range(offset + length))
            file = opened(store, content)
            pieces = [bytes(piece) for piece in window.pdus_of(file, offset, context_id)]
            assert b"".join(pieces) == one_by_one(content[offset:], fragment_length, context_id)
            assert all(len(piece) <= max(WINDOW, fragment_length + 12) for piece in pieces)
            with pytest.raises(ValueError, match="closed"):
                file.fileno()

    check()


def test_an_object_that_becomes_shorter(store: FilesystemObjectStore) -> None:
    file = opened(store, bytes(5000))
    (path,) = store.root.rglob("*.dcm")
    path.chmod(0o600)
    path.write_bytes(bytes(4999))
    with pytest.raises(ObjectMissing, match="fileroom check"):
        next(PduWindow(100).pdus_of(file, 0, 1))


@pytest.fixture
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    sending, receiving = socket.socketpair()
    sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with sending, receiving:
        yield sending, receiving


def test_sends_that_come_in_parts(connected: tuple[socket.socket, socket.socket]) -> None:
    sending, receiving = connected
    sending.settimeout(20)
    pieces = [bytes([number]) * length for number, length in enumerate((12, 0, 70_000, 1, 300_000))]
    received = bytearray()

    def receive() -> None:
        while chunk := receiving.recv(1777):
            received.extend(chunk)

    receiver = threading.Thread(target=receive)
    receiver.start()
    send_encoded(sending, pieces, Pace(60, 1))
    sending.shutdown(socket.SHUT_WR)
    receiver.join()
    assert received == b"".join(pieces)


def test_a_peer_that_takes_nothing(connected: tuple[socket.socket, socket.socket]) -> None:
    sending, _ = connected
    sending.settimeout(0.05)
    with pytest.raises(TimeoutError):
        send_encoded(sending, [bytes(1 << 20)], Pace(60, 1))
