"""A client's socket: whoever waits for the client lets others work, and does not wait for ever."""

import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from fileroom_server.http_threads import RequestThreads

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# So long a thread waits before it lets another request have its place, unless the client is known to be slow.
_PROMPT_MILLISECONDS = 20
# A client that has kept us waiting for this long is slow where less than so many bytes a second have come or gone.
_SLOW_AFTER = 0.2
_SLOW_RATE = 1 << 18
# Nobody is too slow before: a connection may stall for a while.
_RATE_COUNTS_AFTER = 20.0
# Between two attempts to make room where too many clients are slow.
_ASK_AGAIN_MILLISECONDS = 500


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Of all clients of an HTTP process; `rate` is in bytes a second, 0 for none, the others in seconds or numbers.

    `silence` is how long a client may send or take nothing in the middle of a request, `queue` how long a request waits
    for a thread.
    """

    connections: int
    slow_requests: int
    silence: float
    rate: int
    queue: float


class ClientSocket(socket.socket):
    """A connection that gunicorn reads from and writes to. The kernel's socket never blocks; waiting is done here.

    Raises TimeoutError for a client that is silent for longer than the socket's timeout, that sends or takes less than
    `minimum_rate`, counted over the time that was waited for it, or that was cut off to make room for others.
    """

    _timeout: float | None
    _threads: RequestThreads
    _minimum_rate: int

    @classmethod
    def of(cls, connection: socket.socket, threads: RequestThreads, minimum_rate: int) -> Self:
        """Takes over an open connection."""
        client = cls(fileno=connection.detach())
        socket.socket.settimeout(client, 0.0)
        client._timeout = None
        client._threads = threads
        client._minimum_rate = minimum_rate
        client.begin_request()
        return client

    def begin_request(self) -> None:
        """What comes and goes from here on is counted anew."""
        self._waited = 0.0
        self._moved = 0
        self._is_cut = self._is_sending = False

    def settimeout(self, value: float | None, /) -> None:
        self._timeout = value

    def gettimeout(self) -> float | None:
        return self._timeout

    def setblocking(self, flag: bool, /) -> None:
        self._timeout = None if flag else 0.0

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        while True:
            try:
                data = super().recv(bufsize, flags)
            except BlockingIOError:
                if self._timeout == 0.0:
                    raise
                self._wait(select.POLLIN)
            else:
                self._moved += len(data)
                return data

    def sendall(self, data: "ReadableBuffer", flags: int = 0, /) -> None:
        rest = memoryview(data)
        while True:
            try:
                sent = super().send(rest, flags)
            except BlockingIOError:
                if self._timeout == 0.0:
                    raise
                self._wait(select.POLLOUT)
                continue
            self._moved += sent
            if sent == len(rest):
                return
            rest = rest[sent:]

    def wait_until_writable(self) -> None:
        """For who writes to the descriptor, and has found it full."""
        self._wait(select.POLLOUT)

    def count_sent(self, size: int) -> None:
        """For who has written to the descriptor."""
        self._moved += size

    def cut(self) -> None:
        """From any thread: ends the waiting, so that an answer can still be sent to who was to send something."""
        self._is_cut = True
        with suppress(OSError):
            self.shutdown(socket.SHUT_RDWR if self._is_sending else socket.SHUT_RD)

    def _wait(self, event: int) -> None:
        self._is_sending = event == select.POLLOUT
        poll = select.poll()
        poll.register(self, event)
        started = time.monotonic()
        if not poll.poll(0 if self._is_slow else self._milliseconds(_PROMPT_MILLISECONDS)):
            self._wait_long(poll, started)
        else:
            self._waited += time.monotonic() - started
        if self._is_cut:
            raise TimeoutError("the client was too slow, and had to make room for others")
        if self._minimum_rate and self._waited > _RATE_COUNTS_AFTER and self._moved < self._minimum_rate * self._waited:
            raise TimeoutError("the client is too slow")

    def _wait_long(self, poll: select.poll, started: float) -> None:
        end = None if self._timeout is None else started + self._timeout
        while True:
            with self._threads.away(self.cut) as is_away:
                remaining = None if end is None else 1000 * max(end - time.monotonic(), 0.0)
                step = remaining if is_away else self._milliseconds(_ASK_AGAIN_MILLISECONDS)
                is_ready = poll.poll(step)
                now = time.monotonic()  # the turn of this thread, which may come later, is not waited for the client
            if is_ready or self._is_cut:
                self._waited += now - started
                return
            if end is not None and now >= end:
                raise TimeoutError("the client is silent")

    @property
    def _is_slow(self) -> bool:
        return self._waited > _SLOW_AFTER and self._moved < _SLOW_RATE * self._waited

    def _milliseconds(self, most: int) -> float:
        return most if self._timeout is None else min(1000 * self._timeout, most)
