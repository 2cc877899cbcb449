"""What a compressed frame says of its own size: asked before a decoder allocates memory for it."""

import struct
from collections.abc import Iterator

from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

_JPEG_START = b"\xff\xd8"
_JPEG_2000_START = b"\xff\x4f\xff\x51"
_JP2_START = b"\x00\x00\x00\x0cjP"
# ISO/IEC 10918-1 Table B.1, and ISO/IEC 14495-1 for JPEG-LS: these begin a frame; C4, C8 and CC do not
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_START_OF_SCAN, _APP14 = 0xDA, 0xEE
# PS3.5 A.4.1, by how the frame begins
_PROCESSES = {0xC0: JPEGBaseline8Bit, 0xC1: JPEGExtended12Bit, 0xC3: JPEGLossless}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns, as a JPEG, JPEG-LS or JPEG 2000 codestream declares them; None where it is none of these."""
    if frame.startswith(_JPEG_START):
        return _jpeg_size(frame)
    if frame.startswith((_JPEG_2000_START, _JP2_START)):
        return _jpeg_2000_size(frame)
    return None


def has_adobe_marker(frame: bytes) -> bool:
    """Whether a JPEG says by itself what its colours are, so that a decoder may have turned them into RGB."""
    return any(marker == _APP14 and frame.startswith(b"Adobe", place) for marker, place in _jpeg_segments(frame))


def jpeg_transfer_syntax(start: bytes) -> str | None:
    """The transfer syntax of a JPEG, by the start of its codestream; None where there is none for it."""
    if not start.startswith(_JPEG_START):
        return None
    position = 2
    for marker, place in _jpeg_segments(start):
        position = place - 2 + int.from_bytes(start[place - 2 : place], "big")
        if marker in _PROCESSES:
            process = _PROCESSES[marker]
            break
    else:
        return None
    if process != JPEGLossless:
        return str(process)
    for _, place in _jpeg_segments(start):
        position = place - 2 + int.from_bytes(start[place - 2 : place], "big")
    # ISO/IEC 10918-1 B.2.3: the predictor follows the components of the scan
    components = start[position + 4 : position + 5]
    predictor = start[position + 5 + 2 * components[0] :][:1] if components else b""
    return str(JPEGLosslessSV1 if predictor in (b"\x01", b"") else JPEGLossless)


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    for marker, place in _jpeg_segments(frame):
        if marker in _START_OF_FRAME and place + 5 <= len(frame):
            rows, columns = struct.unpack_from(">HH", frame, place + 1)
            return rows, columns
    return None


def _jpeg_segments(frame: bytes) -> Iterator[tuple[int, int]]:
    """The markers before the first scan, each with where its parameters begin."""
    position = 2
    while position + 4 <= len(frame) and frame[position] == 0xFF and frame[position + 1] != _START_OF_SCAN:
        marker = frame[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        else:
            yield marker, position + 4
            position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")


def _jpeg_2000_size(frame: bytes) -> tuple[int, int] | None:
    # ISO/IEC 15444-1 A.5.1; inside JP2 the codestream is a box
    start = frame.find(_JPEG_2000_START)
    if start < 0 or start + 24 > len(frame):
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", frame, start + 8)
    return bottom - top, right - left
