"""PDUs and messages put together by hand, for what no library would send."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND

from tests.made import CT_IMAGE_STORAGE, uid
from tests.server.dimse.scu import STUDY_ROOT_FIND, associated

A_ABORT = 0x07
P_DATA_TF = 0x04
IMPLICIT = "1.2.840.10008.1.2"


@contextmanager
def raw(port: int) -> Iterator[tuple[Association, socket.socket]]:
    """An association, and the socket under it."""
    with associated(port, (CT_IMAGE_STORAGE, IMPLICIT), (STUDY_ROOT_FIND, IMPLICIT)) as association:
        assert association.is_established
        assert association.dul.socket is not None
        assert association.dul.socket.socket is not None
        yield association, association.dul.socket.socket


def p_data(control_header: int, value: bytes, context_id: int = 1) -> bytes:
    item = struct.pack(">IBB", len(value) + 2, context_id, control_header) + value
    return struct.pack(">BxI", P_DATA_TF, len(item)) + item


def _command(*elements: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("<HHI", 0, element, len(value)) + value for element, value in elements)


def _padded(text: str) -> bytes:
    encoded_text = text.encode("ascii")
    return encoded_text + b"\x00" * (len(encoded_text) % 2)


def _us(number: int) -> bytes:
    return struct.pack("<H", number)


def store_command(sop_instance_uid: str = uid(1, 1, 1)) -> bytes:
    return _command(
        (0x0002, _padded(CT_IMAGE_STORAGE)),
        (0x0100, _us(0x0001)),
        (0x0110, _us(1)),
        (0x0700, _us(0)),
        (0x0800, _us(1)),
        (0x1000, _padded(sop_instance_uid)),
    )


def find_command() -> bytes:
    return _command(
        (0x0002, _padded(STUDY_ROOT_FIND)), (0x0100, _us(0x0020)), (0x0110, _us(1)), (0x0700, _us(0)), (0x0800, _us(1))
    )


def find_bytes(association: Association, identifier: bytes) -> C_FIND:
    """The response to a C-FIND with these bytes as its identifier."""
    assert association.dul.socket is not None
    assert association.dul.socket.socket is not None
    association._reactor_checkpoint.clear()
    try:
        fragments = [identifier[start : start + 10_000] for start in range(0, len(identifier), 10_000)]
        pdus = [p_data(0x00, fragment, 3) for fragment in fragments[:-1]] + [p_data(0x02, fragments[-1], 3)]
        association.dul.socket.socket.sendall(p_data(0x03, find_command(), 3) + b"".join(pdus))
        _, response = association.dimse.get_msg(block=True)
    finally:
        association._reactor_checkpoint.set()
    assert isinstance(response, C_FIND)
    return response


def nested(depth: int, *, delimited: bool = True) -> bytes:
    """A Request Attributes Sequence in the item of another, and so on; Implicit VR Little Endian."""
    request_attributes = b"\x40\x00\x75\x02"
    if delimited:
        opening = request_attributes + b"\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0" + b"\xff\xff\xff\xff"
        closing = b"\xfe\xff\x0d\xe0\x00\x00\x00\x00" + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
        return opening * depth + closing * depth
    inner = b""
    for _ in range(depth):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
        inner = request_attributes + struct.pack("<I", len(item)) + item
    return inner
