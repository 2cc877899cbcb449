"""How many associations each receiving process has, in memory that they share, so that they share the work too."""

import mmap
import struct
import time

_COUNT = struct.Struct("i")
# what a process with more associations leaves the others to accept a connection first
_HEAD_START = 0.002


class AssociationCounts:
    """To be made before the processes that share it are forked. Each process writes the count of its own `place`."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._memory = mmap.mmap(-1, max(_COUNT.size * processes, mmap.PAGESIZE))

    def publish(self, place: int, count: int) -> None:
        _COUNT.pack_into(self._memory, _COUNT.size * place, count)

    def total(self) -> int:
        return sum(self.of_others(-1))

    def of_others(self, place: int) -> list[int]:
        return [
            _COUNT.unpack_from(self._memory, _COUNT.size * other)[0]
            for other in range(self._processes)
            if other != place
        ]


class ReceiverPlace:
    """One receiving process among those that share a listening socket."""

    def __init__(self, counts: AssociationCounts, place: int) -> None:
        self._counts = counts
        self._place = place
        counts.publish(place, 0)  # of a process that has died, if there was one

    @property
    def is_first(self) -> bool:
        return self._place == 0

    @property
    def number(self) -> int:
        """The same for the process that takes the place of one that died."""
        return self._place

    def publish(self, count: int) -> None:
        self._counts.publish(self._place, count)

    def of_others(self) -> int:
        return sum(self._counts.of_others(self._place))

    def give_way(self, count: int) -> None:
        """Waits a moment where another process has fewer associations than the `count` that this one has."""
        if min(self._counts.of_others(self._place), default=count) < count:
            time.sleep(_HEAD_START)
