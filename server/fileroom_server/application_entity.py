"""The application entity: pynetdicom's, made from the configuration, with our services mounted in it."""

import logging
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial

from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE, C_STORE, N_ACTION
from pynetdicom.events import EventHandlerType

from fileroom_server.association_counts import AssociationCounts, ReceiverPlace
from fileroom_server.association_record import begin_record, record_of
from fileroom_server.c_find import handle_c_find, recent_answers
from fileroom_server.c_get import handle_c_get
from fileroom_server.c_move import handle_c_move
from fileroom_server.c_store import begin_object, handle_c_store
from fileroom_server.config import DicomConfiguration, Peer
from fileroom_server.dimse import Handlers, is_serving, take_over
from fileroom_server.negotiation import accept_storage, extended_negotiation, has_usable_contexts, supported_contexts
from fileroom_server.received_messages import BoundedReceiver
from fileroom_server.storage_commitment import CommitmentRequests, handle_n_action
from fileroom_server.transport import AssociationServer, BoundedRequestHandler
from fileroom_storage.storage import Storage

_log = logging.getLogger(__name__)

# how long an association may do nothing while the server waits to stop
_IDLE_WHILE_DRAINING = 2.0
_ABORT_SECONDS = 1.0
_DRAIN_INTERVAL = 0.05

# PS3.8 9.3.4: result, source and reason of what pynetdicom and we reject
_REJECTIONS: dict[tuple[int | None, ...], str] = {
    (1, 1, 1): "it proposes a presentation context without an abstract or a transfer syntax; see its configuration",
    (1, 1, 3): "its AE title is no peer's; list it under [[peers]], or see dicom.calling_ae_titles",
    (1, 1, 7): "it calls another AE title than {own}; correct it there, or see dicom.require_called_ae_title",
    (2, 3, 2): "there are {maximum} associations already; see dicom.maximum_associations",
}


class ApplicationEntity(AE):
    """pynetdicom's, with a maximum of associations that holds for all receiving processes together."""

    place: ReceiverPlace | None = None

    @property
    def maximum_associations(self) -> int:
        others = self.place.of_others() if self.place else 0
        return int(max(self._maximum_associations - others, 0))

    @maximum_associations.setter
    def maximum_associations(self, value: int) -> None:
        self._maximum_associations = value


def create_application_entity(
    dicom: DicomConfiguration, peers: Iterable[Peer] = (), *, only_peers_may_call: bool = False
) -> AE:
    """An application entity that knows whom it lets in and what it takes; `listen` opens its port."""
    _quieten_pynetdicom()
    entity = ApplicationEntity(ae_title=dicom.ae_title)
    entity.supported_contexts = supported_contexts()
    entity.require_called_aet = dicom.require_called_ae_title
    if only_peers_may_call:
        entity.require_calling_aet = [peer.ae_title for peer in peers]
    entity.maximum_associations = dicom.maximum_associations
    entity.maximum_pdu_size = dicom.maximum_pdu_size
    entity.acse_timeout = dicom.acse_timeout
    entity.connection_timeout = dicom.acse_timeout
    entity.dimse_timeout = dicom.dimse_timeout
    entity.network_timeout = dicom.network_timeout
    return entity


def event_handlers(
    storage: Storage, ae_title: str, peers: Iterable[Peer] = (), commitments: CommitmentRequests | None = None
) -> list[EventHandlerType]:
    """All our services for `evt_handlers` of an application entity, ours or anybody else's.

    Storage, Query/Retrieve and Verification SOP Classes need no supported contexts there: each association gets them
    when it is asked for. `ae_title` is what answers name as Retrieve AE Title; C-MOVE sends to `peers` only. Requests
    for storage commitment go to `commitments`; without, there is no such service.
    """
    by_ae_title = {peer.ae_title: peer for peer in peers}
    handlers: Handlers = {
        C_STORE: partial(handle_c_store, storage=storage),
        C_FIND: partial(handle_c_find, storage=storage, ae_title=ae_title, recent=recent_answers(storage)),
        C_MOVE: partial(handle_c_move, storage=storage, peers=by_ae_title),
        C_GET: partial(handle_c_get, storage=storage),
    }
    if commitments is not None:
        handlers = {**handlers, N_ACTION: partial(handle_n_action, commitments=commitments)}
    return [
        (evt.EVT_REQUESTED, _handle_requested, [handlers, storage]),
        (evt.EVT_SOP_EXTENDED, _handle_sop_extended),
        (evt.EVT_ESTABLISHED, _handle_established),
        (evt.EVT_REJECTED, _log_rejection),
        (evt.EVT_RELEASED, _handle_end, ["released"]),
        (evt.EVT_ABORTED, _handle_end, ["aborted"]),
    ]


def listen(
    entity: AE,
    address: tuple[str, int],
    handlers: Sequence[EventHandlerType],
    listener: socket.socket | None = None,
    place: ReceiverPlace | None = None,
) -> AssociationServer:
    """Accepts associations at `address` (port 0: any free one) in threads of their own, until `drain`.

    A `listener` is a socket that listens there already, for this process and others, among which `place` is ours.
    """
    place = place or ReceiverPlace(AssociationCounts(1), 0)
    if isinstance(entity, ApplicationEntity):
        entity.place = place
    server = AssociationServer(
        entity,
        address,
        entity.ae_title,
        entity.supported_contexts,
        evt_handlers=list(handlers),
        request_handler=BoundedRequestHandler,
        listener=listener,
        place=place,
    )
    entity._servers.append(server)
    threading.Thread(
        target=server.serve_forever, name="fileroom-dicom", kwargs={"poll_interval": 0.1}, daemon=True
    ).start()
    return server


def drain(server: AssociationServer, seconds: float) -> None:
    """Stops accepting, lets associations finish for at most `seconds`, then aborts those that are left."""
    if server in server.ae._servers:
        server.shutdown()
    deadline = time.monotonic() + seconds
    idle_since: dict[Association, float] = {}
    while (now := time.monotonic()) < deadline:
        associations = server.active_associations
        if not associations:
            return
        for association in associations:
            if is_serving(association):
                idle_since.pop(association, None)
            elif now - idle_since.setdefault(association, now) > _IDLE_WHILE_DRAINING:
                _abort(association)
        time.sleep(_DRAIN_INTERVAL)
    for association in server.active_associations:
        _log.warning("association with %s aborted: it did not finish in time", association.remote["address"])
        _abort(association)
    deadline = time.monotonic() + _ABORT_SECONDS
    while server.active_associations and time.monotonic() < deadline:
        time.sleep(_DRAIN_INTERVAL)
    for association in server.active_associations:
        # its peer does not even read the A-ABORT
        if association.dul.socket is not None:
            association.dul.socket.close()


def _abort(association: Association) -> None:
    # without waiting: a thread that hangs must not keep the process from ending
    association.abort(block=False)


def _quieten_pynetdicom() -> None:
    # It would decode and print every identifier, with what is in it, and describe every PDU.
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    _config.LOG_HANDLER_LEVEL = "none"


def _handle_requested(event: evt.Event, handlers: Handlers, storage: Storage) -> None:
    association = event.assoc
    begin_record(association)
    if not has_usable_contexts(association):
        # PS3.8 9.3.4: permanent, by the service user, no reason given
        association.acse.send_reject(0x01, 0x01, 0x01)
        association.is_rejected = True
        _log_rejection(event)
        return
    accept_storage(association, storage_commitment=N_ACTION in handlers)
    take_over(association, handlers)
    if isinstance(association.dimse, BoundedReceiver):
        association.dimse.begin_object = partial(begin_object, association=association, storage=storage)


def _handle_sop_extended(event: evt.Event) -> dict[UID, bytes]:
    return extended_negotiation(event.assoc.requestor.sop_class_extended)


def _handle_established(event: evt.Event) -> None:
    if record := record_of(event.assoc):
        record.established()
    _log_event(event, "established")


def _handle_end(event: evt.Event, how: str) -> None:
    _log_event(event, how)
    if record := record_of(event.assoc):
        record.ended(how)


def _log_event(event: evt.Event, what: str) -> None:
    peer = event.assoc.requestor
    _log.info("association with %s at %s %s", str(peer.ae_title).strip(" "), peer.address, what)


def _log_rejection(event: evt.Event) -> None:
    association = event.assoc
    rejection = association.acceptor.primitive
    if rejection is None:
        return
    codes = (rejection.result, rejection.result_source, rejection.diagnostic)
    if record := record_of(association):
        record.rejected(codes)
    reason = _REJECTIONS.get(codes, "result {codes[0]}, source {codes[1]}, reason {codes[2]} of PS3.8 9.3.4")
    peer = association.requestor
    _log.warning(
        "association with %s at %s rejected: %s",
        str(peer.ae_title).strip(" "),
        peer.address,
        reason.format(
            own=str(association.acceptor.ae_title).strip(" "),
            maximum=association.ae.maximum_associations,
            codes=codes,
        ),
    )
