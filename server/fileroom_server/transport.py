"""What is between a listening socket and DIMSE messages: prompt TCP, and bounds on what a peer may make us keep."""

import logging
import select
import socket
import time
from typing import TYPE_CHECKING, Any, Self, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.transport import (
    T_CONNECT,
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_log = logging.getLogger(__name__)

# The negotiated maximum binds P-DATA-TF PDUs only; an A-ASSOCIATE-RQ with 128 presentation contexts needs less.
_LEAST_PDU_LIMIT = 1 << 20
# PS3.8 9.3.8: from the service provider, because of an invalid PDU parameter value
_A_ABORT = b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x06"


class PromptSocket(socket.socket):
    """Acknowledges at once what it receives, and sends without waiting for acknowledgements.

    dcmtk writes the head of a PDU and its rest apart, with Nagle's algorithm on: where the acknowledgement of the head
    is delayed, every message costs 40 ms.
    """

    @classmethod
    def of(cls, connection: socket.socket) -> Self:
        """Takes over an open connection."""
        timeout = connection.gettimeout()
        prompt = cls(fileno=connection.detach())
        prompt.settimeout(timeout)
        prompt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return prompt

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        received = super().recv(bufsize, flags)
        self._acknowledge()
        return received

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0, /) -> int:
        count = super().recv_into(buffer, nbytes, flags)
        self._acknowledge()
        return count

    def _acknowledge(self) -> None:
        # Linux forgets this option
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class BoundedSocket(AssociationSocket):
    """Ends what announces too much, or stands still in the middle of a PDU."""

    def __init__(self, association: Association, client_socket: socket.socket) -> None:
        super().__init__(association, client_socket=client_socket)
        self._pdu_limit = max(2 * association.ae.maximum_pdu_size, _LEAST_PDU_LIMIT)
        client_socket.settimeout(association.network_timeout)

    @property
    def ready(self) -> bool:
        """Whether there is something to read; unlike select(), poll() knows descriptors above 1023."""
        if self.socket is None or not self._is_connected:
            return False
        try:
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """All of `nr_bytes`, or what came before the peer closed. Raises OSError: then the association ends."""
        if self.socket is None:
            raise ConnectionError("the connection is closed")
        if nr_bytes > self._pdu_limit:
            _log.warning(
                "association with %s aborted: it announced a PDU of %d bytes, %d are accepted",
                self.assoc.remote["address"],
                nr_bytes,
                self._pdu_limit,
            )
            self.socket.sendall(_A_ABORT)
            raise ConnectionAbortedError("the announced PDU is too long")
        buffer = bytearray(nr_bytes)
        view = memoryview(buffer)
        received = 0
        patience = self.assoc.network_timeout if self.assoc.is_established else self.assoc.acse_timeout
        deadline = None if patience is None else time.monotonic() + patience
        try:
            while received < nr_bytes:
                if deadline is not None:
                    self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
                count = self.socket.recv_into(view[received:])
                if not count:
                    break
                received += count
        finally:
            view.release()
            if deadline is not None:
                self.socket.settimeout(self.assoc.network_timeout)
        return buffer[:received]


class BoundedRequestHandler(RequestHandler):
    """Makes the association of a connection that was accepted."""

    def _create_association(self) -> Association:
        from fileroom_server.associations import accepted_association

        server = self.server
        association = accepted_association(self.ae, server.contexts, self.local, self.remote)
        association._server = server
        association.name = f"AcceptorThread of {self.remote.address}"  # by which pynetdicom knows them
        association.set_socket(BoundedSocket(association, cast("socket.socket", self.request)))
        handlers: dict[evt.EventType, Any] = server._handlers
        for event, bound in handlers.items():
            # a notification has any number of handlers, an intervention one
            for handler, arguments in bound if isinstance(event, evt.NotificationEvent) else [bound]:
                association.bind(event, handler, arguments)
        return association


class AssociationServer(ThreadedAssociationServer):
    """Listens, and accepts connections while there are not far too many."""

    request_queue_size = 128
    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().get_request()
        return PromptSocket.of(connection), address

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002  # of socketserver
        # connections that never ask for an association cost threads too, until the ACSE timeout ends them
        if len(self.active_associations) < 2 * self.ae.maximum_associations + 16:
            return True
        _log.warning("connection from %s closed: too many connections", client_address)
        return False


class RequestingSocket(AssociationSocket):
    """The socket of an association that we ask for."""

    def connect(self, primitive: T_CONNECT) -> None:
        created = self.socket
        super().connect(primitive)
        if self.socket is not None:
            self.socket = PromptSocket.of(self.socket)
        elif created is not None:
            created.close()  # pynetdicom forgets one that could not connect
