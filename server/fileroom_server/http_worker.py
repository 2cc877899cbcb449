"""gunicorn's threaded worker: no client takes a thread from others, whether it says nothing, or half of it, slowly."""

import errno
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from typing import Any

from gunicorn.http import get_parser  # type: ignore[import-untyped]
from gunicorn.sock import ssl_context  # type: ignore[import-untyped]
from gunicorn.util import write_nonblock  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from fileroom_server.http_clients import ClientLimits, ClientSocket
from fileroom_server.http_record import RecordedRequest, RequestIds
from fileroom_server.http_refusals import answer, refusal
from fileroom_server.http_repeats import Repeats
from fileroom_server.http_stretches import StretchSender
from fileroom_server.http_threads import RequestThreads
from fileroom_server.http_tls_clients import TlsClientSocket
from fileroom_server.metrics import table
from fileroom_server.metrics.metric import OTHER

# What a client has for the head of a request, request line and headers, from its first byte on.
HEAD_SECONDS = 5.0
# A longer one is read, from here on, by the thread that serves it.
_LONGEST_WAITING_HEAD = 1 << 14
_END_OF_HEAD = b"\r\n\r\n"

# A client that has just been answered often asks again at once. So long does a thread wait for that: handing the
# connection to the poller and back costs as much as a small request.
_LINGER_MILLISECONDS = 3

# How long a worker lets others come first for each connection that it has already, up to so many.
_DEFERENCE_SECONDS = 0.0003
_MOST_DEFERENCE = 5
# ... and for being full. Others may have room, and those that are accepted here are refused.
_DEFERENCE_OF_FULL = 0.005

# So many connections beyond the maximum may agree on TLS, to be told that they are too many.
_MOST_REFUSED = 64

# RFC 9112 9.6: a client that is still sending would not read the last answer if the connection were closed at once.
_CLOSING_SECONDS = 2.0
_MOST_DISCARDED = 1 << 20

_REQUEST_TIMEOUT = answer(
    HTTPStatus.REQUEST_TIMEOUT, "The head of the request did not come whole in time; send it again."
)
_BUSY = answer(HTTPStatus.SERVICE_UNAVAILABLE, "The server is busy with other requests; send it again later.")
_FULL = answer(HTTPStatus.SERVICE_UNAVAILABLE, "The server has too many connections; connect again later.")
# There is no more of: descriptors of this process, of the system, buffers, memory.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A client's connection. gunicorn would have the worker stand still until a client has closed its end, and a thread
    until it has agreed on TLS."""

    def __init__(self, cfg: Any, sock: ClientSocket, client: Any, server: Any, linger: Callable[[Any], None]) -> None:
        self.raw = sock
        self.is_plain = not cfg.is_ssl
        self.initialized = False
        super().__init__(cfg, sock if self.is_plain else TlsClientSocket(sock, ssl_context(cfg)), client, server)
        self._linger = linger

    def init(self) -> None:
        if self.is_plain:
            super().init()
        elif not self.initialized:
            self.initialized = True
            self.sock.setblocking(True)
            self.parser = get_parser(self.cfg, self.sock, self.client)

    @property
    def can_be_told(self) -> bool:
        """Whether a refusal could be read: under TLS, when there is a common key."""
        return self.is_plain or self.sock.is_agreed

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self._linger(self)
        else:
            super().close()


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Waits for the head of a request without a thread, and for the rest of it, or for who takes an answer slowly, in
    threads that keep no others from working.

    From the moment that it is told to stop, it refuses connections rather than to let them wait for its end.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits: ClientLimits = self.app.limits
        # connection → when the head has to be whole
        self._reading_head: dict[Any, float] = {}  # in a thread
        self._waiting_head: dict[Any, float] = {}  # in the poller
        self._refused: dict[Any, float] = {}  # until when they may agree on TLS
        self._closing: dict[Any, tuple[float, int]] = {}  # until when, and how much of what comes was discarded

    def get_thread_pool(self) -> RequestThreads:
        return RequestThreads(self.cfg.threads, self._limits.slow_requests)

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self._repeats = Repeats(self.app.version, self._limits.silence)
        self.wsgi: Any = StretchSender(RequestIds(self.wsgi), self._repeats)

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()

    def accept(self, listener: Any) -> None:
        """Leaves a new connection to a worker that has fewer: all are told of it at once, and none knows the others."""
        is_full = self.nr_conns >= self._limits.connections
        time.sleep(_DEFERENCE_OF_FULL if is_full else min(self.nr_conns, _MOST_DEFERENCE) * _DEFERENCE_SECONDS)
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self.log.error("no connection can be accepted: %s", error.strerror)
                if not self._make_room():
                    time.sleep(_DEFERENCE_OF_FULL)
            elif error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED):
                raise
            return
        client = ClientSocket.of(accepted, self.tpool, self._limits.rate)
        conn = Connection(self.cfg, client, address, listener.getsockname(), self._linger)
        self.nr_conns += 1
        if not is_full or self._make_room():
            self.enqueue_req(conn)
        elif conn.is_plain or len(self._refused) >= _MOST_REFUSED:
            self._refuse(conn, _FULL)
        else:
            self._refused[conn] = time.monotonic() + HEAD_SECONDS
            self.poller.register(conn.sock, EVENT_READ, lambda _: self._refuse_when_agreed(conn))

    def enqueue_req(self, conn: Any) -> None:
        """Leaves a new connection to the poller; gunicorn would have a thread wait for its first byte."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        if self._is_ready(conn):
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        if self._is_ready(conn):
            super().on_client_socket_readable(conn, client)

    def _is_ready(self, conn: Any) -> bool:
        """Whether a thread would not have to wait for the head of the request; else the poller goes on to wait."""
        if self._has_whole_head(conn):
            self._waiting_head.pop(conn, None)
            return True
        if not conn.is_plain and conn.sock.is_idle:
            self._waiting_head.pop(conn, None)  # browsers connect before they have something to ask
        else:
            self._waiting_head.setdefault(conn, time.monotonic() + HEAD_SECONDS)
        return False

    def _has_whole_head(self, conn: Any) -> bool:
        """Looks at what has come. Where it is not enough, the poller is told of more only."""
        if not conn.is_plain:
            decrypted = conn.sock.peek(_LONGEST_WAITING_HEAD)
            return decrypted is None or _END_OF_HEAD in decrypted or len(decrypted) == _LONGEST_WAITING_HEAD
        sock = conn.sock
        timeout = sock.gettimeout()
        sock.setblocking(False)
        try:
            head = sock.recv(_LONGEST_WAITING_HEAD, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            sock.settimeout(timeout)
        least = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        # what is still too little is all that comes
        is_over = not head or len(head) < least
        if is_over or _END_OF_HEAD in head or len(head) == _LONGEST_WAITING_HEAD:
            if least != 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            return True
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(head) + 1)
        return False

    def handle(self, conn: Any) -> Any:
        """Serves a request, and those after it that come at once, without handing the connection on and back."""
        while True:
            conn.raw.begin_request()
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
        if not conn.initialized or conn.is_http2 or not conn.is_plain or not self.alive:
            return False
        if conn.parser.unreader.buf.getvalue():
            return False
        return self._repeats.answer(conn.sock, conn.client[0] if conn.client else "")

    def _is_asked_again(self, conn: Any) -> bool:
        """Whether the client's next request has come before another connection waits for this thread."""
        if conn.is_http2:
            return False
        if conn.parser.unreader.buf.getvalue():
            return True
        if not conn.is_plain and self._has_whole_head(conn):
            return True  # decrypted already: the poller would not hear of it
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        for _ in range(_LINGER_MILLISECONDS):
            if not self.alive or self.tpool.queued:
                return False
            if poll.poll(1):
                return self._has_whole_head(conn)
        return False

    def handle_request(self, req: Any, conn: Any) -> Any:
        self._reading_head.pop(conn, None)
        conn.sock.settimeout(self._limits.silence)
        with RecordedRequest(req):
            return super().handle_request(req, conn)

    def handle_error(self, _req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """A problem body where gunicorn would write a page that quotes the request."""
        if isinstance(exc, ssl.SSLError):
            # nothing could be said to a client without a common key
            self.log.warning("TLS with %s failed: %s", addr[0] if addr else "a local socket", exc.reason or "it ended")
            return
        status, advice = refusal(exc)
        table.HTTP_REQUESTS.inc(OTHER, str(status.value))
        table.ERRORS_BY_KIND.inc("HTTP", type(exc).__name__)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error("error handling a request (%s)", type(exc).__name__)
        else:
            self.log.warning("refused a request of %s: %s (%s)", _place(addr), status.phrase, type(exc).__name__)
        with suppress(OSError):
            write_nonblock(client, answer(status, advice))

    def murder_pending(self) -> None:
        """Runs about once a second, and more often when there is much to do."""
        super().murder_pending()
        now = time.monotonic()
        for conn, deadline in list(self._waiting_head.items()):
            if now > deadline:
                del self._waiting_head[conn]
                if conn in self.pending_conns or conn in self.keepalived_conns:
                    self._take_out(conn)
                    self._refuse(conn, _REQUEST_TIMEOUT)
        for conn, deadline in self._reading_head.copy().items():
            if now > deadline and self._reading_head.pop(conn, None) is not None:
                with suppress(OSError):
                    if conn.is_plain:
                        conn.sock.send(_REQUEST_TIMEOUT, socket.MSG_DONTWAIT)
                    conn.raw.shutdown(socket.SHUT_RD)  # ends the read of the thread that waits
        for future, (conn,) in self.tpool.withdraw(self._limits.queue):
            self.log.warning("refused a request of %s: no thread was free for it", _place(conn.client))
            if conn.can_be_told:
                with suppress(OSError):
                    write_nonblock(conn.sock, _BUSY)
            future.cancel()  # which closes the connection
        for conn, deadline in list(self._refused.items()):
            if now > deadline:
                self._end_refused(conn)
        for conn, (until, _) in list(self._closing.items()):
            if now > until:
                self._end(conn)

    def _make_room(self) -> bool:
        """Closes the connection that has been without a request for longest; False where all are in one."""
        for conns in (self.keepalived_conns, self.pending_conns):
            if conns:
                conn = conns[0]
                self._take_out(conn)
                self.nr_conns -= 1
                conn.close()
                return True
        if self._closing:
            self._end(next(iter(self._closing)))
            return True
        return False

    def _take_out(self, conn: Any) -> None:
        """Of the poller."""
        self._waiting_head.pop(conn, None)
        for conns in (self.keepalived_conns, self.pending_conns):
            with suppress(ValueError):
                conns.remove(conn)
        self._unregister(conn)

    def _unregister(self, conn: Any) -> None:
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)

    def _refuse(self, conn: Any, refused: bytes) -> None:
        """Answers and closes."""
        conn.sock.setblocking(False)
        if conn.can_be_told:
            with suppress(OSError):
                conn.sock.sendall(refused)
        self.nr_conns -= 1
        conn.close(graceful=True)

    def _refuse_when_agreed(self, conn: Any) -> None:
        if conn.sock.peek(1) is None or conn.can_be_told:
            self._end_refused(conn)

    def _end_refused(self, conn: Any) -> None:
        del self._refused[conn]
        self._unregister(conn)
        self._refuse(conn, _FULL)

    def _linger(self, conn: Any) -> None:
        """Closes our end, and the connection once the client has closed its own, or has had time enough."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            conn.close()
            return
        self.nr_conns += 1  # it still is one
        self._closing[conn] = (time.monotonic() + _CLOSING_SECONDS, 0)
        if self._discard(conn):
            self.poller.register(conn.sock, EVENT_READ, lambda _: self._discard(conn))

    def _discard(self, conn: Any) -> bool:
        """Whether more may come."""
        until, discarded = self._closing[conn]
        try:
            data = conn.raw.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        discarded += len(data)
        if not data or discarded > _MOST_DISCARDED:
            self._end(conn)
            return False
        self._closing[conn] = (until, discarded)
        return True

    def _end(self, conn: Any) -> None:
        del self._closing[conn]
        self._unregister(conn)
        self.nr_conns -= 1
        conn.close()

    def _cap_keepalive(self, deadline: float) -> None:
        """When the worker stops, connections without a request do not keep it."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)


def _place(address: Any) -> str:
    """Where a client is."""
    return str(address[0]) if address else "a local socket"
