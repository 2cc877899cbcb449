"""The threads of an HTTP worker: so many requests are worked on at a time, beside those that wait for their clients."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from fileroom_dicomweb.renderings import ASIDE

# A thread beyond those that work is kept for this long when there is nothing for it.
_SPARE_SECONDS = 30.0
# Nobody is cut off before, however many wait: packets that are lost are sent again within this time.
_LEAST_SILENCE = 5.0


class _Queued:
    """A request that waits for a thread."""

    __slots__ = ("arguments", "function", "future", "since")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments
        self.future: Future[Any] = Future()
        self.since = time.monotonic()

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.function(*self.arguments)
        except BaseException as error:  # noqa: BLE001  # told to whoever asked for it
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class _Away:
    """A request that waits for its client: since when, how it is cut off, and what it waits on for its turn."""

    __slots__ = ("cut", "since", "turn")

    def __init__(self, cut: Callable[[], None]) -> None:
        self.cut = cut
        self.since = time.monotonic()
        self.turn = threading.Lock()


class RequestThreads:
    """As much of an executor as gunicorn's worker needs.

    `working` requests are worked on at a time. One that waits for its client (`away`) makes room for the next, and has
    its turn before those that are new when the client goes on. `slow` of them may wait so; where there are more, the
    one that waits longest is cut off.
    """

    def __init__(self, working: int, slow: int) -> None:
        self._most_working = working
        self._most_away = slow
        self._lock = threading.Lock()
        self._queue: deque[_Queued] = deque()
        self._returning: deque[_Away] = deque()
        self._away: dict[_Away, None] = {}  # the one that waits longest first
        self._ready: SimpleQueue[_Queued | None] = SimpleQueue()
        self._working = self._idle = self._threads = self._begun = 0

    @property
    def queued(self) -> int:
        """How many requests wait for a thread, new ones and those whose clients have gone on."""
        return len(self._queue) + len(self._returning)

    @property
    def is_full(self) -> bool:
        """Whether a new request would have to wait."""
        return self._working >= self._most_working

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        queued = _Queued(function, arguments)
        with self._lock:
            self._queue.append(queued)
            self._start_next()
        return queued.future

    def withdraw(self, seconds: float) -> list[tuple[Future[Any], tuple[Any, ...]]]:
        """Takes out requests that have waited for longer: their futures, to be cancelled, and their arguments."""
        withdrawn = []
        with self._lock:
            before = time.monotonic() - seconds
            while self._queue and self._queue[0].since < before:
                queued = self._queue.popleft()
                withdrawn.append((queued.future, queued.arguments))
        return withdrawn

    @contextmanager
    def away(self, cut: Callable[[], None]) -> Iterator[bool]:
        """While a thread of these waits for its client. `cut` is called, by any thread, to end that.

        False where too many are away: this one keeps its place among those that work, and should ask again soon.
        """
        away = self._leave(cut)
        try:
            yield away is not None
        finally:
            if away is not None:
                self._come_back(away)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """While a thread of these waits for others: it is not working, and nobody cuts it off."""
        with self._lock:
            self._working -= 1
            self._start_next()
        try:
            yield
        finally:
            self._take_turn(_Away(lambda: None))

    def shutdown(self, wait: bool = False) -> None:  # noqa: ARG002  # gunicorn never waits
        """Lets idle threads end; the others end with the process."""
        with self._lock:
            for _ in range(self._idle):
                self._ready.put(None)
            self._idle = 0

    def _leave(self, cut: Callable[[], None]) -> _Away | None:
        with self._lock:
            if len(self._away) >= self._most_away:
                self._cut_longest()
                return None
            away = _Away(cut)
            self._away[away] = None
            self._working -= 1
            self._start_next()
            return away

    def _cut_longest(self) -> None:
        longest = next(iter(self._away), None)
        if longest is not None and time.monotonic() - longest.since > _LEAST_SILENCE:
            del self._away[longest]
            longest.cut()

    def _come_back(self, away: _Away) -> None:
        with self._lock:
            self._away.pop(away, None)
        self._take_turn(away)

    def _take_turn(self, away: _Away) -> None:
        with self._lock:
            if self._working < self._most_working:
                self._working += 1
                return
            away.turn.acquire()
            self._returning.append(away)
        away.turn.acquire()  # until another thread lets go of it

    def _start_next(self) -> None:
        while self._working < self._most_working:
            if self._returning:
                self._returning.popleft().turn.release()
            elif self._queue:
                self._hand_over(self._queue.popleft())
            else:
                return
            self._working += 1

    def _hand_over(self, queued: _Queued) -> None:
        if self._idle:
            self._idle -= 1
            self._ready.put(queued)
            return
        self._threads += 1
        self._begun += 1
        # daemons: a client that hangs must not keep the process from ending
        threading.Thread(target=self._work, args=(queued,), name=f"fileroom-http-{self._begun}", daemon=True).start()

    def _work(self, first: _Queued) -> None:
        ASIDE.set(self.aside)
        queued: _Queued | None = first
        while queued is not None:
            queued.run()
            queued = None  # nothing of it is held while the thread is idle
            with self._lock:
                self._working -= 1
                self._idle += 1
                self._start_next()
            queued = self._next()

    def _next(self) -> _Queued | None:
        while True:
            try:
                return self._ready.get(timeout=_SPARE_SECONDS)
            except Empty:
                with self._lock:
                    # what is ready was put there for one of the idle ones
                    if self._threads > self._most_working and self._ready.empty():
                        self._threads -= 1
                        self._idle -= 1
                        return None
