"""The rows of an object's entities, read fast: what an earlier object has told in the same bytes is not decoded again.

`entity_row` of arrival.py says what a row is; here it is only remembered. The slices of a series say the same of their
patient, study and series, and most of what they say of themselves.
"""

from typing import Any

from ..attributes import Attribute, Level, Registry
from ..parse.encoding import SPECIFIC_CHARACTER_SET, Element
from ..parse.header import Header
from .arrival import EntityRow, entity_attributes, entity_row
from .rows import Element as JsonElement
from .rows import to_row

_ROWS = 512  # of a level
_LONGEST_KEY = 1 << 14  # bytes of one entity's values
_VALUES = 1024  # of an attribute
_LONGEST_VALUE = 64  # bytes
_HEAD = 1 << 16  # bytes of an object that are copied to be read: fewer than reading them one by one costs
_BINARY_VRS = frozenset({"FD", "FL", "SL", "SS", "UL", "US"})
_TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)

Remembered = tuple[Any, JsonElement | None]  # the column's value, what goes into the residue


class EntityRows:
    """One for each process; any number of threads may read with it."""

    def __init__(self, registry: Registry) -> None:
        self._shared = [_SharedRows(registry, level) for level in (Level.PATIENT, Level.STUDY, Level.SERIES)]
        self._instances = _InstanceRows(registry)

    def __call__(self, header: Header) -> dict[Level, EntityRow]:
        slices = _Slices(header)
        rows = {shared.level: shared.read(header, slices) for shared in self._shared}
        rows[Level.IMAGE] = self._instances.read(header, slices)
        return rows


class _Slices:
    """The values of a header as bytes; those near its begin, as most are, from a copy of that."""

    def __init__(self, header: Header) -> None:
        data_set = header.data_set
        self.elements = data_set.elements
        self._view = data_set.view
        self._head = bytes(self._view[:_HEAD])

    def value(self, element: Element) -> bytes:
        start = element[1]
        end = start + element[2]
        return self._head[start:end] if end <= _HEAD else bytes(self._view[start:end])


class _SharedRows:
    """Rows of a level that many instances share, by the bytes of all their values."""

    def __init__(self, registry: Registry, level: Level) -> None:
        self.level = level
        self._attributes = entity_attributes(registry, level)
        self._tags = tuple(attribute.tag for attribute in self._attributes)
        self._known: dict[tuple[Any, ...], EntityRow] = {}

    def read(self, header: Header, slices: _Slices) -> EntityRow:
        key = self._key(header, slices)
        if key is None:
            return entity_row(header, self._attributes)
        row = self._known.get(key)
        if row is None:
            row = entity_row(header, self._attributes)
            if len(self._known) >= _ROWS:
                self._known.clear()
            self._known[key] = row
        return row

    def _key(self, header: Header, slices: _Slices) -> tuple[Any, ...] | None:
        """All that the row depends on; None where that is too much to remember."""
        elements, value = slices.elements, slices.value
        found = [elements.get(tag) for tag in (SPECIFIC_CHARACTER_SET, *self._tags)]
        if sum([element[2] for element in found if element is not None]) > _LONGEST_KEY:
            return None
        parts = [element and (element[0], element[3], value(element)) for element in found]
        return (header.data_set.encoding, *parts)


class _InstanceRows:
    """Rows of instances, value by value."""

    def __init__(self, registry: Registry) -> None:
        self._attributes = entity_attributes(registry, Level.IMAGE)
        self._columns = tuple(
            (attribute.tag, attribute.column, attribute.vr, attribute.tag_hex, memory, memory.known)
            for attribute in self._attributes
            if not attribute.items
            for memory in [_Memory(attribute)]
        )
        # names and sequences have rows of their own
        self._with_rows = tuple(
            attribute.tag for attribute in self._attributes if attribute.items or attribute.vr == "PN"
        )

    def read(self, header: Header, slices: _Slices) -> EntityRow:
        elements, value = slices.elements, slices.value
        if header.data_set.encoding.big_endian or not elements.keys().isdisjoint(self._with_rows):
            return entity_row(header, self._attributes)
        columns: dict[str, Any] = {}
        residue: dict[str, JsonElement] = {}
        length = 0
        for tag, column, vr, tag_hex, memory, known in self._columns:
            element = elements.get(tag)
            if element is None:
                columns[column] = None
                continue
            # without a VR of its own (implicit VR, UN) the element's meaning may depend on others
            if element[0] == vr and element[2] <= _LONGEST_VALUE:
                raw = value(element)
                columns[column], kept = known.get(raw) or memory.learn(raw, header)
            else:
                length += element[2]
                columns[column], kept = memory.read(header)
            if kept is not None:
                residue[tag_hex] = kept
        if length > _LONGEST_KEY:
            return entity_row(header, self._attributes)  # which knows how much of it there is room for
        return EntityRow(columns, residue)


class _Memory:
    """What the values of one attribute become, by their bytes, where these alone decide it."""

    def __init__(self, attribute: Attribute) -> None:
        self._attribute = attribute
        self.known: dict[bytes, Remembered] = {}
        self._is_text = attribute.vr in _TEXT_VRS
        self._is_number = attribute.vr in _BINARY_VRS

    def learn(self, value: bytes, header: Header) -> Remembered:
        read = self.read(header)
        # ASCII without escape sequences means the same in every character set
        if self._is_number or (self._is_text and value.isascii() and b"\x1b" not in value):
            if len(self.known) >= _VALUES:
                self.known.clear()
            self.known[value] = read
        return read

    def read(self, header: Header) -> Remembered:
        columns, residue = to_row((self._attribute,), header.element)
        return columns[self._attribute.column], residue.get(self._attribute.tag_hex)
