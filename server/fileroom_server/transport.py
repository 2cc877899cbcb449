"""What is between a listening socket and DIMSE messages: prompt TCP, and bounds on what a peer may make us keep."""

import logging
import mmap
import queue
import select
import socket
import tempfile
import time
import weakref
from contextlib import suppress
from io import BytesIO
from ssl import SSLContext
from typing import IO, TYPE_CHECKING, Self, cast

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL
from pynetdicom.fsm import TRANSITION_TABLE, StateMachine
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import (
    T_CONNECT,
    AddressInformation,
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_log = logging.getLogger(__name__)

# The negotiated maximum binds P-DATA-TF PDUs only; an A-ASSOCIATE-RQ with 128 presentation contexts needs less.
_LEAST_PDU_LIMIT = 1 << 20
_COMMAND_SET_LIMIT = 1 << 16
_IDENTIFIER_LIMIT = 4 << 20
_IN_MEMORY = 16 << 20
_WAITING_MESSAGES = 16
_UID_LENGTH = 64
# PS3.8 9.2.1: the events that come of a primitive in the queue of the service provider
_PRIMITIVE_EVENTS = frozenset({"Evt1", "Evt7", "Evt8", "Evt9", "Evt11", "Evt14", "Evt15"})
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


class ReceivedDataSet(BytesIO):
    """A data set that is being received; a large one goes to a temporary file, not into memory."""

    def __init__(self) -> None:
        super().__init__()
        self._file: IO[bytes] | None = None
        self._size = 0

    @property
    def size(self) -> int:
        return self._size

    def write(self, fragment: bytes) -> int:  # type: ignore[override]  # pynetdicom writes bytes
        if self._file is None and self._size + len(fragment) > _IN_MEMORY:
            self._file = tempfile.TemporaryFile(prefix="fileroom-")  # noqa: SIM115  # as long as the data set lives
            weakref.finalize(self, self._file.close)
            self._file.write(super().getbuffer())
            super().seek(0)
            super().truncate()
        self._size += len(fragment)
        return super().write(fragment) if self._file is None else self._file.write(fragment)

    def getbuffer(self) -> memoryview:
        """The data set without a copy of it."""
        if self._file is None:
            return super().getbuffer()
        self._file.flush()
        return memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))


class BoundedReceiver(DIMSEServiceProvider):
    """Puts fragments together to messages, as pynetdicom does, within bounds; a peer that leaves them is aborted."""

    def receive_primitive(self, primitive: P_DATA) -> None:
        try:
            self._receive(primitive)
        except Exception as error:  # noqa: BLE001  # whatever a peer sends must not end the thread that reads from it
            _log.warning(
                "association with %s aborted: it sent an unusable message (%s)",
                self.assoc.remote["address"],
                error if isinstance(error, _Unbounded) else type(error).__name__,
            )
            self.message = None
            self.dul.event_queue.put("Evt19")

    def _receive(self, primitive: P_DATA) -> None:
        if self.message is None:
            self.message = DIMSEMessage()
            self.message.data_set = ReceivedDataSet()
        message = self.message
        if not message.decode_msg(primitive, self.assoc):
            _check_size(message)
            return
        _check_size(message)
        self.message = None
        evt.trigger(self.assoc, evt.EVT_DIMSE_RECV, {"message": message})
        _drop_unusable_uids(message)
        request = message.message_to_primitive()
        if isinstance(request, C_CANCEL):
            if request.MessageIDBeingRespondedTo is not None and len(self.cancel_req) < _WAITING_MESSAGES:
                self.cancel_req[request.MessageIDBeingRespondedTo] = request
            return
        # PS3.7 D.3.3.3: one operation at a time, since no asynchronous operations window is negotiated
        if self.msg_queue.qsize() >= _WAITING_MESSAGES:
            raise _Unbounded("too many requests at a time")
        self.msg_queue.put((cast("int", message.context_id), request))


class _Unbounded(Exception):
    """A message that leaves its bounds."""


def _check_size(message: DIMSEMessage) -> None:
    if message.encoded_command_set.tell() > _COMMAND_SET_LIMIT:
        raise _Unbounded("the command set is too long")
    data_set = message.data_set
    # only an object may be large; before the command set is complete, nobody knows what is coming
    if isinstance(data_set, ReceivedDataSet) and data_set.size > _IDENTIFIER_LIMIT and type(message) is not C_STORE_RQ:
        raise _Unbounded("the identifier is too long")


def _drop_unusable_uids(message: DIMSEMessage) -> None:
    """Takes out UIDs that pynetdicom would raise for, so that the request is answered with what it lacks."""
    for keyword in ("AffectedSOPInstanceUID", "AffectedSOPClassUID"):
        if keyword in message.command_set and len(str(message.command_set[keyword].value or "")) > _UID_LENGTH:
            del message.command_set[keyword]


class TolerantStateMachine(StateMachine):
    """The state machine of PS3.8 9.2, for peers that leave it: what cannot happen ends the connection, not a thread."""

    def do_action(self, event: str) -> None:
        if event in _PRIMITIVE_EVENTS and (event, self.current_state) not in TRANSITION_TABLE:
            # what was to be sent when the peer went away
            with suppress(queue.Empty):
                self.dul.to_provider_queue.get(block=False)
            return
        try:
            super().do_action(event)
        except Exception as error:  # noqa: BLE001  # see above
            _log.warning(
                "connection with %s closed: %s in state %s (%s)",
                self.dul.assoc.remote["address"],
                event,
                self.current_state,
                type(error).__name__,
            )
            if self.dul.socket is not None:
                self.dul.socket.close()
            self.dul.kill_dul()


class BoundedRequestHandler(RequestHandler):
    """Makes the association of a connection that was accepted."""

    def _create_association(self) -> Association:
        association = super()._create_association()
        association.dul.event_queue.get_nowait()  # what the socket that is replaced announced
        association.dul.socket = BoundedSocket(association, cast("socket.socket", self.request))
        association.dul.state_machine = TolerantStateMachine(association.dul)
        association.dimse = BoundedReceiver(association)
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


def wake_negotiation(event: evt.Event) -> None:
    """On EVT_CONN_CLOSE: lets go of an association whose peer closed without asking for one."""
    association = event.assoc
    if association.is_acceptor and not association.is_established:
        # pynetdicom would wait for the whole ACSE timeout; None is what it takes for a time-out
        association.dul.to_user_queue.put(None)


class RequestingSocket(AssociationSocket):
    """The socket of an association that we ask for."""

    def connect(self, primitive: T_CONNECT) -> None:
        created = self.socket
        super().connect(primitive)
        if self.socket is not None:
            self.socket = PromptSocket.of(self.socket)
        elif created is not None:
            created.close()  # pynetdicom forgets one that could not connect


class RequestingEntity(AE):
    """The application entity `entity` in the role that asks for associations."""

    def __init__(self, entity: AE) -> None:
        super().__init__(ae_title=entity.ae_title)
        self.acse_timeout = entity.acse_timeout
        self.connection_timeout = entity.connection_timeout
        self.dimse_timeout = entity.dimse_timeout
        self.network_timeout = entity.network_timeout
        self.maximum_pdu_size = entity.maximum_pdu_size

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[SSLContext, str] | None
    ) -> AssociationSocket:
        requesting = RequestingSocket(assoc, address=address)
        requesting.tls_args = tls_args
        return requesting
