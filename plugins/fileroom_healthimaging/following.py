"""Events from the queue into the index, until it is told to stop; and the service's list held against it now and then.

A message is deleted only once what it tells of is durable in the index. While the service, the database or the queue is
away, what was received is kept and hidden from others, so that an outage does not wear out a queue's redrive policy.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from fileroom_storage.plugin import StorageError, StorageUnavailable

from .aws import Boto3Missing
from .aws_errors import AwsNotAllowed
from .event_queue import EventQueue, Message
from .image_set_events import ImageSetEvent, InvalidEvent, read_event
from .image_set_version import ImageSetName
from .intake import BATCH, Intake, Status, Taken
from .metrics import EVENTS, LEFT, PASSED_OVER, TAKEN, UNMEASURED, Measuring
from .reconciliation import Reconciliation

_log = logging.getLogger(__name__)

_POLL_SECONDS = 5  # and so long it takes at most until a stop is noticed while nothing comes
_HIDDEN_SECONDS = 600
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_MOST_TOLD = 20  # image sets of a reconciliation
_ROUNDS = 3  # in which others were taken, before an image set is left to the queue


@dataclass(slots=True)
class Followed:
    """Since the start."""

    events: int = 0
    image_sets: int = 0
    passed_over: int = 0  # events that tell nothing new, or of data stores that are not followed
    unusable: int = 0  # messages that were left to the queue


class Pause:
    """Longer from time to time; ends at once where all is to end."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._seconds = _FIRST_PAUSE

    def wait(self) -> None:
        self._stopping.wait(self._seconds)
        self._seconds = min(self._seconds * 2, _LONGEST_PAUSE)

    def reset(self) -> None:
        self._seconds = _FIRST_PAUSE


class Following:
    """`probe` raises StorageError while the service or the index is away."""

    def __init__(
        self,
        queue: EventQueue,
        intake: Intake,
        datastores: Sequence[str],
        stopping: threading.Event,
        probe: Callable[[], None],
        measuring: Measuring = UNMEASURED,
    ) -> None:
        self.done = Followed()
        self._queue = queue
        self._intake = intake
        self._datastores = frozenset(datastores)
        self._stopping = stopping
        self._probe = probe
        self._measuring = measuring
        self._pause = Pause(stopping)
        self._away = False

    def run(self, *, until_empty: bool = False) -> None:
        """Until it is to stop, or until the queue has nothing more. Raises Boto3Missing."""
        while not self._stopping.is_set():
            try:
                messages = self._queue.receive(BATCH, _POLL_SECONDS, _HIDDEN_SECONDS)
            except Boto3Missing:
                raise
            except StorageError as error:
                self._tell_away(str(error))
                self._pause.wait()
                continue
            if not messages:
                self._tell_back()
                if until_empty:
                    return
            else:
                self.take(messages)

    def take(self, messages: Sequence[Message]) -> None:
        """Returns once each is deleted, or left to the queue."""
        waiting = self._read(messages)
        rounds = 0
        while waiting and not self._stopping.is_set():
            taken = self._intake.take({name: _newest(told) for name, told in waiting.items()})
            done = [message for name in _of(taken, Status.TAKEN) for message, _ in waiting.pop(name)]
            self._measuring.count(EVENTS, TAKEN, by=len(done))
            self._delete(done)
            for name in _of(taken, Status.UNUSABLE):
                self._leave([message for message, _ in waiting.pop(name)], f"image set {name}: {taken[name].reason}")
            self.done.image_sets += len(_of(taken, Status.TAKEN))
            if not waiting:
                self._tell_back()
                return
            reason = taken[next(iter(waiting))].reason
            rounds = rounds + 1 if self._is_back() else 0
            if rounds >= _ROUNDS:
                for name, told in waiting.items():
                    self._leave([message for message, _ in told], f"image set {name}: {taken[name].reason}")
                return
            if rounds == 0:
                self._tell_away(reason)
            self._hide([message for told in waiting.values() for message, _ in told])
            self._pause.wait()

    def _read(self, messages: Sequence[Message]) -> dict[ImageSetName, list[tuple[Message, ImageSetEvent]]]:
        """By image set; what tells of none is deleted, what cannot be read is left to the queue."""
        found: dict[ImageSetName, list[tuple[Message, ImageSetEvent]]] = defaultdict(list)
        over: list[Message] = []
        for message in messages:
            self.done.events += 1
            try:
                event = read_event(message.body)
            except InvalidEvent as error:
                self._leave([message], f"it is no event of HealthImaging: {error}")
                continue
            if event is None or (self._datastores and event.name.datastore_id not in self._datastores):
                over.append(message)
            else:
                found[event.name].append((message, event))
        self.done.passed_over += len(over)
        self._measuring.count(EVENTS, PASSED_OVER, by=len(over))
        self._delete(over)
        return dict(found)

    def _delete(self, messages: Sequence[Message]) -> None:
        try:
            self._queue.delete(messages)
        except StorageError as error:
            _log.warning("messages that were taken could not be deleted, and come again: %s", error)

    def _hide(self, messages: Sequence[Message]) -> None:
        try:
            self._queue.hide(messages, _HIDDEN_SECONDS)
        except StorageError as error:
            _log.warning("messages that are kept may come again meanwhile: %s", error)

    def _leave(self, messages: Sequence[Message], why: str) -> None:
        self._measuring.count(EVENTS, LEFT, by=len(messages))
        for message in messages:
            self.done.unusable += 1
            _log.error(
                "message %s, received %d times, is left to the queue and its redrive policy: %s",
                message.message_id,
                message.times_received,
                why,
            )

    def _is_back(self) -> bool:
        try:
            self._probe()
        except StorageError:
            return False
        return True

    def _tell_away(self, reason: str) -> None:
        if not self._away:
            self._away = True
            _log.warning("following waits, and tries again: %s", reason)

    def _tell_back(self) -> None:
        self._pause.reset()
        if self._away:
            self._away = False
            _log.info("following goes on")


def reconcile_repeatedly(
    reconciliation: Reconciliation,
    datastores: Sequence[str],
    every: float,
    stopping: threading.Event,
    *,
    once: bool = False,
) -> None:
    """Now and every so many seconds; what fails is tried again with pauses."""
    while not stopping.is_set():
        begun = time.monotonic()
        for datastore_id in datastores:
            _reconcile(reconciliation, datastore_id, stopping)
        if once:
            return
        stopping.wait(max(0.0, begun + every - time.monotonic()))


def _reconcile(reconciliation: Reconciliation, datastore_id: str, stopping: threading.Event) -> None:
    pause = Pause(stopping)
    while not stopping.is_set():
        try:
            done = reconciliation.run(datastore_id)
        except (StorageUnavailable, AwsNotAllowed) as error:
            _log.warning("data store %s is reconciled later: %s", datastore_id, error)
            pause.wait()
            continue
        except StorageError as error:
            _log.error("data store %s cannot be reconciled: %s", datastore_id, error)
            return
        _log.info(
            "data store %s is reconciled: %d image sets, %d taken, %d failed",
            datastore_id,
            done.listed,
            done.taken,
            len(done.failures),
        )
        for name, reason in islice(done.failures.items(), _MOST_TOLD):
            _log.error("image set %s could not be taken: %s", name, reason)
        return


def _of(taken: Mapping[ImageSetName, Taken], status: Status) -> list[ImageSetName]:
    return [name for name, one in taken.items() if one.status is status]


def _newest(told: Sequence[tuple[Message, ImageSetEvent]]) -> int | None:
    return max((event.version_id for _, event in told if event.version_id is not None), default=None)
