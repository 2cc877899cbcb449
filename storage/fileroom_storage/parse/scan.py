"""The hot path: where the elements of a data set are. Nothing is decoded or copied, nothing recurses."""

import struct

from ..errors import HeaderTooLarge, UnusableObject
from .encoding import (
    DATA_SET_TRAILING_PADDING,
    IMPLICIT,
    ITEM,
    ITEM_DELIMITATION,
    NUMBER_OF_FRAMES,
    PIXEL_DATA_TAGS,
    SHORT_VRS,
    UNDEFINED,
    UNDEFINED_LENGTH,
    Element,
    Encoding,
    View,
    element_header,
    malformed,
    too_large,
    truncated,
)
from .fragments import Fragments
from .mapped_pages import PagesBehind
from .nesting import Nesting

Elements = dict[int, Element]

_EXPLICIT = {False: struct.Struct("<HH2sH").unpack_from, True: struct.Struct(">HH2sH").unpack_from}
_IMPLICIT = {False: struct.Struct("<HHL").unpack_from, True: struct.Struct(">HHL").unpack_from}
_FIRST_PIXEL_DATA_TAG = min(PIXEL_DATA_TAGS)
_PADDING_CHUNK = 1 << 16
# What one object may cost in memory has a bound. Data sets have some thousand elements at the top level; a slide of
# 300,000 by 300,000 pixels has 1.4 million tiles.
MAXIMUM_ELEMENTS = 100_000
MAXIMUM_FRAGMENTS = 4_000_000
_STRETCH = 1 << 20  # bytes between two looks at the number of elements


class ObjectScan:
    """The top level of an object, from `offset` to the end of the view.

    Raises UnusableObject (TRUNCATED, MALFORMED, NESTED_TOO_DEEP). With `through_pixel_data` false the scan ends at
    encapsulated pixel data, so that its pages are never touched; `fragments` is None then. `before` are the elements
    before `offset` where they are known already; they become the scan's own.
    """

    def __init__(
        self,
        view: View,
        offset: int,
        encoding: Encoding,
        nesting: Nesting,
        *,
        through_pixel_data: bool,
        before: Elements | None = None,
    ) -> None:
        self.elements: Elements = {} if before is None else before
        self.fragments: Fragments | None = None
        self.pixel_data_offset: int | None = None  # of the element, where it was scanned
        self._view = view
        self._end = len(view)
        self._encoding = encoding
        self._nesting = nesting
        self._through_pixel_data = through_pixel_data
        position: int | None = offset
        while position is not None and position + 8 <= self._end:
            position = self._scan_implicit(position) if encoding.implicit else self._scan_explicit(position)
            if len(self.elements) > MAXIMUM_ELEMENTS:
                raise too_large(f"more than {MAXIMUM_ELEMENTS} elements")
        if position is not None and not self._may_end(position):
            raise truncated(None, position)

    def _scan_explicit(self, offset: int) -> int | None:
        """Runs over plain elements; comes back after one that is not, or with None where the object ends."""
        view, end, elements = self._view, self._end, self.elements
        unpack, short_vrs, last = _EXPLICIT[self._encoding.big_endian], SHORT_VRS, min(end - 8, offset + _STRETCH)
        while offset <= last:
            group, number, code, length = unpack(view, offset)
            vr = short_vrs.get(code)
            value = offset + 8
            after = value + length
            if vr is None or after > end:
                return self._take_element(offset)
            elements[group << 16 | number] = (vr, value, length, 0)
            offset = after
        return offset

    def _scan_implicit(self, offset: int) -> int | None:
        view, end, elements, shallow = self._view, self._end, self.elements, self._nesting.shallow
        unpack, last = _IMPLICIT[self._encoding.big_endian], min(end - 8, offset + _STRETCH)
        while offset <= last:
            group, number, length = unpack(view, offset)
            value = offset + 8
            after = value + length
            if after > end or length >= shallow or not group or group == 0xFFFE:
                return self._take_element(offset)
            elements[group << 16 | number] = ("", value, length, IMPLICIT)
            offset = after
        return offset

    def _take_element(self, offset: int) -> int | None:
        """One element that needs a closer look."""
        end = self._end
        tag, vr, value, length, flags = element_header(self._view, offset, end, self._encoding)
        if tag == 0 and length == 0:
            return self._behind_zeros(offset)
        if tag >> 16 == 0xFFFE:
            return self._behind_stray(tag, value, length)
        if tag in PIXEL_DATA_TAGS and self.pixel_data_offset is None:
            self.pixel_data_offset = offset
        if length == UNDEFINED_LENGTH:
            return self._take_undefined(tag, vr, value, flags)
        after = value + length
        if after > end:
            if self._is_behind_pixel_data(tag):
                return None
            raise truncated(tag, offset, f"; it announces {length} bytes and has {end - value}")
        self.elements[tag] = (vr, value, length, flags)
        if length >= self._nesting.shallow and (vr in ("SQ", "UN", "")) and tag not in PIXEL_DATA_TAGS:
            self._nesting.check_depth(value, after, self._encoding, vr, flags)
        return after

    def _take_undefined(self, tag: int, vr: str, value: int, flags: int) -> int | None:
        if tag not in PIXEL_DATA_TAGS:
            element, after = undefined_element(self._nesting, vr, value, self._end, flags, self._encoding)
            self.elements[tag] = element
            return after
        flags |= UNDEFINED
        if not self._through_pixel_data:
            self.elements[tag] = (vr, value, self._end - value, flags)
            return None
        big_endian = self._encoding.big_endian
        self.fragments, value_end, is_closed = scan_fragments(self._view, value, self._end, big_endian, tag)
        # without the delimiter, the object is whole if there is a fragment for each frame behind the offset table
        if not is_closed and (value_end != self._end or len(self.fragments) <= self._number_of_frames()):
            raise truncated(tag, value_end, "; the Sequence Delimitation Item is missing")
        self.elements[tag] = (vr, value, value_end - value, flags)
        return value_end + 8

    def _behind_stray(self, tag: int, value: int, length: int) -> int:
        """Behind an item or a delimiter that no sequence holds; an item's elements are not those of the object."""
        if tag == ITEM:
            try:
                if length == UNDEFINED_LENGTH:
                    encoding = self._nesting.item_encoding(value, self._end, self._encoding)
                    return self._nesting.item_end(value, self._end, encoding)[1]
                return value + length if value + length <= self._end else value
            except UnusableObject:
                pass  # it never ends: what looks like its elements may be the object's
        return value

    def _number_of_frames(self) -> int:
        _, offset, length, _ = self.elements.get(NUMBER_OF_FRAMES, ("", 0, 0, 0))
        text = bytes(self._view[offset : offset + length]).strip(b" \0")
        return int(text) if text.isdigit() and len(text) < 12 else 1

    def _is_behind_pixel_data(self, tag: int) -> bool:
        """Whether what is here can only be padding, or rubbish, behind the last element."""
        seen = any(pixel_data_tag in self.elements for pixel_data_tag in PIXEL_DATA_TAGS)
        return tag == DATA_SET_TRAILING_PADDING or (seen and tag < _FIRST_PIXEL_DATA_TAG)

    def _may_end(self, offset: int) -> bool:
        """Whether the few bytes that are left are padding rather than the begin of an element."""
        rest = bytes(self._view[offset : self._end])
        return len(rest) < 2 or not rest.strip(b"\0") or self._is_behind_pixel_data(0)

    def _behind_zeros(self, offset: int) -> int | None:
        """Where something else than zero bytes stands, in steps of an empty element's length; None at the end."""
        pages = PagesBehind(self._view, offset)
        for start in range(offset, self._end, _PADDING_CHUNK):
            pages.at(start)
            chunk = bytes(self._view[start : start + _PADDING_CHUNK])
            rest = chunk.lstrip(b"\0")
            if rest:
                return start + (len(chunk) - len(rest)) // 8 * 8
        return None


def scan_item(view: View, offset: int, end: int, encoding: Encoding, nesting: Nesting) -> Elements:
    """The elements of an item. What goes past the item's end is cut there: the object as a whole was accepted.

    Raises HeaderTooLarge.
    """
    may_be_too_many = end - offset > 8 * MAXIMUM_ELEMENTS
    elements: Elements = {}
    unpack, short_vrs, last = _EXPLICIT[encoding.big_endian], SHORT_VRS, end - 8
    while offset <= last:
        if may_be_too_many and len(elements) > MAXIMUM_ELEMENTS:
            raise HeaderTooLarge(f"an item has more than {MAXIMUM_ELEMENTS} elements")
        if not encoding.implicit:
            group, number, code, length = unpack(view, offset)
            known_vr = short_vrs.get(code)
            if known_vr is not None and offset + 8 + length <= end:
                elements[group << 16 | number] = (known_vr, offset + 8, length, 0)
                offset += 8 + length
                continue
        try:
            tag, vr, value, length, flags = element_header(view, offset, end, encoding)
            if length == UNDEFINED_LENGTH:
                element, after = undefined_element(nesting, vr, value, end, flags, encoding)
            else:
                element = (vr, value, min(length, end - value), flags)
                after = value + length
        except UnusableObject:
            break
        if tag == ITEM_DELIMITATION:
            break
        if tag >> 16 != 0xFFFE:
            elements[tag] = element
        offset = after
    return elements


def undefined_element(
    nesting: Nesting, vr: str, value: int, end: int, flags: int, encoding: Encoding
) -> tuple[Element, int]:
    """A sequence of undefined length, and where the next element starts."""
    value_end, after = nesting.skip_sequence(value, end, encoding, vr, flags)
    if vr == "UN":
        # PS3.5 6.2.2: UN of undefined length is a sequence, encoded implicit little endian
        vr, flags = "SQ", flags | IMPLICIT
    return (vr, value, value_end - value, flags | UNDEFINED), after


def scan_fragments(view: View, offset: int, end: int, big_endian: bool, tag: int) -> tuple[Fragments, int, bool]:
    """The items of encapsulated pixel data, where the value ends, and whether a delimiter is there (PS3.5 A.4)."""
    fragments = Fragments()
    add_offset, add_length = fragments.offsets.append, fragments.lengths.append
    unpack = _IMPLICIT[big_endian]
    pages = PagesBehind(view, offset)
    while offset + 8 <= end:
        pages.at(offset)
        group, number, length = unpack(view, offset)
        if group == 0xFFFE and number == 0xE000:
            after = offset + 8 + length
            if after > end:
                raise truncated(tag, offset, f"; a fragment announces {length} bytes and has {end - offset - 8}")
            add_offset(offset)
            add_length(length)
            if len(fragments.offsets) > MAXIMUM_FRAGMENTS:
                raise too_large(f"more than {MAXIMUM_FRAGMENTS} fragments of pixel data")
            offset = after
        elif group == 0xFFFE and number == 0xE0DD:
            return fragments, offset, True
        else:
            raise malformed("no item of the encapsulated pixel data", offset)
    return fragments, offset, False
