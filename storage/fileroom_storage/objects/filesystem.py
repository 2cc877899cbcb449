"""Objects as files: written and fsynced in incoming/, then renamed into objects/YYYY/MM/DD/ab/."""

import fcntl
import itertools
import logging
import os
import re
import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from mmap import mmap
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self

from fileroom_storage.errors import ObjectMissing
from fileroom_storage.objects.direct_writing import DIRECT_SIZES, FREE_BUFFERS, DirectObjectWriter
from fileroom_storage.objects.failures import Failures
from fileroom_storage.objects.file_writing import FilesystemObjectWriter, read_at

LOG = logging.getLogger(__name__)

Durability = Literal["full", "relaxed"]

# Never made from what an object says of itself, so no UID can name a place outside the store.
_KEY = re.compile(r"[0-9]{4}/[0-9]{2}/[0-9]{2}/([0-9a-f]{2})/\1[0-9a-f]{30}\.dcm", re.ASCII)
_FOLDER_NAMES = (r"[0-9]{4}", r"[0-9]{2}", r"[0-9]{2}", r"[0-9a-f]{2}")

# A writer has locked its file long before this age; where locks do not work at all, only age tells.
_AGE_OF_UNLOCKED_LEFTOVER = 60.0
_AGE_OF_LEFTOVER_WITHOUT_LOCKS = 24 * 3600.0

_KNOWN_FOLDERS_LIMIT = 4096
_RUN = 100
_NAME_LENGTH = len("/" + 32 * "0" + ".dcm")
_IOV_MAX = os.sysconf("SC_IOV_MAX")


def _fsync_folder(path: Path | str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FilesystemObjectFile:
    """An open file of the store."""

    __slots__ = ("_descriptor", "_failures", "size")

    def __init__(self, failures: Failures, descriptor: int) -> None:
        self._failures = failures
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def fileno(self) -> int:
        if self._descriptor < 0:
            raise ValueError("this object was already closed")
        return self._descriptor

    def read_at(self, offset: int, length: int) -> bytes:
        with self._failures:
            return read_at(self.fileno(), offset, length)

    def read_into(self, buffers: Sequence[memoryview], offset: int) -> int:
        done = 0
        with self._failures:
            while count := os.preadv(self.fileno(), buffers[:_IOV_MAX], offset + done):
                done += count
                while buffers and count >= len(buffers[0]):
                    count -= len(buffers[0])
                    buffers = buffers[1:]
                if not buffers:
                    break
                if count:
                    buffers = [buffers[0][count:], *buffers[1:]]
        return done

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()


class FilesystemObjectStore:
    """An ObjectStore in a folder, which any number of processes may share."""

    def __init__(self, root: Path, *, durability: Durability = "full") -> None:
        self.root = root.absolute()
        self.durability = durability
        self.failures = Failures(self.root)
        self._incoming = self.root / "incoming"
        self._objects = self.root / "objects"
        self._durable_folders: set[str] = set()
        self._folder = secrets.token_hex(1)
        self._placed = itertools.count(1)
        self.free_buffers: deque[mmap] = deque(maxlen=FREE_BUFFERS)
        with self.failures:
            missing = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
            for folder in (self.root, self._incoming, self._objects):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if durability == "full":
                for folder in (self.root, *(folder.parent for folder in missing)):
                    _fsync_folder(folder)

    def create(self, *, unread_size: int | None = None) -> FilesystemObjectWriter:
        # A folder that has gone is not made anew: its disk may not be mounted.
        path = f"{self._incoming}/{secrets.token_hex(16)}.part"
        with self.failures:
            if unread_size is not None and unread_size in DIRECT_SIZES:
                return DirectObjectWriter(self, path)
            return FilesystemObjectWriter(self, path)

    def open(self, key: str) -> BinaryIO:
        return os.fdopen(self._descriptor(key), "rb")

    def open_stretches(self, key: str) -> FilesystemObjectFile:
        return FilesystemObjectFile(self.failures, self._descriptor(key))

    def read_at(self, key: str, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0:
            raise ValueError("offset and length count bytes from the start of the object")
        descriptor = self._descriptor(key)
        try:
            with self.failures:
                return read_at(descriptor, offset, length)
        finally:
            os.close(descriptor)

    def size(self, key: str) -> int:
        return self._stat(key).st_size

    def modified(self, key: str) -> float:
        return self._stat(key).st_mtime

    def delete(self, key: str) -> None:
        with self.failures:
            self._path(key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        with self.failures:
            self._objects.stat()  # a disk that is away is not a store without objects
            yield from filter(_KEY.fullmatch, self._walk(self._objects, "", _FOLDER_NAMES))

    def sync_folders(self, keys: Iterable[str]) -> None:
        folders = {f"{self._objects}/{self._checked(key)[:-_NAME_LENGTH]}" for key in keys}
        if self.durability != "full":
            return
        with self.failures:
            for folder in folders:
                _fsync_folder(folder)
            # Another process may have made a folder and not have synced its parents yet, so the first object that
            # this process puts into a folder pays for them, whoever made it.
            new = folders - self._durable_folders
            for parent in {parent for folder in new for parent in self._parents(Path(folder))}:
                _fsync_folder(parent)
        if len(self._durable_folders) > _KNOWN_FOLDERS_LIMIT:
            self._durable_folders.clear()
        self._durable_folders |= new

    def writable(self) -> None:
        with self.create() as writer:
            writer.write(bytes(4096))
            writer.sync()

    def remove_stale_temporary(self) -> int:
        removed = 0
        with self.failures, os.scandir(self._incoming) as entries:
            for entry in entries:
                if entry.name.endswith(".part") and entry.is_file(follow_symlinks=False):
                    removed += self._remove_if_stale(Path(entry.path))
        return removed

    def move_to_objects(self, path: str) -> str:
        """Rename a finished file of incoming/ to its place; returns the key. For the writer only."""
        # a run of objects goes into one folder: they are synced together, and mostly read together
        folder = self._folder
        if next(self._placed) % _RUN == 0:
            folder = self._folder = secrets.token_hex(1)
        now = time.gmtime()
        key = f"{now.tm_year:04d}/{now.tm_mon:02d}/{now.tm_mday:02d}/{folder}/{folder}{secrets.token_hex(15)}.dcm"
        target = f"{self._objects}/{key}"
        try:
            os.rename(path, target)  # noqa: PTH104  # a Path costs more than the rename
        except FileNotFoundError:
            for parent in reversed(self._parents(Path(target))[:-1]):
                parent.mkdir(mode=0o700, exist_ok=True)
            os.rename(path, target)  # noqa: PTH104  # as above
        return key

    def _parents(self, path: Path) -> list[Path]:
        """The folders that hold `path`, from its own up to objects/."""
        parents = list(path.parents)
        return parents[: parents.index(self._objects) + 1]

    def _checked(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise ObjectMissing(
                "The index names an object by a key that this object store never gives out; run `fileroom check`."
            )
        return key

    def _name(self, key: str) -> str:
        return f"{self._objects}/{self._checked(key)}"

    def _path(self, key: str) -> Path:
        return Path(self._name(key))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self.failures:
            try:
                yield
            except FileNotFoundError as error:
                self._objects.stat()  # its disk may be away as a whole
                raise ObjectMissing("The object store has lost the object's bytes; run `fileroom check`.") from error

    def _descriptor(self, key: str) -> int:
        name = self._name(key)
        with self._reading():
            return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def _stat(self, key: str) -> os.stat_result:
        path = self._path(key)
        with self._reading():
            return path.stat(follow_symlinks=False)

    def _walk(self, folder: Path, prefix: str, names: tuple[str, ...]) -> Iterator[str]:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for name in sorted(entry.name for entry in entries):
                if not names:
                    yield prefix + name
                elif re.fullmatch(names[0], name):
                    yield from self._walk(folder / name, f"{prefix}{name}/", names[1:])

    def _remove_if_stale(self, path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False  # published or discarded meanwhile
        try:
            age = time.time() - os.fstat(descriptor).st_mtime
            if age < _AGE_OF_UNLOCKED_LEFTOVER:
                return False  # before any lock is tried: its writer may be just about to lock it
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False  # its process lives, however slow its peer is
            except OSError:
                if age < _AGE_OF_LEFTOVER_WITHOUT_LOCKS:
                    return False
            path.unlink(missing_ok=True)
            return True
        finally:
            os.close(descriptor)
