"""Rows that are remembered are the rows that are read: `entity_row` says what is right, EntityRows is fast."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR

from fileroom_storage.attributes import Attribute, Level, standard_registry
from fileroom_storage.errors import UnusableObject
from fileroom_storage.index import entity_rows
from fileroom_storage.index.arrival import EntityRow, entity_attributes, entity_row
from fileroom_storage.index.entity_rows import EntityRows
from fileroom_storage.parse.header import Header, parse_header
from fileroom_storage.parse.likeness import Models
from tests.conformance.every_file import every_file
from tests.made import encoded, made
from tests.storage.parse.encoded import explicit

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
REGISTRY = standard_registry()


def read(header: Header) -> dict[Level, EntityRow]:
    return {level: entity_row(header, entity_attributes(REGISTRY, level)) for level in Level}


def in_order(rows: dict[Level, EntityRow]) -> list[tuple[Level, list[str], EntityRow]]:
    """With the columns in their order: statements are prepared for it."""
    return [(level, list(row.columns), row) for level, row in rows.items()]


def test_every_file_twice() -> None:
    rows_of, read_files = EntityRows(REGISTRY), 0
    for _ in range(2):
        for file in every_file():
            try:
                header = parse_header(file.data_set, file.transfer_syntax_uid)
                expected = read(header)
            except UnusableObject:
                continue
            assert in_order(rows_of(header)) == in_order(expected), file.name
            read_files += 1
    assert read_files > 300


_TEXTS = st.sampled_from(
    [
        "",
        "1",
        "-2.5",
        "1\\2",
        "1\\2\\3",
        "AXIAL",
        "ORIGINAL\\PRIMARY",
        "20200101",
        "1231",
        "Müller",
        "ヤマダ",
        " x ",
        "~",
        "9" * 70,
    ]
)
_ATTRIBUTES = [
    attribute
    for attribute in REGISTRY.attributes
    if attribute in REGISTRY.in_header(attribute.level)
    and not attribute.items
    and not attribute.keyword.endswith("UID")
]


def _value(attribute: Attribute, text: str) -> object:
    if dictionary_VR(attribute.tag) in ("US", "UL", "US or SS"):
        return len(text)
    return text.split("\\") if "\\" in text else text


@pytest.mark.filterwarnings("ignore::UserWarning")  # what a device does not do either
@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(_ATTRIBUTES), _TEXTS, max_size=12),
            st.sampled_from(["ISO_IR 100", "ISO_IR 192", "ISO_IR 13", None]),
            st.booleans(),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_whatever_came_before(objects: list[tuple[dict[Attribute, str], str | None, bool]]) -> None:
    """One reader sees them all, in different character sets and encodings."""
    rows_of = EntityRows(REGISTRY)
    for values, character_set, implicit in objects:
        attributes = {attribute.keyword: _value(attribute, text) for attribute, text in values.items()}
        try:
            data_set = encoded(made(SpecificCharacterSet=character_set, **attributes), implicit=implicit)
        except (ValueError, UnicodeEncodeError, TypeError):
            continue  # pydicom does not write it
        header = parse_header(data_set, IMPLICIT if implicit else EXPLICIT)
        assert in_order(rows_of(header)) == in_order(read(header))


def test_every_file_and_what_is_nearly_the_same() -> None:
    """One set of models sees them all: what is the same as in an object before it need not be read, and is right."""
    rows_of, models, chance, alike = EntityRows(REGISTRY), Models(), random.Random(4), 0
    for file in every_file():
        for turn in range(7):
            data_set = bytearray(file.data_set)
            for _ in range(turn // 2 if data_set else 0):
                data_set[chance.randrange(min(len(data_set), 8_000))] = chance.choice(b"\x00\x0158AZ\\\xff")
            try:
                header = parse_header(bytes(data_set), file.transfer_syntax_uid, models=models)
                expected = read(header)
            except UnusableObject:
                continue
            alike += header.likeness is not None
            assert in_order(rows_of(header)) == in_order(expected), file.name
    assert alike > 300


@pytest.mark.parametrize("again", [2, 4])
def test_an_element_that_comes_again_behind_the_pixel_data(again: int) -> None:
    rows_of, models = EntityRows(REGISTRY), Models()
    for number in range(1, 6):
        data_set = encoded(made(InstanceNumber=number, BitsAllocated=16, PixelData=bytes(2_000)))
        if number >= again:
            data_set += explicit(0x00100020, "LO", b"P2") + explicit(0x00200013, "IS", b"77")
        header = parse_header(data_set, EXPLICIT, models=models)
        assert header.data_set.elements == parse_header(data_set, EXPLICIT).data_set.elements
        assert in_order(rows_of(header)) == in_order(read(header))


def test_what_changes_from_slice_to_slice() -> None:
    """Patients, studies and series come and go, and values of the slices with them, in one layout."""
    rows_of, models, chance = EntityRows(REGISTRY), Models(), random.Random(1)
    for number in range(200):
        data_set = made(
            SpecificCharacterSet="ISO_IR 100",
            PatientName=chance.choice(["Müller", "Miller"]),
            PatientID=f"P{number // 40}",
            StudyDescription=chance.choice(["Kopf", "Hals"]),
            InstanceNumber=number + 1_000,
            ImageComments=chance.choice(["Köpf", "Kopf"]),
            ImagePositionPatient=[1, 2, chance.randrange(10)],
            PixelRepresentation=(signed := chance.randrange(2)),
            SmallestImagePixelValue=-25_536 if signed else 40_000,  # the same bytes
            BitsAllocated=16,
            PixelData=bytes(2_000),
        )
        implicit = bool(number % 2)
        character_set = chance.choice([b"ISO_IR 100", b"ISO_IR 144"])  # the same bytes are other letters in these
        slice_ = encoded(data_set, implicit=implicit).replace(b"ISO_IR 100", character_set)
        header = parse_header(slice_, IMPLICIT if implicit else EXPLICIT, models=models)
        rows = rows_of(header)
        assert in_order(rows) == in_order(read(header))
        assert rows_of(header)[Level.PATIENT] is rows[Level.PATIENT]
    assert len(models._models) > 1


def test_the_slices_of_a_series_share_their_rows() -> None:
    rows_of = EntityRows(REGISTRY)
    slices = [parse_header(encoded(made(InstanceNumber=number)), EXPLICIT) for number in (1, 2)]
    first, second = map(rows_of, slices)
    for level in (Level.PATIENT, Level.STUDY, Level.SERIES):
        assert second[level] is first[level]
    assert (first[Level.IMAGE].columns["instance_number"], second[Level.IMAGE].columns["instance_number"]) == (1, 2)


def test_what_is_remembered_is_bounded() -> None:
    rows_of = EntityRows(REGISTRY)
    for number in range(entity_rows._ROWS + 10):
        rows_of(parse_header(encoded(made(PatientID=f"P{number}", InstanceNumber=number)), EXPLICIT))
    assert all(len(shared._known) <= entity_rows._ROWS for shared in rows_of._shared)


def test_a_long_text_is_read_each_time_and_kept_whole() -> None:
    comments = "x" * 20_000
    header = parse_header(encoded(made(ImageComments=comments, PatientComments=comments)), EXPLICIT)
    rows = EntityRows(REGISTRY)(header)
    assert in_order(rows) == in_order(read(header))
    assert rows[Level.IMAGE].columns["image_comments"] == comments
    assert replace(rows[Level.IMAGE]) == rows[Level.IMAGE]
