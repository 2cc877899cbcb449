"""A data set of the DICOM JSON Model → the bytes of an object, Explicit VR Little Endian; strict, and without loss."""

import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import UnusableObject, UnusableReason
from .character_set import UTF_8
from .encoding import LONG_VRS, UNDEFINED_LENGTH
from .nesting import MAXIMUM_DEPTH
from .value_encoding import BINARY_VRS, UnfitValue, decode_inline_binary, encode_values, is_known_vr

PIXEL_DATA = "7FE00010"

_SPECIFIC_CHARACTER_SET = "00080005"
_AVAILABLE_TRANSFER_SYNTAX_UID = "00083002"
_EXTENDED_OFFSET_TABLE, _EXTENDED_OFFSET_TABLE_LENGTHS = "7FE00001", "7FE00002"
_ENCAPSULATED_PIXEL_DATA_VALUE_TOTAL_LENGTH = "7FE00003"
# what a server says of it, and where fragments were that are written anew
NOT_OF_THE_OBJECT = frozenset(
    {
        _AVAILABLE_TRANSFER_SYNTAX_UID,
        _EXTENDED_OFFSET_TABLE,
        _EXTENDED_OFFSET_TABLE_LENGTHS,
        _ENCAPSULATED_PIXEL_DATA_VALUE_TOTAL_LENGTH,
    }
)
_TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # PS3.5 6.1.2.3
_TAG = re.compile("[0-9A-F]{8}")
_FIRST_GROUP, _LAST_GROUP = 0x0008, 0xFFFC  # PS3.5 7.1, 7.8
_CONTENTS = frozenset({"Value", "InlineBinary", "BulkDataURI"})
_LONG_VRS = frozenset(LONG_VRS.values())
_LONGEST_SHORT = 0xFFFE
_LONGEST = 0xFFFFFFFE
_MAXIMUM_OFFSET = 0xFFFFFFFF
_ZERO_PADDED = BINARY_VRS | {"UI"}
_ITEM, _SEQUENCE_DELIMITATION = struct.pack("<HH", 0xFFFE, 0xE000), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)

Element = Mapping[str, Any]


class BulkValue(Protocol):
    """A value that lies elsewhere than in memory."""

    @property
    def length(self) -> int: ...

    def chunks(self) -> Iterator[bytes]: ...


Piece = bytes | BulkValue
Pieces = list[Piece]
BulkData = Callable[[str], Sequence[BulkValue]]


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """Pixel data in frames, each of one fragment or more, as they are to be encapsulated."""

    frames: Sequence[Sequence[Piece]]


@dataclass(frozen=True, slots=True)
class AlreadyEncapsulated:
    """The items of encapsulated pixel data as they stand."""

    items: Sequence[Piece]


NewPixelData = Encapsulated | AlreadyEncapsulated | None


def encode_object(elements: Mapping[str, Element], bulk_data: BulkData, pixel_data: NewPixelData) -> Pieces:
    """The data set in pieces. `bulk_data` gives what a URI names; `pixel_data` replaces that of the elements.

    Text becomes UTF-8, and (0008,0005) says so where it is present or needed. Group lengths, file meta information,
    Available Transfer Syntax UID and tables of offsets are no part of the object.
    Raises UnusableObject with the element that is wrong, by its tag.
    """
    encoder = _Encoder(bulk_data, _encapsulated(pixel_data))
    kept = {tag: element for tag, element in elements.items() if tag[:4] != "0002" and tag not in NOT_OF_THE_OBJECT}
    pieces = encoder.data_set(kept, 0)
    if encoder.has_other_than_ascii and _SPECIFIC_CHARACTER_SET not in kept:
        pieces = encoder.data_set({**kept, _SPECIFIC_CHARACTER_SET: {"vr": "CS"}}, 0)
    return pieces


def length_of(pieces: Iterable[Piece]) -> int:
    return sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in pieces)


class _Encoder:
    """Writes data elements (PS3.5 7.1.2)."""

    def __init__(self, bulk_data: BulkData, ready: Mapping[str, Pieces]) -> None:
        self._bulk_data = bulk_data
        self._ready = ready  # of the top level, by tag
        self.has_other_than_ascii = False

    def data_set(self, elements: Mapping[str, Element], depth: int) -> Pieces:
        pieces: Pieces = []
        ready = self._ready if depth == 0 else {}
        for key in sorted(elements.keys() | ready.keys()):
            if key in ready:
                pieces += ready[key]
                continue
            tag = _checked_tag(key)
            # PS3.5 7.2: group lengths are retired, and would be wrong now
            if tag & 0xFFFF:
                try:
                    pieces += self._element(tag, elements[key], depth)
                except UnfitValue as error:
                    raise _wrong(tag, str(error)) from None
        return pieces

    def _element(self, tag: int, element: Any, depth: int) -> Pieces:
        vr, kind = _checked_element(element)
        if tag == int(_SPECIFIC_CHARACTER_SET, 16):
            return _element(tag, "CS", [UTF_8.encode()])
        if vr == "SQ":
            if depth >= MAXIMUM_DEPTH:
                raise UnusableObject(
                    UnusableReason.NESTED_TOO_DEEP, f"sequences are nested more than {MAXIMUM_DEPTH} levels deep"
                )
            return _element(tag, vr, self._items(_array(element), depth))
        if kind == "BulkDataURI":
            return _element(tag, vr, self._bulk(element[kind]))
        if kind == "InlineBinary":
            if vr not in BINARY_VRS:
                raise UnfitValue(f"{vr} has no InlineBinary; give Value")
            return _element(tag, vr, [decode_inline_binary(element[kind])])
        values = _array(element)
        if not values:
            return _element(tag, vr, [])
        if vr in BINARY_VRS:
            raise UnfitValue(f"{vr} has no Value; give InlineBinary")
        try:
            value = encode_values(vr, values)
        except UnfitValue as error:
            raise UnfitValue(f"{vr} {error}") from None
        if vr in _TEXT_VRS and not value.isascii():
            self.has_other_than_ascii = True
        return _element(tag, vr, [value])

    def _bulk(self, uri: Any) -> Pieces:
        if not isinstance(uri, str):
            raise UnfitValue("BulkDataURI needs a text")
        return list(self._bulk_data(uri))

    def _items(self, items: Sequence[Any], depth: int) -> Pieces:
        pieces: Pieces = []
        for item in items:
            if not isinstance(item, Mapping | None):
                raise UnfitValue("SQ needs data sets")
            # PS3.5 7.5.1
            content = self.data_set(item or {}, depth + 1)
            length = length_of(content)
            if length > _LONGEST:
                raise UnusableObject(UnusableReason.TOO_LARGE, "an item of a sequence is larger than 4 GiB")
            pieces += [_item_head(length), *content]
        return pieces


def _encapsulated(pixel_data: NewPixelData) -> dict[str, Pieces]:
    """The elements of pixel data in frames (PS3.5 A.4), by tag."""
    if pixel_data is None:
        return {}
    head = _head(int(PIXEL_DATA, 16), "OB", UNDEFINED_LENGTH)
    if isinstance(pixel_data, AlreadyEncapsulated):
        return {PIXEL_DATA: [head, *pixel_data.items, _SEQUENCE_DELIMITATION]}
    offsets, lengths, fragments = _fragments(pixel_data)
    if offsets[-1] <= _MAXIMUM_OFFSET:
        table = struct.pack(f"<{len(offsets)}I", *offsets)
        return {PIXEL_DATA: [head, _item_head(len(table)), table, *fragments, _SEQUENCE_DELIMITATION]}
    elements = {PIXEL_DATA: [head, _item_head(0), *fragments, _SEQUENCE_DELIMITATION]}
    if all(len(frame) == 1 for frame in pixel_data.frames):
        # PS3.3 C.7.6.3.1.8
        for tag, numbers in ((_EXTENDED_OFFSET_TABLE, offsets), (_EXTENDED_OFFSET_TABLE_LENGTHS, lengths)):
            elements[tag] = _element(int(tag, 16), "OV", [struct.pack(f"<{len(numbers)}Q", *numbers)])
    return elements


def _fragments(pixel_data: Encapsulated) -> tuple[list[int], list[int], Pieces]:
    """The offset and the length of each frame, and the items that hold them."""
    offsets, lengths, pieces, place = [], [], list[Piece](), 0
    for frame in pixel_data.frames:
        offsets.append(place)
        lengths.append(length_of(frame))
        for fragment in frame:
            length = length_of([fragment])
            if length > _LONGEST:
                raise UnusableObject(UnusableReason.TOO_LARGE, "a fragment of pixel data is larger than 4 GiB")
            padding = length % 2
            pieces += [_item_head(length + padding), fragment]
            pieces += [b"\x00"] * padding
            place += 8 + length + padding
    return offsets, lengths, pieces


def _item_head(length: int) -> bytes:
    return _ITEM + struct.pack("<I", length)


def _checked_tag(key: str) -> int:
    if not _TAG.fullmatch(key):
        raise UnusableObject(
            UnusableReason.MALFORMED, "an attribute's name is no tag: 8 hexadecimal digits, in capitals"
        )
    tag = int(key, 16)
    if tag >> 16 < _FIRST_GROUP or tag >> 16 > _LAST_GROUP:
        raise _wrong(tag, "this group is not of data sets")
    return tag


def _checked_element(element: Any) -> tuple[str, str | None]:
    """The VR and which of the three contents the element has."""
    if not isinstance(element, Mapping):
        raise UnfitValue("an attribute needs an object with its vr")
    vr = element.get("vr")
    if vr is None:
        raise UnfitValue("no vr is given")
    if not is_known_vr(vr):
        raise UnfitValue("the vr is none of PS3.5 6.2")
    contents = element.keys() - {"vr"}
    if not contents <= _CONTENTS:
        raise UnfitValue("only vr, Value, InlineBinary, BulkDataURI are known")
    if len(contents) > 1:
        raise UnfitValue("Value, InlineBinary, BulkDataURI: give one")
    kind = next(iter(contents), None)
    if vr == "SQ" and kind not in (None, "Value"):
        raise UnfitValue(f"SQ has no {kind}; give Value")
    return vr, kind


def _array(element: Element) -> Sequence[Any]:
    values = element.get("Value", ())
    if not isinstance(values, list | tuple):
        raise UnfitValue("Value needs an array")
    return values


def _element(tag: int, vr: str, value: Pieces) -> Pieces:
    length = length_of(value)
    if length > _LONGEST:
        raise UnfitValue("the value is larger than 4 GiB; send it encapsulated")
    if vr not in _LONG_VRS and length > _LONGEST_SHORT:
        vr = "UN"  # PS3.5 6.2.2, note on values that are too long for their VR
    padding = [b"\x00" if vr in _ZERO_PADDED else b" "] * (length % 2)
    return [_head(tag, vr, length + length % 2), *value, *padding]


def _head(tag: int, vr: str, length: int) -> bytes:
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode("ascii")
    return head + (struct.pack("<HI", 0, length) if vr in _LONG_VRS else struct.pack("<H", length))


def _wrong(tag: int, what: str) -> UnusableObject:
    # the place first: an Error Comment has room for no more
    return UnusableObject(UnusableReason.MALFORMED, f"({tag >> 16:04X},{tag & 0xFFFF:04X}): {what}")
