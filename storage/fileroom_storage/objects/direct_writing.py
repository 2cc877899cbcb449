"""Objects that nobody waits to read, written past the kernel's memory: of an import, say.

Their bytes are copied once less, and what viewers are just reading stays in memory. What is written comes from a
buffer at whole pages; where the filesystem does not take that, the bytes are written as all others are.
"""

import errno
import fcntl
import os
import sys
from io import BufferedIOBase, RawIOBase
from mmap import PAGESIZE, mmap
from typing import TYPE_CHECKING

from fileroom_storage.objects.file_writing import FilesystemObjectWriter

if TYPE_CHECKING:
    from fileroom_storage.objects.filesystem import FilesystemObjectStore

_BUFFER = 1 << 20
# smaller objects are written as fast by the kernel, larger ones would need larger buffers
DIRECT_SIZES = range(1 << 16, _BUFFER + 1)
FREE_BUFFERS = 32
_REFERENCES_HERE = 2  # that of a function, and that of the function that counts them


class DirectObjectWriter(FilesystemObjectWriter):
    """Holds an object until it is synced. One that becomes larger than its buffer is written as all others are."""

    def __init__(self, store: "FilesystemObjectStore", path: str) -> None:
        super().__init__(store, path)
        self._held: mmap | None = store.free_buffers.pop() if store.free_buffers else mmap(-1, _BUFFER)
        self._is_written = False

    def write(self, *data: bytes | bytearray | memoryview) -> None:
        self._writing()
        parts = [memoryview(part).cast("B") for part in data]
        if self._held is not None and self._size + sum(map(len, parts)) > _BUFFER:
            so_far, self._held = memoryview(self._held)[: self._size], None
            self._size = 0
            super().write(so_far)
        if self._held is None:
            super().write(*parts)
            return
        held = memoryview(self._held)
        for part in parts:
            end = self._size + len(part)
            held[self._size : end] = part
            self._size = end

    def write_from(self, source: BufferedIOBase | RawIOBase) -> int:
        self._writing()
        if self._held is None or self._size == _BUFFER:
            return super().write_from(source)
        with memoryview(self._held) as held, held[self._size :] as free:
            read = source.readinto(free) or 0
        self._size += read
        return read

    def buffer(self) -> memoryview | mmap | bytes:
        return super().buffer() if self._held is None else memoryview(self._held)[: self._size].toreadonly()

    def read_at(self, offset: int, length: int) -> bytes:
        if self._held is None:
            return super().read_at(offset, length)
        return self._held[offset : min(offset + length, self._size)]

    def sync(self) -> None:
        self._write_held()
        super().sync()

    def publish(self) -> str:
        self._write_held()
        return super().publish()

    def discard(self) -> None:
        super().discard()
        held, self._held = self._held, None
        # somebody may still read what was in it
        if held is not None and sys.getrefcount(held) == _REFERENCES_HERE:
            self._store.free_buffers.append(held)

    def _write_held(self) -> None:
        held, descriptor, size = self._held, self._writing(), self._size
        if held is None or self._is_written or not size:
            return
        padded = -(-size // PAGESIZE) * PAGESIZE
        held[size:padded] = bytes(padded - size)
        with self._store.failures:
            written = _written_directly(descriptor, memoryview(held)[:padded])
            while written < size:
                written += os.pwrite(descriptor, memoryview(held)[written:size], written)
            if written > size:
                os.ftruncate(descriptor, size)
        self._is_written = True


def _written_directly(descriptor: int, pages: memoryview) -> int:
    """How much of it the filesystem has taken past the kernel's memory: nothing, where it does not do that at all."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        return os.pwrite(descriptor, pages, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return 0
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
