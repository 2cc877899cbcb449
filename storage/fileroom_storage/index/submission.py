"""An arrival on its way through the group commit."""

import logging
import threading
import time
from contextvars import copy_context

from ..errors import StorageUnavailable
from ..monitor import Monitor
from .arrival import Arrival
from .ingest import Outcome

_log = logging.getLogger(__name__)


class Submission:
    """An arrival whose sender waits for its outcome."""

    __slots__ = (
        "_error",
        "_outcome",
        "_pending",
        "adopted",
        "arrival",
        "context",
        "damaged",
        "may_have_committed",
        "queued_at",
    )

    def __init__(self, arrival: Arrival, *, adopted: bool, damaged: str | None = None) -> None:
        self.arrival = arrival
        self.adopted = adopted
        self.damaged = damaged  # where the index has the same content, but the object store other bytes
        self.may_have_committed = False
        self.queued_at = time.perf_counter()
        self.context = copy_context()  # whoever commits it does so, and logs it, on behalf of its sender
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._pending = threading.Lock()  # held until there is an outcome
        self._pending.acquire()

    @property
    def is_done(self) -> bool:
        return self._outcome is not None or self._error is not None

    def settle(self, outcome: Outcome | None, error: BaseException | None = None) -> None:
        self._outcome, self._error = outcome, error
        self._pending.release()

    @property
    def source(self) -> str:
        return self.arrival.provenance.source

    def log(self, objects: int) -> None:
        """To be run in its context: the line belongs to what brought the object."""
        done = "committed" if self._outcome is not None else "not committed"
        _log.debug("%s %s, in a batch of %d", self.arrival.sop_instance_uid, done, objects)

    def tell_failed_plugins(self, monitor: Monitor) -> None:
        if self._outcome is not None:
            for plugin in self._outcome.failed_plugins:
                monitor.extraction_failed(plugin)

    def result(self, seconds: float) -> Outcome:
        if not self.is_done and not self._pending.acquire(timeout=seconds) and not self.is_done:
            raise StorageUnavailable("the index takes too long; send the object again later")
        if self._outcome is None:
            raise self._error or StorageUnavailable("the index gave no answer; send the object again later")
        return self._outcome
