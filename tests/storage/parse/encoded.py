"""Encoded elements, to build objects that no library would write."""

import struct

LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"
UNDEFINED = 0xFFFFFFFF

_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")

ITEM_END = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def explicit(tag: int, vr: str, value: bytes, length: int | None = None, order: str = "<") -> bytes:
    """An element with VR; `length` where it is not that of the value."""
    length = len(value) if length is None else length
    code = vr.encode()
    if code in _LONG:
        return struct.pack(f"{order}HH2s2xL", tag >> 16, tag & 0xFFFF, code, length) + value
    return struct.pack(f"{order}HH2sH", tag >> 16, tag & 0xFFFF, code, length) + value


def implicit(tag: int, value: bytes, length: int | None = None, order: str = "<") -> bytes:
    return struct.pack(f"{order}HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(value: bytes, length: int | None = None, order: str = "<") -> bytes:
    return implicit(0xFFFEE000, value, length, order)


def open_item(value: bytes) -> bytes:
    """An item of undefined length."""
    return item(value, UNDEFINED) + ITEM_END


def open_sequence(tag: int, *items: bytes, vr: str = "SQ") -> bytes:
    """A sequence of undefined length."""
    return explicit(tag, vr, b"".join(items) + SEQUENCE_END, UNDEFINED)


def fragments(*values: bytes, offset_table: bytes = b"") -> bytes:
    """Encapsulated pixel data."""
    items = b"".join(item(value) for value in (offset_table, *values))
    return explicit(0x7FE00010, "OB", items + SEQUENCE_END, UNDEFINED)


def image(
    number_of_frames: int, pixel_data: bytes, *, bits: int = 8, rows: int = 2, columns: int = 3, colour: bytes = b""
) -> bytes:
    """A data set of an image, explicit little endian; `colour` is its Photometric Interpretation if it is one."""
    return b"".join(
        (
            explicit(0x00280002, "US", struct.pack("<H", 3 if colour else 1)),
            explicit(0x00280004, "CS", colour or b"MONOCHROME2 "),
            explicit(0x00280008, "IS", str(number_of_frames).encode().ljust(2)),
            explicit(0x00280010, "US", struct.pack("<H", rows)),
            explicit(0x00280011, "US", struct.pack("<H", columns)),
            explicit(0x00280100, "US", struct.pack("<H", bits)),
            pixel_data,
        )
    )
