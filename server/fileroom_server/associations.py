"""Associations that wait for their peer instead of polling for it, accepted or asked for."""

import logging
from collections.abc import Callable, Sequence
from typing import cast

from pynetdicom import AE, evt
from pynetdicom._globals import MODE_ACCEPTOR, MODE_REQUESTOR
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation

from fileroom_server.association_record import record_of
from fileroom_server.dimse_audit import end_store_transfer
from fileroom_server.event_reports import AssociationReports
from fileroom_server.received_messages import BoundedReceiver
from fileroom_server.tls_files import TlsContext
from fileroom_server.transport import RequestingSocket
from fileroom_server.upper_layer import UpperLayer

_log = logging.getLogger(__name__)


class WaitingAssociation(Association):
    """pynetdicom's association with our service provider and our reactor."""

    def __init__(self, ae: AE, mode: str) -> None:
        super().__init__(ae, mode)
        self.dul = self.upper_layer = UpperLayer(self)
        self.dimse = self.receiver = BoundedReceiver(self)
        self.ended: Callable[[], None] = lambda: None  # called when it has nothing more to do
        self.event_reports: AssociationReports | None = None
        self.failure = ""
        # they reach the timers of the provider
        self.acse_timeout = ae.acse_timeout
        self.network_timeout = ae.network_timeout

    def reports(self) -> AssociationReports:
        """What is to be reported to the peer over this association; to be asked for in its own thread."""
        if self.event_reports is None:
            self.event_reports = AssociationReports(self, self.upper_layer.wake)
        return self.event_reports

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        finally:
            self.receiver.forget()
            if record := record_of(self):
                record.ended("aborted")  # unless it was told before
            if self.event_reports is not None:
                self.event_reports.end()
            end_store_transfer(self)
            self.ended()

    def _run_reactor(self) -> None:
        """Serves one request after the other until the association ends."""
        while not self._kill:
            idle = self.dul._idle_timer
            self.upper_layer.work(self._is_called, self._patience())
            context_id, message = self.receiver.get_msg()
            if message is not None:
                self._serve_request(message, cast("int", context_id))
                idle.restart()
            if self._ends():
                self.kill()
            elif self.event_reports is not None:
                self.event_reports.proceed(served=message is not None)

    def _is_called(self) -> bool:
        if self.receiver.msg_queue.qsize() or self.upper_layer.to_user_queue.qsize() or self._kill:
            return True
        return self.event_reports is not None and self.event_reports.calls()

    def _patience(self) -> float | None:
        """Seconds until there is something to do even if nothing comes."""
        idle = self.dul._idle_timer
        seconds = None if idle.timeout is None else max(idle.remaining, 0.0) + 0.001
        report = self.event_reports.seconds() if self.event_reports is not None else None
        return min(given for given in (seconds, report) if given is not None) if report is not None else seconds

    def _ends(self) -> bool:
        """Answers the end of the association that the peer, the network or time has brought."""
        if self.upper_layer.to_user_queue.qsize() and self._is_ended_by_peer():
            return True
        if not self.dul.is_alive():
            return True
        if self.dul.idle_timer_expired():
            _log.warning("association with %s aborted: it was idle for too long", self.remote["address"])
            self.abort()
            return True
        return False

    def _is_ended_by_peer(self) -> bool:
        if self.is_established and self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released = True
            self.is_established = False
            evt.trigger(self, evt.EVT_RELEASED, {})
            return True
        if self.acse.is_aborted():
            self.dul.receive_pdu(wait=False)  # tells those who listen to EVT_ACSE_RECV
            self.is_aborted = True
            self.is_established = False
            evt.trigger(self, evt.EVT_ABORTED, {})
            return True
        return False


def accepted_association(
    entity: AE, contexts: Sequence[PresentationContext], local: AddressInformation, remote: AddressInformation
) -> WaitingAssociation:
    """What becomes of a connection that was accepted; its socket and handlers are still to be set."""
    association = WaitingAssociation(entity, MODE_ACCEPTOR)
    acceptor = association.acceptor
    acceptor.ae_title = entity.ae_title
    acceptor.maximum_length = entity.maximum_pdu_size
    acceptor.address_info = local
    acceptor.implementation_class_uid = entity.implementation_class_uid
    acceptor.implementation_version_name = entity.implementation_version_name
    acceptor.supported_contexts = list(contexts)
    association.requestor.address_info = remote
    return association


def request_association(
    entity: AE,
    address: tuple[str, int],
    ae_title: str,
    contexts: Sequence[PresentationContext],
    connected: Callable[[], None] = lambda: None,
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    calling_ae_title: str | None = None,
    tls: TlsContext | None = None,
) -> WaitingAssociation:
    """Asks a peer for an association, in this thread, which also does what is to be done in it.

    `is_established` tells whether there is one, else `failure` perhaps why not. The contexts get their identifiers.
    `connected` is called when the peer has the connection, before it is asked. `calling_ae_title` is the entity's own
    unless the peer knows it by another one.
    """
    association = WaitingAssociation(entity, MODE_REQUESTOR)
    association.bind(evt.EVT_CONN_OPEN, lambda _event: connected())
    peer = AddressInformation.from_addr_port(*address)
    local = AddressInformation("::0" if ":" in peer.address else "", 0)
    connection = RequestingSocket(association, address=local)
    connection.tls, connection.host = tls, address[0]
    association.set_socket(connection)
    association.acceptor.ae_title = ae_title
    association.acceptor.address_info = peer
    requestor = association.requestor
    requestor.ae_title = calling_ae_title or entity.ae_title
    requestor.address_info = local
    requestor.maximum_length = entity.maximum_pdu_size
    requestor.implementation_class_uid = entity.implementation_class_uid
    requestor.implementation_version_name = entity.implementation_version_name
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    requestor.requested_contexts = list(contexts)
    for role in roles:
        requestor.add_negotiation_item(role)
    association._is_paused = True  # there is no reactor that could be in the way
    association.request()
    association.failure = connection.failure
    return association
