"""What is like an object before it is read without a scan: the scan says what is right."""

import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom_storage.errors import UnusableObject
from fileroom_storage.parse import likeness
from fileroom_storage.parse.header import parse_header
from fileroom_storage.parse.likeness import Models
from tests.conformance.every_file import every_file
from tests.made import encoded, made
from tests.storage.parse.encoded import (
    BIG_ENDIAN,
    IMPLICIT,
    JPEG,
    LITTLE_ENDIAN,
    explicit,
    fragments,
    image,
    implicit,
    item,
    open_item,
    open_sequence,
)

PIXELS = bytes(range(200))


def slice_of(number: int, pixels: bytes = PIXELS, **attributes: Any) -> bytes:
    return encoded(made(InstanceNumber=number, Rows=10, Columns=10, BitsAllocated=16, PixelData=pixels, **attributes))


def read(data_set: bytes, transfer_syntax_uid: str, models: Models | None = None) -> Any:
    """All that a scan finds out, or why there is nothing to find."""
    try:
        header = parse_header(data_set, transfer_syntax_uid, models=models)
    except UnusableObject as error:
        return error.reason, str(error)
    return header.data_set.elements, header.data_set.encoding, header.fragments, header.pixel_data


def is_like(data_set: bytes, transfer_syntax_uid: str, models: Models) -> bool:
    return models.find(data_set, transfer_syntax_uid) is not None


def test_the_slices_of_a_series_are_like_the_second() -> None:
    models = Models()
    found = []
    for number in range(1, 7):
        data_set = slice_of(number, SliceLocation=str(number))
        found.append(is_like(data_set, LITTLE_ENDIAN, models))
        assert read(data_set, LITTLE_ENDIAN, models) == read(data_set, LITTLE_ENDIAN)
    assert found == [False, False, True, True, True, True]


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"SliceLocation": "100.25"}, id="a longer value"),
        pytest.param({"PatientComments": "x"}, id="another element"),
        pytest.param({"SliceLocation": None}, id="an element less"),
    ],
)
def test_another_layout_is_scanned(changed: dict[str, Any]) -> None:
    models = Models()
    for number in (1, 2):
        read(slice_of(number, SliceLocation="1"), LITTLE_ENDIAN, models)
    data_set = slice_of(3, **{"SliceLocation": "3", **changed})
    assert not is_like(data_set, LITTLE_ENDIAN, models)
    assert read(data_set, LITTLE_ENDIAN, models) == read(data_set, LITTLE_ENDIAN)


def test_pixel_data_may_be_of_any_length_and_is_checked() -> None:
    models = Models()
    for number in (1, 2):
        read(slice_of(number), LITTLE_ENDIAN, models)
    longer = slice_of(3, 3 * PIXELS)
    assert is_like(longer, LITTLE_ENDIAN, models)
    for cut in (0, 1, 2, 250):
        data_set = longer[: len(longer) - cut]
        assert read(data_set, LITTLE_ENDIAN, models) == read(data_set, LITTLE_ENDIAN)


def test_models_are_kept_of_what_came_last_only() -> None:
    models = Models()
    for elements in range(3 * likeness._MODELS):
        for number in (1, 2):
            read(slice_of(number, ImageComments="xx" * elements), LITTLE_ENDIAN, models)
    assert len(models._models) == likeness._MODELS
    assert is_like(slice_of(3, ImageComments="xx" * elements), LITTLE_ENDIAN, models)


def test_a_long_head_is_no_model() -> None:
    models = Models()
    for number in (1, 2, 3):
        read(slice_of(number, ImageComments="x" * 40_000, PatientComments="x" * 40_000), LITTLE_ENDIAN, models)
    assert not models._models


def test_every_file_and_what_is_nearly_the_same() -> None:
    """One set of models sees them all: whatever came before must not matter."""
    models, chance, alike = Models(), random.Random(4), 0
    for file in every_file():
        uid = file.transfer_syntax_uid
        for turn in range(6):
            data_set = bytearray(file.data_set)
            for _ in range(turn // 2 if data_set else 0):
                data_set[chance.randrange(min(len(data_set), 8_000))] = chance.choice(b"\x00\x0158AZ\\\xff")
            alike += is_like(bytes(data_set), uid, models)
            assert read(bytes(data_set), uid, models) == read(bytes(data_set), uid), file.name
    assert alike > 300


_NESTED = open_sequence(0x00081140, open_item(explicit(0x00081155, "UI", b"1.2.3\0")), item(b""))
_PLAIN = explicit(0x00080060, "CS", b"CT") + explicit(0x00200013, "IS", b"12")
_BASES = [
    (LITTLE_ENDIAN, _PLAIN + image(1, bytes(6))),
    (LITTLE_ENDIAN, _PLAIN[:10] + _NESTED + _PLAIN[10:] + image(1, bytes(6))),
    (LITTLE_ENDIAN, _PLAIN[:10] + explicit(0x00081140, "SQ", 90 * item(_PLAIN)) + image(1, bytes(6))),
    (LITTLE_ENDIAN, _PLAIN + explicit(0x00290010, "LO", b"ACME") + explicit(0x00291001, "UN", b"1234") + image(1, b"")),
    # writers that do not keep to the standard: no VR, a blank one, one of the vendor's own
    (LITTLE_ENDIAN, _PLAIN[:10] + implicit(0x00081030, b"Head") + _PLAIN[10:] + image(1, bytes(6))),
    (LITTLE_ENDIAN, _PLAIN[:10] + struct.pack("<HH2sH", 8, 0x1030, b"??", 4) + b"Head" + image(1, bytes(6))),
    (LITTLE_ENDIAN, _PLAIN[:10] + struct.pack("<HH2sH", 8, 0x1030, b"ZZ", 4) + b"Head" + image(1, bytes(6))),
    (JPEG, _PLAIN + explicit(0x00280008, "IS", b"2 ") + fragments(b"one!", b"two!", offset_table=bytes(8))),
    (IMPLICIT, implicit(0x00080060, b"CT") + implicit(0x00200013, b"12") + implicit(0x7FE00010, 2_000 * b"x")),
    (BIG_ENDIAN, explicit(0x00080060, "CS", b"CT", order=">") + explicit(0x7FE00010, "OW", bytes(4), order=">")),
]


@settings(deadline=None, max_examples=1_500)
@given(
    st.sampled_from(_BASES),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3),
    st.integers(0, 12),
)
def test_whatever_byte_is_another(base: tuple[str, bytes], others: list[tuple[int, int]], cut: int) -> None:
    uid, data_set = base
    models = Models()
    for _ in range(2):
        read(data_set, uid, models)
    changed = bytearray(data_set[: len(data_set) - cut])
    for place, byte in others:
        changed[place % len(changed)] = byte
    assert read(bytes(changed), uid, models) == read(bytes(changed), uid)
