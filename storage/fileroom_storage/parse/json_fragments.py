"""Headers as encoded DICOM JSON, fast: an element with the same bytes as one before is not decoded again.

The instances of a series say most things alike. `data_set_json` says what is right; here it is only remembered, where
an element's own bytes decide what it means.
"""

from collections.abc import Callable
from functools import cached_property
from itertools import islice
from typing import Any

import orjson

from ..errors import HeaderTooLarge
from .data_set import DataSet
from .dicom_json import DEFAULT_THRESHOLD, MOST_OF_HEADER, BulkDataUri, data_set_json, presentable_tags
from .encoding import LUT_DESCRIPTOR, PIXEL_REPRESENTATION, SPECIFIC_CHARACTER_SET, Element
from .header import Header
from .likeness import Layout, Likeness
from .values import DECODERS

_FRAGMENTS = 20_000
_LONGEST_VALUE = 256  # bytes
_LONGEST_SEQUENCE = DEFAULT_THRESHOLD  # bytes: longer ones may hold bulk data, and seldom come again
_HEAD = 1 << 16  # bytes
_BINARY_NUMBERS = frozenset({"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
_MOST_CHANGES = 16  # from one slice of a series to the next
_UTF_8 = "ISO_IR 192"

Additions = dict[int, dict[str, Any]]  # elements that the header does not have, or has otherwise


class JsonFragments:
    """For one request, or many of one thread: nothing is locked."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], bytes] = {}

    def write(self, header: Header, bulk_data_uri: BulkDataUri, additions: Additions) -> bytes:
        """The header as an encoded JSON object, by tag in ascending order.

        Its text is UTF-8, and it says so wherever it names a character set (PS3.18 F.2). Raises HeaderTooLarge.
        """
        parts = _Parts(self._known, header.data_set, bulk_data_uri)
        written = _written_like(header.likeness, parts, additions) if header.likeness is not None else None
        if written is None:
            tags = sorted({*presentable_tags(header.data_set.elements), *additions})
            written = [_added(tag, additions) if tag in additions else parts.part(tag) for tag in tags]
        if sum(map(len, written)) > MOST_OF_HEADER:
            raise HeaderTooLarge("it has too many elements and items")
        return b"{" + b",".join([part for part in written if part]) + b"}"


class _Parts:
    """The elements of one header, encoded."""

    def __init__(self, known: dict[tuple[Any, ...], bytes], data_set: DataSet, bulk_data_uri: BulkDataUri) -> None:
        self.elements = data_set.elements
        self.has_address = False  # whether the part that was made last holds an address, which is this instance's own
        self._known = known
        self._data_set = data_set
        self._bulk_data_uri = bulk_data_uri
        self._is_little_endian = not data_set.encoding.big_endian

    @cached_property
    def _head(self) -> bytes:
        return bytes(self._data_set.view[:_HEAD])

    def part(self, tag: int) -> bytes:
        """The element with its tag, without braces around it; empty where there is nothing to tell."""
        element = self.elements[tag]
        vr, start, length, flags = element
        key: tuple[Any, ...] | None = None
        if self._is_little_endian and start + length <= _HEAD:
            if vr in DECODERS:
                if length <= _LONGEST_VALUE:
                    raw = self._head[start : start + length]
                    if vr in _BINARY_NUMBERS or (raw.isascii() and b"\x1b" not in raw):
                        key = (tag, vr, raw)
            elif vr == "SQ" and length <= _LONGEST_SEQUENCE:
                key = (tag, flags, self._head[start : start + length], self._context)
        self.has_address = False
        if key is None:
            return self._made(tag)
        return self._known.get(key) or self._learnt(key, tag)

    def _learnt(self, key: tuple[Any, ...], tag: int) -> bytes:
        part = self._made(tag)
        # encapsulated pixels of an icon have an address, however short they are
        if not self.has_address:
            if len(self._known) >= _FRAGMENTS:
                self._known.clear()
            self._known[key] = part
        return part

    def _made(self, tag: int) -> bytes:
        return _encoded_element(self._data_set, tag, self._address_of)

    def _address_of(self, path: str) -> str:
        self.has_address = True
        return self._bulk_data_uri(path)

    @cached_property
    def _context(self) -> tuple[Any, ...]:
        """What the items of a sequence may depend on besides their own bytes."""
        data_set = self._data_set
        charset: Element | None = data_set.elements.get(SPECIFIC_CHARACTER_SET)
        return (
            data_set.encoding,
            charset and data_set.value(charset),
            data_set.number(PIXEL_REPRESENTATION),
        )


class _Changing:
    """Which elements differ among the headers of one layout, as far as is known."""

    def __init__(self, layout: Layout) -> None:
        self.tags: set[int] = set()
        self._masks = {tag: layout.mask((tag,)) for tag in layout.elements}
        self._steady = layout.mask(layout.elements)
        # what the meaning of others may depend on: PS3.5 7.5.3, 7.8.1, Annex A
        creators = (tag for tag in layout.elements if tag >> 16 & 1 and tag & 0xFFFF <= 0xFF)
        self.governing = layout.mask((SPECIFIC_CHARACTER_SET, PIXEL_REPRESENTATION, LUT_DESCRIPTOR, *creators))

    def add(self, tag: int) -> None:
        self.tags.add(tag)
        self._steady &= ~self._masks[tag]

    def look(self, likeness: Likeness) -> bool:
        """Adds what is different here; False where it is so much that it must be another series."""
        if not likeness.same(self._steady):
            found = [tag for tag, mask in self._masks.items() if tag not in self.tags and not likeness.same(mask)]
            if len(found) > _MOST_CHANGES:
                return False
            for tag in found:
                self.add(tag)
        return True


class _Template:
    """One header as JSON, to be filled in for others: stretches of parts, and the tags between them."""

    def __init__(self, parts: dict[int, bytes]) -> None:
        self._parts = parts
        self._made_for: tuple[Any, ...] = ()
        self._stretches: list[bytes | int] = []

    def stretches(self, changing: _Changing, others: tuple[int, ...], additions: Additions) -> list[bytes | int]:
        made_for = (len(changing.tags), others, tuple(additions))
        if made_for != self._made_for:
            self._stretches, run = [], list[bytes]()
            present = presentable_tags(dict.fromkeys((*self._parts, *others)))
            for tag in sorted({*present, *additions}):
                part = None if tag in changing.tags or tag in additions else self._parts.get(tag)
                if part is None:
                    self._stretches += [b",".join(run), tag]
                    run = []
                elif part:
                    run.append(part)
            self._stretches.append(b",".join(run))
            self._made_for = made_for
        return self._stretches


def _written_like(likeness: Likeness, parts: _Parts, additions: Additions) -> list[bytes]:
    """The encoded elements, of which those that are as in the model are not looked at."""
    layout = likeness.model.layout
    changing = layout.notes.get(_Changing)
    if changing is None:
        changing = layout.notes[_Changing] = _Changing(layout)
    template = likeness.model.notes.get(_Template)
    if template is None or not likeness.same(changing.governing) or not changing.look(likeness):
        model = likeness.model if likeness.is_model else likeness.become_model()
        encoded = {}
        for tag in presentable_tags(layout.elements):
            encoded[tag] = parts.part(tag)
            if parts.has_address:
                changing.add(tag)
        template = model.notes[_Template] = _Template(encoded)
    others = tuple(islice(parts.elements, len(layout.elements), None))
    written = []
    for stretch in template.stretches(changing, others, additions):
        if isinstance(stretch, bytes):
            written.append(stretch)
        else:
            written.append(_added(stretch, additions) if stretch in additions else parts.part(stretch))
    return written


def _added(tag: int, additions: Additions) -> bytes:
    return _encoded({f"{tag:08X}": additions[tag]})


def name_utf_8(elements: dict[str, dict[str, Any]]) -> None:
    """PS3.18 F.2: the text is UTF-8 now, whatever it was; who writes it as a data set again goes by this."""
    for tag, element in elements.items():
        if tag == f"{SPECIFIC_CHARACTER_SET:08X}":
            element["Value"] = [_UTF_8]
        elif element["vr"] == "SQ":
            for item in element.get("Value", ()):
                name_utf_8(item)


def _encoded_element(data_set: DataSet, tag: int, bulk_data_uri: Callable[[str], str]) -> bytes:
    json = data_set_json(data_set, (tag,), bulk_data_uri, DEFAULT_THRESHOLD)
    name_utf_8(json)
    return _encoded(json)


def _encoded(json: dict[str, dict[str, Any]]) -> bytes:
    """Without the braces around it; empty where there is nothing."""
    return orjson.dumps(json, option=orjson.OPT_SORT_KEYS)[1:-1]
