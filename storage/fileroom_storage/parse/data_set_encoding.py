"""Encodes DICOM JSON elements, as the index gives them, into a data set of any uncompressed transfer syntax."""

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydicom.charset import default_encoding, encode_string, python_encoding
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from .character_set import UTF_8, encode

Element = Mapping[str, Any]

_SPECIFIC_CHARACTER_SET = "00080005"
_CHARACTER_SET_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # PS3.5 6.1.2.3
_LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})  # PS3.5 7.1.2
_NUMBERS = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_ONLY_BY_ESCAPE = frozenset({"iso2022_jp", "iso2022_jp_2", "euc_kr", "iso_ir_58"})
_SHORT_LENGTH = 0xFFFE
_DECIMAL_STRING_LENGTH = 16  # PS3.5 6.2
# texts without a number's form
_PLAIN_VRS = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UI", "UR"})
_REMEMBERED_LENGTH = 64  # characters
_REMEMBERED_ELEMENTS = 8192


def encode_data_set(
    elements: Mapping[str, Element], transfer_syntax_uid: str, character_set: Sequence[str] = ()
) -> bytes:
    """The elements, by tag in hexadecimal digits, in ascending order of tags.

    Texts are written in `character_set`, the values of (0008,0005), if it holds them all, else in UTF-8; the data set
    says which. Nothing is said where all is ASCII and `character_set` is empty. A value that its VR has no room or no
    form for is left empty.
    """
    texts = list(_texts(elements.values()))
    chosen = tuple(character_set) if _hold(texts, character_set) else (UTF_8,)
    if any(chosen):
        elements = {**elements, _SPECIFIC_CHARACTER_SET: {"vr": "CS", "Value": list(chosen)}}
    encoded = _Encoder(transfer_syntax_uid, chosen).data_set(elements)
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        return deflated(encoded)
    return encoded


def deflated(data_set: bytes) -> bytes:
    # PS3.5 A.5
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    stream = compressor.compress(data_set) + compressor.flush()
    return stream + b"\x00" if len(stream) % 2 else stream


def _texts(elements: Iterable[Element]) -> Iterator[str]:
    for element in elements:
        for value in element.get("Value", ()):
            if element["vr"] == "SQ":
                yield from _texts(value.values())
            elif element["vr"] in _CHARACTER_SET_VRS and value is not None:
                text = _text(element["vr"], value)
                if not text.isascii():
                    yield text


def _hold(texts: list[str], character_set: Sequence[str]) -> bool:
    try:
        for text in texts:
            _encoded(text, character_set)
    except (UnicodeError, LookupError):
        return False
    return True


def _encoded(text: str, character_set: Sequence[str]) -> bytes:
    """Raises UnicodeError or LookupError where the character set does not hold the text, or is not known."""
    if text.isascii():
        return text.encode("ascii")
    if len(character_set) < 2 and not any(term.startswith("ISO 2022") for term in character_set):
        return encode(text, character_set[0] if character_set else "")
    # PS3.5 6.1.2.5: code extensions. pydicom has Latin-1 for the default repertoire, and would not announce it.
    encodings = [python_encoding[term] for term in character_set]
    if encodings[0] in _ONLY_BY_ESCAPE:
        raise LookupError("the first value has to be a single-byte character set")
    known = ["ascii" if encoding == default_encoding else encoding for encoding in encodings]
    for character in text:
        if not any(_has(encoding, character) for encoding in known) or (
            known[0] == "ascii" and not character.isascii() and _has(default_encoding, character)
        ):
            raise UnicodeError("no declared character set has all characters")
    return encode_string(text, encodings)


def _has(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeError:
        return False
    return True


def _text(vr: str, value: Any) -> str:
    if vr == "PN" and isinstance(value, Mapping):
        return "=".join(value.get(group, "") for group in _NAME_GROUPS).rstrip("=")
    if vr == "DS" and isinstance(value, float):
        return _decimal_string(value)
    return str(value)


def _decimal_string(value: float) -> str:
    text = repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    digits = 15
    while len(text) > _DECIMAL_STRING_LENGTH:
        text = f"{value:.{digits}g}"
        digits -= 1
    return text


@dataclass(frozen=True, slots=True)
class _Encoder:
    """Writes data elements (PS3.5 7.1)."""

    transfer_syntax_uid: str
    character_set: tuple[str, ...]

    @property
    def _order(self) -> str:
        return ">" if self.transfer_syntax_uid == ExplicitVRBigEndian else "<"

    def data_set(self, elements: Mapping[str, Element]) -> bytes:
        return b"".join([self._element(tag, elements[tag]) for tag in sorted(elements)])

    def _element(self, tag_hex: str, element: Element) -> bytes:
        vr: str = element["vr"]
        values = element.get("Value", ())
        if not values:
            return _short_element(self.transfer_syntax_uid, tag_hex, vr, "")
        if len(values) == 1:
            value = values[0]
            if vr == "PN" and isinstance(value, dict) and len(value) == 1:
                value = value.get("Alphabetic")
            if type(value) is str and len(value) <= _REMEMBERED_LENGTH and vr in _PLAIN_VRS and value.isascii():
                return _short_element(self.transfer_syntax_uid, tag_hex, vr, value)
        return self._any_element(int(tag_hex, 16), element)

    def _any_element(self, tag: int, element: Element) -> bytes:
        vr: str = element["vr"]
        order = self._order
        value = self._value(vr, element.get("Value", ()))
        if len(value) % 2:
            value += b"\x00" if vr == "UI" else b" "
        head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
        if self.transfer_syntax_uid == ImplicitVRLittleEndian:
            return head + struct.pack("<I", len(value)) + value
        if vr in _LONG_VRS:
            return head + vr.encode() + b"\x00\x00" + struct.pack(f"{order}I", len(value)) + value
        if len(value) > _SHORT_LENGTH:
            value = b""
        return head + vr.encode() + struct.pack(f"{order}H", len(value)) + value

    def _value(self, vr: str, values: Sequence[Any]) -> bytes:
        if not values:
            return b""
        if vr == "SQ":
            return b"".join(self._item(item) for item in values)
        if vr in _NUMBERS:
            return self._numbers(vr, values)
        if vr == "AT":
            numbers = [int(value, 16) for value in values]
            return b"".join(struct.pack(f"{self._order}HH", number >> 16, number & 0xFFFF) for number in numbers)
        texts: list[str] = ["" if value is None else _text(vr, value) for value in values]
        if vr == "PN":
            return b"\\".join([self._person_name(text) for text in texts])
        return b"\\".join(
            _encoded(text, self.character_set if vr in _CHARACTER_SET_VRS else (UTF_8,)) for text in texts
        )

    def _person_name(self, text: str) -> bytes:
        # PS3.5 6.1.2.5.3: every component begins in the initial character set
        return b"=".join(
            b"^".join(_encoded(component, self.character_set) for component in group.split("^"))
            for group in text.split("=")
        )

    def _numbers(self, vr: str, values: Sequence[Any]) -> bytes:
        try:
            return struct.pack(f"{self._order}{len(values)}{_NUMBERS[vr]}", *values)
        except (struct.error, OverflowError):
            return b""

    def _item(self, item: Mapping[str, Element]) -> bytes:
        # PS3.5 7.5.1
        content = self.data_set(item)
        return struct.pack(f"{self._order}HHI", 0xFFFE, 0xE000, len(content)) + content


@lru_cache(_REMEMBERED_ELEMENTS)
def _short_element(transfer_syntax_uid: str, tag_hex: str, vr: str, text: str) -> bytes:
    """An element of one ASCII text, or an empty one: the same in every character set, and the same again and again."""
    element: Element = {"vr": vr, "Value": [text]} if text else {"vr": vr}
    return _Encoder(transfer_syntax_uid, ())._any_element(int(tag_hex, 16), element)
