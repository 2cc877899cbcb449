"""An object on its way into a file of the store."""

import fcntl
import os
from contextlib import suppress
from io import BufferedIOBase, RawIOBase
from mmap import PROT_READ, mmap
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fileroom_storage.errors import StorageUnavailable

if TYPE_CHECKING:
    from fileroom_storage.objects.filesystem import FilesystemObjectStore

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_CHUNK = 1 << 20
_KEPT = 1 << 16


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    length = max(0, min(length, os.fstat(descriptor).st_size - offset))
    parts = []
    while length:  # one call reads at most 2 GiB
        part = os.pread(descriptor, length, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class FilesystemObjectWriter:
    """An object being written into incoming/; its lock says that its process lives."""

    def __init__(self, store: "FilesystemObjectStore", path: str) -> None:
        self._store = store
        self._path = path
        self._size = 0
        self._buffer: mmap | None = None
        self._whole: bytes | None = None  # a small object that came in one piece is not read again
        self._descriptor = os.open(path, _FLAGS, 0o600)
        with suppress(OSError):  # some network filesystems have no locks; age decides there
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @property
    def size(self) -> int:
        return self._size

    def write(self, *data: bytes | bytearray | memoryview) -> None:
        first = data[0] if len(data) == 1 and not self._size else None
        self._whole = first if isinstance(first, bytes) and len(first) <= _KEPT else None
        parts = [memoryview(part).cast("B") for part in data]
        with self._store.failures:
            written = os.writev(self._writing(), parts)
            self._size += written
            for part in parts:
                remaining = part[written:]
                written = max(written - len(part), 0)
                while remaining:  # one call takes 2 GiB at most
                    self._size += (more := os.write(self._writing(), remaining))
                    remaining = remaining[more:]

    def write_from(self, source: BufferedIOBase | RawIOBase) -> int:
        chunk = source.read(_CHUNK) or b""
        if chunk:
            self.write(chunk)
        return len(chunk)

    def buffer(self) -> memoryview | mmap | bytes:
        if self._whole is not None:
            return self._whole
        if self._size == 0:
            return b""  # an empty file cannot be mapped
        if self._buffer is None or len(self._buffer) != self._size:
            self._release_buffer()
            with self._store.failures:
                self._buffer = mmap(self._writing(), self._size, prot=PROT_READ)
        return self._buffer

    def read_at(self, offset: int, length: int) -> bytes:
        with self._store.failures:
            return read_at(self._writing(), offset, length)

    def sync(self) -> None:
        descriptor = self._writing()
        if self._store.durability == "full":
            with self._store.failures:
                os.fsync(descriptor)

    def publish(self) -> str:
        with self._store.failures:
            self._writing()
            key = self._store.move_to_objects(self._path)
        self._close()
        return key

    def commit(self) -> str:
        self.sync()
        key = self.publish()
        try:
            self._store.sync_folders([key])
        except StorageUnavailable:
            with suppress(StorageUnavailable):
                self._store.delete(key)  # nobody will learn its key
            raise
        return key

    def discard(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):  # remove_stale_temporary tries again
                Path(self._path).unlink(missing_ok=True)
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard()

    def __del__(self) -> None:
        # Without its lock the file counts as left behind, so a forgotten writer costs no space for ever.
        if getattr(self, "_descriptor", -1) >= 0:
            self._close()

    def _writing(self) -> int:
        if self._descriptor < 0:
            raise ValueError("this object was already published or discarded")
        return self._descriptor

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        self._release_buffer()
        os.close(descriptor)

    def _release_buffer(self) -> None:
        if self._buffer is not None:
            with suppress(BufferError):  # a parser still looks at it; it goes when the last view goes
                self._buffer.close()
            self._buffer = None
