"""What a fuzz target is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A reader of what comes from the network. `run` takes any bytes, and raises what nobody has named.

    `cost` is how many times as long it takes as a function that reads some bytes: so many fewer examples it gets.
    """

    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    cost: int = 1
