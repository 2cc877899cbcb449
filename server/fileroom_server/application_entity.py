"""The application entity: pynetdicom's, made from the configuration, with our services mounted in it."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE, C_STORE, N_ACTION
from pynetdicom.events import EventHandlerType

from fileroom_server.access import AccessRules, NotAuthorized, allow, certificate_of, check_allowed
from fileroom_server.association_counts import AssociationCounts, ReceiverPlace
from fileroom_server.association_record import begin_record, record_of
from fileroom_server.c_find import handle_c_find, recent_answers
from fileroom_server.c_get import handle_c_get
from fileroom_server.c_move import handle_c_move
from fileroom_server.c_store import begin_object, handle_c_store
from fileroom_server.config import DicomConfiguration, Peer
from fileroom_server.config_tls import DicomTlsConfiguration
from fileroom_server.dimse import Handlers, checked, is_serving, take_over
from fileroom_server.dimse_audit import audited, end_store_transfer, record_echo_denied, record_rejection
from fileroom_server.negotiation import (
    accept_storage,
    denied_services,
    extended_negotiation,
    has_usable_contexts,
    supported_contexts,
)
from fileroom_server.received_messages import BoundedReceiver
from fileroom_server.reception import Refusal
from fileroom_server.status import Service, status_of
from fileroom_server.storage_commitment import CommitmentRequests, handle_n_action
from fileroom_server.tls import server_tls
from fileroom_server.transport import AssociationServer
from fileroom_storage.index.audit.recorder import AuditLog
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
}


# pynetdicom counts what is left of associations that have ended, and those of its own process; `Reception` counts right
_COUNTED_BY_RECEPTION = 1 << 30


class ApplicationEntity(AE):
    """pynetdicom's, with what it does not know of."""

    dicom = DicomConfiguration()
    minimum_rate = DicomConfiguration().minimum_rate
    maximum_object_size = DicomConfiguration().maximum_object_size


def create_application_entity(
    dicom: DicomConfiguration, peers: Iterable[Peer] = (), *, only_peers_may_call: bool = False
) -> ApplicationEntity:
    """An application entity that knows whom it lets in and what it takes; `listen` opens its port."""
    _quieten_pynetdicom()
    entity = ApplicationEntity(ae_title=dicom.ae_title)
    entity.supported_contexts = supported_contexts()
    entity.require_called_aet = dicom.require_called_ae_title
    if only_peers_may_call:
        entity.require_calling_aet = [peer.ae_title for peer in peers]
    entity.dicom = dicom
    entity.minimum_rate = dicom.minimum_rate
    entity.maximum_object_size = dicom.maximum_object_size
    entity.maximum_associations = _COUNTED_BY_RECEPTION
    entity.maximum_pdu_size = dicom.maximum_pdu_size
    entity.acse_timeout = dicom.acse_timeout
    entity.connection_timeout = dicom.acse_timeout
    entity.dimse_timeout = dicom.dimse_timeout
    entity.network_timeout = dicom.network_timeout
    return entity


def event_handlers(
    storage: Storage,
    ae_title: str,
    peers: Iterable[Peer] = (),
    commitments: CommitmentRequests | None = None,
    *,
    own_tls: DicomTlsConfiguration | None = None,
    maximum_find_results: int = 0,
) -> list[EventHandlerType]:
    """All our services for `evt_handlers` of an application entity, ours or anybody else's.

    Storage, Query/Retrieve and Verification SOP Classes need no supported contexts there: each association gets them
    when it is asked for. `ae_title` is what answers name as Retrieve AE Title; C-MOVE sends to `peers` only, over TLS
    with the certificate of `own_tls`, and whoever calls with the AE title of one must be it. Requests for storage
    commitment go to `commitments`; without, there is no such service. A C-FIND returns at most `maximum_find_results`
    matches; 0: all.
    """
    by_ae_title = {peer.ae_title: peer for peer in peers}
    rules = AccessRules(by_ae_title.values())
    log = storage.audit
    find = partial(
        handle_c_find,
        storage=storage,
        ae_title=ae_title,
        recent=recent_answers(storage),
        maximum_results=maximum_find_results,
    )
    move = partial(handle_c_move, storage=storage, peers=by_ae_title, own_tls=own_tls or DicomTlsConfiguration())
    handlers: Handlers = {
        C_STORE: audited(checked(partial(handle_c_store, storage=storage)), Service.C_STORE, log),
        C_FIND: audited(checked(find), Service.C_FIND, log),
        C_MOVE: audited(checked(move), Service.C_MOVE, log),
        C_GET: audited(checked(partial(handle_c_get, storage=storage)), Service.C_GET, log),
    }
    if commitments is not None:
        action = partial(handle_n_action, commitments=commitments)
        handlers = {**handlers, N_ACTION: audited(checked(action), Service.N_ACTION, log)}
    return [
        (evt.EVT_REQUESTED, _handle_requested, [handlers, storage, rules]),
        (evt.EVT_C_ECHO, _handle_c_echo, [log]),
        (evt.EVT_SOP_EXTENDED, _handle_sop_extended),
        (evt.EVT_ESTABLISHED, _handle_established),
        (evt.EVT_REJECTED, _handle_rejected, [log]),
        (evt.EVT_RELEASED, _handle_end, ["released"]),
        (evt.EVT_ABORTED, _handle_end, ["aborted"]),
        (evt.EVT_CONN_CLOSE, _handle_closed),
    ]


def listen(
    entity: ApplicationEntity,
    address: tuple[str, int],
    handlers: Sequence[EventHandlerType],
    listener: socket.socket | None = None,
    place: ReceiverPlace | None = None,
    refused: Callable[[Refusal], None] = lambda _refusal: None,
) -> AssociationServer:
    """Accepts associations at `address` (port 0: any free one) in threads of their own, until `drain`.

    A `listener` is a socket that listens there already, for this process and others, among which `place` is ours.
    `refused` is told, in the accepting thread, who was turned away before there was an association, which has
    EVT_REJECTED for the same. Raises TlsUnusable.
    """
    server = AssociationServer(
        entity,
        address,
        entity.ae_title,
        entity.supported_contexts,
        evt_handlers=list(handlers),
        listener=listener,
        place=place or ReceiverPlace(association_counts(entity.dicom, 1), 0),
        tls=server_tls(entity.dicom.tls),
        tls_is_required=entity.dicom.tls.required,
        refused=refused,
    )
    entity._servers.append(server)
    threading.Thread(
        target=server.serve_forever, name="fileroom-dicom", kwargs={"poll_interval": 0.1}, daemon=True
    ).start()
    return server


def association_counts(dicom: DicomConfiguration, processes: int) -> AssociationCounts:
    """What so many receiving processes share."""
    return AssociationCounts(processes, dicom.maximum_associations, dicom.maximum_associations_per_address)


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
        # its peer does not even read the A-ABORT; its thread is at work with TLS, if there is any, and closes it
        connection = association.dul.socket.socket if association.dul.socket is not None else None
        if connection is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _abort(association: Association) -> None:
    # without waiting: a thread that hangs must not keep the process from ending
    association.abort(block=False)


def _quieten_pynetdicom() -> None:
    # It would decode and print every identifier, with what is in it, and describe every PDU.
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    _config.LOG_HANDLER_LEVEL = "none"


def _handle_requested(event: evt.Event, handlers: Handlers, storage: Storage, rules: AccessRules) -> None:
    association = event.assoc
    begin_record(association)
    if not has_usable_contexts(association):
        # PS3.8 9.3.4: permanent, by the service user, no reason given
        _reject(event, 0x01)
        return
    title = _calling_ae_title(association)
    refusal = rules.refusal(title, association.requestor.address, certificate_of(association))
    if refusal is not None:
        # calling-AE-title-not-recognized
        _reject(event, 0x03, refusal)
        return
    allowed = rules.services(title)
    allow(association, allowed)
    for service in sorted(denied_services(association, allowed)):
        _log.warning(
            "association with %s at %s: it may not use the service %s; see its services under [[peers]]",
            title.strip(" "),
            association.requestor.address,
            service,
        )
    accept_storage(association, allowed, storage_commitment=N_ACTION in handlers)
    take_over(association, handlers)
    if isinstance(association.dimse, BoundedReceiver):
        association.dimse.begin_object = partial(begin_object, association=association, storage=storage)


def _reject(event: evt.Event, reason: int, told: str = "") -> None:
    association = event.assoc
    association.requestor.ae_title = _calling_ae_title(association)
    vars(association)["fileroom_refusal"] = told
    association.acse.send_reject(0x01, 0x01, reason)
    evt.trigger(association, evt.EVT_REJECTED, {})
    association.kill()  # once it has been sent


def _calling_ae_title(association: Association) -> str:
    requested = association.requestor.primitive
    return str(requested.calling_ae_title) if requested is not None else ""


def _handle_c_echo(event: evt.Event, log: AuditLog) -> int:
    try:
        check_allowed(event.assoc, event.request)
    except NotAuthorized as error:
        record_echo_denied(event.assoc, log)
        return status_of(error, Service.C_ECHO).code
    return 0x0000


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


def _handle_closed(event: evt.Event) -> None:
    end_store_transfer(event.assoc)


def _handle_rejected(event: evt.Event, log: AuditLog) -> None:
    record_rejection(event, log)
    _log_rejection(event)


def _log_rejection(event: evt.Event) -> None:
    association = event.assoc
    rejection = association.acceptor.primitive
    if rejection is None:
        return
    codes = (rejection.result, rejection.result_source, rejection.diagnostic)
    told = vars(association).get("fileroom_refusal")
    reason = told or _REJECTIONS.get(codes, "result {codes[0]}, source {codes[1]}, reason {codes[2]} of PS3.8 9.3.4")
    if record := record_of(association):
        record.rejected(codes)
    peer = association.requestor
    _log.warning(
        "association with %s at %s rejected: %s",
        str(peer.ae_title).strip(" "),
        peer.address,
        reason.format(
            own=str(association.acceptor.ae_title).strip(" "),
            codes=codes,
        ),
    )
