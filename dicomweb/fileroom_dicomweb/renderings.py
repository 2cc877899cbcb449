"""How many pictures and transcoded objects are made at a time; others wait, and not for ever."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from http import HTTPStatus

from .problem import Problem
from .settings import DicomwebSettings

# A server that counts its busy threads sets this in each of them: one that waits here is not busy.
ASIDE: ContextVar[Callable[[], AbstractContextManager[object]]] = ContextVar("fileroom_aside", default=nullcontext)

# Of those that wait, for each that is being made: beyond it nobody's turn would come in time.
_MOST_WAITING = 16


class Renderings:
    """`maximum` at a time in this process; None for no limit. Others wait for at most `patience` seconds."""

    def __init__(self, maximum: int | None = None, patience: float = 30.0) -> None:
        self._maximum = maximum
        self._patience = patience
        self._places = threading.Semaphore(maximum or 1)
        self._lock = threading.Lock()
        self._waiting = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """While one is made. Raises Problem where too many are, for too long."""
        if self._maximum is None:
            yield
            return
        if not self._places.acquire(blocking=False):
            self._wait(_MOST_WAITING * self._maximum)
        try:
            yield
        finally:
            self._places.release()

    def _wait(self, most: int) -> None:
        with self._lock:
            if self._waiting >= most:
                raise _too_many()
            self._waiting += 1
        try:
            with ASIDE.get()():
                is_free = self._places.acquire(timeout=self._patience)
        finally:
            with self._lock:
                self._waiting -= 1
        if not is_free:
            raise _too_many()


def renderings_of(settings: DicomwebSettings) -> Renderings:
    return Renderings(settings.maximum_renderings, settings.rendering_patience)


def _too_many() -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Too many pictures are being made at the moment; send the request again later, or retrieve what is stored.",
    )
