"""Between elements and columns, both ways."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom_storage.attributes import ATTRIBUTES, Attribute, Level
from fileroom_storage.index.rows import Element, date_of, date_time_of, from_column, time_of, to_column, to_row

BY_KEYWORD = {attribute.keyword: attribute for attribute in ATTRIBUTES}

texts = st.text(st.characters(exclude_characters="\\\0", exclude_categories=["Cs"]), max_size=300)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "DA": st.one_of(st.dates().map(lambda date: f"{date.year:04d}{date.month:02d}{date.day:02d}"), texts),
    "TM": st.one_of(
        st.times().map(lambda time: time.strftime("%H%M%S.%f")), texts, st.just("10"), st.just("101500.000")
    ),
    "DT": st.one_of(st.just("20240102030405.5+0100"), st.just("2024"), texts),
    "IS": st.one_of(st.integers(-(2**63), 2**63 - 1), texts),  # a header gives no others
    "DS": st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-10, 10), texts),
    "PN": st.one_of(
        st.none(),
        st.dictionaries(
            st.sampled_from(["Alphabetic", "Ideographic", "Phonetic"]),
            st.text(st.characters(exclude_characters="\\=\0", exclude_categories=["Cs"]), min_size=1, max_size=20),
            min_size=1,
        ),
    ),
}


@given(st.data())
def test_columns_and_residue_give_back_what_was_said(data: st.DataObject) -> None:
    attribute = data.draw(st.sampled_from([row for row in ATTRIBUTES if not row.items]))
    values = data.draw(st.lists(VALUES.get(attribute.vr, texts), min_size=1, max_size=3))
    element: Element = {"vr": attribute.vr, "Value": values}
    columns, residue = to_row((attribute,), lambda tag: element)
    answer = residue.get(attribute.tag_hex) or from_column(attribute, columns[attribute.column])
    if all(value is None or value == "" for value in values):
        assert answer is None
    else:
        assert answer == element


@pytest.mark.parametrize(
    ("keyword", "values", "column"),
    [
        ("StudyDate", ["20240131"], dt.date(2024, 1, 31)),
        ("StudyDate", ["1997.04.24"], dt.date(1997, 4, 24)),
        ("StudyDate", ["20240231"], None),
        ("StudyTime", ["1015"], dt.time(10, 15)),
        ("StudyTime", ["235960"], dt.time(23, 59, 59)),
        ("PatientName", [{"Alphabetic": "A^B", "Phonetic": "P"}], "A^B==P"),
        ("ImageType", ["ORIGINAL", "PRIMARY"], "ORIGINAL\\PRIMARY"),
        ("PixelSpacing", [0.5, 1.0], "0.5\\1"),
        ("SliceThickness", [1.25], 1.25),
        ("InstanceNumber", [7], 7),
        ("InstanceNumber", ["seven"], None),
        ("InstanceNumber", [2**70], None),
        ("StudyDescription", ["x" * 300], "x" * 255),
        ("PatientComments", ["x" * 300], "x" * 300),
    ],
)
def test_columns_are_typed(keyword: str, values: list[Any], column: Any) -> None:
    attribute = BY_KEYWORD[keyword]
    assert to_column(attribute, {"vr": attribute.vr, "Value": values}) == column


@pytest.mark.parametrize("text", ["", "2024", "20241301", "99999999", "abc", "2024-01-01"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert date_of(text) is None


@pytest.mark.parametrize("text", ["", "24", "1060", "x", "10:15:"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert time_of(text) is None


def test_a_moment_with_an_offset_is_kept_in_utc() -> None:
    assert date_time_of("20240101003000+0130") == dt.datetime.fromisoformat("2023-12-31T23:00")


def test_only_sequences_have_items() -> None:
    assert all(bool(row.items) == (row.vr == "SQ") for row in ATTRIBUTES)
    with pytest.raises(ValueError, match="sequence"):
        Attribute("PatientID", Level.PATIENT, items=("CodeValue",))
