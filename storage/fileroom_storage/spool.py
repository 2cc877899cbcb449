"""Bytes of a request that have to wait on the disk until it is clear where they belong."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from .objects import ObjectWriter

_CHUNK_SIZE = 1 << 20


class Spool:
    """A file beside the objects that is gone when it is closed, or when its process has died."""

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer

    @property
    def size(self) -> int:
        return self._writer.size

    def write(self, chunk: bytes) -> None:
        """Raises StorageUnavailable."""
        self._writer.write(chunk)

    def since(self, offset: int) -> "Spooled":
        """What was written from `offset` on."""
        return Spooled(self._writer, offset, self._writer.size - offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.discard()


@dataclass(frozen=True, slots=True)
class Spooled:
    """A stretch of a spool: a value that an object is to have."""

    writer: ObjectWriter
    offset: int
    length: int

    def chunks(self) -> Iterator[bytes]:
        """All of it, in pieces. Raises StorageUnavailable."""
        for start in range(0, self.length, _CHUNK_SIZE):
            yield self.writer.read_at(self.offset + start, min(_CHUNK_SIZE, self.length - start))

    def start(self, length: int) -> bytes:
        return self.writer.read_at(self.offset, min(length, self.length))

    def reader(self) -> "SpooledReader":
        return SpooledReader(self)


class SpooledReader:
    """A stretch of a spool as a stream, for parsers."""

    def __init__(self, spooled: Spooled) -> None:
        self._spooled = spooled
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        left = self._spooled.length - self._position
        chunk = self._spooled.writer.read_at(
            self._spooled.offset + self._position, left if size < 0 else min(size, left)
        )
        self._position += len(chunk)
        return chunk
