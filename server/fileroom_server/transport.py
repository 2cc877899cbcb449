"""What is between a listening socket and DIMSE messages: prompt TCP, and bounds on what a peer may make us keep."""

import logging
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.transport import (
    T_CONNECT,
    RequestHandler,
    ThreadedAssociationServer,
)

from fileroom_server.association_counts import ReceiverPlace
from fileroom_server.metrics import table
from fileroom_server.pdu_reading import PduSocket

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_log = logging.getLogger(__name__)


class PromptSocket(socket.socket):
    """Acknowledges at once what it receives, and sends without waiting for acknowledgements.

    dcmtk writes the head of a PDU and its rest apart, with Nagle's algorithm on: where the acknowledgement of the head
    is delayed, every message costs 40 ms. It counts the bytes.
    """

    received = 0
    sent = 0

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
        self.received += len(received)
        self._acknowledge()
        return received

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0, /) -> int:
        count = super().recv_into(buffer, nbytes, flags)
        self.received += count
        self._acknowledge()
        return count

    def send(self, data: "ReadableBuffer", flags: int = 0, /) -> int:
        count = super().send(data, flags)
        self.sent += count
        return count

    def sendmsg(self, buffers: "Iterable[ReadableBuffer]", *arguments: Any) -> int:
        count = super().sendmsg(buffers, *arguments)
        self.sent += count
        return count

    def _acknowledge(self) -> None:
        # Linux forgets this option
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class BoundedRequestHandler(RequestHandler):
    """Makes the association of a connection that was accepted."""

    def _create_association(self) -> Association:
        from fileroom_server.associations import accepted_association

        server = self.server
        association = accepted_association(self.ae, server.contexts, self.local, self.remote)
        association._server = server
        association.ended = cast("AssociationServer", server).publish_count
        association.name = f"AcceptorThread of {self.remote.address}"  # by which pynetdicom knows them
        connection = cast("socket.socket", self.request)
        connection.settimeout(association.network_timeout)
        association.set_socket(PduSocket(association, connection))
        handlers: dict[evt.EventType, Any] = server._handlers
        for event, bound in handlers.items():
            # a notification has any number of handlers, an intervention one
            for handler, arguments in bound if isinstance(event, evt.NotificationEvent) else [bound]:
                association.bind(event, handler, arguments)
        return association


class AssociationServer(ThreadedAssociationServer):
    """Accepts connections while there are not far too many, at a socket that other processes may listen at too."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, *arguments: Any, listener: socket.socket | None, place: ReceiverPlace, **options: Any) -> None:
        self._listener = listener
        self._place = place
        super().__init__(*arguments, **options)

    def server_bind(self) -> None:
        if self._listener is None:
            super().server_bind()
        else:
            super().server_close()
            self.socket = self._listener
            self.server_address = self._listener.getsockname()
        if self.socket is not None:
            self.socket.setblocking(False)  # another process may be faster

    def server_activate(self) -> None:
        if self._listener is None:
            super().server_activate()

    def server_close(self) -> None:
        """Other processes may go on at the same socket."""
        if self.socket is not None:
            self.socket.close()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        count = len(self.active_associations)
        self._place.publish(count)
        self._place.give_way(count)
        connection, address = super().get_request()
        self._place.publish(count + 1)
        return PromptSocket.of(connection), address

    def publish_count(self) -> None:
        self._place.publish(len(self.active_associations))

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002  # of socketserver
        # connections that never ask for an association cost threads too, until the ACSE timeout ends them
        if len(self.active_associations) < 2 * self.ae.maximum_associations + 16:
            return True
        table.ASSOCIATIONS_REJECTED.inc("too many connections")
        _log.warning("connection from %s closed: too many connections", client_address)
        return False


class RequestingSocket(PduSocket):
    """The socket of an association that we ask for."""

    def connect(self, primitive: T_CONNECT) -> None:
        created = self.socket
        super().connect(primitive)
        if self.socket is not None:
            self.socket = PromptSocket.of(self.socket)
        elif created is not None:
            created.close()  # pynetdicom forgets one that could not connect
