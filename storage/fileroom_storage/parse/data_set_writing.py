"""Writes what was parsed in another encoding, without decoding values (PS3.5 7.1)."""

import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .data_set import DataSet
from .encoding import EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, LONG_VRS, UNDEFINED_LENGTH

_OFFSET_TABLES = frozenset({0x7FE00001, 0x7FE00002})
_LONG_VRS = frozenset(LONG_VRS.values())
_WORDS = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), "H"),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), "I"),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), "Q"),
}


@dataclass(frozen=True, slots=True)
class NewElement:
    """An element to be written in place of another, its value in pieces as it goes into the target.

    `length` None means an undefined one: the pieces are items then, and end with a delimiter.
    """

    vr: str
    length: int | None
    value: Iterable[bytes]


def whole_element(vr: str, value: bytes) -> NewElement:
    return NewElement(vr, len(value), (value,))


class DataSetWriter:
    """Writes data sets in one uncompressed encoding; that of compressed objects is Explicit VR Little Endian."""

    def __init__(self, transfer_syntax_uid: str) -> None:
        self._implicit = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
        self._big_endian = transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
        self._order = ">" if self._big_endian else "<"

    def data_set(self, data_set: DataSet, new: Mapping[int, NewElement]) -> Iterator[bytes]:
        """The elements, those in `new` instead of the old; group lengths, retired, are left out."""
        for tag in sorted(data_set.elements.keys() | new.keys()):
            # PS3.5 7.2; offset tables tell of fragments that are no more
            if not tag & 0xFFFF or tag >> 16 <= 2 or (new and tag in _OFFSET_TABLES):
                continue
            if tag in new:
                yield from self._new_element(tag, new[tag])
                continue
            element = data_set.elements[tag]
            vr = data_set.vr(tag, element)
            if vr == "SQ":
                yield from self._element(tag, vr, b"".join(self._item(item) for item in data_set.items(tag)))
            else:
                value = self._ordered(data_set.value(element), vr, big_endian=data_set.is_big_endian(element))
                yield from self._element(tag, vr, value)

    def _item(self, item: DataSet) -> bytes:
        content = b"".join(self.data_set(item, {}))
        return struct.pack(f"{self._order}HHI", 0xFFFE, 0xE000, len(content)) + content

    def _element(self, tag: int, vr: str, value: bytes) -> Iterator[bytes]:
        length = len(value) + len(value) % 2
        if not self._implicit and vr not in _LONG_VRS and length > 0xFFFE:
            vr = "UN"  # PS3.5 6.2.2, note on values that are too long for their VR
        yield self._head(tag, vr, length)
        yield value
        if len(value) % 2:
            yield b"\x00" if vr in ("OB", "UI", "UN") else b" "

    def _new_element(self, tag: int, element: NewElement) -> Iterator[bytes]:
        length = element.length
        yield self._head(tag, element.vr, UNDEFINED_LENGTH if length is None else length + length % 2)
        yield from element.value
        if length is None:
            yield struct.pack(f"{self._order}HHI", 0xFFFE, 0xE0DD, 0)
        elif length % 2:
            yield b"\x00"

    def _head(self, tag: int, vr: str, length: int) -> bytes:
        head = struct.pack(f"{self._order}HH", tag >> 16, tag & 0xFFFF)
        if self._implicit:
            return head + struct.pack("<I", length)
        if vr in _LONG_VRS:
            return head + vr.encode() + b"\x00\x00" + struct.pack(f"{self._order}I", length)
        return head + vr.encode() + struct.pack(f"{self._order}H", length)

    def _ordered(self, value: bytes, vr: str, *, big_endian: bool) -> bytes:
        code = _WORDS.get(vr)
        return value if code is None or big_endian == self._big_endian else swapped(value, array(code).itemsize)


def swapped(value: bytes, word_length: int) -> bytes:
    """The bytes of each whole word in the other order."""
    code = {2: "H", 4: "I", 8: "Q"}.get(word_length)
    if code is None:
        return value
    words = array(code)
    whole = len(value) // word_length * word_length
    words.frombytes(value[:whole])
    words.byteswap()
    return words.tobytes() + value[whole:]
