"""What is between a listening socket and DIMSE messages: who is accepted, and whom we call."""

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from pynetdicom import evt
from pynetdicom.transport import T_CONNECT, AddressInformation, ThreadedAssociationServer

from fileroom_server.association_counts import ReceiverPlace
from fileroom_server.pdu_reading import PduSocket
from fileroom_server.prompt_socket import PromptSocket
from fileroom_server.reception import Caller, Reception, Refusal
from fileroom_server.tls import failure_of
from fileroom_server.tls_files import TlsContext

_log = logging.getLogger(__name__)


class AssociationServer(ThreadedAssociationServer):
    """Accepts connections, at a socket that other processes may listen at too; each association gets a thread.

    pynetdicom gives each connection a thread, whether it asks for anything or not; here `Reception` waits for that.
    """

    request_queue_size = 1024
    daemon_threads = True

    def __init__(
        self,
        *arguments: Any,
        listener: socket.socket | None,
        place: ReceiverPlace,
        tls: TlsContext | None = None,
        tls_is_required: bool = True,
        refused: Callable[[Refusal], None] = lambda _refusal: None,
        **options: Any,
    ) -> None:
        self._listener = listener
        self._place = place
        self._tls = tls
        self._tls_is_required = tls_is_required
        self._refused = refused
        self._stop = threading.Event()
        self._stopped = threading.Event()
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

    def serve_forever(self, poll_interval: float = 0.1) -> None:
        if self.socket is None:
            return
        try:
            with Reception(
                self.socket,
                self._place,
                self._begin,
                self.ae.acse_timeout,  # PS3.8 9.1.5: ARTIM
                self._tls,
                tls_is_required=self._tls_is_required,
                refused=self._refused,
            ) as reception:
                while not self._stop.is_set():
                    try:
                        is_time = reception.turn(poll_interval, lambda: len(self.active_associations))
                    except Exception:  # noqa: BLE001  # whatever it is, nobody else would accept connections
                        _log.exception("a connection could not be accepted")
                        is_time = self._stop.wait(poll_interval)
                    if is_time:
                        self.service_actions()
        finally:
            self._stopped.set()

    def shutdown(self) -> None:
        """Stops accepting; to be called while another thread is in `serve_forever`."""
        self._stop.set()
        self._stopped.wait()
        self.server_close()
        self.ae._servers.remove(self)

    def publish_count(self) -> None:
        self._place.publish(len(self.active_associations))

    def _begin(self, caller: Caller, slot: int) -> bool:
        """Makes the association that a caller has asked for."""
        from fileroom_server.associations import accepted_association

        local, remote = (AddressInformation.from_tuple(place) for place in (self.server_address, caller.address))
        association = accepted_association(self.ae, self.contexts, local, remote)
        association._server = self
        association.ended = partial(self._ended, slot)
        association.name = f"AcceptorThread of {remote.address}"  # by which pynetdicom knows them
        caller.connection.settimeout(association.network_timeout)
        association.set_socket(PduSocket(association, caller.connection, received=caller.received))
        handlers: dict[evt.EventType, Any] = self._handlers
        for event, bound in handlers.items():
            # a notification has any number of handlers, an intervention one
            for handler, arguments in bound if isinstance(event, evt.NotificationEvent) else [bound]:
                association.bind(event, handler, arguments)
        evt.trigger(association, evt.EVT_CONN_OPEN, {"address": caller.address})
        try:
            association.start()
        except RuntimeError:  # there can be no more threads
            caller.connection.setblocking(False)
            return False
        return True

    def _ended(self, slot: int) -> None:
        self._place.give_back(slot)
        self.publish_count()


class RequestingSocket(PduSocket):
    """The socket of an association that we ask for. `failure` tells why there is no connection."""

    tls: TlsContext | None = None
    host: str = ""  # that the certificate of the peer has to be for
    failure: str = ""

    def connect(self, primitive: T_CONNECT) -> None:
        connection = self.socket
        try:
            if connection is None:
                raise ConnectionError("there is no socket")
            connection.settimeout(self.assoc.connection_timeout)
            connection.connect(primitive.address_info.as_tuple)
            connection = self.socket = PromptSocket.of(connection)
            if self.tls is not None:
                connection = self.socket = self.tls.current().wrap_socket(
                    connection, do_handshake_on_connect=False, server_hostname=self.host
                )
                connection.do_handshake()
            connection.settimeout(self.assoc.network_timeout)
            self.assoc.requestor.address_info = AddressInformation.from_tuple(connection.getsockname())
        except (OSError, ValueError) as error:
            self.failure = failure_of(error) if isinstance(error, OSError) else "it has no usable host name"
            if self.socket is not None:
                with suppress(OSError):
                    self.socket.close()
                self.socket = None
            primitive.result = "Evt17"
        else:
            self._is_connected = True
            evt.trigger(self.assoc, evt.EVT_CONN_OPEN, {"address": primitive.address_info.as_tuple})
            primitive.result = "Evt2"
        self.provider_queue.put(primitive)
        self._ready.set()
