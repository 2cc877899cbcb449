"""Delivers reports of storage commitment to one requester, over an association that we ask it for (PS3.4 J.3.3)."""

import logging
from collections.abc import Callable
from typing import cast

from pynetdicom import AE, build_role
from pynetdicom.presentation import PresentationContext, build_context

from fileroom_server.associations import WaitingAssociation, request_association
from fileroom_server.config import Peer
from fileroom_server.config_tls import NO_CERTIFICATE, DicomTlsConfiguration
from fileroom_server.event_reports import Event, NotReported, report_event
from fileroom_server.negotiation import STORAGE_COMMITMENT_PUSH_MODEL
from fileroom_server.sent_messages import is_over
from fileroom_server.tls import client_tls
from fileroom_server.tls_files import TlsUnusable
from fileroom_storage.pixels.transfer_syntaxes import UNCOMPRESSED

_log = logging.getLogger(__name__)

EventOf = Callable[[str], Event]


class Delivery:
    """Reports to the peer of an AE title, over one association for as long as it lasts; to be closed.

    Once the peer could not be reached it is not tried again by the same delivery.
    """

    def __init__(
        self, entity: AE, ae_title: str, peer: Peer | None, own_tls: DicomTlsConfiguration = NO_CERTIFICATE
    ) -> None:
        self._entity = entity
        self._own_tls = own_tls
        self._ae_title = ae_title
        self._peer = peer
        self._association: WaitingAssociation | None = None
        self._message_id = 0
        self._failure = "" if peer else f"{ae_title} is no peer: list it with its host and port under [[peers]]"

    def report(self, event_of: EventOf, called_ae_title: str) -> None:
        """Reports the event, which is encoded in the transfer syntax of the peer's choice. Raises NotReported.

        `called_ae_title` is what the requester called us by, and so knows us as.
        """
        if self._failure:
            raise NotReported(self._failure)
        try:
            association, context = self._associated(called_ae_title)
            self._message_id = self._message_id % 0xFFFF + 1
            status = report_event(association, context, self._message_id, event_of(str(context.transfer_syntax[0])))
        except NotReported as error:
            self._failure = str(error)
            raise
        check_status(status, self._ae_title)

    def close(self) -> None:
        association, self._association = self._association, None
        if association is None:
            return
        if association.is_established and not is_over(association):
            association.release()
        elif association.is_established:
            association.abort(block=False)
        if association.dul.socket is not None:
            association.dul.socket.close()  # where the peer would have to, and does not

    def _associated(self, called_ae_title: str) -> tuple[WaitingAssociation, PresentationContext]:
        association = self._association
        if association is not None and (is_over(association) or association.requestor.ae_title != called_ae_title):
            self.close()
            association = None
        if association is None:
            association = self._association = self._ask(called_ae_title)
        # The role of an SCP is proposed; who takes the context and says nothing about roles is an SCU of this SOP Class
        # all the same, or would have refused it.
        contexts = [context for context in association.accepted_contexts if context.transfer_syntax]
        if not association.is_established or not contexts:
            raise NotReported(f"{self._ae_title} accepts no association for storage commitment")
        return association, contexts[0]

    def _ask(self, called_ae_title: str) -> WaitingAssociation:
        peer = cast("Peer", self._peer)
        try:
            return request_association(
                self._entity,
                (peer.host, peer.port),
                peer.ae_title,
                [build_context(STORAGE_COMMITMENT_PUSH_MODEL, list(UNCOMPRESSED[:2]))],
                # PS3.4 J.3.3: who reports is the SCP
                roles=[build_role(STORAGE_COMMITMENT_PUSH_MODEL, scp_role=True)],
                calling_ae_title=called_ae_title,
                tls=client_tls(peer, self._own_tls),
            )
        except TlsUnusable as error:
            raise NotReported(f"{peer.ae_title} cannot be called over TLS: {error}") from error
        except OSError as error:
            raise NotReported(f"{peer.ae_title} cannot be reached at {peer.host}: {error.strerror or error}") from error


def check_status(status: int, ae_title: str) -> None:
    """Raises NotReported unless the requester has taken the report."""
    # PS3.7 C.1.1: success and warnings
    if status and status >> 12 != 0xB and status not in (0x0001, 0x0107, 0x0116):
        raise NotReported(f"{ae_title} answered the report with 0x{status:04X}")
