"""Counters, gauges and histograms whose labels have values that are known beforehand: to count is to add to a number.

prometheus_client counts into dictionaries and one file a process, at several times the cost, and its files have to be
tidied up (docs/decisions/0013).
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from fileroom_server.metrics.shared_numbers import NUMBERS

# what a label says where its value is none of those declared
OTHER = "other"

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """Where one combination of labels is counted."""

    labels: Labels
    place: int


class Metric:
    """A family of numbers. With `sparse`, combinations of labels that have not happened are not told."""

    kind = ""
    _width = 1

    def __init__(self, name: str, text: str, *, sparse: bool = False, **labels: Iterable[str]) -> None:
        self.name = name
        self.text = text
        self.sparse = sparse
        self.labels: Mapping[str, Sequence[str]] = {label: tuple(values) for label, values in labels.items()}
        self._places: dict[Labels, int] = {}
        place = len(NUMBERS.values)
        for combination in product(*self.labels.values()):
            self._places[combination] = place
            place += self._width
        NUMBERS.grow(place)
        DECLARED.append(self)

    def samples(self) -> Iterator[Sample]:
        for labels, place in self._places.items():
            yield Sample(labels, place)

    def place(self, *labels: str) -> int:
        """Where a combination of labels is counted. Raises KeyError where none is declared."""
        place = self._places.get(labels)
        if place is None:
            known = zip(self.labels.values(), labels, strict=True)
            place = self._places[tuple(value if value in values else OTHER for values, value in known)]
        return place


class Counter(Metric):
    """Only grows. Its name ends in _total."""

    kind = "counter"

    def inc(self, *labels: str, by: float = 1.0) -> None:
        place = self._places.get(labels)
        if place is None:
            place = self.place(*labels)
        with NUMBERS.lock:
            NUMBERS.values[place] += by


class Gauge(Metric):
    """What is now so in this process; told as the sum over the processes that live."""

    kind = "gauge"

    def set(self, value: float, *labels: str) -> None:
        place = self.place(*labels)
        with NUMBERS.lock:
            NUMBERS.values[place] = value


class Histogram(Metric):
    """How often what was observed was at most so much; `bounds` are ascending, and infinity follows them."""

    kind = "histogram"

    def __init__(
        self, name: str, text: str, bounds: Sequence[float], *, sparse: bool = False, **labels: Iterable[str]
    ) -> None:
        self.bounds = tuple(bounds)
        self._sum = len(bounds) + 1  # behind the buckets
        self._width = len(bounds) + 2
        super().__init__(name, text, sparse=sparse, **labels)

    def observe(self, value: float, *labels: str) -> None:
        place = self._places.get(labels)
        if place is None:
            place = self.place(*labels)
        bucket = place + bisect_left(self.bounds, value)
        with NUMBERS.lock:
            values = NUMBERS.values
            values[bucket] += 1.0
            values[place + self._sum] += value


DECLARED: list[Metric] = []
