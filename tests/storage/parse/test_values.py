"""Values by VR, as DICOM JSON has them."""

import math
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom_storage.parse.character_set import character_set_of
from fileroom_storage.parse.values import BINARY_WORD, DECODERS, little_endian

LATIN = character_set_of(("ISO_IR 100",))


def values(vr: str, value: bytes, *, big_endian: bool = False) -> list[Any]:
    return DECODERS[vr](value, LATIN, big_endian)


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("CS", b"ORIGINAL\\PRIMARY ", ["ORIGINAL", "PRIMARY"]),
        ("CS", b" CT ", ["CT"]),
        ("CS", b"\\B", [None, "B"]),
        ("CS", b"   ", []),
        ("CS", b"", []),
        ("UI", b"1.2.3\0", ["1.2.3"]),
        ("UI", b"1.2\\1.3\0", ["1.2", "1.3"]),
        ("LO", b"a\0\0", ["a"]),
        ("LO", b"M\xfcller", ["Müller"]),
        ("LT", b"  two\\lines \r\n ", ["  two\\lines \r\n"]),
        ("UT", b" \0", []),
        ("PN", b"A^B", [{"Alphabetic": "A^B"}]),
        ("PN", b"A=B=C\\D ", [{"Alphabetic": "A", "Ideographic": "B", "Phonetic": "C"}, {"Alphabetic": "D"}]),
        ("PN", b"==C", [{"Phonetic": "C"}]),
        ("PN", b"A\\\\B", [{"Alphabetic": "A"}, None, {"Alphabetic": "B"}]),
        ("PN", b"= ", [None]),
        ("PN", b"  ", []),
        ("DS", b"1\\-2.50 \\ .5\\1e3\\+7", [1, -2.5, 0.5, 1000.0, 7]),
        ("DS", b"1.5\\\\2", [1.5, None, 2]),
        ("DS", b"1,5", ["1,5"]),
        ("DS", b"nan\\inf\\-inf\\1e999", ["nan", "inf", "-inf", "1e999"]),
        ("DS", b"1_000", ["1_000"]),
        ("DS", b"12345678901234567890", [12345678901234567890.0]),
        ("IS", b"12 \\-3\\+4", [12, -3, 4]),
        ("IS", b"1A", ["1A"]),
        ("IS", b"3.0", [3]),
        ("IS", b"3.5", [3.5]),
        ("IS", b"1" * 400 + b"\\" + b"2" * 5000 + b"\\1e300", ["1" * 400, "2" * 5000, 1e300]),
        ("IS", b"\xb2 ", ["²"]),
        ("IS", b"1_0", ["1_0"]),
        ("AT", b"\x10\0\x20\0\x28\0\x06\x30", ["00100020", "00283006"]),
        ("AT", b"\x10\0\x20", []),
        ("US", b"\1\0\2\0", [1, 2]),
        ("US", b"\1\0\2", [1]),
        ("SS", b"\xff\xff", [-1]),
        ("UL", b"\1\0\0\0", [1]),
        ("SL", b"\xff\xff\xff\xff", [-1]),
        ("UV", b"\xff" * 8, [2**64 - 1]),
        ("SV", b"\xff" * 8, [-1]),
        ("FD", struct.pack("<3d", 1.5, math.nan, -math.inf), [1.5, "NaN", "-inf"]),
        ("FL", struct.pack("<f", math.inf), ["inf"]),
    ],
)
def test_values(vr: str, value: bytes, expected: list[Any]) -> None:
    assert values(vr, value) == expected


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("US", b"\0\1", [1]),
        ("SL", b"\xff\xff\xff\xfe", [-2]),
        ("FD", struct.pack(">d", 2.5), [2.5]),
        ("AT", b"\0\x10\0\x20", ["00100020"]),
    ],
)
def test_big_endian_values(vr: str, value: bytes, expected: list[Any]) -> None:
    assert values(vr, value, big_endian=True) == expected


@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=40), st.booleans())
def test_no_bytes_fail(vr: str, value: bytes, big_endian: bool) -> None:
    decoded = values(vr, value, big_endian=big_endian)
    assert orjson.loads(orjson.dumps(decoded)) == decoded


@given(st.sampled_from(sorted(BINARY_WORD)), st.binary(max_size=40))
def test_swapping_twice_is_nothing(vr: str, value: bytes) -> None:
    assert bytes(little_endian(bytes(little_endian(value, vr, True)), vr, True)) == value
    assert little_endian(value, vr, False) is value
