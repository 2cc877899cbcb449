"""Pixel data that comes as bulk data: its transfer syntax, and how its parts become frames (PS3.18 8.7.3.3)."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fileroom_storage.errors import UnusableObject, UnusableReason
from fileroom_storage.parse.object_encoding import (
    PIXEL_DATA,
    AlreadyEncapsulated,
    BulkValue,
    Encapsulated,
    NewPixelData,
    Piece,
)
from fileroom_storage.pixels.codestream import jpeg_transfer_syntax

from .bulk_data_parts import BulkDataParts
from .frame_media_types import EXPLICIT_VR_LITTLE_ENDIAN, is_native, transfer_syntaxes_of
from .media_types import OCTET_STREAM, MediaType

_NUMBER_OF_FRAMES = "00280008"
_TRANSFER_SYNTAX_UID = "00020010"
_AVAILABLE_TRANSFER_SYNTAX_UID = "00083002"
_JPEG = "image/jpeg"
_JPEG_DEFAULT = "1.2.840.10008.1.2.4.70"
# one stream for all frames: video, and JPEG 2000 Part 2 of several components
_ONE_STREAM = ("1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93", "1.2.840.10008.1.2.4.10")
_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_DELIMITATION = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
_LONGEST_FRAGMENT = 1 << 30
_START = 64 * 1024
_MOST_FRAMES = 1 << 32
_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,12}\s*", re.ASCII)

Elements = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Inline:
    """A value that came in the metadata itself."""

    value: bytes

    @property
    def length(self) -> int:
        return len(self.value)

    def chunks(self) -> Iterator[bytes]:
        yield self.value


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of another value."""

    value: BulkValue
    offset: int
    length: int

    def chunks(self) -> Iterator[bytes]:
        position, end = 0, self.offset + self.length
        for chunk in self.value.chunks():
            piece = chunk[max(0, self.offset - position) : max(0, end - position)]
            position += len(chunk)
            if piece:
                yield piece


def pixel_data_of(
    elements: Elements, parts: BulkDataParts, declared_transfer_syntax: str | None
) -> tuple[NewPixelData, str]:
    """The pixel data in frames where it is compressed, and the transfer syntax of the object.

    Raises UnusableObject for what cannot be pixel data, or not of these frames.
    """
    values, kind = _values(elements.get(PIXEL_DATA), parts)
    if not values:
        return None, EXPLICIT_VR_LITTLE_ENDIAN
    transfer_syntax_uid = _transfer_syntax(kind, _start(values[0]), elements, declared_transfer_syntax)
    if is_native(transfer_syntax_uid):
        # PS3.18 8.7.3.3.2: uncompressed bulk data is little endian, whatever it was before
        return None, EXPLICIT_VR_LITTLE_ENDIAN
    if len(values) == 1 and _start(values[0]).startswith(_ITEM):
        return _as_it_stands(values[0]), transfer_syntax_uid
    return Encapsulated(_frames(values, _number_of_frames(elements), transfer_syntax_uid)), transfer_syntax_uid


def _values(element: Any, parts: BulkDataParts) -> tuple[list[BulkValue], MediaType]:
    """What there is of it; what is wrong with the element is found when it is encoded."""
    kind = MediaType(OCTET_STREAM)
    if isinstance(element, Mapping) and isinstance(element.get("BulkDataURI"), str):
        found = parts.find(element["BulkDataURI"])
        return [part.value for part in found], found[0].media_type if found else kind
    if isinstance(element, Mapping) and isinstance(element.get("InlineBinary"), str):
        try:
            return [_Inline(b64decode(element["InlineBinary"]))], kind
        except (Base64Error, ValueError):
            pass
    return [], kind


def _transfer_syntax(kind: MediaType, start: bytes, elements: Elements, declared: str | None) -> str:
    named = kind.parameters.get("transfer-syntax", "").strip('"')
    available = _first(elements, _AVAILABLE_TRANSFER_SYNTAX_UID)
    if kind.name == OCTET_STREAM:
        told = named or _first(elements, _TRANSFER_SYNTAX_UID) or declared
        # what a server has may have been decompressed on its way here; not so where it is in fragments still
        return told or (available if available and start.startswith(_ITEM) else EXPLICIT_VR_LITTLE_ENDIAN)
    possible = transfer_syntaxes_of(kind.name)
    if not possible:
        raise _wrong("a media type that is not of DICOM pixel data")
    if named and named not in possible:
        raise _wrong("media type and transfer-syntax of its part disagree")
    hints = (named, _first(elements, _TRANSFER_SYNTAX_UID), declared, available)
    told = next((hint for hint in hints if hint in possible), None)
    if told is not None:
        return told
    return (jpeg_transfer_syntax(start) or _JPEG_DEFAULT) if kind.name == _JPEG else possible[0]


def _frames(
    values: Sequence[BulkValue], number_of_frames: int, transfer_syntax_uid: str
) -> Sequence[Sequence[Piece | BulkValue]]:
    if number_of_frames == 1 or transfer_syntax_uid.startswith(_ONE_STREAM):
        return [[fragment for value in values for fragment in _fragments(value)]]
    if len(values) != number_of_frames:
        raise _wrong(f"{number_of_frames} frames, but {len(values)} parts; give a part for each")
    return [list(_fragments(value)) for value in values]


def _fragments(value: BulkValue) -> Iterator[BulkValue]:
    if value.length <= _LONGEST_FRAGMENT:
        yield value
        return
    for offset in range(0, value.length, _LONGEST_FRAGMENT):
        yield _Stretch(value, offset, min(_LONGEST_FRAGMENT, value.length - offset))


def _as_it_stands(value: BulkValue) -> AlreadyEncapsulated:
    """Items, with their delimiter or without."""
    last = b""
    for chunk in value.chunks():
        last = (last + chunk)[-len(_SEQUENCE_DELIMITATION) :]
    length = value.length - (len(last) if last == _SEQUENCE_DELIMITATION else 0)
    return AlreadyEncapsulated([_Stretch(value, 0, length)])


def _start(value: BulkValue) -> bytes:
    return next(iter(value.chunks()), b"")[:_START]


def _first(elements: Elements, tag: str) -> str | None:
    element = elements.get(tag)
    values = element.get("Value") if isinstance(element, Mapping) else None
    value = values[0] if isinstance(values, list) and values else None
    return value.strip(" \0") if isinstance(value, str) else None


def _number_of_frames(elements: Elements) -> int:
    element = elements.get(_NUMBER_OF_FRAMES)
    values = element.get("Value") if isinstance(element, Mapping) else None
    value = values[0] if isinstance(values, list) and values else None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    # compared before it is made an integer: 1e999999999 would have a billion digits
    return int(value) if isinstance(value, int | float | Decimal) and 1 <= value < _MOST_FRAMES else 1


def _wrong(what: str) -> UnusableObject:
    return UnusableObject(UnusableReason.MALFORMED, f"(7FE0,0010): {what}")
