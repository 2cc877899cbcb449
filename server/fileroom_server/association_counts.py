"""Whose associations each receiving process has, in memory that they share: they share the work and the limits."""

import ipaddress
import mmap
import time
from enum import Enum, auto
from hashlib import blake2b

_SIZE = 8
# what a process with more connections leaves the others to accept one first
_HEAD_START = 0.002


class NoRoom(Enum):
    """Which limit one more association would exceed."""

    IN_TOTAL = auto()
    OF_ADDRESS = auto()


class AssociationCounts:
    """To be made before the processes that share it are forked. Each writes what belongs to its own `place`.

    At most `maximum` associations of all processes together, and `maximum_per_address` of one address.
    """

    def __init__(self, processes: int, maximum: int = 64, maximum_per_address: int | None = None) -> None:
        self.maximum = maximum
        self.maximum_per_address = maximum if maximum_per_address is None else maximum_per_address
        self._processes = processes
        size = _SIZE * processes * (1 + maximum)
        # the connections of each process, then for each process whom its associations are of
        self._words = memoryview(mmap.mmap(-1, max(size, mmap.PAGESIZE)))[:size].cast("Q")

    def publish(self, place: int, count: int) -> None:
        self._words[place] = count

    def of_others(self, place: int) -> list[int]:
        return [self._words[other] for other in range(self._processes) if other != place]

    def taken(self) -> int:
        """Associations of all processes."""
        slots = self._words[self._processes :].tolist()
        return len(slots) - slots.count(0)

    def take(self, place: int, owner: int) -> int | NoRoom:
        """A slot for an association of `owner`; to be called by one thread of a process."""
        first = self._processes + place * self.maximum
        own = self._words[first : first + self.maximum].tolist()
        if 0 not in own:
            return NoRoom.IN_TOTAL
        slot = first + own.index(0)
        # taken before it is counted: two processes that are at it at once may both refuse, and never both accept
        self._words[slot] = owner
        slots = self._words[self._processes :].tolist()
        if len(slots) - slots.count(0) > self.maximum:
            refusal = NoRoom.IN_TOTAL
        elif slots.count(owner) > self.maximum_per_address:
            refusal = NoRoom.OF_ADDRESS
        else:
            return slot
        self._words[slot] = 0
        return refusal

    def give_back(self, slot: int) -> None:
        self._words[slot] = 0

    def clear(self, place: int) -> None:
        self._words[place] = 0
        first = self._processes + place * self.maximum
        for slot in range(first, first + self.maximum):
            self._words[slot] = 0


class ReceiverPlace:
    """One receiving process among those that share a listening socket."""

    def __init__(self, counts: AssociationCounts, place: int) -> None:
        self._counts = counts
        self._place = place
        counts.clear(place)  # of a process that has died, if there was one

    @property
    def is_first(self) -> bool:
        return self._place == 0

    @property
    def number(self) -> int:
        """The same for the process that takes the place of one that died."""
        return self._place

    @property
    def maximum(self) -> int:
        return self._counts.maximum

    @property
    def maximum_per_address(self) -> int:
        return self._counts.maximum_per_address

    def publish(self, count: int) -> None:
        self._counts.publish(self._place, count)

    def give_way(self, count: int) -> None:
        """Waits a moment where another process has fewer connections than the `count` that this one has."""
        if min(self._counts.of_others(self._place), default=count) < count:
            time.sleep(_HEAD_START)

    def take(self, address: str) -> int | NoRoom:
        """A slot for one more association from this address, to be given back when it has ended."""
        return self._counts.take(self._place, _owner(address))

    def give_back(self, slot: int) -> None:
        self._counts.give_back(slot)


def _owner(address: str) -> int:
    """A number that stands for whoever calls from there: of IPv6, a host has a network of 64 bits for itself."""
    place = address_of(address)
    if place.version == 6:
        network = int(place) >> 64 << 64
        return int.from_bytes(blake2b(network.to_bytes(16, "big"), digest_size=_SIZE).digest(), "big") | 1
    return int(place) | 1 << 32


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address as a value; one of IPv4 that came over IPv6 is one of IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return (address.ipv4_mapped or address) if address.version == 6 else address
