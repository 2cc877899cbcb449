"""The group commit: one thread at a time takes whatever arrivals have queued into the index as one transaction."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Connection, Engine, RootTransaction

from ..errors import ObjectMissing, StorageError, StorageUnavailable
from ..monitor import UNWATCHED, Monitor
from ..objects import ObjectStore, content_digest
from .arrival import Arrival
from .audit.openings import Opened, append_openings, set_begun
from .deletions import DeletionReason, Retention, begin, settle
from .engine import is_unavailable, unavailable, write_transaction, writing_connection
from .ingest import Outcome, Twin, ingest
from .known_hierarchy import KnownHierarchy
from .removal import reject_instances, remove_instances
from .retrying import is_away, retried
from .submission import Submission
from .tables import Tables

_log = logging.getLogger(__name__)

_BATCH_LIMIT = 256
_ANSWER_SECONDS = 50.0

Result = TypeVar("Result")


def utc_now() -> datetime:
    """The time as the index keeps it: UTC, without saying so in the type."""
    return datetime.now(UTC).replace(tzinfo=None)


class IndexWriter:
    """Takes arrivals of many threads; each waits until its own is durable.

    Where the database is a file, whoever finds nobody writing commits all that has queued, and no thread has to be
    woken for it. A server that hangs must not take its senders with it: there, a thread of its own writes.
    """

    def __init__(
        self,
        engine: Engine,
        tables: Tables,
        objects: ObjectStore,
        retention: Retention,
        monitor: Monitor = UNWATCHED,
    ) -> None:
        self._engine = engine
        self._monitor = monitor
        self._tables = tables
        self._objects = objects
        self._retention = retention
        self._known = KnownHierarchy()
        self._connection: Connection | None = None
        self._turn: RootTransaction | Exception | None = None
        self._told_queued = 0
        self._is_away = False
        self._queue: deque[Submission] = deque()
        self._closed = threading.Event()
        self._submitting = threading.Lock()
        self._writing = threading.Lock()
        self._queued = threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        if engine.dialect.name != "sqlite":
            self._thread = threading.Thread(target=self._run, name="index-writer", daemon=True)
            self._thread.start()

    def submit(self, arrival: Arrival, *, adopted: bool = False) -> Outcome:
        """Returns once the arrival is committed. Its object has been published and fsynced before.

        The object is deleted where nothing refers to it in the end, but never one that is `adopted`: nobody would send
        it again. Raises StorageUnavailable when the index could not take it in time.
        """
        submission = Submission(arrival, adopted=adopted)
        self._sync_folders([submission])
        self._write([submission])
        return self._intact(submission)

    def submit_many(self, arrivals: Sequence[Arrival]) -> list[Outcome | Exception]:
        """As `submit` for each of them, in as few transactions as can be."""
        submissions = [Submission(arrival, adopted=False) for arrival in arrivals]
        try:
            self._sync_folders(submissions)
        except StorageError as error:
            return [error] * len(submissions)
        self._write(submissions)
        outcomes: list[Outcome | Exception] = []
        for submission in submissions:
            try:
                outcomes.append(self._intact(submission))
            except Exception as error:  # noqa: BLE001  # told for each
                outcomes.append(error)
        return outcomes

    def _sync_folders(self, submissions: Sequence[Submission]) -> None:
        """Makes the names of the objects durable, before anybody has to wait for the index."""
        try:
            self._objects.sync_folders([submission.arrival.stored_object.location for submission in submissions])
        except StorageError:
            self._forget(submissions)
            raise

    def _write(self, submissions: Sequence[Submission]) -> None:
        """Queues them, and commits them too where this is the thread to do so."""
        with self._submitting:  # nothing queues behind the last one
            if self._closed.is_set():
                raise StorageUnavailable("the server is stopping; send the object again later")
            self._queue.extend(submissions)
            if len(self._queue) > 1:
                self._tell_queued(len(self._queue))
        if self._thread is not None:
            self._queued.release()
        elif self._writing.acquire(timeout=_ANSWER_SECONDS):
            try:
                while not all(submission.is_done for submission in submissions):
                    self._write_batch()
            finally:
                self._writing.release()

    def _intact(self, submission: Submission) -> Outcome:
        """What became of it. Of what is there already nothing is promised before its bytes have been looked at.

        In the thread of the sender, so that nobody else waits for that.
        """
        outcome = self._result(submission)
        while outcome.twin is not None and not self._has_content(outcome.twin, submission.arrival):
            _log.error(
                "the object store had other bytes of %s; it takes those sent", submission.arrival.sop_instance_uid
            )
            submission = Submission(submission.arrival, adopted=submission.adopted, damaged=outcome.twin.location)
            self._write([submission])
            outcome = self._result(submission)
        if outcome.twin is not None and not submission.adopted:
            self._remove(submission.arrival.stored_object.location)
        return outcome

    def _has_content(self, twin: Twin, arrival: Arrival) -> bool:
        try:
            return content_digest(self._objects, twin.location, twin.data_set_offset) == arrival.stored_object.digest
        except StorageError:
            return False  # what cannot be read is as good as lost

    def _result(self, submission: Submission) -> Outcome:
        return submission.result(_ANSWER_SECONDS if self._thread is not None else 0)

    def close(self) -> None:
        """Commits what has queued, then ends the thread; one that is stuck is left behind, as its senders have been."""
        with self._submitting:
            first = not self._closed.is_set()
            self._closed.set()
        if self._thread is not None:
            if first:
                self._queued.release()
            self._thread.join(_ANSWER_SECONDS)
            stuck = self._thread.is_alive()
        else:
            stuck = not self._writing.acquire(timeout=_ANSWER_SECONDS)
            if not stuck:
                while self._queue:
                    self._write_batch()
                self._let_go()
                self._writing.release()
        if stuck:
            _log.error("the index does not answer; objects that were not acknowledged are left for the next start")

    def _run(self) -> None:
        while True:
            self._queued.acquire()
            while self._queue:
                self._write_batch()
            if self._closed.is_set():
                return

    def _write_batch(self) -> None:
        """Commits what has queued; for one thread at a time."""
        if self._thread is None:
            self._wait_for_turn()
        batch = self._next_batch()
        if not batch:
            self._let_go()
            return
        if self._told_queued:
            self._tell_queued(len(self._queue))
        begun = time.perf_counter()
        try:
            # a thread may write for others: its own context is not theirs
            for submission in batch:
                self._monitor.waited(submission.context, submission.source, begun - submission.queued_at)
            batch[0].context.run(self._commit_monitored, batch)
            self._monitor.committed([submission.source for submission in batch], time.perf_counter() - begun)
            for submission in batch:
                submission.tell_failed_plugins(self._monitor)
            if _log.isEnabledFor(logging.DEBUG):
                for submission in batch:
                    submission.context.run(submission.log, len(batch))
        except BaseException as error:  # noqa: BLE001  # the writer must outlive any surprise; every waiting sender is told
            _log.exception("the index writer failed on a batch of %d", len(batch))
            if self._turn is not None:
                self._let_go()  # nobody else could write
            for submission in batch:
                if not submission.is_done:
                    submission.settle(None, error)

    def _wait_for_turn(self) -> None:
        """While another process writes to the same file: what queues meanwhile goes along in the same transaction."""
        try:
            if self._connection is None:
                # a file does not go away as a server does: the connection is kept, which saves a tenth of an object
                self._connection = writing_connection(self._engine)
            self._turn = self._connection.begin()
        except Exception as error:  # noqa: BLE001  # the first attempt to commit what has queued ends with it
            self._turn = error

    def _tell_queued(self, number: int) -> None:
        self._told_queued = number
        self._monitor.queued(number)

    def _commit_monitored(self, batch: Sequence[Submission]) -> None:
        with self._monitor.transaction([submission.context for submission in batch]):
            self._commit(batch)

    def _next_batch(self) -> list[Submission]:
        """Whatever has queued, no SOP Instance twice: the second has to meet the first as a row."""
        batch: list[Submission] = []
        again: list[Submission] = []
        seen: set[str] = set()
        while self._queue and len(batch) < _BATCH_LIMIT:
            submission = self._queue.popleft()
            uid = submission.arrival.sop_instance_uid
            (again if uid in seen else batch).append(submission)
            seen.add(uid)
        self._queue.extendleft(reversed(again))
        return batch

    def _commit(self, batch: Sequence[Submission]) -> None:
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
            # that of a twin is still needed where the twin is damaged
            if not outcome.kept and not submission.adopted and outcome.twin is None:
                self._remove(submission.arrival.stored_object.location)
            submission.settle(outcome)

    def _try(self, batch: Sequence[Submission]) -> list[Outcome]:
        try:
            # while it stays away, nobody waits for it anew with every object
            outcomes = retried(lambda: self._transaction(batch), patience=0 if self._is_away else None)
        except Exception as error:
            self._is_away = is_away(error)
            raise
        self._is_away = False
        return outcomes

    def _transaction(self, batch: Sequence[Submission]) -> list[Outcome]:
        turn, self._turn = self._turn, None
        try:
            if isinstance(turn, Exception):
                raise turn
            with write_transaction(turn or self._engine) as connection:
                outcomes, opened = self._ingest(connection, batch)
            set_begun(opened)
            return outcomes
        except BaseException:
            self._known.clear()
            self._let_go()
            raise

    def _let_go(self) -> None:
        connection, self._connection, self._turn = self._connection, None, None
        if connection is not None:
            connection.close()  # and rolls back

    def _ingest(self, connection: Connection, batch: Sequence[Submission]) -> tuple[list[Outcome], Opened]:
        arrivals = [submission.arrival for submission in batch]
        outcomes = ingest(connection, self._tables, arrivals, utc_now(), self._known)
        for number, outcome in enumerate(outcomes):
            if outcome.twin is not None and not self._is_usable(outcome.twin, batch[number]):
                # the index has the object, the object store has lost it: what has come takes its place
                self._replace(connection, arrivals[number], outcome.twin.location)
                self._known.clear()  # the entities have changed, perhaps have other keys
                [outcomes[number]] = ingest(connection, self._tables, [arrivals[number]], utc_now())
        for arrival, outcome in zip(arrivals, outcomes, strict=True):
            if outcome.stored and arrival.rejection is not None:
                outcome.rejected = reject_instances(connection, self._tables, self._retention, arrival, utc_now())
        opened = append_openings(connection, self._tables, arrivals, outcomes)
        for submission in batch:
            submission.may_have_committed = True
        return outcomes, opened

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

    def _is_usable(self, twin: Twin, submission: Submission) -> bool:
        try:
            return twin.location != submission.damaged and self._objects.size(twin.location) == twin.size
        except ObjectMissing:
            return False

    def _refuse(self, batch: Sequence[Submission], error: Exception) -> None:
        _log.error("%d objects could not be indexed: %s", len(batch), _described(error))
        refusal: Exception = error
        if not isinstance(error, StorageError):
            refusal = unavailable(error, "the index could not take the object; send it again later")
            refusal.__cause__ = error
        self._forget(batch)
        for submission in batch:
            submission.settle(None, refusal)

    def _forget(self, submissions: Sequence[Submission]) -> None:
        for submission in submissions:
            # where the commit may have happened though its answer was lost, the bytes stay: `fileroom check` tells
            if not submission.may_have_committed and not submission.adopted:
                self._remove(submission.arrival.stored_object.location)

    def _remove(self, location: str) -> None:
        try:
            self._objects.delete(location)
        except (OSError, StorageError) as error:
            _log.warning("a superfluous copy could not be removed: %s", error)


def _described(error: Exception) -> str:
    """The error without the statement's parameters, which hold patient data."""
    return type(getattr(error, "orig", None) or error).__name__
