"""Nested sequences: passed over at any depth, refused beyond the limit, at once and without recursion."""

from collections.abc import Callable

import pytest

from fileroom_storage.errors import UnusableObject, UnusableReason
from fileroom_storage.parse.header import parse_header
from tests.storage.parse.encoded import (
    IMPLICIT,
    ITEM_END,
    JPEG,
    LITTLE_ENDIAN,
    SEQUENCE_END,
    UNDEFINED,
    explicit,
    implicit,
    item,
    open_item,
    open_sequence,
)

TAG = 0x00081110
PATIENT_ID = explicit(0x00100020, "LO", b"4711")


def undefined(depth: int) -> bytes:
    opening = explicit(TAG, "SQ", b"", UNDEFINED) + item(b"", UNDEFINED)
    return opening * depth + (ITEM_END + SEQUENCE_END) * depth


def undefined_implicit(depth: int) -> bytes:
    return (implicit(TAG, b"", UNDEFINED) + item(b"", UNDEFINED)) * depth + (ITEM_END + SEQUENCE_END) * depth


def defined(depth: int) -> bytes:
    levels: list[bytes] = []
    length = 0
    for _ in range(depth):
        levels.append(explicit(TAG, "SQ", b"", length + 8) + item(b"", length))
        length += 20
    return b"".join(reversed(levels))


def defined_implicit(depth: int) -> bytes:
    levels: list[bytes] = []
    length = 0
    for _ in range(depth):
        levels.append(implicit(TAG, b"", length + 8) + item(b"", length))
        length += 16
    return b"".join(reversed(levels))


KINDS = [
    (undefined, LITTLE_ENDIAN),
    (undefined_implicit, IMPLICIT),
    (defined, LITTLE_ENDIAN),
    (defined_implicit, IMPLICIT),
]


@pytest.mark.parametrize(("nested", "transfer_syntax_uid"), KINDS)
@pytest.mark.parametrize("depth", [81, 300, 10_000, 100_000])
def test_nested_too_deep(nested: Callable[[int], bytes], transfer_syntax_uid: str, depth: int) -> None:
    data_set = nested(depth)
    with pytest.raises(UnusableObject, match="nested more than 80 levels") as caught:
        parse_header(data_set, transfer_syntax_uid)
    assert caught.value.reason is UnusableReason.NESTED_TOO_DEEP


@pytest.mark.parametrize(("nested", "transfer_syntax_uid"), KINDS)
@pytest.mark.parametrize("depth", [1, 40, 80])
def test_nested_as_deep_as_allowed(nested: Callable[[int], bytes], transfer_syntax_uid: str, depth: int) -> None:
    header = parse_header(nested(depth), transfer_syntax_uid)
    json = header.dicom_json()
    found = 0
    while json:
        found += 1
        json = json["00081110"]["Value"][0]
    assert found == depth


def test_it_is_refused_at_the_limit_not_at_the_bottom() -> None:
    opened = undefined(10_000)[: 81 * 20]
    with pytest.raises(UnusableObject, match="nested more than 80 levels"):
        parse_header(opened + b"nobody gets here", LITTLE_ENDIAN)


def test_the_limit_can_be_set() -> None:
    assert TAG in parse_header(undefined(3), LITTLE_ENDIAN, maximum_depth=3)
    with pytest.raises(UnusableObject, match="more than 2 levels"):
        parse_header(undefined(3), LITTLE_ENDIAN, maximum_depth=2)


def test_nested_too_deep_in_what_became_un() -> None:
    data_set = explicit(0x00091002, "UN", item(undefined_implicit(300), UNDEFINED) + ITEM_END + SEQUENCE_END, UNDEFINED)
    with pytest.raises(UnusableObject, match="nested more than"):
        parse_header(data_set, LITTLE_ENDIAN)


def test_depth_is_not_width() -> None:
    items = [open_item(open_sequence(TAG, item(PATIENT_ID), open_item(PATIENT_ID))) for _ in range(2_000)]
    header = parse_header(open_sequence(TAG, *items) + PATIENT_ID, LITTLE_ENDIAN)
    assert header.text("PatientID") == "4711"
    values = header.dicom_json()["00081110"]["Value"]
    assert len(values) == 2_000
    assert values[-1]["00081110"]["Value"] == [{"00100020": {"vr": "LO", "Value": ["4711"]}}] * 2


def test_long_sequences_are_passed_over_without_looking_into_their_items() -> None:
    items = b"".join(item(PATIENT_ID * 10) for _ in range(10_000))
    header = parse_header(explicit(TAG, "SQ", items) + PATIENT_ID, LITTLE_ENDIAN)
    assert header.text("PatientID") == "4711"


def test_an_item_without_its_delimiter() -> None:
    data_set = explicit(TAG, "SQ", item(PATIENT_ID, UNDEFINED) + item(PATIENT_ID, UNDEFINED) + SEQUENCE_END, UNDEFINED)
    header = parse_header(data_set + PATIENT_ID, LITTLE_ENDIAN)
    assert header.text("PatientID") == "4711"
    assert len(header.dicom_json()["00081110"]["Value"]) == 2


def test_the_last_item_of_a_sequence_of_known_length_without_its_delimiter() -> None:
    data_set = explicit(TAG, "SQ", item(PATIENT_ID) + item(PATIENT_ID, UNDEFINED)) + PATIENT_ID
    header = parse_header(data_set, LITTLE_ENDIAN)
    assert header.dicom_json()["00081110"]["Value"] == [{"00100020": {"vr": "LO", "Value": ["4711"]}}] * 2


def test_delimiters_that_delimit_nothing() -> None:
    data_set = explicit(TAG, "SQ", ITEM_END + item(PATIENT_ID) + ITEM_END + SEQUENCE_END, UNDEFINED) + SEQUENCE_END
    header = parse_header(data_set + PATIENT_ID, LITTLE_ENDIAN)
    assert header.text("PatientID") == "4711"
    assert header.dicom_json()["00081110"]["Value"] == [{"00100020": {"vr": "LO", "Value": ["4711"]}}]


def test_encapsulated_icons_are_passed_over() -> None:
    rubbish = b"\xff" * 9_000
    pixel_data = explicit(0x7FE00010, "OB", item(b"") + item(rubbish) + SEQUENCE_END, UNDEFINED)
    header = parse_header(open_sequence(0x00880200, open_item(pixel_data)), JPEG)
    icon = header.dicom_json(bulk_data_uri=str)["00880200"]["Value"][0]["7FE00010"]
    assert icon == {"vr": "OB", "BulkDataURI": "00880200/0/7FE00010"}
    assert header.bulk_data("00880200/0/7FE00010") == item(b"") + item(rubbish)
