"""The way of events into the audit log: with a change in its transaction, at once, or within a second by a thread."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

from sqlalchemy import Engine

from ...errors import StorageError
from ..engine import unavailable_errors, write_transaction
from ..retrying import retried
from ..tables import Tables
from . import reading, verification
from .chain import Head, append, heads
from .delivery import Delivery
from .event import SERVER, Action, Actor, AuditEvent, EventId, Outcome
from .reading import AuditRow
from .tally import Tallies, Tally
from .transfer import Transfer
from .verification import Verification

_log = logging.getLogger(__name__)

_GATHER_SECONDS = 0.25  # events of this time share a transaction
_REPORT_SECONDS = 60.0
_LONGEST_PAUSE = 5.0
_CLOSE_SECONDS = 20.0
_BATCH = 500
# where the database is away for long, memory must not fill up; those that are lost then are counted in a row
_MOST_WAITING = 100_000


class AuditLog:
    """The audit log of one index, as one process writes and reads it. Where it is not enabled, nothing is written."""

    def __init__(self, engine: Engine, tables: Tables, *, enabled: bool) -> None:
        self.enabled = enabled
        self._engine = engine
        self._tables = tables
        self._waiting: deque[AuditEvent] = deque()
        self._lost = 0
        self._wake = threading.Event()
        self._starting = threading.Lock()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._transfers: set[Transfer] = set()
        self._tallies = Tallies(self.record)

    # -- writing -------------------------------------------------------------------------------------------

    def record(self, event: AuditEvent) -> None:
        """Has it written within a second, by a thread."""
        if not self.enabled:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._lost += 1
            return
        self._waiting.append(event.of_now())
        if self._thread is None:
            self._start()
        self._wake.set()

    def record_at_once(self, *events: AuditEvent) -> None:
        """Returns once they are durable. Raises StorageUnavailable."""
        if self.enabled:
            with unavailable_errors():
                self._append([event.of_now() for event in events])

    def tally(
        self, key: Hashable, make: Callable[[], AuditEvent], sop_classes: Mapping[str, int] | None = None
    ) -> Tally | None:
        """Records an event the first time, and counts it when it comes again under the same key."""
        return self._counted(key, make, sop_classes or {}) if self.enabled else None

    def transfer(
        self, actor: Actor, event: EventId, action: Action, detail: Mapping[str, str | int] | None = None
    ) -> Transfer | None:
        """Begins to count what one association or request brings or takes; to be ended. None where not enabled."""
        if not self.enabled:
            return None
        transfer = Transfer(self, actor, event, action, detail or {})
        self._transfers.add(transfer)
        self._start()
        return transfer

    def actor(self, actor: Actor | None) -> Actor | None:
        """Who is written to have done something; None where nothing is written."""
        return (actor or SERVER) if self.enabled else None

    def forget(self, transfer: Transfer) -> None:
        self._transfers.discard(transfer)

    def flush(self) -> None:
        """Returns once all that has been recorded is durable. Raises StorageUnavailable."""
        with unavailable_errors():
            while self._waiting:
                self._write_waiting()

    def close(self) -> None:
        """Writes what waits, and what has been counted."""
        self._closing.set()
        for transfer in list(self._transfers):
            transfer.end()
        self._tallies.report()
        thread, self._thread = self._thread, None
        if thread is not None:
            self._wake.set()
            thread.join(_CLOSE_SECONDS)
        try:
            if self._waiting and not (thread is not None and thread.is_alive()):
                self.flush()
        except StorageError as error:
            _log.error("the audit log could not be written: %s", error)
        if self._waiting:
            _log.error("%d events could not be written to the audit log", len(self._waiting))

    # -- reading -------------------------------------------------------------------------------------------

    def rows(self, **criteria: object) -> Iterator[AuditRow]:
        """See reading.rows. Raises StorageUnavailable."""
        return reading.rows(self._engine, self._tables, **criteria)  # type: ignore[arg-type]

    def heads(self) -> list[Head]:
        """The last row of each chain that has any. Raises StorageUnavailable."""
        with unavailable_errors(), self._engine.connect() as connection:
            return [head for head in heads(connection, self._tables) if head.sequence]

    def verify(self, known: Sequence[Head] = ()) -> Verification:
        """Reads the whole log. Raises StorageUnavailable."""
        return verification.verify(self._engine, self._tables, known)

    def delivery(self, destination: str) -> Delivery:
        """What a collector of this name has been sent, and what is to be sent to it."""
        return Delivery(self._engine, self._tables, destination)

    # -- inside --------------------------------------------------------------------------------------------

    def _counted(self, key: Hashable, make: Callable[[], AuditEvent], sop_classes: Mapping[str, int]) -> Tally:
        return self._tallies.tally(key, make, sop_classes)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        report_at = time.monotonic() + _REPORT_SECONDS
        pause = 0.0
        while not self._closing.is_set():
            if pause:
                self._closing.wait(pause)
            else:
                self._wake.wait(max(report_at - time.monotonic(), 0))
                self._closing.wait(_GATHER_SECONDS)
            self._wake.clear()
            if time.monotonic() >= report_at:
                report_at = time.monotonic() + _REPORT_SECONDS
                self._report()
            pause = self._try(pause)

    def _report(self) -> None:
        for transfer in list(self._transfers):
            transfer.report()
        self._tallies.report()

    def _try(self, pause: float) -> float:
        """Writes what waits; returns the seconds after which to try again where that failed."""
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001  # the thread must outlive any surprise
            if not pause:
                _log.error("the audit log cannot be written (%s); it is tried again", type(error).__name__)
            return min(2 * pause or 0.5, _LONGEST_PAUSE)
        if pause:
            _log.warning("the audit log is written again")
        return 0.0

    def _write_waiting(self) -> None:
        with self._writing:
            batch = [self._waiting[number] for number in range(min(len(self._waiting), _BATCH))]
            if not batch:
                return
            lost = self._lost
            self._append([*batch, *([_lost_events(lost)] if lost else [])])
            self._lost -= lost
            for _ in batch:
                self._waiting.popleft()

    def _append(self, events: Sequence[AuditEvent]) -> None:
        def transaction() -> None:
            with write_transaction(self._engine) as connection:
                append(connection, self._tables, events)

        retried(transaction)


def _lost_events(number: int) -> AuditEvent:
    detail: dict[str, str | int] = {
        "reason": "events that could not be written for too long were lost",
        "times": number,
    }
    return AuditEvent(EventId.SECURITY_ALERT, Action.EXECUTE, SERVER, Outcome.SERIOUS_FAILURE, detail=detail).of_now()
