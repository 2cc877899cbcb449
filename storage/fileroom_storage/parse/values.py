"""The values of one element, by VR, as DICOM JSON has them (PS3.18 F.2.3)."""

import math
import struct
from array import array
from collections.abc import Callable
from typing import Any

from .character_set import CharacterSet

Values = list[Any]
Decoder = Callable[[bytes, CharacterSet, bool], Values]

BINARY_WORD = {"OB": 1, "UN": 1, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_PADDING = " \0"
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_EXACT_DIGITS = 15  # a JSON number of so many digits survives every reader


def _text(value: bytes, character_set: CharacterSet, vr: str) -> str:
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    return character_set.decode(value, vr)


def _texts(vr: str) -> Decoder:
    def decode(value: bytes, character_set: CharacterSet, _big_endian: bool) -> Values:
        text = _text(value, character_set, vr)
        if "\\" not in text:
            text = text.strip(_PADDING)
            return [text] if text else []
        # PS3.18 F.2.5: an empty value among others is null
        return [part.strip(_PADDING) or None for part in text.split("\\")]

    return decode


def _single_text(vr: str) -> Decoder:
    def decode(value: bytes, character_set: CharacterSet, _big_endian: bool) -> Values:
        text = _text(value, character_set, vr).rstrip(_PADDING)
        return [text] if text else []

    return decode


def _person_names(value: bytes, character_set: CharacterSet, _big_endian: bool) -> Values:
    text = _text(value, character_set, "PN").rstrip(_PADDING)
    return [_person_name(part) for part in text.split("\\")] if text else []


def _person_name(text: str) -> dict[str, str] | None:
    # PS3.18 F.2.2
    if "=" not in text:
        text = text.strip(_PADDING)
        return {"Alphabetic": text} if text else None
    groups = zip(_NAME_GROUPS, text.split("=", 2), strict=False)
    return {name: group.strip(_PADDING) for name, group in groups if group.strip(_PADDING)} or None


def _decimal(text: str) -> Any:
    """The number; the text itself where it is none, so that nothing is lost (PS3.18 F.2.3.1 allows a string)."""
    try:
        if len(text) <= _EXACT_DIGITS and text.lstrip("+-").isdigit():
            return int(text)
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) and "_" not in text else text


def _integer(text: str) -> Any:
    if len(text) <= _EXACT_DIGITS:
        try:
            return int(text) if "_" not in text else text
        except ValueError:
            pass
    number = _decimal(text)
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) < 1e15 else number


def _numbers_from_text(number: Callable[[str], Any]) -> Decoder:
    def decode(value: bytes, character_set: CharacterSet, _big_endian: bool) -> Values:
        text = _text(value, character_set, "DS")
        if "\\" not in text:
            text = text.strip(_PADDING)
            return [number(text)] if text else []
        parts = [part.strip(_PADDING) for part in text.split("\\")]
        return [number(part) if part else None for part in parts]

    return decode


def _integers(code: str) -> Decoder:
    size = struct.calcsize("=" + code)
    single = {False: struct.Struct("<" + code), True: struct.Struct(">" + code)}

    def decode(value: bytes, _character_set: CharacterSet, big_endian: bool) -> Values:
        length = len(value)
        if length == size:
            return list(single[big_endian].unpack(value))
        # a length that is no multiple: what is whole is kept
        count = length // size
        return list(struct.unpack_from(f"{'>' if big_endian else '<'}{count}{code}", value))

    return decode


def _floats(code: str) -> Decoder:
    integers = _integers(code)

    def decode(value: bytes, character_set: CharacterSet, big_endian: bool) -> Values:
        values = integers(value, character_set, big_endian)
        return values if all(map(math.isfinite, values)) else [_finite(number) for number in values]

    return decode


def _finite(number: float) -> float | str:
    # JSON has no such numbers
    if math.isnan(number):
        return "NaN"
    return number if math.isfinite(number) else ("inf" if number > 0 else "-inf")


def _tags(value: bytes, _character_set: CharacterSet, big_endian: bool) -> Values:
    count = len(value) // 4
    words = struct.unpack_from(f"{'>' if big_endian else '<'}{count * 2}H", value)
    return [f"{words[i]:04X}{words[i + 1]:04X}" for i in range(0, len(words), 2)]


DECODERS: dict[str, Decoder] = {
    **{vr: _texts(vr) for vr in ("AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI")},
    **{vr: _single_text(vr) for vr in ("LT", "ST", "UR", "UT")},
    "PN": _person_names,
    "DS": _numbers_from_text(_decimal),
    "IS": _numbers_from_text(_integer),
    "AT": _tags,
    "FL": _floats("f"),
    "FD": _floats("d"),
    "SL": _integers("l"),
    "SS": _integers("h"),
    "SV": _integers("q"),
    "UL": _integers("L"),
    "US": _integers("H"),
    "UV": _integers("Q"),
}


def little_endian(value: bytes | memoryview, vr: str, big_endian: bool) -> bytes | memoryview:
    """Binary data in the byte order that DICOM JSON and bulk data have (PS3.18 F.2.7)."""
    word = BINARY_WORD.get(vr, 1)
    if not big_endian or word == 1:
        return value
    words = array({2: "H", 4: "I", 8: "Q"}[word])
    words.frombytes(value[: len(value) // word * word])
    words.byteswap()
    return words.tobytes() + bytes(value[len(value) // word * word :])
