"""A value as a document has it → the value field of an element, by VR (PS3.5 6.2), little endian, texts in UTF-8."""

import math
import struct
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.valuerep import format_number_as_ds

BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})

_DECIMAL_STRING_LENGTH = 16  # PS3.5 6.2
_NOT_FINITE = {"NaN": math.nan, "inf": math.inf, "Infinity": math.inf, "-inf": -math.inf, "-Infinity": -math.inf}

Values = Sequence[Any]


class UnfitValue(Exception):
    """A value that its VR has no form for."""


def value_field(vr: str, value: Any) -> bytes:
    """Not padded. Raises UnfitValue; KeyError for a VR that is none of these, such as SQ."""
    if value is None:
        return b""
    if vr in BINARY_VRS:
        return _binary(value)
    return _ENCODERS[vr](value if isinstance(value, list) else (value,))


def is_value_vr(vr: str) -> bool:
    return vr in _ENCODERS or vr in BINARY_VRS


def _texts(number_text: Callable[[int | float], str]) -> Callable[[Values], bytes]:
    def text(value: Any) -> str:
        if isinstance(value, str):
            return value
        if value is None:
            return ""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return number_text(value)
        raise UnfitValue

    # what comes with its padding keeps it
    return lambda values: "\\".join(map(text, values)).encode()


def _decimal_string(number: int | float) -> str:
    text = repr(number)
    if len(text) <= _DECIMAL_STRING_LENGTH:
        return text
    try:
        return str(format_number_as_ds(float(number)))
    except (OverflowError, ValueError):
        raise UnfitValue from None


def _integer_string(number: int | float) -> str:
    if number != int(number):
        raise UnfitValue
    return str(int(number))


def _numbers(code: str, number_of: Callable[[Any], int | float]) -> Callable[[Values], bytes]:
    def encode(values: Values) -> bytes:
        layout = f"<{len(values)}{code}"
        try:
            return struct.pack(layout, *values)
        except (struct.error, OverflowError):
            pass  # numbers as texts, or whole ones with a fraction of nothing
        try:
            return struct.pack(layout, *map(number_of, values))
        except (struct.error, OverflowError, ValueError):
            raise UnfitValue from None

    return encode


def _integer(value: Any) -> int:
    if isinstance(value, str):
        return int(value.strip())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int):
        return value
    raise UnfitValue


def _float(value: Any) -> float:
    if isinstance(value, str):
        return _NOT_FINITE[value] if value in _NOT_FINITE else float(value.strip())  # JSON has no such numbers
    if isinstance(value, int | float):
        return float(value)
    raise UnfitValue


def _tags(values: Values) -> bytes:
    numbers = [_tag(value) for value in values]
    return b"".join(struct.pack("<HH", number >> 16, number & 0xFFFF) for number in numbers)


def _tag(value: Any) -> int:
    if isinstance(value, str):
        known = tag_for_keyword(value)
        digits = value.strip("()").replace(",", "")
        if known is not None:
            return known
        if len(digits) == 8 and digits.isalnum() and digits.isascii():
            try:
                return int(digits, 16)
            except ValueError:
                raise UnfitValue from None
    elif isinstance(value, int) and 0 <= value < 1 << 32:
        return value
    raise UnfitValue


def _binary(value: Any) -> bytes:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise UnfitValue
    try:
        return b64decode(value, validate=True)
    except (Base64Error, ValueError):
        raise UnfitValue from None


_ENCODERS: dict[str, Callable[[Values], bytes]] = {
    **dict.fromkeys(
        ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"), _texts(repr)
    ),
    "DS": _texts(_decimal_string),
    "IS": _texts(_integer_string),
    "AT": _tags,
    "FL": _numbers("f", _float),
    "FD": _numbers("d", _float),
    "SS": _numbers("h", _integer),
    "US": _numbers("H", _integer),
    "SL": _numbers("i", _integer),
    "UL": _numbers("I", _integer),
    "SV": _numbers("q", _integer),
    "UV": _numbers("Q", _integer),
}
