"""Passing over nested sequences without recursion, and refusing those that are nested beyond reason."""

import struct
from typing import NamedTuple

from ..errors import UnusableObject, UnusableReason
from .encoding import (
    IMPLICIT,
    ITEM,
    ITEM_DELIMITATION,
    SEQUENCE_DELIMITATION,
    SHORT_VRS,
    UNDEFINED_LENGTH,
    Encoding,
    View,
    element_header,
    item_encoding,
    malformed,
    sequence_encoding,
    tag_and_length,
    truncated,
)

# the deepest that DICOM JSON can be written of; no information object needs a quarter of it
MAXIMUM_DEPTH = 80
# PS3.5 7.5: the least that one more level costs, the header of an implicit element and that of an item
_BYTES_A_LEVEL = 16
_MAXIMUM_REMEMBERED = 1_000_000  # what comes behind is walked again when it is read
MAY_HOLD_ITEMS = frozenset(("SQ", "UN", ""))

_EXPLICIT = {False: struct.Struct("<HH2sH").unpack_from, True: struct.Struct(">HH2sH").unpack_from}


class _Open(NamedTuple):
    """A sequence, or an item, that the walk is in; `end` is the nearest known one where `is_defined` is false."""

    is_item: bool
    start: int
    end: int
    is_defined: bool
    encoding: Encoding
    depth: int  # of sequences
    is_opaque: bool = False  # fragments of encapsulated pixel data (an icon's): the items hold no elements


class Nesting:
    """Walks nested sequences of one object and remembers where those of undefined length end."""

    def __init__(self, view: View, encoding: Encoding, maximum_depth: int = MAXIMUM_DEPTH) -> None:
        self._view = view
        self._encoding = encoding
        self._maximum_depth = maximum_depth
        self._ends: dict[int, tuple[int, int]] = {}
        # a shorter sequence cannot nest too deep: nobody needs to look into it
        self.shallow = maximum_depth * _BYTES_A_LEVEL

    def skip_sequence(self, start: int, end: int, encoding: Encoding, vr: str, flags: int) -> tuple[int, int]:
        """Where the value of a sequence of undefined length ends, and where the next element starts."""
        return self._ends.get(start) or self._walk(self._sequence(start, end, encoding, vr, flags, 1))

    def item_end(self, start: int, end: int, encoding: Encoding) -> tuple[int, int]:
        """Where the value of an item of undefined length ends, and where the next item starts."""
        return self._ends.get(start) or self._walk(_Open(True, start, end, False, encoding, 0))

    def check_depth(self, start: int, end: int, encoding: Encoding, vr: str, flags: int) -> None:
        """Raises UnusableObject(NESTED_TOO_DEEP); what else is wrong in a sequence of known length is kept as it is."""
        sequence = self._sequence(start, end, encoding, vr, flags, 1)._replace(is_defined=True)
        if self._starts_with_item(start, end, sequence.encoding):
            self._walk(sequence)

    def item_encoding(self, start: int, end: int, encoding: Encoding) -> Encoding:
        return item_encoding(self._view, start, end, encoding, self._encoding)

    def sequence_encoding(self, start: int, end: int, encoding: Encoding, vr: str, flags: int) -> Encoding:
        return sequence_encoding(self._view, start, end, encoding, implicit=vr == "UN" or bool(flags & IMPLICIT))

    def _sequence(self, start: int, end: int, encoding: Encoding, vr: str, flags: int, depth: int) -> _Open:
        if depth > self._maximum_depth:
            raise UnusableObject(
                UnusableReason.NESTED_TOO_DEEP,
                f"sequences are nested more than {self._maximum_depth} levels deep; no information object needs that",
            )
        inner = self.sequence_encoding(start, end, encoding, vr, flags)
        return _Open(False, start, end, False, inner, depth, is_opaque=vr not in MAY_HOLD_ITEMS)

    def _shallow_from(self, depth: int) -> int:
        """A shorter value at this depth cannot nest too deep."""
        return (self._maximum_depth - depth) * _BYTES_A_LEVEL

    def _starts_with_item(self, start: int, end: int, encoding: Encoding) -> bool:
        return end - start >= 8 and tag_and_length(self._view, start, encoding.big_endian)[0] == ITEM

    def _walk(self, outermost: _Open) -> tuple[int, int]:
        """Walks over the outermost sequence or item: where its value ends, and where the next thing starts."""
        opened = [outermost]
        position = outermost.start
        while True:
            innermost = opened[-1]
            if innermost.is_defined and position + 8 > innermost.end:
                ends = position = innermost.end
            else:
                try:
                    step = self._step(innermost, position)
                except UnusableObject as error:
                    if error.reason is UnusableReason.NESTED_TOO_DEEP:
                        raise
                    # lost: go on behind the innermost that has a known length
                    while not opened[-1].is_defined:
                        opened.pop()
                        if not opened:
                            raise
                    position = opened[-1].end
                    continue
                if isinstance(step, _Open):
                    opened.append(step)
                    position = step.start
                    continue
                ends, position = step
                if ends < 0:
                    continue
                if len(self._ends) < _MAXIMUM_REMEMBERED:
                    self._ends[innermost.start] = (ends, position)
            opened.pop()
            if not opened:
                return ends, position

    def _step(self, innermost: _Open, position: int) -> "_Open | tuple[int, int]":
        step = self._step_in_item if innermost.is_item else self._step_in_sequence
        return step(innermost, position)

    def _step_in_sequence(self, sequence: _Open, position: int) -> "_Open | tuple[int, int]":
        """In a sequence: the item to go into, or (-1, where to go on), or (its end, where to go on)."""
        if position + 8 > sequence.end:
            raise truncated(None, position, "; a Sequence Delimitation Item is missing")
        start = position + 8
        tag, length = tag_and_length(self._view, position, sequence.encoding.big_endian)
        if tag == ITEM:
            end = sequence.end if length == UNDEFINED_LENGTH else start + length
            if end > sequence.end:
                raise truncated(tag, position, f"; it announces {length} bytes and has {sequence.end - start}")
            if sequence.is_opaque or length < self._shallow_from(sequence.depth):
                return -1, end
            encoding = self.item_encoding(start, end, sequence.encoding)
            return _Open(True, start, end, length != UNDEFINED_LENGTH, encoding, sequence.depth)
        if tag == SEQUENCE_DELIMITATION and not sequence.is_defined:
            return position, start
        if tag in (ITEM_DELIMITATION, SEQUENCE_DELIMITATION):
            return -1, start  # it delimits nothing
        raise malformed("no item of a sequence", position)

    def _step_in_item(self, item: _Open, position: int) -> "_Open | tuple[int, int]":
        """In an item: the sequence to go into, or (-1, where to go on), or (its end, where to go on)."""
        view, end, encoding = self._view, item.end, item.encoding
        if not encoding.implicit:
            unpack, short_vrs, last = _EXPLICIT[encoding.big_endian], SHORT_VRS, end - 8
            while position <= last:
                _, _, code, length = unpack(view, position)
                if code not in short_vrs:
                    break
                position += 8 + length
        if item.is_defined and position + 8 > end:
            return -1, position
        tag, vr, value, length, flags = element_header(view, position, end, encoding)
        if not item.is_defined:
            if tag == ITEM_DELIMITATION:
                return position, value
            if tag in (ITEM, SEQUENCE_DELIMITATION):
                return position, position  # its own delimiter is missing
        if length == UNDEFINED_LENGTH:
            return self._sequence(value, end, encoding, vr, flags, item.depth + 1)
        after = value + length
        if after > end:
            raise truncated(tag, position, f"; it announces {length} bytes and has {end - value}")
        if length >= self._shallow_from(item.depth) and vr in MAY_HOLD_ITEMS:
            inner = self.sequence_encoding(value, after, encoding, vr, flags)
            if self._starts_with_item(value, after, inner):
                return self._sequence(value, after, encoding, vr, flags, item.depth + 1)._replace(is_defined=True)
        return -1, after
