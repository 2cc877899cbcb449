"""The byte order of native pixels: which words change it, and frames as they are little endian."""

from collections.abc import Iterator

from ..parse.data_set_writing import swapped
from ..parse.header import Header
from .transfer_syntaxes import BIG_ENDIAN_PIXELS

_BITS_ALLOCATED = 0x00280100
_CHUNK_SIZE = 1 << 20


def stored_big_endian(transfer_syntax_uid: str) -> bool:
    return transfer_syntax_uid in BIG_ENDIAN_PIXELS


def word_length(header: Header) -> int:
    """The bytes that change places with each other."""
    bits_allocated = header.data_set.number(_BITS_ALLOCATED) or 16
    # PS3.5 8.2: OW is words of 16 bits, even where a sample has fewer; where it has more, writers swap the whole of it
    return max(bits_allocated // 8, 2 if header.pixel_data is None or header.pixel_data.vr == "OW" else 1)


def native_pixels(header: Header, *, big_endian: bool) -> Iterator[bytes]:
    """The value of native pixel data in this byte order, in pieces."""
    if header.pixel_data is None:
        return
    word = word_length(header)
    swap = stored_big_endian(header.transfer_syntax_uid) != big_endian
    start, end = header.pixel_data.offset, header.pixel_data.offset + header.pixel_data.length
    for offset in range(start, end, _CHUNK_SIZE):
        piece = bytes(header.buffer[offset : min(offset + _CHUNK_SIZE, end)])
        yield swapped(piece, word) if swap else piece


def little_endian_frame(header: Header, frame: bytes, number: int) -> bytes:
    """A native frame that was read out of big-endian pixel data."""
    word = word_length(header)
    if len(frame) % word == 0 or header.pixel_data is None:
        return swapped(frame, word)
    # the frame begins or ends in the middle of a word
    first, start = (number - 1) * len(frame), header.pixel_data.offset
    begin, end = first - first % word, first + len(frame) + word
    words = swapped(bytes(header.buffer[start + begin : min(start + end, start + header.pixel_data.length)]), word)
    return words[first - begin : first - begin + len(frame)]
