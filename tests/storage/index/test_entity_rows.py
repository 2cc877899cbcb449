"""Rows that are remembered are the rows that are read: `entity_row` says what is right, EntityRows is fast."""

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
from tests.conformance.every_file import every_file
from tests.made import encoded, made

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
