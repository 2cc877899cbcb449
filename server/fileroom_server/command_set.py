"""Command sets of DIMSE messages (PS3.7 6.3.1): implicit VR little endian, elements of group 0000 in order."""

import struct
from collections.abc import Mapping

COMMAND_FIELD = 0x00000100
MESSAGE_ID = 0x00000110
DATA_SET_TYPE = 0x00000800
NO_DATA_SET = 0x0101
DATA_SET_PRESENT = 0x0001

# PS3.7 E.1
C_STORE_RQ = 0x0001
C_FIND_RQ = 0x0020
N_EVENT_REPORT_RQ = 0x0100
N_EVENT_REPORT_RSP = 0x8100

_HEAD = struct.Struct("<HHI")
_US = struct.Struct("<H")


def encode_command_set(elements: Mapping[int, int | str | tuple[int, ...]]) -> bytes:
    """The elements by tag, in ascending order: numbers are US, texts UI where they are UIDs, tuples AT."""
    parts = []
    for tag, value in elements.items():
        if isinstance(value, int):
            encoded = _US.pack(value)
        elif isinstance(value, str):
            encoded = value.encode("ascii", "replace")
            if len(encoded) % 2:
                encoded += b"\0" if tag in _UIDS else b" "
        else:
            encoded = b"".join(struct.pack("<HH", one >> 16, one & 0xFFFF) for one in value)
        parts.append(_HEAD.pack(0, tag & 0xFFFF, len(encoded)))
        parts.append(encoded)
    body = b"".join(parts)
    # PS3.7 6.3.1: Command Group Length
    return _HEAD.pack(0, 0, 4) + struct.pack("<I", len(body)) + body


def decode_command_set(encoded: bytes | bytearray) -> dict[int, bytes]:
    """The values by tag, as they are encoded. Raises ValueError for what is no command set."""
    elements: dict[int, bytes] = {}
    offset, end = 0, len(encoded)
    while offset < end:
        if offset + _HEAD.size > end:
            raise ValueError("the command set is cut off")
        group, element, length = _HEAD.unpack_from(encoded, offset)
        offset += _HEAD.size
        if group or offset + length > end:
            raise ValueError("an element of the command set is none")
        elements[element] = bytes(encoded[offset : offset + length])
        offset += length
    return elements


def number(elements: Mapping[int, bytes], tag: int) -> int | None:
    value = elements.get(tag)
    return _US.unpack(value)[0] if value is not None and len(value) == _US.size else None


def text(elements: Mapping[int, bytes], tag: int) -> str | None:
    value = elements.get(tag)
    return value.rstrip(b"\0 ").decode("ascii", "replace").lstrip(" ") or None if value is not None else None


_UIDS = frozenset({0x00000002, 0x00000003, 0x00001000, 0x00001001})
