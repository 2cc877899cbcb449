"""A sign of life in memory that processes share: the receiving process gives it, the HTTP workers look at it."""

import mmap
import struct
import time

_TIME = struct.Struct("d")


class Heartbeat:
    """To be made before the processes that share it are forked."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def beat(self) -> None:
        # the monotonic clock of Linux is the same in all processes
        _TIME.pack_into(self._memory, 0, time.monotonic())

    def stop(self) -> None:
        _TIME.pack_into(self._memory, 0, 0.0)

    def is_beating(self) -> bool:
        (last,) = _TIME.unpack_from(self._memory, 0)
        return bool(last) and time.monotonic() - last < self._patience
