"""What fileroom asks of any object store: bytes in under a key that the store chooses, the same bytes out."""

from collections.abc import Iterable, Iterator, Sequence
from io import BufferedIOBase, RawIOBase
from mmap import mmap
from types import TracebackType
from typing import BinaryIO, Protocol, Self


class ObjectWriter(Protocol):
    """One object on its way in; invisible to readers until `publish` or `commit`.

    Leaving it as a context manager discards what was not published. Every method that touches the medium raises
    StorageUnavailable when that fails; the writer is then good for nothing but `discard`.
    """

    @property
    def size(self) -> int:
        """How many bytes were written."""
        ...

    def write(self, *data: bytes | bytearray | memoryview) -> None:
        """Append all of `data`, bytes after bytes."""
        ...

    def write_from(self, source: BufferedIOBase | RawIOBase) -> int:
        """Append what `source` has next, up to a mebibyte; return how many bytes that were, 0 at its end."""
        ...

    def buffer(self) -> memoryview | mmap | bytes:
        """What was written so far, without a copy; writing goes on after it, but does not show in this buffer."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """`length` bytes of what was written, from `offset`."""
        ...

    def sync(self) -> None:
        """Return once the bytes are on the medium. Does not make the object visible."""
        ...

    def publish(self) -> str:
        """Make the object visible and return its key. Its name is durable only after `ObjectStore.sync_folders`."""
        ...

    def commit(self) -> str:
        """`sync`, `publish` and `sync_folders` for this one object; returns its key."""
        ...

    def discard(self) -> None:
        """Forget the object; does nothing when it was published or discarded before."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class ObjectFile(Protocol):
    """An object that is open for reading any stretch of it; to be closed. Reading raises StorageUnavailable."""

    @property
    def size(self) -> int:
        """The object's length in bytes."""
        ...

    def fileno(self) -> int:
        """The descriptor of a file that holds the object and nothing else, for the kernel to read from."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer where the object ends."""
        ...

    def read_into(self, buffers: Sequence[memoryview], offset: int) -> int:
        """Fills the buffers one after the other from `offset`; returns how much, less only where the object ends."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class ObjectStore(Protocol):
    """Keeps objects under keys. Any number of processes may share one store.

    A key that names nothing, or that this kind of store never gives out, raises ObjectMissing where something is read;
    a medium that fails raises StorageUnavailable.
    """

    def create(self, *, unread_size: int | None = None) -> ObjectWriter:
        """Begin a new object; one of `unread_size` bytes, as far as is known, where nobody waits to read it."""
        ...

    def open(self, key: str) -> BinaryIO:
        """The object as a seekable binary file, to be closed by the caller."""
        ...

    def open_stretches(self, key: str) -> ObjectFile:
        """The object for reading stretches of it, to be closed by the caller."""
        ...

    def read_at(self, key: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer where the object ends."""
        ...

    def size(self, key: str) -> int:
        """The object's length in bytes."""
        ...

    def modified(self, key: str) -> float:
        """When the object was written, in seconds since the epoch: one just written may not be indexed yet."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; does nothing when it is already gone."""
        ...

    def keys(self) -> Iterator[str]:
        """The keys of all published objects, oldest day first."""
        ...

    def sync_folders(self, keys: Iterable[str]) -> None:
        """Make the names of these published objects durable, at a cost shared by the whole batch."""
        ...

    def writable(self) -> None:
        """Return if an object could be stored now, else raise StorageUnavailable."""
        ...

    def remove_stale_temporary(self) -> int:
        """Remove what writers of processes that have died left behind; returns how many were removed."""
        ...
