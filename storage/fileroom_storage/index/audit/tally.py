"""What is done again and again, such as the same search: a row for the first time, then one a minute with a count."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from .event import AuditEvent

_NOTHING: Mapping[str, int] = {}
_MOST = 10_000  # tallies at a time


class Tally:
    """How often an event has happened since it was last recorded."""

    __slots__ = ("_tallies", "event", "is_listed", "last", "sop_classes", "times")

    def __init__(self, tallies: "Tallies", event: AuditEvent) -> None:
        self._tallies = tallies
        self.event = event
        self.is_listed = False
        self.times = 0
        self.last = 0.0
        self.sop_classes: Counter[str] = Counter()

    def again(self, sop_classes: Mapping[str, int] = _NOTHING) -> None:
        """It has happened once more."""
        self._tallies.happened(self, sop_classes)


class Tallies:
    """All that is counted in one process. `record` takes an event to the log."""

    def __init__(self, record: Callable[[AuditEvent], None]) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._tallies: dict[Hashable, Tally] = {}

    def __len__(self) -> int:
        return len(self._tallies)

    def tally(self, key: Hashable, make: Callable[[], AuditEvent], sop_classes: Mapping[str, int] = _NOTHING) -> Tally:
        """Counts an event that is the same as others under this key. `make` is called for the first of them."""
        tally = self._tallies.get(key)
        if tally is None:
            tally = Tally(self, make())
        return self.happened(tally, sop_classes, key)

    def happened(self, tally: Tally, sop_classes: Mapping[str, int], key: Hashable = None) -> Tally:
        """Returns the tally that it was counted in: another one where two began at once."""
        # a kept answer knows its tally, not the key that it once was under: then it is its own
        key = tally if key is None else key
        with self._lock:
            listed = tally if tally.is_listed else self._tallies.get(key)
            if listed is not None:
                listed.times += 1
                listed.last = time.time()
                if sop_classes:
                    listed.sop_classes.update(sop_classes)
                return listed
            self._tallies[key] = tally
            tally.is_listed = True
            are_many = len(self._tallies) > _MOST
        self._record(replace(tally.event, at=None, sop_classes=dict(sop_classes or tally.event.sop_classes)))
        if are_many:
            self.report()
        return tally

    def report(self) -> None:
        """Records what has happened again since the last report; what has not is forgotten."""
        events: list[AuditEvent] = []
        with self._lock:
            for key, tally in list(self._tallies.items()):
                if not tally.times:
                    del self._tallies[key]
                    tally.is_listed = False
                    continue
                events.append(_repeated(tally))
                tally.times = 0
                tally.sop_classes = Counter()
        for event in events:
            self._record(event)


def _repeated(tally: Tally) -> AuditEvent:
    at = datetime.fromtimestamp(tally.last, UTC).replace(tzinfo=None)
    detail = {**tally.event.detail, "times": tally.times}
    return replace(tally.event, at=at, detail=detail, sop_classes=tally.sop_classes)
