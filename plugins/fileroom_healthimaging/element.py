"""Attributes of a document → encoded data elements, Explicit VR Little Endian (PS3.5 7.1.2)."""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from pydicom.datadict import dictionary_VR, tag_for_keyword

from .document import Attributes
from .invalid_document import InvalidDocument
from .value_field import BINARY_VRS, UnfitValue, is_value_vr, value_field

MAXIMUM_DEPTH = 80  # of sequences, as everywhere in the index

_TAG = re.compile("[0-9A-Fa-f]{8}")
_NAME = re.compile("[0-9A-Za-z]{1,64}")
_FIRST_GROUP, _LAST_GROUP = 0x0008, 0xFFFC  # PS3.5 7.1, 7.8: file meta information is of no data set
_SPECIFIC_CHARACTER_SET = 0x00080005
_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
# tables of offsets into pixel data that is not here
_OF_PIXELS = _PIXEL_DATA | {0x7FE00001, 0x7FE00002, 0x7FE00003}
_LONG_VRS = BINARY_VRS | {"SQ", "SV", "UC", "UR", "UT", "UV"}
_ZERO_PADDED = BINARY_VRS | {"UI"}
_LONGEST_SHORT = 0xFFFE
_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)


class Element(NamedTuple):
    """An encoded element; `left_out` are paths, from where it stands, of what could not be encoded in it."""

    tag: int
    encoded: bytes  # empty where the element itself is left out
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes attributes by what their instance says of all: VRs by tag, and whether ambiguous values have a sign."""

    vrs: Mapping[str, str]
    pixel_representation: int

    def elements(self, attributes: Attributes) -> Iterator[tuple[str, Element]]:
        """Each attribute that belongs in a data set, by its key."""
        return self._elements(attributes, self.pixel_representation, 0)

    def element(self, key: str, attributes: Attributes) -> Element | None:
        return self._element(key, attributes, self.pixel_representation, 0)

    def _elements(self, attributes: Attributes, pixel_representation: int, depth: int) -> Iterator[tuple[str, Element]]:
        for key in attributes:
            element = self._element(key, attributes, pixel_representation, depth)
            if element is not None:
                yield key, element

    def _element(self, key: str, attributes: Attributes, pixel_representation: int, depth: int) -> Element | None:
        tag, choice, name = _known(key)
        value = attributes[key]
        if tag is None:
            return Element(0, b"", (_name(key),))
        if _is_of_no_data_set(tag, value, depth):
            return None
        vr = self.vrs.get(name) or choice or _private_vr(tag, value)
        if " or " in vr:
            vr = _unambiguous_vr(vr, key, value, attributes, pixel_representation)
        try:
            if vr == "SQ":
                return self._sequence(tag, key, value, pixel_representation, depth)
            if not is_value_vr(vr):
                raise UnfitValue
            return Element(tag, encoded_element(tag, vr, value_field(vr, value)))
        except UnfitValue:
            return Element(tag, b"", (_name(key),))

    def _sequence(self, tag: int, key: str, value: Any, pixel_representation: int, depth: int) -> Element:
        if not isinstance(value, list | None) or not all(isinstance(item, dict | None) for item in value or ()):
            raise UnfitValue
        if depth >= MAXIMUM_DEPTH:
            raise InvalidDocument(_name(key), f"is nested in more than {MAXIMUM_DEPTH} sequences")
        pieces: list[bytes] = []
        left_out: list[str] = []
        for number, item in enumerate(value or ()):
            attributes = item or {}
            representation = pixel_representation_of(attributes, pixel_representation)
            elements: dict[int, Element] = {}
            for item_key, element in self._elements(attributes, representation, depth + 1):
                take(elements, item_key, element)
                left_out += [f"{_name(key)}/{number}/{path}" for path in element.left_out]
            content = joined(elements)
            # PS3.5 7.5.1
            pieces += (_ITEM, struct.pack("<I", len(content)), content)
        return Element(tag, encoded_element(tag, "SQ", b"".join(pieces)), tuple(left_out))


def take(elements: dict[int, Element], key: str, element: Element) -> None:
    """Where keyword and tag name the same attribute, the keyword's value holds."""
    if element.tag not in elements or not _TAG.fullmatch(key):
        elements[element.tag] = element


def joined(elements: Mapping[int, Element]) -> bytes:
    """The data set of these elements, in ascending order of tags."""
    return b"".join([elements[tag].encoded for tag in sorted(elements)])


def encoded_element(tag: int, vr: str, value: bytes) -> bytes:
    length = len(value)
    if length % 2:
        value += b"\0" if vr in _ZERO_PADDED else b" "
        length += 1
    if vr not in _LONG_VRS:
        if length <= _LONGEST_SHORT:
            return _head(tag, vr) + struct.pack("<H", length) + value
        vr = "UN"  # PS3.5 6.2.2, note on values that are too long for their VR
    return _head(tag, vr) + struct.pack("<2xI", length) + value


def pixel_representation_of(attributes: Attributes, around: int = 0) -> int:
    value = attributes.get("PixelRepresentation")
    return around if value is None else int(value == 1 or value == "1")


@lru_cache(8192)
def _head(tag: int, vr: str) -> bytes:
    return struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode("ascii"))


@lru_cache(8192)
def _known(key: str) -> tuple[int | None, str, str]:
    """The tag that a key names, the dictionary's VR or choice of VRs for it, each if any, and its key among the VRs."""
    tag = int(key, 16) if _TAG.fullmatch(key) else tag_for_keyword(key)
    if tag is None:
        return None, "", key
    try:
        return tag, str(dictionary_VR(tag)), key_of_vr(key)
    except KeyError:
        return tag, "", key_of_vr(key)


def key_of_vr(key: str) -> str:
    """Tags are written in capitals, but not by everybody."""
    return key.upper() if _TAG.fullmatch(key) else key


def _is_of_no_data_set(tag: int, value: Any, depth: int) -> bool:
    group, number = tag >> 16, tag & 0xFFFF
    if not _FIRST_GROUP <= group <= _LAST_GROUP or not number or tag == _SPECIFIC_CHARACTER_SET:
        return True  # PS3.5 7.2: group lengths are retired, and would be wrong; all texts are UTF-8 now
    # the service keeps no pixels of icons either
    return tag in _OF_PIXELS if depth == 0 else tag in _PIXEL_DATA and value is None


def _private_vr(tag: int, value: Any) -> str:
    """Without a VR anywhere: that of a private creator (PS3.5 7.8.1), or of what can be nothing else."""
    if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
        return "LO"
    return "SQ" if isinstance(value, list) and value and isinstance(value[0], dict) else ""


def _unambiguous_vr(choice: str, key: str, value: Any, attributes: Attributes, pixel_representation: int) -> str:
    """PS3.5 Annex A, PS3.3 C.7.6.3: which of the VRs it is that the dictionary leaves open."""
    if choice == "OB or OW":
        return "OB" if key == "WaveformData" and attributes.get("WaveformBitsAllocated") == 8 else "OW"
    if isinstance(value, str) and choice.endswith("OW"):
        return "OW"
    if choice == "US or OW":
        return "US"
    numbers = value if isinstance(value, list) else [value]
    has_sign = any(isinstance(number, int) and number < 0 for number in numbers)
    is_large = any(isinstance(number, int) and number > 0x7FFF for number in numbers)
    return "SS" if has_sign or (pixel_representation and not is_large) else "US"


def _name(key: str) -> str:
    return key if _NAME.fullmatch(key) else "?"
