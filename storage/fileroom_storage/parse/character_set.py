"""Specific Character Set (0008,0005): bytes → text that never fails and loses nothing, and text → bytes."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from .iso_2022 import Repertoire, decode_iso_2022

LATIN_1 = "ISO_IR 100"
UTF_8 = "ISO_IR 192"
_ESCAPE = 0x1B

# PS3.3 Tables C.12-2, C.12-3 and C.12-4 by registration number; what a G1 or a single-byte set decodes with
_SINGLE_BYTE = {
    100: "latin_1",
    101: "iso8859_2",
    109: "iso8859_3",
    110: "iso8859_4",
    126: "iso8859_7",
    127: "iso8859_6",
    138: "iso8859_8",
    144: "iso8859_5",
    148: "iso8859_9",
    166: "iso8859_11",
    203: "iso8859_15",
    13: "shift_jis",
}
_MULTI_BYTE = {149: "euc_kr", 58: "gb2312", 87: "euc_jp", 159: "euc_jp"}
_WHOLE = {
    "UTF8": "utf_8",
    "UTF": "utf_8",
    "UNICODE": "utf_8",
    "GB18030": "gb18030",
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "ISO2022GBK": "gb18030",
    "ISO2022GB2312": "gb18030",
    "BIG5": "big5",
    "EUCKR": "euc_kr",
    "EUCJP": "euc_jp",
    "SHIFTJIS": "cp932",
    "SJIS": "cp932",
    "KOI8R": "koi8_r",
}
_ISO_8859 = re.compile(r"(?:ISO)?8859(\d{1,2})|LATIN(\d{1,2})")
_WINDOWS = re.compile(r"(?:WINDOWS|CP|WIN)(125[0-8]|874|932|936|949|950)")
_REGISTRATION = re.compile(r"(?:ISO)?(?:2022)?IR(\d{1,3})|ISO2022(\d{1,3})")
_LATIN_PARTS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 9, 6: 10, 7: 13, 8: 14, 9: 15, 10: 16}


class CharacterSet:
    """What the values of one (0008,0005) stand for."""

    def __init__(self, values: tuple[str, ...]) -> None:
        self.values = values
        self._whole = "ascii"  # decodes the whole value where nothing switches
        self._initial: str | None = None  # the codec of G1 at the start of a value
        self._others: list[str] = []  # tried where high bytes come without the escape sequence they need
        for position, value in enumerate(values):
            codec = _codec_of(value)
            if codec is None:
                continue
            if position == 0:
                self._whole, self._initial = codec, codec
            elif codec != "ascii":
                self._others.append(codec)
        if self._whole == "ascii":
            self._initial = None

    def decode(self, value: bytes, vr: str = "LO") -> str:
        """The text. What the declared sets cannot decode is read as UTF-8, and what is not that as Latin-1."""
        if _ESCAPE in value:
            try:
                return decode_iso_2022(value, Repertoire(self._initial), vr)
            except UnicodeError:
                pass  # not ISO 2022, or garbled: the escape characters stay in the text
        elif value.isascii():
            return value.decode("ascii")
        for codec in (self._whole, *self._others, "utf_8"):
            try:
                return value.decode(codec)
            except UnicodeError:
                continue
        return value.decode("latin_1")


@lru_cache(maxsize=256)
def character_set_of(values: tuple[str, ...]) -> CharacterSet:
    return CharacterSet(values)


def decode(value: bytes, specific_character_set: Sequence[str] = (), vr: str = "LO") -> str:
    """The text of a value under the values of (0008,0005); never fails."""
    return character_set_of(tuple(specific_character_set)).decode(value, vr)


def character_set_for(texts: Iterable[str]) -> str:
    """The value of (0008,0005) that can hold all these texts: ISO_IR 100 if they fit, else ISO_IR 192."""
    for text in texts:
        try:
            text.encode("latin_1")
        except UnicodeEncodeError:
            return UTF_8
    return LATIN_1


def encode(text: str, specific_character_set: str = "") -> bytes:
    """The bytes of a text under one value of (0008,0005). Raises UnicodeEncodeError where it cannot hold the text."""
    return text.encode(_codec_of(specific_character_set) or "ascii")


@lru_cache(maxsize=256)
def _codec_of(value: str) -> str | None:
    """Python's codec for a defined term, or for what people write instead of one; None where nobody knows."""
    name = re.sub(r"[^0-9A-Z]", "", value.upper())
    if name in ("", "ASCII", "USASCII"):
        return "ascii"
    if name in _WHOLE:
        return _WHOLE[name]
    number = _registration(value)
    if number is not None:
        if number == 6:
            return "ascii"
        if number == 192:
            return "utf_8"
        return _SINGLE_BYTE.get(number) or _MULTI_BYTE.get(number)
    match = _ISO_8859.fullmatch(name)
    if match is not None:
        part = int(match[1]) if match[1] else _LATIN_PARTS.get(int(match[2]), 0)
        return f"iso8859_{part}" if 1 <= part <= 16 and part != 12 else None
    match = _WINDOWS.fullmatch(name)
    return f"cp{match[1]}" if match is not None else None


def _registration(value: str) -> int | None:
    match = _REGISTRATION.fullmatch(re.sub(r"[^0-9A-Z]", "", value.upper()))
    return int(match[1] or match[2]) if match is not None else None
