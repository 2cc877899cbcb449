"""A data set, of an object or of a sequence's item: which elements it has, of what VR, and where their values are."""

from collections.abc import Iterator
from contextlib import suppress

from ..errors import UnusableObject
from .character_set import CharacterSet, character_set_of
from .encoding import (
    ITEM,
    LUT_DESCRIPTOR,
    PIXEL_DATA,
    PIXEL_REPRESENTATION,
    SEQUENCE_DELIMITATION,
    SEQUENCE_STARTS,
    SPECIFIC_CHARACTER_SET,
    UNDEFINED,
    UNDEFINED_LENGTH,
    Element,
    Encoding,
    View,
    dictionary_vr,
    private_dictionary_vr,
    tag_and_length,
)
from .nesting import Nesting
from .scan import Elements, scan_item
from .values import BINARY_WORD, DECODERS

_LUT_DATA = 0x00283006
_KNOWN_VRS = frozenset((*DECODERS, *BINARY_WORD, "SQ"))


class DataSet:
    """Elements by tag; values are decoded when they are asked for, items when they are walked over."""

    __slots__ = ("_character_set", "elements", "encoding", "nesting", "parent", "view")

    def __init__(
        self, view: View, elements: Elements, encoding: Encoding, nesting: Nesting, parent: "DataSet | None" = None
    ) -> None:
        self.view = view
        self.elements = elements
        self.encoding = encoding
        self.nesting = nesting
        self.parent = parent
        self._character_set: CharacterSet | None = None

    @property
    def character_set(self) -> CharacterSet:
        """PS3.5 7.5.3: an item without a Specific Character Set has that of the data set around it."""
        known = self._character_set
        if known is None:
            element = self.elements.get(SPECIFIC_CHARACTER_SET)
            if element is not None:
                text = self.value(element).decode("latin_1")
                known = character_set_of(tuple(part.strip(" \0") for part in text.strip(" \0").split("\\")))
            else:
                known = self.parent.character_set if self.parent else character_set_of(())
            self._character_set = known
        return known

    def value(self, element: Element) -> bytes:
        _, offset, length, _ = element
        return bytes(self.view[offset : offset + length])

    def is_big_endian(self, element: Element) -> bool:
        # PS3.5 6.2.2: what became UN is little endian
        return self.encoding.big_endian and element[0] != "UN"

    def vr(self, tag: int, element: Element) -> str:
        """The element's VR; where the encoding does not tell, or says UN, that of the dictionaries."""
        vr = element[0]
        if vr not in ("UN", ""):
            return vr
        known = self._dictionary_vr(tag)
        if known not in _KNOWN_VRS:
            known = self._unambiguous_vr(tag, known) if known is not None else "UN"
        if known in ("UN", "SQ"):
            return self._sequence_or_unknown(known, element)
        return known

    def items(self, tag: int) -> "Iterator[DataSet]":
        """The items of a sequence."""
        element = self.elements[tag]
        vr, position, length, flags = element
        end = position + length
        encoding = self.nesting.sequence_encoding(position, end, self.encoding, vr, flags)
        while position + 8 <= end:
            item_tag, item_length = tag_and_length(self.view, position, encoding.big_endian)
            position += 8
            if item_tag != ITEM:
                if item_tag == SEQUENCE_DELIMITATION or item_tag >> 16 != 0xFFFE:
                    return
                continue
            item_encoding = self.nesting.item_encoding(position, end, encoding)
            item_end = after = min(position + item_length, end)
            if item_length == UNDEFINED_LENGTH:
                # without a delimiter it goes to the end of the sequence
                with suppress(UnusableObject):
                    item_end, after = self.nesting.item_end(position, end, item_encoding)
            elements = scan_item(self.view, position, item_end, item_encoding, self.nesting)
            yield DataSet(self.view, elements, item_encoding, self.nesting, self)
            position = after

    def number(self, tag: int) -> int | None:
        """The first value of an element of a number's VR."""
        element = self.elements.get(tag)
        if element is None:
            return None
        vr = element[0] if element[0] in DECODERS else dictionary_vr(tag) or ""
        decoder = DECODERS.get(vr, DECODERS["US"])
        values = decoder(self.value(element), self.character_set, self.is_big_endian(element))
        return values[0] if values and isinstance(values[0], int) else None

    def _dictionary_vr(self, tag: int) -> str | None:
        if not tag >> 16 & 1 or tag & 0xFFFF == 0:
            return dictionary_vr(tag)
        number = tag & 0xFFFF
        if 0x10 <= number <= 0xFF:
            return "LO"
        # PS3.5 7.8.1: (gggg,bbxx) belongs to the creator that (gggg,00bb) names
        creator = self.elements.get(tag & 0xFFFF0000 | number >> 8) if number > 0xFF else None
        if creator is None:
            return None
        text = self.character_set.decode(self.value(creator)).strip(" \0")
        return private_dictionary_vr(tag, text)

    def _unambiguous_vr(self, tag: int, choice: str) -> str:
        """PS3.5 Annex A and PS3.3: which of two VRs it is that the dictionary leaves open."""
        if choice == "US or SS":
            return "SS" if self._pixel_representation() else "US"
        if tag == _LUT_DATA:
            # PS3.3 C.11.1.1.1
            return "US" if self.number(LUT_DESCRIPTOR) == 1 else "OW"
        if tag == PIXEL_DATA:
            return "OW"
        return "OW" if choice.endswith("OW") else "UN"

    def _pixel_representation(self) -> int:
        data_set: DataSet | None = self
        while data_set is not None:
            number = data_set.number(PIXEL_REPRESENTATION)
            if number is not None:
                return number
            data_set = data_set.parent
        return 0

    def _sequence_or_unknown(self, known: str, element: Element) -> str:
        """What holds no item is no sequence, whatever the dictionary says; what has no length of its own is one."""
        _, offset, length, flags = element
        if not length:
            return "SQ" if flags & UNDEFINED else known
        has_items = bytes(self.view[offset : offset + 4]) in SEQUENCE_STARTS
        return "SQ" if has_items and (known == "SQ" or flags & UNDEFINED) else "UN"
