"""Where the frames of an object's pixel data are, and reading one; nothing is ever decoded."""

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal

from ..errors import CannotDecode, FrameOutOfRange, UnusableObject, UnusableReason
from .data_set import DataSet
from .encoding import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA, NUMBER_OF_FRAMES, Buffer, View
from .fragments import Fragments
from .header import Header, PixelData
from .mapped_pages import PagesBehind
from .scan import scan_fragments

_SAMPLES_PER_PIXEL = 0x00280002
_PHOTOMETRIC_INTERPRETATION = 0x00280004
_ROWS = 0x00280010
_COLUMNS = 0x00280011
_BITS_ALLOCATED = 0x00280100
_EXTENDED_OFFSET_TABLE = 0x7FE00001
_FLOAT_BITS = {FLOAT_PIXEL_DATA: 32, DOUBLE_FLOAT_PIXEL_DATA: 64}
_ITEM_HEADER = 8
_ENTRY = struct.Struct("<QQ")
_ITEM_START = struct.Struct("<HHL")
# PS3.5 A.4: these hold one stream for all frames, whatever Number of Frames says
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
_START_OF_IMAGE = (b"\xff\xd8", b"\xff\x4f\xff\x51")  # JPEG and JPEG-LS, JPEG 2000
_END_OF_IMAGE = b"\xff\xd9"  # in all of these
# What is read whole, to be worked on. 100 million samples of 64 bits are no more.
LONGEST_FRAME = 800_000_000
_TAIL = 10  # an end marker may be followed by padding

ReadAt = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class FrameLayout:
    """Where the frames are. All offsets are those of the header's buffer.

    `offset`, `length`: the value of the pixel data element, in bytes. `frame_length`: the bits of one native frame,
    None for encapsulated ones. `table`: for those, a pair of little-endian u64 a frame, from the Item tag of its first
    fragment to behind its last fragment. `number_of_frames` is what is really there: 0 where fragments do not tell
    which frame they belong to, 1 for a video.
    """

    number_of_frames: int
    offset: int
    length: int
    frame_length: int | None
    table: bytes | None


def frame_layout(buffer: Buffer, header: Header) -> FrameLayout | None:
    """The layout of an object's frames; None where it has no pixel data, or an empty one.

    `buffer` is the one that the header was parsed from; a deflated object's offsets are those of `header.buffer`.
    Raises UnusableObject(TRUNCATED or MALFORMED) for broken encapsulation.
    """
    pixel_data = header.pixel_data
    if pixel_data is None or not pixel_data.length:
        return None
    if header.is_deflated:
        buffer = header.buffer
    view: View = buffer if isinstance(buffer, bytes) else memoryview(buffer)
    if not pixel_data.encapsulated:
        return _native_layout(header.data_set, pixel_data)
    fragments, value_end = header.fragments, pixel_data.offset + pixel_data.length
    if fragments is None:
        big_endian = header.data_set.encoding.big_endian
        behind_delimiter = min(value_end + 8, len(view))
        fragments, value_end, _ = scan_fragments(view, pixel_data.offset, behind_delimiter, big_endian, pixel_data.tag)
    if len(fragments) < 2:
        return None
    table = _frame_table(view, header, fragments)
    return FrameLayout(len(table) // _ENTRY.size, pixel_data.offset, value_end - pixel_data.offset, None, table)


def read_frame(read_at: ReadAt, layout: FrameLayout, number: int) -> bytes:
    """One frame, counted from 1, by `read_at(offset, length)`. Raises FrameOutOfRange.

    Native: as many bytes as its bits need, the first bit at the start of the first byte. Encapsulated: the fragments
    joined, without their item headers. Raises CannotDecode for one that is too long to be held in memory.
    """
    if not 1 <= number <= layout.number_of_frames:
        raise FrameOutOfRange(f"there is no frame {number}; the instance has {layout.number_of_frames}")
    if layout.table is None:
        if (layout.frame_length or layout.length * 8) > 8 * LONGEST_FRAME:
            raise _too_long()
        return _read_native(read_at, layout, number)
    start, end = _ENTRY.unpack_from(layout.table, (number - 1) * _ENTRY.size)
    if end - start > LONGEST_FRAME:
        raise _too_long()
    return _joined(read_at(start, end - start))


def frame_stretches(read_at: ReadAt, layout: FrameLayout, number: int) -> list[tuple[int, int]] | None:
    """Where the bytes that `read_frame` gives are, as offsets and lengths; None where it has to make them.

    Of an encapsulated frame only the item headers are read.
    """
    if not 1 <= number <= layout.number_of_frames:
        raise FrameOutOfRange(f"there is no frame {number}; the instance has {layout.number_of_frames}")
    if layout.table is None:
        bits = layout.frame_length or layout.length * 8
        first_byte, shift = divmod((number - 1) * bits, 8)
        return None if shift or bits % 8 else [(layout.offset + first_byte, bits // 8)]
    start, end = _ENTRY.unpack_from(layout.table, (number - 1) * _ENTRY.size)
    stretches = []
    while start + _ITEM_HEADER <= end:
        item = read_at(start, _ITEM_HEADER)
        length = _item_length(item, 0)
        start += _ITEM_HEADER
        stretches.append((start, min(length, end - start)))
        start += length
    return stretches


def _too_long() -> CannotDecode:
    return CannotDecode(f"a frame is longer than {LONGEST_FRAME >> 20} MiB; retrieve the instance as it is stored")


def _native_layout(data_set: DataSet, pixel_data: PixelData) -> FrameLayout:
    frame_length = _native_frame_length(data_set, pixel_data.tag)
    available = pixel_data.length * 8
    if not frame_length or frame_length > available:
        # rows or columns are missing, or wrong: all there is, is one frame
        return FrameLayout(1, pixel_data.offset, pixel_data.length, available, None)
    number_of_frames = min(max(data_set.number(NUMBER_OF_FRAMES) or 1, 1), available // frame_length)
    return FrameLayout(number_of_frames, pixel_data.offset, pixel_data.length, frame_length, None)


def _native_frame_length(data_set: DataSet, tag: int) -> int:
    """Bits of a frame; 0 where it cannot be told."""
    pixels = (data_set.number(_ROWS) or 0) * (data_set.number(_COLUMNS) or 0)
    samples = data_set.number(_SAMPLES_PER_PIXEL) or 1
    bits = _FLOAT_BITS.get(tag) or data_set.number(_BITS_ALLOCATED) or 0
    element = data_set.elements.get(_PHOTOMETRIC_INTERPRETATION)
    if element is not None and samples == 3:
        # PS3.3 C.7.6.3.1.2: two pixels share their colour
        interpretation = data_set.value(element).strip(b" \0")
        if interpretation in (b"YBR_FULL_422", b"YBR_PARTIAL_422"):
            samples = 2
        elif interpretation == b"YBR_PARTIAL_420":
            return pixels * bits * 3 // 2
    return pixels * samples * bits


def _read_native(read_at: ReadAt, layout: FrameLayout, number: int) -> bytes:
    bits = layout.frame_length or layout.length * 8
    first_bit = (number - 1) * bits
    first_byte, shift = divmod(first_bit, 8)
    length = (shift + bits + 7) // 8
    data = read_at(layout.offset + first_byte, length)
    if not shift and not bits % 8:
        return data
    # PS3.5 8.1.1: frames of single bits follow each other without a gap, the first in the lowest bit
    return (int.from_bytes(data, "little") >> shift & (1 << bits) - 1).to_bytes((bits + 7) // 8, "little")


def _joined(items: bytes) -> bytes:
    position, parts = 0, []
    while position + _ITEM_HEADER <= len(items):
        length = _item_length(items, position)
        position += _ITEM_HEADER
        parts.append(items[position : position + length])
        position += length
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _item_length(items: bytes, position: int) -> int:
    if position + _ITEM_HEADER <= len(items):
        group, element, length = _ITEM_START.unpack_from(items, position)
        if (group, element) == (0xFFFE, 0xE000):
            return int(length)
    raise UnusableObject(UnusableReason.MALFORMED, "the fragments of the frame are not where they were indexed")


def _frame_table(view: View, header: Header, fragments: Fragments) -> bytes:
    """For each frame, where its first fragment's item starts and its last fragment ends."""
    data_set = header.data_set
    number_of_frames = max(data_set.number(NUMBER_OF_FRAMES) or 1, 1)
    table_offset, table_length = fragments[0]
    frames = fragments[1:]
    if header.transfer_syntax_uid.startswith(_VIDEO):
        number_of_frames = 1
    tables = (_extended_offsets(data_set), _basic_offsets(view, table_offset + _ITEM_HEADER, table_length))
    starts = _first_fragments(view, tables, frames, number_of_frames)
    table = bytearray(_ENTRY.size * len(starts))
    for number, (start, stop) in enumerate(pairwise(chain(starts, (len(frames),)))):
        last, length = frames[stop - 1]
        _ENTRY.pack_into(table, _ENTRY.size * number, frames.offsets[start], last + _ITEM_HEADER + length)
    return bytes(table)


def _first_fragments(
    view: View, tables: Iterable[Sequence[int]], fragments: Fragments, number_of_frames: int
) -> Sequence[int]:
    """The index of each frame's first fragment, by what can be believed, the best first; empty where nothing can."""
    if number_of_frames == 1:
        return (0,)
    for offsets in tables:
        if len(offsets) == number_of_frames and offsets[0] == 0:
            indices = _places(fragments, offsets)
            if len(indices) == number_of_frames:
                return indices
    if len(fragments) <= number_of_frames:
        return range(len(fragments))
    for indices in (_by_end_marker(view, fragments), _by_start_marker(view, fragments)):
        if len(indices) == number_of_frames:
            return indices
    return ()


def _places(fragments: Fragments, offsets: Sequence[int]) -> Sequence[int]:
    """Which fragments stand at these offsets; fewer where one is at none, or not behind the one before it."""
    places, place = array("Q"), 0
    first, count = fragments.offsets[0], len(fragments)
    for offset in offsets:
        place = bisect_left(fragments.offsets, first + offset, place)
        if place == count or fragments.offsets[place] != first + offset:
            break
        places.append(place)
        place += 1
    return places


def _extended_offsets(data_set: DataSet) -> Sequence[int]:
    # PS3.3 C.7.6.3.1.8
    element = data_set.elements.get(_EXTENDED_OFFSET_TABLE)
    return _unpacked(data_set.value(element), "Q") if element is not None else ()


def _basic_offsets(view: View, offset: int, length: int) -> Sequence[int]:
    # PS3.5 A.4
    return _unpacked(bytes(view[offset : offset + length]), "I")


def _unpacked(table: bytes, code: Literal["I", "Q"]) -> Sequence[int]:
    numbers = array(code)
    numbers.frombytes(table[: len(table) // numbers.itemsize * numbers.itemsize])
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _by_end_marker(view: View, fragments: Fragments) -> Sequence[int]:
    starts = array("Q", (0,))
    pages = PagesBehind(view)
    for index, (offset, length) in enumerate(fragments[:-1]):
        pages.at(offset)
        end = offset + _ITEM_HEADER + length
        if _END_OF_IMAGE in bytes(view[max(end - _TAIL, offset + _ITEM_HEADER) : end]):
            starts.append(index + 1)
    return starts


def _by_start_marker(view: View, fragments: Fragments) -> Sequence[int]:
    starts = array("Q", (0,))
    pages = PagesBehind(view)
    for index, (offset, length) in enumerate(fragments[1:], 1):
        pages.at(offset)
        value = offset + _ITEM_HEADER
        if bytes(view[value : value + min(length, 4)]).startswith(_START_OF_IMAGE):
            starts.append(index)
    return starts
