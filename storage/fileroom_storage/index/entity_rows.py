"""The rows of an object's entities, read fast: what an earlier object has told in the same bytes is not decoded again.

`entity_row` of arrival.py says what a row is; here it is only remembered. The slices of a series say the same of their
patient, study and series, and most of what they say of themselves.
"""

from typing import Any

from ..attributes import Attribute, Level, Registry
from ..parse.encoding import PIXEL_REPRESENTATION, SPECIFIC_CHARACTER_SET, Element
from ..parse.header import Header
from ..parse.likeness import Layout, Likeness
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
# tag, column, VR, tag as JSON has it, the memory of its values and what that knows
_Attribute = tuple[int, str, str, str, "_Memory", dict[bytes, Remembered]]


class EntityRows:
    """One for each process; any number of threads may read with it."""

    def __init__(self, registry: Registry) -> None:
        self._shared = [_SharedRows(registry, level) for level in (Level.PATIENT, Level.STUDY, Level.SERIES)]
        self._instances = _InstanceRows(registry)

    def __call__(self, header: Header) -> dict[Level, EntityRow]:
        likeness = header.likeness
        if likeness is None:
            return self._read(header, _Slices(header))
        known = likeness.model.notes.get(self)
        if known is not None:
            rows = self._read_like(header, likeness, known)
            if all(rows[shared.level] is known[shared.level] for shared in self._shared):
                return rows
        else:
            rows = self._read(header, _Slices(header))
        # what comes next is more like this one: another series has begun
        model = likeness.model if likeness.is_model else likeness.become_model()
        model.notes[self] = rows
        return rows

    def _read(self, header: Header, slices: "_Slices") -> dict[Level, EntityRow]:
        rows = {shared.level: shared.read(header, slices) for shared in self._shared}
        rows[Level.IMAGE] = self._instances.read(header, slices)
        return rows

    def _read_like(self, header: Header, likeness: Likeness, known: dict[Level, EntityRow]) -> dict[Level, EntityRow]:
        """The rows of an object from those of its model, where only what is different has to be read."""
        layout = likeness.model.layout
        masks = layout.notes.get(self)
        if masks is None:
            masks = layout.notes[self] = {shared.level: layout.mask(shared.deciding) for shared in self._shared}
            masks[Level.IMAGE] = self._instances.like(layout)
        slices = _Slices(header, 0)
        rows = {
            shared.level: known[shared.level] if likeness.same(masks[shared.level]) else shared.read(header, slices)
            for shared in self._shared
        }
        rows[Level.IMAGE] = masks[Level.IMAGE].read(header, slices, likeness, known[Level.IMAGE])
        return rows


class _Slices:
    """The values of a header as bytes; those near its begin, as most are, from a copy of that unless few are read."""

    def __init__(self, header: Header, copied: int = _HEAD) -> None:
        data_set = header.data_set
        self.elements = data_set.elements
        self._view = data_set.view
        self._copied = copied
        self._head = bytes(self._view[:copied])

    def value(self, element: Element) -> bytes:
        start = element[1]
        end = start + element[2]
        return self._head[start:end] if end <= self._copied else bytes(self._view[start:end])


class _SharedRows:
    """Rows of a level that many instances share, by the bytes of all their values."""

    def __init__(self, registry: Registry, level: Level) -> None:
        self.level = level
        self._attributes = entity_attributes(registry, level)
        self._tags = tuple(attribute.tag for attribute in self._attributes)
        self.deciding = (SPECIFIC_CHARACTER_SET, *self._tags)
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
        found = [elements.get(tag) for tag in self.deciding]
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
        self.with_rows = tuple(
            attribute.tag for attribute in self._attributes if attribute.items or attribute.vr == "PN"
        )

    def read(self, header: Header, slices: _Slices) -> EntityRow:
        elements, value = slices.elements, slices.value
        if header.data_set.encoding.big_endian or not elements.keys().isdisjoint(self.with_rows):
            return entity_row(header, self._attributes)
        columns: dict[str, Any] = {}
        residue: dict[str, JsonElement] = {}
        length = 0
        for tag, column, vr, tag_hex, memory, known in self._columns:
            element = elements.get(tag)
            if element is None:
                columns[column] = None
                continue
            if _decides_alone(element, vr):
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

    def like(self, layout: Layout) -> "_InstancesAlike":
        return _InstancesAlike(self, self._columns, layout)


class _InstancesAlike:
    """Rows of instances whose elements stand alike: only values that are not those of the model are read.

    A series shows soon which of its values change from slice to slice; the others are compared all at once.
    """

    def __init__(self, rows: _InstanceRows, attributes: tuple[_Attribute, ...], layout: Layout) -> None:
        self._rows = rows
        elements = layout.elements
        self._is_plain = not layout.encoding.big_endian and elements.keys().isdisjoint(rows.with_rows)
        present = [attribute for attribute in attributes if attribute[0] in elements]
        # what the others' meaning may depend on
        self._governing = layout.mask((SPECIFIC_CHARACTER_SET, PIXEL_REPRESENTATION))
        self._changing = [one for one in present if elements[one[0]][0] != one[2]]
        self._steady = {one[0]: (one, layout.mask((one[0],))) for one in present if elements[one[0]][0] == one[2]}
        self._mask = layout.mask(self._steady)
        read_whole = [elements[tag] for tag, _, vr, *_ in present if not _decides_alone(elements[tag], vr)]
        if sum(element[2] for element in read_whole) > _LONGEST_KEY:
            self._is_plain = False  # the rows know how much of it there is room for

    def read(self, header: Header, slices: _Slices, likeness: Likeness, known: EntityRow) -> EntityRow:
        if not self._is_plain or not likeness.same(self._governing):
            return self._rows.read(header, slices)
        if not likeness.same(self._mask):
            self._find_changing(likeness)
        columns, residue = known.columns.copy(), known.residue.copy()
        elements, value = slices.elements, slices.value
        for tag, column, vr, tag_hex, memory, remembered in self._changing:
            element = elements[tag]
            if _decides_alone(element, vr):
                raw = value(element)
                columns[column], kept = remembered.get(raw) or memory.learn(raw, header)
            else:
                columns[column], kept = memory.read(header)
            if kept is not None:
                residue[tag_hex] = kept
            else:
                residue.pop(tag_hex, None)
        return EntityRow(columns, residue)

    def _find_changing(self, likeness: Likeness) -> None:
        for tag, (attribute, mask) in list(self._steady.items()):
            if not likeness.same(mask):
                del self._steady[tag]
                self._changing.append(attribute)
                self._mask &= ~mask


def _decides_alone(element: Element, vr: str) -> bool:
    """Whether a value's bytes tell what it means, and are few enough to be remembered.

    Without a VR of its own (implicit VR, UN) the element's meaning may depend on others.
    """
    return element[0] == vr and element[2] <= _LONGEST_VALUE


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
