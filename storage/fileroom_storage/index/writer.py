"""The group commit: one thread a process takes whatever arrivals have queued into the index as one transaction."""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Connection, Engine

from ..errors import ObjectMissing, StorageError, StorageUnavailable
from ..objects import ObjectStore
from .arrival import Arrival
from .deletions import DeletionReason, Retention, begin, settle
from .engine import is_retryable, is_unavailable, write_transaction
from .entities import IndexChanged
from .ingest import Outcome, ingest
from .removal import reject_instances, remove_instances
from .tables import Tables

_log = logging.getLogger(__name__)

_BATCH_LIMIT = 256
_RETRY_SECONDS = 20.0
_ANSWER_SECONDS = 50.0

Result = TypeVar("Result")


def utc_now() -> datetime:
    """The time as the index keeps it: UTC, without saying so in the type."""
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass(slots=True)
class _Submission:
    arrival: Arrival
    adopted: bool
    future: "Future[Outcome]" = field(default_factory=Future)
    may_have_committed: bool = False


class IndexWriter:
    """Takes arrivals of many threads; each waits until its own is durable."""

    def __init__(self, engine: Engine, tables: Tables, objects: ObjectStore, retention: Retention) -> None:
        self._engine = engine
        self._tables = tables
        self._objects = objects
        self._retention = retention
        self._queue: queue.SimpleQueue[_Submission | None] = queue.SimpleQueue()
        self._deferred: list[_Submission] = []
        self._closed = threading.Event()
        self._submitting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="index-writer", daemon=True)
        self._thread.start()

    def submit(self, arrival: Arrival, *, adopted: bool = False) -> Outcome:
        """Returns once the arrival is committed. Its object has been published and fsynced before.

        The object is deleted where nothing refers to it in the end, but never one that is `adopted`: nobody would send
        it again. Raises StorageUnavailable when the index could not take it in time.
        """
        submission = _Submission(arrival, adopted)
        with self._submitting:  # nothing queues behind the last one
            if self._closed.is_set():
                raise StorageUnavailable("the server is stopping; send the object again later")
            self._queue.put(submission)
        try:
            return submission.future.result(_ANSWER_SECONDS)
        except FutureTimeout:
            raise StorageUnavailable("the index takes too long; send the object again later") from None

    def close(self) -> None:
        """Commits what has queued, then ends the thread; one that is stuck is left behind, as its senders have been."""
        with self._submitting:
            if not self._closed.is_set():
                self._closed.set()
                self._queue.put(None)
        self._thread.join(_ANSWER_SECONDS)
        if self._thread.is_alive():
            _log.error("the index does not answer; objects that were not acknowledged are left for the next start")

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                self._commit(batch)
            except BaseException as error:  # noqa: BLE001  # the thread must outlive any surprise; every waiting sender is told
                _log.exception("the index writer failed on a batch of %d", len(batch))
                for submission in batch:
                    if not submission.future.done():
                        submission.future.set_exception(error)

    def _next_batch(self) -> list[_Submission]:
        """Whatever has queued, no SOP Instance twice: the second has to meet the first as a row."""
        batch: list[_Submission] = []
        deferred: list[_Submission] = []
        seen: set[str] = set()

        def take(submission: _Submission) -> None:
            uid = submission.arrival.sop_instance_uid
            (deferred if uid in seen else batch).append(submission)
            seen.add(uid)

        for submission in self._deferred:
            take(submission)
        while len(batch) < _BATCH_LIMIT:
            try:
                item = self._queue.get(block=not batch)
            except queue.Empty:
                break
            if item is None:
                # after the last submission: come back here once the deferred ones are done
                if batch:
                    self._queue.put(None)
                break
            take(item)
        self._deferred = deferred
        return batch

    def _commit(self, batch: Sequence[_Submission]) -> None:
        try:
            outcomes = self._try(batch)
        except Exception as error:  # noqa: BLE001  # told to whoever waits
            if len(batch) > 1 and not is_unavailable(error):
                # one of them is at fault: the others must not suffer
                for submission in batch:
                    self._commit([submission])
                return
            self._refuse(batch, error)
            return
        for submission, outcome in zip(batch, outcomes, strict=True):
            if not outcome.kept and not submission.adopted:
                self._remove(submission.arrival.stored_object.location)
            submission.future.set_result(outcome)

    def _try(self, batch: Sequence[_Submission]) -> list[Outcome]:
        self._objects.sync_folders([submission.arrival.stored_object.location for submission in batch])
        return retried(lambda: self._transaction(batch))

    def _transaction(self, batch: Sequence[_Submission]) -> list[Outcome]:
        arrivals = [submission.arrival for submission in batch]
        with write_transaction(self._engine) as connection:
            outcomes = ingest(connection, self._tables, arrivals, utc_now())
            for number, outcome in enumerate(outcomes):
                if outcome.twin is not None and not self._is_whole(*outcome.twin):
                    # the index has the object, the object store has lost it: what has come takes its place
                    self._replace(connection, arrivals[number], outcome.twin[0])
                    [outcomes[number]] = ingest(connection, self._tables, [arrivals[number]], utc_now())
            for arrival, outcome in zip(arrivals, outcomes, strict=True):
                if outcome.stored and arrival.rejection is not None:
                    outcome.rejected = reject_instances(connection, self._tables, self._retention, arrival, utc_now())
            for submission in batch:
                submission.may_have_committed = True
            return outcomes

    def _replace(self, connection: Connection, arrival: Arrival, location: str) -> None:
        """Takes the row of a lost or damaged object out; what is left of it is not adopted later."""
        scope: dict[str, str | None] = {
            "study_instance_uid": arrival.study_instance_uid,
            "series_instance_uid": arrival.series_instance_uid,
            "sop_instance_uid": arrival.sop_instance_uid,
        }
        pk = begin(connection, self._tables, self._retention, DeletionReason.REPLACED, scope, utc_now())
        remove_instances(
            connection, self._tables, self._tables.instance.c.location == location, utc_now(), deletion_pk=pk
        )
        settle(connection, self._tables, pk)

    def _is_whole(self, location: str, size: int) -> bool:
        try:
            return self._objects.size(location) == size
        except ObjectMissing:
            return False

    def _refuse(self, batch: Sequence[_Submission], error: Exception) -> None:
        _log.error("%d objects could not be indexed: %s", len(batch), _described(error))
        refusal: Exception = error
        if not isinstance(error, StorageError):
            refusal = StorageUnavailable("the index could not take the object; send it again later")
            refusal.__cause__ = error
        for submission in batch:
            # where the commit may have happened though its answer was lost, the bytes stay: `fileroom check` tells
            if not submission.may_have_committed and not submission.adopted:
                self._remove(submission.arrival.stored_object.location)
            submission.future.set_exception(refusal)

    def _remove(self, location: str) -> None:
        try:
            self._objects.delete(location)
        except (OSError, StorageError) as error:
            _log.warning("a superfluous copy could not be removed: %s", error)


def retried(transaction: Callable[[], Result]) -> Result:
    """Runs a transaction again for as long as another writer gets in its way, within bounds."""
    deadline = time.monotonic() + _RETRY_SECONDS
    attempt = 0
    while True:
        try:
            return transaction()
        except Exception as error:
            attempt += 1
            retryable = isinstance(error, IndexChanged) or is_retryable(error)
            if not retryable or time.monotonic() > deadline or (attempt > 8 and not is_unavailable(error)):
                if isinstance(error, IndexChanged):
                    raise StorageUnavailable("others change the same part of the index; try again later") from error
                raise
        time.sleep(random.uniform(0, min(0.5, 0.005 * 2**attempt)))  # noqa: S311  # jitter, no secret


def _described(error: Exception) -> str:
    """The error without the statement's parameters, which hold patient data."""
    return type(getattr(error, "orig", None) or error).__name__
