"""Keeps the processes of the server running, and ends them well."""

import logging
import signal
import socket
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait

from fileroom_server.service import Service

_log = logging.getLogger(__name__)

# beyond the time in which the processes let finish what is running
_GRACE = 5.0
# some programs that stop others signal a process and its group: that is one signal
_ONE_SIGNAL_SECONDS = 0.5


class StartFailure(Exception):
    """A service that could not be started at all; the text says why."""


class Supervisor:
    """Runs services until a signal. Must be the only thread of its process."""

    def __init__(self, services: Sequence[Service], drain_timeout: float) -> None:
        self._services = services
        self._drain_timeout = drain_timeout
        self._signals: list[tuple[int, float]] = []  # number, time
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)

    def run(self, started: Callable[[], None], stopping: Callable[[], None]) -> int:
        """Returns the exit code: 0 after a signal to stop. Raises StartFailure.

        `started` is called when all listen, `stopping` when the first signal has come.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: self._signals.append((number, time.monotonic())))
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        try:
            for service in self._services:
                service.start()
            self._wait_until_listening()
            if not self._signals:
                started()
            while not self._signals:
                for service, reason in self._wait():
                    pause = service.start_later()
                    _log.error("the %s %s; it is started again in %.1f s", service.name, reason, pause)
                for service in self._services:
                    if service.start_at is not None and time.monotonic() >= service.start_at:
                        service.start()
            stopping()
            return self._drain()
        finally:
            for service in self._services:
                service.kill()
            signal.set_wakeup_fd(-1)

    def _wait_until_listening(self) -> None:
        while not self._signals and not all(service.has_listened for service in self._services):
            for service, reason in self._wait():
                self._drain()
                raise StartFailure(service.failure or f"the {service.name} {reason}")

    def _drain(self) -> int:
        """Ends the processes; whatever is running may finish. A second signal ends them at once."""
        begun = time.monotonic()
        deadline = begun + self._drain_timeout + _GRACE
        for service in self._services:
            service.terminate()
        while any(service.process is not None for service in self._services):
            number, at = self._signals[-1] if self._signals else (0, begun)
            if at > begun + _ONE_SIGNAL_SECONDS:
                _log.warning("ended at once by a second signal; what was running was not finished")
                return 128 + number
            if time.monotonic() > deadline:
                names = ", ".join(service.name for service in self._services if service.process is not None)
                _log.error("ended by force, because they did not end by themselves: %s", names)
                return 1
            self._wait(deadline)
        return 0

    def _wait(self, until: float | None = None) -> list[tuple[Service, str]]:
        """Waits for something to happen; returns the services that have ended, and how."""
        times = [service.start_at for service in self._services if service.start_at is not None]
        times += [until] if until is not None else []
        timeout = max(min(times) - time.monotonic(), 0) if times else None
        by_messages = {service.messages: service for service in self._services if service.messages is not None}
        by_sentinel = {service.process.sentinel: service for service in self._services if service.process is not None}
        happened = wait([*by_messages, *by_sentinel, self._woken], timeout)
        for source in happened:
            if isinstance(source, Connection):
                by_messages[source].read_message()
            elif source is self._woken:
                self._woken.recv(4096)
        ended = [by_sentinel[source] for source in happened if isinstance(source, int)]
        for service in ended:
            if service.process is not None:
                service.process.join()
        return [(service, service.ended()) for service in ended]
