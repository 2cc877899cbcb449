"""Answers on their way to an HTTP client in few calls: kept ones with their heads, stored bytes by the kernel."""

import os
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gunicorn.http.wsgi import Response  # type: ignore[import-untyped]

from fileroom_dicomweb.access import IDENTITY, Identity
from fileroom_dicomweb.audit import AUDIT_TALLY
from fileroom_dicomweb.recent_answers import KEPT_OF_VERSION
from fileroom_dicomweb.request_facts import OPERATION
from fileroom_dicomweb.stored_answer import StoredAnswer, broken_off
from fileroom_server.http_clients import ClientSocket
from fileroom_server.http_repeats import Repeats
from fileroom_server.http_tls_clients import TlsClientSocket
from fileroom_server.metrics.metric import OTHER
from fileroom_storage.storage import Stretch

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# what is at hand is given to the socket in pieces of this size
_PIECE = 1 << 20


class StretchSender:
    """WSGI middleware, for gunicorn alone: sends stored bytes, which need not be read, and whole answers itself.

    All others, and stored bytes under TLS, are left to gunicorn, which iterates over them.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]], repeats: Repeats) -> None:
        self._application = application
        self._repeats = repeats

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        answer = self._application(environ, start_response)
        if not isinstance(answer, StoredAnswer | list):
            return answer
        response = getattr(start_response, "__self__", None)
        connection = environ.get("gunicorn.socket")
        # HTTP/2 and TLS put their own frames around what is sent
        if type(response) is not Response or not isinstance(connection, ClientSocket | TlsClientSocket):
            return answer
        if isinstance(answer, list):
            return () if self._sent_at_once(environ, response, connection, answer) else answer
        if isinstance(connection, TlsClientSocket):
            return answer
        try:
            _send(response, connection, answer)
        finally:
            answer.close()
        return ()

    def _sent_at_once(
        self,
        environ: "WSGIEnvironment",
        response: Any,
        connection: ClientSocket | TlsClientSocket,
        answer: list[bytes],
    ) -> bool:
        """Whether it was a whole answer at hand, which has now gone out in one piece with its head."""
        if len(answer) != 1 or response.response_length != len(answer[0]) or len(answer[0]) > _PIECE:
            return False
        if response.headers_sent or response._omits_body:
            return False
        lines = [*response.default_headers(), *[f"{name}: {value}\r\n" for name, value in response.headers], "\r\n"]
        connection.sendall("".join(lines).encode("latin-1") + answer[0])
        response.headers_sent = True
        response.sent = len(answer[0])
        if isinstance(connection, TlsClientSocket):
            return True
        identity: Identity | None = environ.get(IDENTITY)  # a kept answer is given to nobody who is refused
        valid_until = identity.valid_until if identity is not None else None
        operation, tally = environ.get(OPERATION, OTHER), environ.get(AUDIT_TALLY)
        version = environ.get(KEPT_OF_VERSION)
        self._repeats.keep(connection, version, lines, answer[0], operation, tally, valid_until)
        return True


def _send(response: Any, connection: ClientSocket, answer: StoredAnswer) -> None:
    # the head, the boundaries and the ends of stretches go out in full segments
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    try:
        response.send_headers()
        for piece in answer.pieces():
            length = piece.length if isinstance(piece, Stretch) else len(piece)
            if not length:
                continue
            if response.chunked:
                connection.sendall(b"%X\r\n" % length)
            if isinstance(piece, Stretch):
                _send_stretch(connection, piece)
            else:
                for start in range(0, length, _PIECE):
                    connection.sendall(piece[start : start + _PIECE])
            if response.chunked:
                connection.sendall(b"\r\n")
            response.sent += length
    finally:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


def _send_stretch(connection: ClientSocket, stretch: Stretch) -> None:
    """Raises TimeoutError where the client takes nothing for as long as the socket's timeout."""
    source, target = stretch.file.fileno(), connection.fileno()
    offset, end = stretch.offset, stretch.offset + stretch.length
    while offset < end:
        try:
            sent = os.sendfile(target, source, offset, end - offset)
        except BlockingIOError:
            connection.wait_until_writable()
            continue
        if not sent:
            # the object has become shorter: the client must not take what comes next for the rest of it
            raise broken_off()
        connection.count_sent(sent)
        offset += sent
