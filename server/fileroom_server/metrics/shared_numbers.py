"""Where metrics are counted: numbers of this process, in a block of memory that the processes of a server share.

A block outlives the process that wrote it, and its next owner counts on from there: what is told never goes backwards,
whichever process is killed, and nothing has to be tidied up.
"""

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_SIZE = 8
# struct flock of Linux, as fcntl takes it: type, whence, start, length, process
_FLOCK = struct.Struct("hhqqi4x")


class Numbers:
    """What this process counts into; private until it `moves` into a block. Hold `lock` to change `values`."""

    __slots__ = ("lock", "values")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values = memoryview(bytearray(0)).cast("d")

    def grow(self, length: int) -> None:
        """Makes room for metrics that are being declared."""
        with self.lock:
            self.values = memoryview(bytearray(self.values.tobytes().ljust(length * _SIZE, b"\0"))).cast("d")

    def move(self, block: "memoryview[float]") -> None:
        """Counts into this block from now on, beginning with what is in it."""
        with self.lock:
            self.values = block


NUMBERS = Numbers()


class SharedBlocks:
    """Blocks of numbers for a server's processes; to be made before they are forked.

    Each block belongs to the process that has locked its byte. The kernel takes the lock away when that process ends,
    however it ends, and the next process that looks for a block may have it.
    """

    def __init__(self, blocks: int, length: int) -> None:
        self._blocks = blocks
        self._length = length
        self._descriptor = os.memfd_create("fileroom-metrics")
        os.ftruncate(self._descriptor, blocks * length * _SIZE)
        self._values = memoryview(mmap.mmap(self._descriptor, blocks * length * _SIZE)).cast("d")
        self._own: int | None = None

    def claim(self) -> "memoryview[float] | None":
        """A block of its own for this process, for as long as it lives; None where all have owners."""
        for number in range(self._blocks):
            with suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
                self._own = number
                return self._block(number)
        return None

    def __iter__(self) -> "Iterator[tuple[bool, memoryview[float]]]":
        """Each block, and whether its owner lives."""
        for number in range(self._blocks):
            yield self._has_owner(number), self._block(number)

    def _block(self, number: int) -> "memoryview[float]":
        return self._values[number * self._length : (number + 1) * self._length]

    def _has_owner(self, number: int) -> bool:
        if number == self._own:
            return True  # the kernel tells of others' locks only
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0)
        kind = _FLOCK.unpack(fcntl.fcntl(self._descriptor, fcntl.F_GETLK, asked))[0]
        return bool(kind != fcntl.F_UNLCK)


class KeptNumbers:
    """Numbers of commands, such as an import, in a file beside the objects: a server that runs tells them with its own.

    They are written when there is a pause (`keep`), not through a mapping: a full disk must not hurt whoever counts.
    """

    _MOST = 64

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        self._length = length
        self._descriptor = -1
        self._offset = 0
        self._before = [0.0] * length

    def begin(self) -> None:
        """To be called in the process that counts. Where the file cannot be written, nothing is kept."""
        with suppress(OSError):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            for number in range(self._MOST):
                with suppress(OSError):
                    fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
                    self._offset = number * self._length * _SIZE
                    self._before = _read(self._descriptor, self._offset, self._length)
                    return
            self._end()

    def keep(self) -> None:
        """Adds what this process has counted so far."""
        if self._descriptor < 0:
            return
        with NUMBERS.lock:
            now = [before + value for before, value in zip(self._before, NUMBERS.values, strict=True)]
        try:
            os.pwrite(self._descriptor, struct.pack(f"{self._length}d", *now), self._offset)
        except OSError:
            self._end()

    def _end(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1

    def end(self) -> None:
        """Adds what is left, and lets another command have the place."""
        self.keep()
        if self._descriptor >= 0:
            self._end()

    def blocks(self) -> list[list[float]]:
        """What all such commands have counted, now and before."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return []
        try:
            size = os.fstat(descriptor).st_size
            step = self._length * _SIZE
            return [_read(descriptor, offset, self._length) for offset in range(0, min(size, self._MOST * step), step)]
        finally:
            os.close(descriptor)


def _read(descriptor: int, offset: int, length: int) -> list[float]:
    content = os.pread(descriptor, length * _SIZE, offset).ljust(length * _SIZE, b"\0")
    return list(struct.unpack(f"{length}d", content))
