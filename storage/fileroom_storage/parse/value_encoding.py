"""Values as the DICOM JSON Model has them → the value field of an element, by VR (PS3.5 6.2); strict about both."""

import math
import re
import struct
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from typing import Any

BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})

_DECIMAL_STRING_LENGTH = 16  # PS3.5 6.2
_DECIMAL_STRING = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_INTEGER_STRING = re.compile(r"[+-]?\d{1,64}", re.ASCII)
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_NOT_FINITE = {"NaN": math.nan, "inf": math.inf, "Infinity": math.inf, "-inf": -math.inf, "-Infinity": -math.inf}
_WHITE_SPACE = re.compile(r"\s+")

Encoder = Callable[[Sequence[Any]], bytes]


class UnfitValue(Exception):
    """A value that the VR has no form for; says what is needed instead, and never the value."""


def encode_values(vr: str, values: Sequence[Any]) -> bytes:
    """The value field, little endian, texts in UTF-8, not padded. Raises UnfitValue."""
    return _ENCODERS[vr](values)


def decode_inline_binary(text: Any) -> bytes:
    """Raises UnfitValue."""
    if not isinstance(text, str):
        raise UnfitValue("InlineBinary needs one text in base64")
    try:
        return b64decode(_WHITE_SPACE.sub("", text), validate=True)
    except (Base64Error, ValueError):
        raise UnfitValue("InlineBinary is no base64") from None


def is_known_vr(vr: Any) -> bool:
    return isinstance(vr, str) and (vr in _ENCODERS or vr in BINARY_VRS or vr == "SQ")


def _joined(one: Callable[[Any], str]) -> Encoder:
    def encode(values: Sequence[Any]) -> bytes:
        return "\\".join("" if value is None else one(value) for value in values).encode()

    return encode


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UnfitValue("needs texts")
    if "\\" in value:
        raise UnfitValue("a backslash parts values; give an array of values")
    return _encodable(value)


def _encodable(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UnfitValue("half of a surrogate pair is no character")
    return text


def _single_text(values: Sequence[Any]) -> bytes:
    if len(values) != 1 or not isinstance(values[0], str | None):
        raise UnfitValue("needs one text")
    return _encodable(values[0] or "").encode()


def _person_name(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, Mapping) or not value.keys() <= set(_NAME_GROUPS):
        raise UnfitValue("a name is an object of Alphabetic, Ideographic, Phonetic")
    groups = [_text(value.get(group) or "") for group in _NAME_GROUPS]
    if any("=" in group for group in groups):
        raise UnfitValue("an equals sign parts component groups; name them")
    return "=".join(groups).rstrip("=")


def _tags(values: Sequence[Any]) -> bytes:
    if not all(isinstance(value, str) and re.fullmatch("[0-9A-Fa-f]{8}", value) for value in values):
        raise UnfitValue("needs tags of 8 hexadecimal digits")
    return b"".join(struct.pack("<HH", int(value[:4], 16), int(value[4:], 16)) for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _decimal(value: Any) -> str:
    if isinstance(value, str):
        # PS3.18 F.2.3.1; what is no number stands so in the objects of many devices
        is_long = len(value.strip()) > _DECIMAL_STRING_LENGTH and _DECIMAL_STRING.fullmatch(value.strip())
        return decimal_string(Decimal(value.strip())) if is_long else _text(value)
    if not _is_number(value) or value != value or value in (math.inf, -math.inf):
        raise UnfitValue("needs decimal numbers")
    return decimal_string(value)


def decimal_string(value: int | float | Decimal) -> str:
    """The number in at most 16 characters, exactly where they are enough."""
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    for digits in (None, *range(_DECIMAL_STRING_LENGTH, 0, -1)):
        number = exact if digits is None else Context(prec=digits).plus(exact)
        for text in _forms(number):
            if len(text) <= _DECIMAL_STRING_LENGTH:
                return text
    raise UnfitValue("a number has an exponent that a decimal string has no room for")


def _forms(number: Decimal) -> tuple[str, ...]:
    if abs(number.adjusted()) > _DECIMAL_STRING_LENGTH:
        return (f"{number:e}".replace("e+", "e"),)
    return f"{number:f}", f"{number.normalize():f}", f"{number.normalize():e}".replace("e+", "e")


def _integer_string(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    return str(_integer(value, -(2**31), 2**31 - 1))


def _integer(value: Any, lowest: int, highest: int) -> int:
    if not _is_number(value) or value != value:
        raise UnfitValue("needs whole numbers")
    # before it is made an integer: 1e999999999 would have a billion digits
    if not lowest <= value <= highest:
        raise UnfitValue(f"needs numbers from {lowest} to {highest}")
    if value != int(value):
        raise UnfitValue("needs whole numbers")
    return int(value)


def _integers(code: str, lowest: int, highest: int, *, from_text: bool = False) -> Encoder:
    def encode(values: Sequence[Any]) -> bytes:
        numbers = [_integer(_number_of(value) if from_text else value, lowest, highest) for value in values]
        return struct.pack(f"<{len(numbers)}{code}", *numbers)

    return encode


def _number_of(value: Any) -> Any:
    # PS3.18 F.2.3.1: numbers of 64 bits may be texts, as JSON's readers may have no more than 53
    return int(value) if isinstance(value, str) and _INTEGER_STRING.fullmatch(value) else value


def _floats(code: str) -> Encoder:
    def encode(values: Sequence[Any]) -> bytes:
        try:
            numbers = [_float(value) for value in values]
            return struct.pack(f"<{len(numbers)}{code}", *numbers)
        except (OverflowError, InvalidOperation):
            raise UnfitValue("a number is too large") from None

    return encode


def _float(value: Any) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]  # JSON has no such numbers
    if not _is_number(value):
        raise UnfitValue("needs numbers")
    number = float(value)
    if math.isinf(number) and value not in (math.inf, -math.inf):
        raise OverflowError
    return number


_ENCODERS: dict[str, Encoder] = {
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI"), _joined(_text)),
    **dict.fromkeys(("LT", "ST", "UR", "UT"), _single_text),
    "PN": _joined(_person_name),
    "DS": _joined(_decimal),
    "IS": _joined(_integer_string),
    "AT": _tags,
    "FL": _floats("f"),
    "FD": _floats("d"),
    "SS": _integers("h", -(2**15), 2**15 - 1),
    "US": _integers("H", 0, 2**16 - 1),
    "SL": _integers("i", -(2**31), 2**31 - 1),
    "UL": _integers("I", 0, 2**32 - 1),
    "SV": _integers("q", -(2**63), 2**63 - 1, from_text=True),
    "UV": _integers("Q", 0, 2**64 - 1, from_text=True),
}
