"""Headers: what is found, what is tolerated, what is refused."""

import mmap
import random
import struct
import zlib
from contextlib import suppress

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom_storage.errors import UnusableObject, UnusableReason
from fileroom_storage.parse import header as header_module
from fileroom_storage.parse import scan
from fileroom_storage.parse.frames import frame_layout
from fileroom_storage.parse.header import PixelData, parse_header
from fileroom_storage.parse.part10 import read_file_meta
from tests.corpus import PYDICOM, corpus_files, pydicom_files
from tests.storage.parse.bulk_data import bulk_data_paths
from tests.storage.parse.encoded import (
    BIG_ENDIAN,
    DEFLATED,
    IMPLICIT,
    ITEM_END,
    JPEG,
    LITTLE_ENDIAN,
    SEQUENCE_END,
    UNDEFINED,
    explicit,
    fragments,
    implicit,
    item,
    open_item,
    open_sequence,
)

MODALITY = explicit(0x00080060, "CS", b"CT")
PATIENT_ID = explicit(0x00100020, "LO", b"4711")
NATIVE = explicit(0x7FE00010, "OW", b"\1\2\3\4")
SEQUENCE_TAG = 0x00081110


def refusal(data_set: bytes, transfer_syntax_uid: str = LITTLE_ENDIAN) -> UnusableObject:
    with pytest.raises(UnusableObject) as caught:
        parse_header(data_set, transfer_syntax_uid)
    return caught.value


def deflated(data_set: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data_set) + deflater.flush()


def test_text() -> None:
    header = parse_header(
        explicit(0x00080005, "CS", b"ISO_IR 100")
        + explicit(0x00080008, "CS", b"ORIGINAL\\PRIMARY")
        + explicit(0x00100010, "PN", b"M\xfcller^J=A^B ")
        + explicit(0x00100020, "LO", b" 4711 ")
        + explicit(0x00101030, "DS", b"70.50 ")
        + explicit(0x00102000, "LO", b""),
        LITTLE_ENDIAN,
    )
    assert header.text("ImageType") == "ORIGINAL"
    assert header.text(0x00100010) == "Müller^J=A^B"
    assert header.text("PatientID") == "4711"
    assert header.text("PatientWeight") == "70.5"
    assert header.text("MedicalAlerts") is None
    assert header.text("StudyInstanceUID") is None
    assert header.text("NoSuchKeyword") is None
    assert header.specific_character_set == ("ISO_IR 100",)
    assert 0x00100020 in header
    assert 0x0020000D not in header


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["AE", "CS", "LO", "SH", "UI", "DS", "LT"]),
    st.lists(st.sampled_from([b" ", b"\0", b"A", b"1.2", b"\\", b"\x1b", b"\x1f", b"\t", b"\xfc"]), max_size=6).map(
        b"".join
    ),
)
def test_text_is_the_first_value_of_the_element(vr: str, value: bytes) -> None:
    header = parse_header(explicit(0x00100020, vr, value), LITTLE_ENDIAN)
    first = (header.element(0x00100020) or {}).get("Value", [None])[0]
    assert header.text(0x00100020) == (str(first).strip() or None if first is not None else None)


def test_element() -> None:
    header = parse_header(MODALITY + open_sequence(SEQUENCE_TAG, item(PATIENT_ID)), LITTLE_ENDIAN)
    assert header.element(0x00080060) == {"vr": "CS", "Value": ["CT"]}
    assert header.element(SEQUENCE_TAG) == {
        "vr": "SQ",
        "Value": [{"00100020": {"vr": "LO", "Value": ["4711"]}}],
    }
    assert header.element(0x0020000D) is None


@pytest.mark.parametrize("wrapped", [bytes, bytearray, memoryview], ids=["bytes", "bytearray", "memoryview"])
def test_any_buffer_and_offset(wrapped: type) -> None:
    header = parse_header(wrapped(b"xyz" + MODALITY + NATIVE), LITTLE_ENDIAN, 3)
    assert header.text("Modality") == "CT"
    assert header.pixel_data == PixelData(0x7FE00010, "OW", 3 + len(MODALITY) + 12, 4, False)
    assert bytes(header.bulk_data("7FE00010")) == b"\1\2\3\4"


def test_a_mapped_file() -> None:
    path = PYDICOM / "test_files" / "CT_small.dcm"
    meta = read_file_meta(path.read_bytes())
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        header = parse_header(mapped, meta.transfer_syntax_uid, meta.data_set_offset)
        assert header.text("Modality") == "CT"
        assert isinstance(header.buffer, memoryview)
        header.buffer.release()


@pytest.mark.parametrize(
    ("pixel_data", "transfer_syntax_uid", "expected"),
    [
        (NATIVE, LITTLE_ENDIAN, PixelData(0x7FE00010, "OW", 12, 4, False)),
        (explicit(0x7FE00008, "OF", bytes(4)), LITTLE_ENDIAN, PixelData(0x7FE00008, "OF", 12, 4, False)),
        (explicit(0x7FE00009, "OD", bytes(8)), LITTLE_ENDIAN, PixelData(0x7FE00009, "OD", 12, 8, False)),
        (implicit(0x7FE00010, bytes(6)), IMPLICIT, PixelData(0x7FE00010, "OW", 8, 6, False)),
        (fragments(b"ab"), JPEG, PixelData(0x7FE00010, "OB", 12, 18, True)),
        # some writers give encapsulated pixel data a length
        (explicit(0x7FE00010, "OB", item(b"") + item(b"ab")), JPEG, PixelData(0x7FE00010, "OB", 12, 18, True)),
        (explicit(0x7FE00010, "OB", item(b"")), LITTLE_ENDIAN, PixelData(0x7FE00010, "OB", 12, 8, False)),
        (MODALITY, LITTLE_ENDIAN, None),
    ],
)
def test_pixel_data(pixel_data: bytes, transfer_syntax_uid: str, expected: PixelData | None) -> None:
    assert parse_header(pixel_data, transfer_syntax_uid).pixel_data == expected


def test_encapsulated_pixel_data_need_not_be_touched() -> None:
    data_set = MODALITY + explicit(0x7FE00010, "OB", item(b"") + b"what is this", UNDEFINED)
    assert refusal(data_set, JPEG).reason is UnusableReason.MALFORMED
    header = parse_header(data_set, JPEG, through_pixel_data=False)
    assert header.text("Modality") == "CT"
    assert header.pixel_data == PixelData(0x7FE00010, "OB", len(MODALITY) + 12, 20, True)


def test_elements_behind_the_pixel_data() -> None:
    padding = explicit(0xFFFCFFFC, "OB", bytes(10))
    assert 0xFFFCFFFC in parse_header(MODALITY + NATIVE + padding, LITTLE_ENDIAN)
    assert 0xFFFCFFFC in parse_header(MODALITY + fragments(b"ab") + padding, JPEG)


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\0",
        b"\n",
        bytes(7),
        bytes(8),
        bytes(100_001),
        b"\1\2\3",
        b"END OF FILE, REALLY",
        explicit(0xFFFCFFFC, "OB", b"", 99),
    ],
    ids=lambda rest: f"{len(rest)} bytes",
)
def test_what_trails_an_image_does_no_harm(rest: bytes) -> None:
    assert parse_header(MODALITY + NATIVE + rest, LITTLE_ENDIAN).text("Modality") == "CT"
    assert parse_header(MODALITY + fragments(b"ab") + rest, JPEG).text("Modality") == "CT"


def test_zeros_behind_a_data_set_without_pixel_data() -> None:
    for length in (1, 6, 8, 20):
        assert list(parse_header(MODALITY + bytes(length), LITTLE_ENDIAN).dicom_json()) == ["00080060"]


@pytest.mark.parametrize(
    ("data_set", "tag"),
    [
        (MODALITY + explicit(0x00100020, "LO", b"47", 4), "0010,0020"),
        (MODALITY + explicit(0x7FE00010, "OW", b"\1\2", 5_000_000_000 & 0x7FFFFFFF), "7FE0,0010"),
        (MODALITY + fragments(b"ab")[:-9], "7FE0,0010"),
        (MODALITY + explicit(0x7FE00010, "OB", item(b"") + item(b"ab", 3), UNDEFINED), "7FE0,0010"),
        (explicit(0x00280008, "IS", b"2 ") + fragments(b"ab")[:-8], "7FE0,0010"),
        (explicit(SEQUENCE_TAG, "SQ", item(MODALITY), 99), "0008,1110"),
    ],
)
def test_lengths_that_lie(data_set: bytes, tag: str) -> None:
    error = refusal(data_set)
    assert error.reason is UnusableReason.TRUNCATED
    assert tag in str(error)
    assert "at byte" in str(error)


@pytest.mark.parametrize(
    "data_set",
    [
        explicit(SEQUENCE_TAG, "SQ", item(MODALITY), UNDEFINED),
        explicit(SEQUENCE_TAG, "SQ", item(MODALITY, UNDEFINED), UNDEFINED),
        explicit(SEQUENCE_TAG, "SQ", item(MODALITY, 99) + SEQUENCE_END, UNDEFINED),
        explicit(SEQUENCE_TAG, "SQ", item(explicit(0x00100020, "LO", b"", 999), UNDEFINED) + ITEM_END, UNDEFINED),
    ],
)
def test_sequences_of_undefined_length_that_do_not_end(data_set: bytes) -> None:
    assert refusal(MODALITY + data_set).reason is UnusableReason.TRUNCATED


def test_rubbish_where_an_item_should_be() -> None:
    error = refusal(explicit(SEQUENCE_TAG, "SQ", b"rubbish, and more of it", UNDEFINED))
    assert error.reason is UnusableReason.MALFORMED


def test_a_missing_delimiter_behind_complete_pixel_data_is_tolerated() -> None:
    assert parse_header(MODALITY + fragments(b"ab")[:-8], JPEG).pixel_data is not None


def test_rubbish_within_a_sequence_of_known_length_does_not_cost_the_object() -> None:
    lying = explicit(0x00100020, "LO", b"47", 999)
    header = parse_header(explicit(SEQUENCE_TAG, "SQ", item(lying)) + PATIENT_ID, LITTLE_ENDIAN)
    assert header.text("PatientID") == "4711"
    assert header.dicom_json()["00081110"]["Value"] == [{"00100020": {"vr": "LO", "Value": ["47"]}}]


@pytest.mark.parametrize("announced", [LITTLE_ENDIAN, IMPLICIT, BIG_ENDIAN, JPEG])
@pytest.mark.parametrize(
    "data_set",
    [
        MODALITY + PATIENT_ID,
        implicit(0x00080060, b"CT") + implicit(0x00100020, b"4711"),
        explicit(0x00080060, "CS", b"CT", order=">") + explicit(0x00100020, "LO", b"4711", order=">"),
    ],
    ids=["explicit", "implicit", "big endian"],
)
def test_the_encoding_is_the_one_that_is_there(announced: str, data_set: bytes) -> None:
    header = parse_header(data_set, announced)
    assert (header.text("Modality"), header.text("PatientID")) == ("CT", "4711")


def test_big_endian_sequences() -> None:
    nested = explicit(0x00280010, "US", b"\1\0", order=">")
    data_set = explicit(SEQUENCE_TAG, "SQ", item(nested, order=">"), order=">")
    assert parse_header(data_set, BIG_ENDIAN).dicom_json()["00081110"]["Value"] == [
        {"00280010": {"vr": "US", "Value": [256]}}
    ]


@pytest.mark.parametrize(
    "odd",
    [
        implicit(0x00100010, b"A^B "),  # no VR
        explicit(0x00100010, "  ", b"A^B "),
        explicit(0x00100010, "??", b"A^B "),
        explicit(0x00100010, "ZZ", b"A^B "),  # a vendor's
        struct.pack("<HH2s2xL", 0x0010, 0x0010, b"ZX", 4) + b"A^B ",  # a later edition's
    ],
)
def test_elements_without_a_known_vr(odd: bytes) -> None:
    header = parse_header(MODALITY + odd + PATIENT_ID, LITTLE_ENDIAN)
    assert header.text("PatientName") == "A^B"
    assert header.text("PatientID") == "4711"


def test_a_long_vr_with_a_short_length() -> None:
    odd = struct.pack("<HH2sH", 0x0009, 0x1001, b"UN", 4) + b"\xff\xfe\xfd\x01"
    assert parse_header(MODALITY + odd + PATIENT_ID, LITTLE_ENDIAN).text("PatientID") == "4711"


def test_implicit_items_in_an_explicit_data_set() -> None:
    nested = implicit(0x00080060, b"MR")
    for sequence in (
        open_sequence(SEQUENCE_TAG, item(nested)),
        open_sequence(SEQUENCE_TAG, open_item(nested)),
        open_sequence(SEQUENCE_TAG, open_item(nested), vr="UN"),
        explicit(SEQUENCE_TAG, "UN", item(nested)),
    ):
        header = parse_header(sequence + PATIENT_ID, LITTLE_ENDIAN)
        assert header.dicom_json()["00081110"] == {
            "vr": "SQ",
            "Value": [{"00080060": {"vr": "CS", "Value": ["MR"]}}],
        }
        assert header.text("PatientID") == "4711"


def test_command_and_meta_elements_before_the_data_set() -> None:
    command = implicit(0x00000000, b"\x04\0\0\0") + implicit(0x00000002, b"1.2\0")
    header = parse_header(command + explicit(0x00020010, "UI", b"1.2\0") + MODALITY, LITTLE_ENDIAN)
    assert list(header.dicom_json()) == ["00080060"]


def test_the_elements_of_a_stray_item_are_not_those_of_the_object() -> None:
    for stray in (item(explicit(0x00100020, "LO", b"0815")), open_item(explicit(0x00100020, "LO", b"0815"))):
        assert parse_header(PATIENT_ID + stray + NATIVE, LITTLE_ENDIAN).text("PatientID") == "4711"


def test_deflated() -> None:
    header = parse_header(b"xx" + deflated(MODALITY + NATIVE) + b"\0", DEFLATED, 2)
    assert header.is_deflated
    assert header.text("Modality") == "CT"
    assert header.pixel_data is not None
    assert header.buffer[header.pixel_data.offset :] == b"\1\2\3\4"


def test_deflated_and_cut_off() -> None:
    whole = deflated(MODALITY * 10 + bytes(random.Random(1).randbytes(5000)))
    assert refusal(whole[:-100], DEFLATED).reason is UnusableReason.TRUNCATED
    assert refusal(b"\xff" + whole, DEFLATED).reason is UnusableReason.MALFORMED


def test_what_inflates_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_module, "MAXIMUM_INFLATED", 1 << 20)
    bomb = deflated(explicit(0x7FE00010, "OW", bytes(8 << 20)))
    assert len(bomb) < 10_000
    assert refusal(bomb, DEFLATED).reason is UnusableReason.TOO_LARGE


def test_zeros_before_something_are_passed_over_once() -> None:
    data_set = MODALITY + bytes(8 << 20) + PATIENT_ID
    assert parse_header(data_set, LITTLE_ENDIAN).text("PatientID") == "4711"
    assert refusal(MODALITY + bytes(8 << 20) + b"\1\2\3").reason is UnusableReason.TRUNCATED


def test_more_elements_than_anybody_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAXIMUM_ELEMENTS", 1_000)
    elements = b"".join(explicit(0x00090000 + number, "LO", b"") for number in range(1_002))
    assert refusal(elements + fragments(b"ab")).reason is UnusableReason.TOO_LARGE
    monkeypatch.setattr(scan, "MAXIMUM_FRAGMENTS", 2)
    assert refusal(fragments(b"a ", b"b ")).reason is UnusableReason.TOO_LARGE


def test_errors_name_no_values() -> None:
    error = refusal(explicit(0x00100010, "PN", b"Secret^Name") + explicit(0x00100020, "LO", b"Secret", 99))
    assert "Secret" not in str(error)


SMALL_FILES = [path for path in [*pydicom_files(), *corpus_files()] if path.stat().st_size < 300_000]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_cut_anywhere_it_is_read_or_refused(data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(SMALL_FILES)).read_bytes()
    # headers are more interesting than pixels
    limit = data.draw(st.sampled_from([min(len(content), 3000), len(content)]))
    read_or_refuse(content[: data.draw(st.integers(0, limit))])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_anywhere_it_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SMALL_FILES)).read_bytes())
    if content:
        limit = data.draw(st.sampled_from([min(len(content), 3000), len(content)]))
        for position in data.draw(st.lists(st.integers(0, limit - 1), min_size=1, max_size=5)):
            content[position] = data.draw(st.integers(0, 255))
    read_or_refuse(bytes(content))


@given(st.binary(max_size=300), st.sampled_from([LITTLE_ENDIAN, IMPLICIT, BIG_ENDIAN, DEFLATED, JPEG]))
def test_any_bytes_are_read_or_refused(content: bytes, transfer_syntax_uid: str) -> None:
    with suppress(UnusableObject):
        parse_header(content, transfer_syntax_uid).dicom_json(bulk_data_uri=str)


def read_or_refuse(content: bytes) -> None:
    """An object that is accepted can be read in full; everything else is refused by name."""
    try:
        meta = read_file_meta(content)
        header = parse_header(content, meta.transfer_syntax_uid, meta.data_set_offset)
        layout = frame_layout(content, header)
    except UnusableObject:
        return
    assert layout is None or layout.number_of_frames >= 0
    orjson.dumps(header.dicom_json())
    for path in bulk_data_paths(header, 16)[:20]:
        header.bulk_data(path)
    for tag in header.data_set.elements:
        header.text(tag)
