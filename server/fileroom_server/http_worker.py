"""gunicorn's threaded worker: a client that connects and says nothing, or half of it, takes no thread for long."""

import select
import socket
import ssl
import time
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from typing import Any

from gunicorn.util import write_nonblock  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from fileroom_server.http_refusals import answer, refusal
from fileroom_server.http_repeats import Repeats
from fileroom_server.http_stretches import StretchSender

# What a client has for the head of a request, request line and headers, from its first byte on.
HEAD_SECONDS = 5.0

# A client that has just been answered often asks again at once. So long does a thread wait for that: handing the
# connection to the poller and back costs as much as a small request.
_LINGER_MILLISECONDS = 3

# How long a worker lets others come first for each connection that it has already, up to so many.
_DEFERENCE_SECONDS = 0.0003
_MOST_DEFERENCE = 5

_REQUEST_TIMEOUT = answer(
    HTTPStatus.REQUEST_TIMEOUT, "The head of the request did not come whole in time; send it again."
)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Waits for a client's first byte without a thread, and for the rest of the head no longer than `HEAD_SECONDS`.

    From the moment that it is told to stop, it refuses connections rather than to let them wait for its end.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._reading_head: dict[Any, float] = {}  # connection → when it has to be whole

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self._repeats = Repeats(self.app.version, self.cfg.timeout)
        self.wsgi: Any = StretchSender(self.wsgi, self._repeats)

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()

    def accept(self, listener: Any) -> None:
        """Leaves a new connection to a worker that has fewer: all are told of it at once, and none knows the others."""
        time.sleep(min(self.nr_conns, _MOST_DEFERENCE) * _DEFERENCE_SECONDS)
        super().accept(listener)

    def enqueue_req(self, conn: Any) -> None:
        """Leaves a new connection to the poller; gunicorn would have a thread wait for its first byte."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle(self, conn: Any) -> Any:
        """Serves a request, and those after it that come at once, without handing the connection on and back."""
        while True:
            try:
                is_answered = self._is_answered(conn)
            except OSError:
                return False
            if is_answered:
                outcome: Any = True
            else:
                self._reading_head[conn] = time.monotonic() + HEAD_SECONDS
                try:
                    outcome = super().handle(conn)
                finally:
                    self._reading_head.pop(conn, None)
            if outcome is not True or not self._is_asked_again(conn):
                return outcome

    def _is_answered(self, conn: Any) -> bool:
        """Whether this is a request that has been answered before, and now again."""
        self._repeats.forget()
        if not conn.initialized or conn.is_http2 or type(conn.sock) is not socket.socket or not self.alive:
            return False
        if conn.parser.unreader.buf.getvalue():
            return False
        return self._repeats.answer(conn.sock, conn.client[0] if conn.client else "")

    def _is_asked_again(self, conn: Any) -> bool:
        """Whether the client's next request has begun to come before another connection waits for this thread."""
        if conn.is_http2:
            return False
        if conn.parser.unreader.buf.getvalue():
            return True
        if isinstance(conn.sock, ssl.SSLSocket) and conn.sock.pending():
            return True  # decrypted already: the poller would not hear of it
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        for _ in range(_LINGER_MILLISECONDS):
            if not self.alive or self.tpool._work_queue.qsize():
                return False
            if poll.poll(1):
                return True
        return False

    def handle_request(self, req: Any, conn: Any) -> Any:
        self._reading_head.pop(conn, None)
        return super().handle_request(req, conn)

    def handle_error(self, _req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """A problem body where gunicorn would write a page that quotes the request."""
        if isinstance(exc, ssl.SSLError):
            # nothing could be said to a client without a common key
            self.log.warning("TLS with %s failed: %s", addr[0] if addr else "a local socket", exc.reason or "it ended")
            return
        status, advice = refusal(exc)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error("error handling a request (%s)", type(exc).__name__)
        else:
            place = addr[0] if addr else "a local socket"
            self.log.warning("refused a request of %s: %s (%s)", place, status.phrase, type(exc).__name__)
        with suppress(OSError):
            write_nonblock(client, answer(status, advice))

    def murder_pending(self) -> None:
        """Runs about once a second."""
        super().murder_pending()
        now = time.monotonic()
        for conn, deadline in self._reading_head.copy().items():
            if now > deadline and self._reading_head.pop(conn, None) is not None:
                with suppress(OSError):
                    if not isinstance(conn.sock, ssl.SSLSocket):
                        conn.sock.send(_REQUEST_TIMEOUT, socket.MSG_DONTWAIT)
                    # ends the read of the thread that waits; not TLS, which that thread is in the midst of
                    socket.socket.shutdown(conn.sock, socket.SHUT_RD)

    def _cap_keepalive(self, deadline: float) -> None:
        """When the worker stops, connections without a request do not keep it."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)
