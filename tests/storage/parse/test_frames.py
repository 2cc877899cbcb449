"""Frames: found by every kind of table, or none, and read without touching the others."""

import struct
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import generate_frames

from fileroom_storage.errors import FrameOutOfRange, UnusableObject
from fileroom_storage.parse.encoding import Buffer
from fileroom_storage.parse.frames import FrameLayout, frame_layout, frame_stretches, read_frame
from fileroom_storage.parse.header import parse_header
from fileroom_storage.parse.part10 import read_file_meta
from tests.corpus import corpus_files, corpus_studies, parameters, pydicom_files
from tests.storage.parse.encoded import DEFLATED, JPEG, LITTLE_ENDIAN, explicit, fragments, image, item
from tests.storage.parse.test_header import deflated

VIDEO = "1.2.840.10008.1.2.4.102"
ONE, TWO, THREE = b"\xff\xd8one\xff\xd9\0", b"\xff\xd8two\xff\xd9\0", b"\xff\xd8three\xff\xd9\0"
EXTENDED_OFFSET_TABLE = 0x7FE00001

# Frames that pydicom finds differently, and why
DIFFERENT = {
    "emri_small_jpeg_2k_lossless_too_short.dcm": "pydicom loses pixel data whose last delimiter is missing",
    "GH1339.dcm": "as before",
    "GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm": "pydicom does not read it",
    "badVR.dcm": "Number of Frames is no number",
}


def layout_of(data_set: bytes, transfer_syntax_uid: str) -> FrameLayout:
    layout = frame_layout(data_set, parse_header(data_set, transfer_syntax_uid))
    assert layout is not None
    return layout


def frames_of(data_set: bytes, transfer_syntax_uid: str = JPEG) -> list[bytes]:
    """By reading them; their stretches have to hold the same."""
    layout = layout_of(data_set, transfer_syntax_uid)
    frames = [
        read_frame(lambda offset, length: data_set[offset : offset + length], layout, number)
        for number in range(1, layout.number_of_frames + 1)
    ]
    assert [stretched(data_set, layout, number, frame) for number, frame in enumerate(frames, 1)] == frames
    return frames


def offsets(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}L", *values)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of values that are not as they should be
@pytest.mark.parametrize("path", parameters([*pydicom_files(), *corpus_files(), *corpus_studies()[:60]]))
def test_against_pydicom(path: Path) -> None:
    content = path.read_bytes()
    try:
        meta = read_file_meta(content)
        header = parse_header(content, meta.transfer_syntax_uid, meta.data_set_offset)
    except UnusableObject:
        return  # test_dicom_json has these
    layout = frame_layout(content, header)
    if header.pixel_data is None or not header.pixel_data.length:
        assert layout is None
        return
    if path.name in DIFFERENT:
        return
    assert layout is not None
    buffer = header.buffer
    ours = [
        read_frame(lambda offset, length: bytes(buffer[offset : offset + length]), layout, number)
        for number in range(1, layout.number_of_frames + 1)
    ]
    assert [stretched(buffer, layout, number, frame) for number, frame in enumerate(ours, 1)] == ours
    data_set = pydicom.dcmread(path, force=True)
    pixels = data_set[header.pixel_data.tag].value
    number_of_frames = int(data_set.get("NumberOfFrames") or 1)
    if layout.table is None:
        assert layout.frame_length is not None
        assert len(ours) in (number_of_frames, 1)
        assert bits_of(ours, layout.frame_length) == bits_of([pixels], layout.frame_length * len(ours))
        return
    extended = (
        (data_set.ExtendedOffsetTable, data_set.ExtendedOffsetTableLengths)
        if EXTENDED_OFFSET_TABLE in data_set
        else None
    )
    theirs = list(generate_frames(pixels, number_of_frames=number_of_frames, extended_offsets=extended))
    assert ours == theirs


def stretched(buffer: Buffer, layout: FrameLayout, number: int, read: bytes) -> bytes:
    """The frame by its stretches; as it was read where it has none, which only shifted bits excuse."""
    stretches = frame_stretches(lambda offset, length: bytes(buffer[offset : offset + length]), layout, number)
    if stretches is None:
        assert layout.frame_length is not None
        assert layout.frame_length % 8
        return read
    return b"".join(bytes(buffer[offset : offset + length]) for offset, length in stretches)


def bits_of(frames: list[bytes], length: int) -> int:
    """The frames' bits one after another, as one number."""
    whole = 0
    for number, frame in enumerate(frames):
        whole |= (int.from_bytes(frame, "little") & (1 << length) - 1) << number * length
    return whole


def test_no_pixel_data_no_layout() -> None:
    data_set = image(1, b"")
    assert frame_layout(data_set, parse_header(data_set, LITTLE_ENDIAN)) is None
    data_set = image(1, explicit(0x7FE00010, "OW", b""))
    assert frame_layout(data_set, parse_header(data_set, LITTLE_ENDIAN)) is None
    data_set = image(1, fragments())
    assert frame_layout(data_set, parse_header(data_set, JPEG)) is None


def test_native_frames() -> None:
    data_set = image(2, explicit(0x7FE00010, "OW", bytes(range(12))))
    assert frames_of(data_set, LITTLE_ENDIAN) == [bytes(range(6)), bytes(range(6, 12))]
    layout = layout_of(data_set, LITTLE_ENDIAN)
    assert (layout.frame_length, layout.table, layout.length) == (48, None, 12)


@pytest.mark.parametrize(
    ("colour", "size"), [(b"RGB ", 18), (b"YBR_FULL", 18), (b"YBR_FULL_422", 12), (b"YBR_PARTIAL_420 ", 9)]
)
def test_native_colour(colour: bytes, size: int) -> None:
    data_set = image(2, explicit(0x7FE00010, "OW", bytes(2 * size)), colour=colour)
    assert [len(frame) for frame in frames_of(data_set, LITTLE_ENDIAN)] == [size, size]


@pytest.mark.parametrize(("tag", "vr", "size"), [(0x7FE00008, "OF", 4), (0x7FE00009, "OD", 8)])
def test_float_frames(tag: int, vr: str, size: int) -> None:
    data_set = image(2, explicit(tag, vr, bytes(12 * size)), bits=size * 8)
    assert [len(frame) for frame in frames_of(data_set, LITTLE_ENDIAN)] == [6 * size, 6 * size]


def test_frames_of_single_bits() -> None:
    # 6 bits a frame: 000001, 100000, 111111, and 6 bits of padding
    data_set = image(3, explicit(0x7FE00010, "OB", bytes((0b00000001, 0b11111000, 0b00000011, 0))), bits=1)
    assert frames_of(data_set, LITTLE_ENDIAN) == [b"\x01", b"\x20", b"\x3f"]


@given(st.lists(st.integers(0, 2**21 - 1), min_size=1, max_size=9))
def test_frames_of_single_bits_come_back(frames: list[int]) -> None:
    packed = sum(frame << 21 * number for number, frame in enumerate(frames))
    value = packed.to_bytes((21 * len(frames) + 15) // 16 * 2, "little")
    data_set = image(len(frames), explicit(0x7FE00010, "OB", value), bits=1, rows=3, columns=7)
    assert [int.from_bytes(frame, "little") for frame in frames_of(data_set, LITTLE_ENDIAN)] == frames


def test_fewer_native_frames_than_announced() -> None:
    assert len(frames_of(image(9, explicit(0x7FE00010, "OW", bytes(12))), LITTLE_ENDIAN)) == 2


@pytest.mark.parametrize("size", [b"", image(1, b"")])
def test_native_pixel_data_of_no_or_a_wrong_size_is_one_frame(size: bytes) -> None:
    assert frames_of(size + explicit(0x7FE00010, "OW", b"abcd"), LITTLE_ENDIAN) == [b"abcd"]


def test_deflated_frames_are_those_of_the_inflated_buffer() -> None:
    data_set = deflated(image(2, explicit(0x7FE00010, "OW", bytes(range(12)))))
    header = parse_header(data_set, DEFLATED)
    layout = frame_layout(data_set, header)
    assert layout is not None
    frame = read_frame(lambda offset, length: bytes(header.buffer[offset : offset + length]), layout, 2)
    assert frame == bytes(range(6, 12))


def test_one_fragment_a_frame() -> None:
    assert frames_of(image(3, fragments(ONE, TWO, THREE))) == [ONE, TWO, THREE]


def test_one_frame_of_many_fragments() -> None:
    assert frames_of(image(1, fragments(ONE, TWO, THREE))) == [ONE + TWO + THREE]


def test_basic_offset_table() -> None:
    table = offsets(0, len(item(ONE)) + len(item(b"more")))
    assert frames_of(image(2, fragments(ONE, b"more", TWO, offset_table=table))) == [ONE + b"more", TWO]


def test_extended_offset_table() -> None:
    table = explicit(EXTENDED_OFFSET_TABLE, "OV", struct.pack("<2Q", 0, len(item(ONE)) * 2))
    assert frames_of(image(2, table + fragments(ONE, ONE, TWO))) == [ONE + ONE, TWO]


@pytest.mark.parametrize(
    "table", [offsets(0), offsets(0, 4), offsets(4, 16), offsets(16, 0), offsets(0, 16, 32), b"\0\0"]
)
def test_wrong_offset_tables_are_not_believed(table: bytes) -> None:
    assert frames_of(image(2, fragments(ONE, TWO, offset_table=table))) == [ONE, TWO]


def test_several_fragments_a_frame_without_a_table() -> None:
    first, rest = ONE[:4], ONE[4:]
    assert frames_of(image(2, fragments(first, rest, TWO))) == [ONE, TWO]
    # ends that cannot be seen, starts that can
    blind = [ONE.replace(b"\xff\xd9", b"\0" * 12), b"more", TWO]
    assert frames_of(image(2, fragments(*blind))) == [blind[0] + b"more", TWO]


def test_fragments_that_do_not_tell_their_frame() -> None:
    layout = layout_of(image(2, fragments(b"ab", b"cd", b"ef")), JPEG)
    assert layout.number_of_frames == 0
    with pytest.raises(FrameOutOfRange):
        read_frame(lambda _offset, _length: b"", layout, 1)


def test_fewer_fragments_than_frames() -> None:
    assert frames_of(image(9, fragments(ONE, TWO))) == [ONE, TWO]


def test_a_video_is_one_stream() -> None:
    assert frames_of(image(300, fragments(b"ab", b"cd")), VIDEO) == [b"abcd"]


def test_encapsulated_pixel_data_of_known_length() -> None:
    value = item(b"") + item(ONE) + item(TWO)
    assert frames_of(image(2, explicit(0x7FE00010, "OB", value))) == [ONE, TWO]


def test_pixel_data_that_was_not_touched_before() -> None:
    data_set = image(2, fragments(ONE, TWO)) + explicit(0xFFFCFFFC, "OB", b"\0\0")
    layout = frame_layout(data_set, parse_header(data_set, JPEG, through_pixel_data=False))
    assert layout == layout_of(data_set, JPEG)


def test_a_frame_is_read_by_itself() -> None:
    data_set = image(3, fragments(ONE, TWO, THREE))
    reads: list[tuple[int, int]] = []

    def read_at(offset: int, length: int) -> bytes:
        reads.append((offset, length))
        return data_set[offset : offset + length]

    assert read_frame(read_at, layout_of(data_set, JPEG), 2) == TWO
    assert reads == [(data_set.index(item(TWO)), len(item(TWO)))]


@pytest.mark.parametrize("number", [0, -1, 3])
def test_frames_that_are_not_there(number: int) -> None:
    for read in (read_frame, frame_stretches):
        with pytest.raises(FrameOutOfRange, match="has 2"):
            read(lambda _offset, length: bytes(length), layout_of(image(2, fragments(ONE, TWO)), JPEG), number)


def test_a_table_of_another_object() -> None:
    layout = layout_of(image(1, fragments(ONE)), JPEG)
    for read in (read_frame, frame_stretches):
        with pytest.raises(UnusableObject, match="not where they were indexed"):
            read(lambda _offset, length: bytes(length), layout, 1)
