"""Where elements are: the top level of an object, an item, and the fragments of its pixels."""

import pytest

from fileroom_storage.errors import UnusableObject, UnusableReason
from fileroom_storage.parse.encoding import IMPLICIT, UNDEFINED, Encoding
from fileroom_storage.parse.nesting import Nesting
from fileroom_storage.parse.scan import ObjectScan, scan_fragments, scan_item
from tests.storage.parse.encoded import SEQUENCE_END, explicit, fragments, implicit, item, open_item, open_sequence

LITTLE = Encoding(implicit=False, big_endian=False)
PIXEL_DATA = 0x7FE00010


def scanned(data_set: bytes, encoding: Encoding = LITTLE) -> ObjectScan:
    return ObjectScan(data_set, 0, encoding, Nesting(data_set, encoding), through_pixel_data=True)


def test_elements() -> None:
    data_set = explicit(0x00080060, "CS", b"CT") + explicit(0x00420011, "OB", b"ab")
    assert scanned(data_set).elements == {0x00080060: ("CS", 8, 2, 0), 0x00420011: ("OB", 22, 2, 0)}


def test_implicit_elements() -> None:
    data_set = implicit(0x00080060, b"CT") + implicit(0x00081110, item(b""))
    assert scanned(data_set, Encoding(True, False)).elements == {
        0x00080060: ("", 8, 2, IMPLICIT),
        0x00081110: ("", 18, 8, IMPLICIT),
    }


def test_a_sequence_of_undefined_length_gets_the_length_that_it_has() -> None:
    inner = open_sequence(0x00081110, open_item(explicit(0x00080060, "CS", b"CT")))
    data_set = open_sequence(0x00081115, open_item(inner), item(inner)) + explicit(0x00100020, "LO", b"ab")
    elements = scanned(data_set).elements
    length = len(open_item(inner)) + len(item(inner))
    assert elements[0x00081115] == ("SQ", 12, length, UNDEFINED)
    assert elements[0x00100020] == ("LO", 12 + length + 8 + 8, 2, 0)


def test_the_last_of_two_elements_with_one_tag_counts() -> None:
    data_set = explicit(0x00080060, "CS", b"CT") + explicit(0x00080060, "CS", b"MR")
    assert scanned(data_set).elements == {0x00080060: ("CS", 18, 2, 0)}


def test_fragments() -> None:
    data_set = fragments(b"ab", b"cdef", offset_table=b"\0\0\0\0")
    scan = scanned(data_set)
    assert scan.fragments is not None
    assert list(scan.fragments) == [(12, 4), (24, 2), (34, 4)]
    assert scan.elements[PIXEL_DATA] == ("OB", 12, 34, UNDEFINED)


def test_fragments_end_where_they_end() -> None:
    value = item(b"") + item(b"ab")
    for data, is_closed in ((value + SEQUENCE_END, True), (value, False)):
        fragments, end, closed = scan_fragments(data, 0, len(data), False, PIXEL_DATA)
        assert (list(fragments), end, closed) == ([(0, 0), (8, 2)], 18, is_closed)


def test_a_fragment_that_lies() -> None:
    value = item(b"") + item(b"ab", 3)
    with pytest.raises(UnusableObject, match="a fragment announces 3 bytes and has 2") as caught:
        scan_fragments(value, 0, len(value), False, PIXEL_DATA)
    assert caught.value.reason is UnusableReason.TRUNCATED


def test_an_item_is_read_as_far_as_it_goes() -> None:
    whole = explicit(0x00080060, "CS", b"CT")
    for rest in (b"", b"\0\0\0", explicit(0x00100020, "OB", b"")[:9]):
        view = whole + rest
        assert scan_item(view, 0, len(view), LITTLE, Nesting(view, LITTLE)) == {0x00080060: ("CS", 8, 2, 0)}
