"""Peers that send what they should not: each gets an answer or an abort, in bounded memory; the next is served."""

import socket
import struct
import time
from contextlib import suppress

import pytest
from pynetdicom.association import Association

from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.server.dimse.conftest import Entity, Listen
from tests.server.dimse.pdus import (
    A_ABORT,
    IMPLICIT,
    P_DATA_TF,
    find_bytes,
    find_command,
    nested,
    p_data,
    raw,
    store_command,
)
from tests.server.dimse.scu import VERIFICATION, associated, error_comment, store_bytes


def _echo(port: int) -> None:
    with associated(port, VERIFICATION) as association:
        assert association.send_c_echo().Status == 0x0000


def _resident() -> int:
    """Bytes of memory that this process, the server in it, occupies."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123  # no file
        return int(statm.read().split()[1]) * 4096


def _received(connection: socket.socket, seconds: float = 20.0) -> bytes:
    """What comes until the server closes."""
    connection.settimeout(seconds)
    received = b""
    try:
        while chunk := connection.recv(4096):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def _wait_until_over(association: Association, seconds: float = 20.0) -> float:
    start = time.monotonic()
    while association.is_established:
        assert time.monotonic() - start < seconds
        time.sleep(0.01)
    return time.monotonic() - start


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: fileroom\r\n\r\n",
        b"\x00" * 4096,
        b"\xff" * 4096,
        b"\x01\x00\x00\x00\x00\x04\x00\x00\x00\x00",
        b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x03",
        b"\x07",
    ],
    ids=["HTTP", "zeros", "ones", "short A-ASSOCIATE-RQ", "P-DATA first", "half a head"],
)
def test_garbage_on_the_port(entity: Entity, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", entity.port)) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        assert _received(connection)[:1] in (b"", bytes([A_ABORT]))
    _echo(entity.port)


@pytest.mark.parametrize("kind", [0x01, P_DATA_TF])
def test_a_pdu_length_far_above_the_maximum(entity: Entity, kind: int) -> None:
    before = _resident()
    with socket.create_connection(("127.0.0.1", entity.port)) as connection:
        connection.sendall(struct.pack(">BxI", kind, 0xFFFFFFF0) + b"\x00" * 1000)
        received = _received(connection)
    # PS3.8 9.3.8: by the service provider, invalid PDU parameter value
    assert received == bytes([A_ABORT, 0, 0, 0, 0, 4, 0, 0, 2, 6])
    assert _resident() - before < 64 << 20
    _echo(entity.port)


def test_a_giant_pdu_within_an_association(entity: Entity) -> None:
    with raw(entity.port) as (association, connection):
        connection.sendall(struct.pack(">BxI", P_DATA_TF, 0xFFFFFFF0))
        _wait_until_over(association)
        assert association.is_aborted
    _echo(entity.port)


def test_a_peer_that_hangs_in_a_pdu(listening: Listen) -> None:
    entity = listening(network_timeout=1, acse_timeout=1)
    with raw(entity.port) as (association, connection):
        connection.sendall(p_data(0x00, b"\x00" * 1000)[:500])
        _echo(entity.port)  # others are not held up
        assert _wait_until_over(association) < 10
    with socket.create_connection(("127.0.0.1", entity.port)) as silent:
        silent.sendall(b"\x01\x00\x00\x00\x00\x80half of it")
        _received(silent)
    while entity.server.active_associations:
        time.sleep(0.01)
    _echo(entity.port)


def test_an_association_aborted_within_an_object(entity: Entity) -> None:
    with raw(entity.port) as (association, connection):
        connection.sendall(p_data(0x03, store_command()) + p_data(0x00, b"\x08\x00\x05\x00"))
        association.abort()
    _echo(entity.port)
    assert not list(entity.storage.locate({"SOPInstanceUID": uid(1, 1, 1)}))


@pytest.mark.parametrize(
    "pdus",
    [
        p_data(0x03, b"\xde\xad\xbe\xef" * 10),
        p_data(0x02, b"a data set without a command"),
        p_data(0x03, b""),
        b"".join(p_data(0x01, b"\x00" * 60_000) for _ in range(3)),
        p_data(0x03, b"\x00\x00\x00\x01\x02\x00\x00\x00\xff\x7f"),
        struct.pack(">BxI", P_DATA_TF, 6) + struct.pack(">IBB", 0xFFFF, 1, 3),
    ],
    ids=["garbage", "no command", "empty", "endless command", "unknown command", "lying item length"],
)
def test_unusable_messages_end_the_association(entity: Entity, pdus: bytes) -> None:
    with raw(entity.port) as (association, connection):
        connection.sendall(pdus)
        _wait_until_over(association)
        assert association.is_aborted
    _echo(entity.port)


def test_an_identifier_without_end(entity: Entity) -> None:
    before = _resident()
    with raw(entity.port) as (association, connection):
        connection.sendall(p_data(0x03, find_command(), 3))
        sent = 0
        with suppress(OSError):
            while sent < 1000:
                connection.sendall(p_data(0x00, b"\x00" * 100_000, 3))
                sent += 1
        assert sent < 1000
        _wait_until_over(association)
    assert _resident() - before < 64 << 20
    _echo(entity.port)


def test_requests_that_do_not_wait_for_answers(entity: Entity) -> None:
    command = p_data(0x03, find_command(), 3) + p_data(0x02, b"", 3)
    with raw(entity.port) as (association, connection):
        with suppress(OSError):
            connection.sendall(command * 5000)
        _wait_until_over(association)
    _echo(entity.port)


@pytest.mark.parametrize("delimited", [True, False])
def test_an_identifier_nested_ten_thousand_levels_deep(entity: Entity, delimited: bool) -> None:
    identifier = b"\x08\x00\x52\x00\x06\x00\x00\x00SERIES" + nested(10_000, delimited=delimited)
    with raw(entity.port) as (association, _):
        status = find_bytes(association, identifier)
        assert status.Status == 0xA900
        assert error_comment(status) == "the identifier cannot be read: nested too deep"
    _echo(entity.port)


def test_an_object_nested_ten_thousand_levels_deep(entity: Entity) -> None:
    data_set = encoded(made(), implicit=True) + nested(10_000)
    with associated(entity.port, (CT_IMAGE_STORAGE, IMPLICIT)) as association:
        assert store_bytes(association, data_set, CT_IMAGE_STORAGE, uid(1, 1, 1)).Status == 0xC003
        good = encoded(made(), implicit=True)
        assert store_bytes(association, good, CT_IMAGE_STORAGE, uid(1, 1, 1)).Status == 0x0000


def test_an_undecodable_identifier(entity: Entity) -> None:
    with raw(entity.port) as (association, _):
        status = find_bytes(association, b"\x08\x00\x52\x00\xff\x00\x00\x00STUDY")
        assert status.Status == 0xA900
        assert error_comment(status) == "the identifier cannot be read: truncated"


@pytest.mark.filterwarnings("ignore:.*VR UI:UserWarning")  # pydicom's; the server ignores them
@pytest.mark.parametrize("uid_text", ["1." + "2" * 100, "../../../etc/passwd", "1.2\x00.3"])
def test_unusable_uids_in_the_command(entity: Entity, uid_text: str) -> None:
    with raw(entity.port) as (association, connection):
        association._reactor_checkpoint.clear()
        connection.sendall(p_data(0x03, store_command(uid_text)) + p_data(0x02, encoded(made(), implicit=True)))
        _, response = association.dimse.get_msg(block=True)
        association._reactor_checkpoint.set()
        assert response is not None
        assert response.Status is not None
        # refused, or kept under the UID that is in the data set, with a warning
        assert response.Status & 0xF000 in (0xA000, 0xB000, 0xC000)
    _echo(entity.port)
