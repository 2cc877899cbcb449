"""One element's header at a time, and the encoding that the first one shows."""

import pytest

from fileroom_storage.errors import UnusableObject, UnusableReason
from fileroom_storage.parse.encoding import (
    IMPLICIT,
    ElementHeader,
    Encoding,
    dictionary_vr,
    element_header,
    encoding_of,
    observed_encoding,
    private_dictionary_vr,
)
from tests.storage.parse import encoded
from tests.storage.parse.encoded import explicit, implicit

LITTLE = Encoding(implicit=False, big_endian=False)
BIG = Encoding(implicit=False, big_endian=True)
WITHOUT_VR = Encoding(implicit=True, big_endian=False)
TAG = 0x00100020


@pytest.mark.parametrize(
    ("element", "encoding", "expected"),
    [
        (explicit(TAG, "LO", b"ab"), LITTLE, ElementHeader(TAG, "LO", 8, 2, 0)),
        (explicit(TAG, "LO", b"ab", order=">"), BIG, ElementHeader(TAG, "LO", 8, 2, 0)),
        (explicit(TAG, "UT", b"ab"), LITTLE, ElementHeader(TAG, "UT", 12, 2, 0)),
        (explicit(TAG, "OB", b"ab", order=">"), BIG, ElementHeader(TAG, "OB", 12, 2, 0)),
        (implicit(TAG, b"ab"), WITHOUT_VR, ElementHeader(TAG, "", 8, 2, IMPLICIT)),
        (implicit(TAG, b"ab"), LITTLE, ElementHeader(TAG, "", 8, 2, IMPLICIT)),
        (explicit(TAG, "XX", b"ab"), LITTLE, ElementHeader(TAG, "UN", 8, 2, 0)),
    ],
)
def test_element_header(element: bytes, encoding: Encoding, expected: ElementHeader) -> None:
    assert element_header(element, 0, len(element), encoding) == expected


@pytest.mark.parametrize("length", [0, 7, 11])
def test_a_header_that_is_cut(length: int) -> None:
    element = explicit(TAG, "OB", b"")
    with pytest.raises(UnusableObject) as caught:
        element_header(element[:length], 0, length, LITTLE)
    assert caught.value.reason is UnusableReason.TRUNCATED


@pytest.mark.parametrize("announced", [LITTLE, BIG, WITHOUT_VR])
def test_observed_encoding(announced: Encoding) -> None:
    def observed(element: bytes) -> Encoding:
        return observed_encoding(element, 0, len(element), announced)

    assert observed(explicit(0x00080005, "CS", b"")) == LITTLE
    assert observed(explicit(0x00080005, "CS", b"", order=">")) == BIG
    assert observed(implicit(0x00080005, b"")) == WITHOUT_VR
    assert observed(b"\x08\0") == announced


def test_a_group_that_looks_swapped_is_not() -> None:
    element = explicit(0x54000100, "SQ", b"")
    assert observed_encoding(element, 0, len(element), LITTLE) == LITTLE


def test_encoding_of() -> None:
    assert encoding_of(encoded.IMPLICIT) == WITHOUT_VR
    assert encoding_of(encoded.BIG_ENDIAN) == BIG
    assert encoding_of(encoded.JPEG) == LITTLE
    assert encoding_of("1.2.3.4") == LITTLE


def test_dictionaries() -> None:
    assert dictionary_vr(0x00100010) == "PN"
    assert dictionary_vr(0x00090000) == "UL"
    assert dictionary_vr(0x60023000) == "OB or OW"
    assert dictionary_vr(0x00081234) is None
    assert private_dictionary_vr(0x00091002, "GEMS_IDEN_01") == "SH"
    assert private_dictionary_vr(0x00091002, "NOBODY") == "UN"
