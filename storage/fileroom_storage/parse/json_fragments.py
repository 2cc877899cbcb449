"""Headers as encoded DICOM JSON, fast: an element with the same bytes as one before is not decoded again.

The instances of a series say most things alike. `data_set_json` says what is right; here it is only remembered, where
an element's own bytes decide what it means.
"""

from collections.abc import Callable
from typing import Any

import orjson

from .data_set import DataSet
from .dicom_json import DEFAULT_THRESHOLD, BulkDataUri, data_set_json, presentable_tags
from .encoding import PIXEL_REPRESENTATION, SPECIFIC_CHARACTER_SET, Element
from .header import Header
from .values import DECODERS

_FRAGMENTS = 20_000
_LONGEST_VALUE = 256  # bytes
_LONGEST_SEQUENCE = DEFAULT_THRESHOLD  # bytes: longer ones may hold bulk data, and seldom come again
_HEAD = 1 << 16  # bytes
_BINARY_NUMBERS = frozenset({"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
_UTF_8 = "ISO_IR 192"

Additions = dict[int, dict[str, Any]]  # elements that the header does not have, or has otherwise


class JsonFragments:
    """For one request, or many of one thread: nothing is locked."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], bytes] = {}

    def write(self, header: Header, bulk_data_uri: BulkDataUri, additions: Additions) -> bytes:
        """The header as an encoded JSON object, by tag in ascending order.

        Its text is UTF-8, and it says so wherever it names a character set (PS3.18 F.2).
        """
        data_set = header.data_set
        elements, known = data_set.elements, self._known
        head = bytes(data_set.view[:_HEAD])
        is_little_endian = not data_set.encoding.big_endian
        context = self._context(data_set)
        parts = []
        for tag in sorted({*presentable_tags(elements), *additions}):
            if tag in additions:
                parts.append(_encoded({f"{tag:08X}": additions[tag]}))
                continue
            element = elements[tag]
            vr, start, length, _ = element
            key: tuple[Any, ...] | None = None
            if is_little_endian and start + length <= _HEAD:
                if vr in DECODERS:
                    if length <= _LONGEST_VALUE:
                        raw = head[start : start + length]
                        if vr in _BINARY_NUMBERS or (raw.isascii() and b"\x1b" not in raw):
                            key = (tag, vr, raw)
                elif vr == "SQ" and length <= _LONGEST_SEQUENCE:
                    key = (tag, element[3], head[start : start + length], context)
            if key is None:
                part = _element(data_set, tag, bulk_data_uri)
            else:
                part = known.get(key) or self._learn(key, data_set, tag, bulk_data_uri)
            if part:
                parts.append(part)
        return b"{" + b",".join(parts) + b"}"

    def _learn(self, key: tuple[Any, ...], data_set: DataSet, tag: int, bulk_data_uri: BulkDataUri) -> bytes:
        addresses: list[str] = []

        def address_of(path: str) -> str:
            addresses.append(path)
            return bulk_data_uri(path)

        part = _element(data_set, tag, address_of)
        # an address is this instance's own; encapsulated pixels of an icon have one, however short they are
        if not addresses:
            if len(self._known) >= _FRAGMENTS:
                self._known.clear()
            self._known[key] = part
        return part

    @staticmethod
    def _context(data_set: DataSet) -> tuple[Any, ...]:
        """What the items of a sequence may depend on besides their own bytes."""
        charset: Element | None = data_set.elements.get(SPECIFIC_CHARACTER_SET)
        return (
            data_set.encoding,
            charset and data_set.value(charset),
            data_set.number(PIXEL_REPRESENTATION),
        )


def name_utf_8(elements: dict[str, dict[str, Any]]) -> None:
    """PS3.18 F.2: the text is UTF-8 now, whatever it was; who writes it as a data set again goes by this."""
    for tag, element in elements.items():
        if tag == f"{SPECIFIC_CHARACTER_SET:08X}":
            element["Value"] = [_UTF_8]
        elif element["vr"] == "SQ":
            for item in element.get("Value", ()):
                name_utf_8(item)


def _element(data_set: DataSet, tag: int, bulk_data_uri: Callable[[str], str]) -> bytes:
    json = data_set_json(data_set, (tag,), bulk_data_uri, DEFAULT_THRESHOLD)
    name_utf_8(json)
    return _encoded(json)


def _encoded(json: dict[str, dict[str, Any]]) -> bytes:
    """Without the braces around it; empty where there is nothing."""
    return orjson.dumps(json, option=orjson.OPT_SORT_KEYS)[1:-1]
