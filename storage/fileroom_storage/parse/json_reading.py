"""Reads DICOM JSON (PS3.18 F.2) from a stream, one data set at a time: memory is bound by the largest of them."""

import re
from collections.abc import Iterator
from typing import Any, Protocol

import ijson  # type: ignore[import-untyped]  # it has no types

from ..errors import UnusableObject, UnusableReason
from .nesting import MAXIMUM_DEPTH

# An image of many frames has a million; what is larger is refused rather than held.
MAXIMUM_EVENTS = 3_000_000
MAXIMUM_TEXT = 32 << 20
# yajl reads a text or a number from its start again with each chunk that does not end it
_CHUNK_SIZE = 2 << 20
_TAG = re.compile("[0-9A-Fa-f]{8}")
# a data set, and in each sequence an element, its array and an item
_MAXIMUM_CONTAINERS = 3 * MAXIMUM_DEPTH + 3

JsonDataSet = dict[str, dict[str, Any]]


class BrokenMetadata(Exception):
    """What cannot be read any further: no JSON, no XML."""


class MetadataTooLarge(Exception):
    """One data set with more text than is held in memory."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_json_data_sets(stream: _Readable) -> Iterator[JsonDataSet | UnusableObject]:
    """The data sets of an array, or the only one; UnusableObject in place of one that cannot be taken in.

    Numbers are int or Decimal, as exact as they were written. Raises BrokenMetadata, MetadataTooLarge.
    """
    bounded = _Bounded(stream)
    events = ijson.basic_parse(bounded, buf_size=_CHUNK_SIZE)
    try:
        event, _ = next(events)
        if event == "start_map":
            yield _Builder(event).build(events)
        elif event == "start_array":
            for event, value in events:
                if event == "end_array":
                    break
                bounded.taken = 0
                yield _Builder(event, value).build(events)
        else:
            raise BrokenMetadata("the JSON is no array of data sets")
        for _ in events:
            pass  # what follows has to be white space
    except (ijson.JSONError, UnicodeDecodeError, StopIteration, SystemError, ValueError, ArithmeticError):
        # the last three for a number of more digits than Python takes, in its exponent too: ijson's way to say so
        raise BrokenMetadata("the metadata is no JSON, or not whole") from None


class _Bounded:
    """Ends the reading of a text that has no end."""

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self.taken += len(chunk)
        if self.taken > MAXIMUM_TEXT:
            raise MetadataTooLarge(
                f"one data set has more than {MAXIMUM_TEXT >> 20} MiB of metadata; send bulk data in parts of their own"
            )
        return chunk


class _Builder:
    """One data set out of a stream of events; goes on to its end after an error."""

    def __init__(self, event: str, value: Any = None) -> None:
        self._containers: list[Any] = []
        self._keys: list[str] = []
        self._depth = 0
        self._count = 0
        self._error: UnusableObject | None = None
        self._result: Any = None
        self._take(event, value)

    def build(self, events: Iterator[tuple[str, Any]]) -> JsonDataSet | UnusableObject:
        while self._depth:
            event, value = next(events)
            self._take(event, value)
        if self._error is None and not isinstance(self._result, dict):
            self._fail(UnusableReason.MALFORMED, "an element of the array is no object with attributes")
        return self._error if self._error is not None else self._result

    def _take(self, event: str, value: Any) -> None:
        self._count += 1
        if event in ("start_map", "start_array"):
            self._depth += 1
            if self._depth > _MAXIMUM_CONTAINERS:
                self._fail(
                    UnusableReason.NESTED_TOO_DEEP, f"sequences are nested more than {MAXIMUM_DEPTH} levels deep"
                )
        elif event in ("end_map", "end_array"):
            self._depth -= 1
        if self._count > MAXIMUM_EVENTS:
            self._fail(UnusableReason.TOO_LARGE, "the metadata has too many values; send them as bulk data")
        if self._error is None:
            self._build(event, value)

    def _build(self, event: str, value: Any) -> None:
        if event == "map_key":
            self._keys[-1] = self._key(value)
        elif event in ("end_map", "end_array"):
            self._containers.pop()
            self._keys.pop()
        else:
            new: Any = {} if event == "start_map" else [] if event == "start_array" else value
            if not self._containers:
                self._result = new
            elif isinstance(self._containers[-1], dict):
                self._containers[-1][self._keys[-1]] = new
            else:
                self._containers[-1].append(new)
            if event in ("start_map", "start_array"):
                self._containers.append(new)
                self._keys.append("")

    def _key(self, key: str) -> str:
        # tags are written in capitals (PS3.18 F.2.2), but not by everybody
        key = key.upper() if _TAG.fullmatch(key) else key
        if key in self._containers[-1]:
            self._fail(UnusableReason.MALFORMED, "an attribute is there twice in one data set")
        return key

    def _fail(self, reason: UnusableReason, message: str) -> None:
        if self._error is None:
            self._error = UnusableObject(reason, message)
            self._containers.clear()
            self._result = None
