"""What the audit log is told of DIMSE: searches, retrievals, what associations bring, and those that are rejected."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from functools import partial

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_MOVE, C_STORE

from fileroom_server.dimse import Handler, Request, Response
from fileroom_server.reception import Refusal
from fileroom_server.status import NOT_AUTHORIZED, SUCCESS, Service, status_of
from fileroom_storage.index.audit.event import Action, Actor, AuditEvent, EventId, EventType, Outcome
from fileroom_storage.index.audit.recorder import AuditLog
from fileroom_storage.index.audit.transfer import Transfer
from fileroom_storage.storage import Storage, StoredInstance

# PS3.7 C: what is refused or out of resources, and what is an error of ours, is more than a wrong request
_SERIOUS = frozenset({0x0110, 0xA700, 0xA701, 0xA702})
_CUT_SHORT = "the peer went away or cancelled"
# of a storage commitment, the action information tells which instances it is about
_EVENTS: dict[Service, tuple[EventId, Action]] = {
    Service.C_STORE: (EventId.DICOM_INSTANCES_TRANSFERRED, Action.CREATE),
    Service.C_FIND: (EventId.QUERY, Action.EXECUTE),
    Service.C_MOVE: (EventId.DICOM_INSTANCES_TRANSFERRED, Action.READ),
    Service.C_GET: (EventId.DICOM_INSTANCES_TRANSFERRED, Action.READ),
    Service.N_ACTION: (EventId.DICOM_INSTANCES_ACCESSED, Action.READ),
}


def actor_of(association: Association) -> Actor:
    """Who has called, from where; the same for as long as the association lasts."""
    known: Actor | None = vars(association).get("fileroom_actor")
    if known is None:
        requested = association.requestor.primitive
        known = vars(association)["fileroom_actor"] = Actor(
            "DIMSE",
            str(association.requestor.ae_title).strip(" "),
            association.requestor.address,
            str(requested.called_ae_title).strip(" ") if requested else None,
        )
    return known


def store_transfer(association: Association, storage: Storage) -> Transfer | None:
    """What counts the objects that an association brings, until `end_transfers`."""
    transfer = storage.audit.transfer(
        actor_of(association), EventId.DICOM_INSTANCES_TRANSFERRED, Action.CREATE, {"by": "C-STORE"}
    )
    if transfer is not None:
        vars(association)["fileroom_store_transfer"] = transfer
    return transfer


def end_store_transfer(association: Association) -> None:
    """To be called when an association ends; may be called again."""
    transfer: Transfer | None = vars(association).pop("fileroom_store_transfer", None)
    if transfer is not None:
        transfer.end()


def record_rejection(event: evt.Event, log: AuditLog) -> None:
    """An association that was rejected: a security alert (PS3.15 A.5.3.11)."""
    association = event.assoc
    rejection = association.acceptor.primitive
    if rejection is None:
        return
    codes = f"{rejection.result}, {rejection.result_source}, {rejection.diagnostic}"
    _tally(
        log,
        AuditEvent(
            EventId.SECURITY_ALERT,
            Action.EXECUTE,
            actor_of(association),
            Outcome.MINOR_FAILURE,
            EventType.NODE_AUTHENTICATION,
            detail={"reason": f"association rejected: result, source, reason {codes} (PS3.8 9.3.4)"},
        ),
        codes,
    )


def record_refusal(refusal: Refusal, log: AuditLog) -> None:
    """Somebody who was turned away before there was an association."""
    codes = ", ".join(map(str, refusal.codes))
    told = f" (result, source, reason {codes} of PS3.8 9.3.4)" if codes else ""
    _tally(
        log,
        AuditEvent(
            EventId.SECURITY_ALERT,
            Action.EXECUTE,
            Actor("DIMSE", refusal.calling_ae_title.strip(" ") or None, refusal.address),
            Outcome.MINOR_FAILURE,
            EventType.NODE_AUTHENTICATION,
            detail={"reason": f"not let in: {refusal.reason}{told}"},
        ),
        refusal.reason,
    )


def audited(handler: Handler, service: Service, log: AuditLog) -> Handler:
    """The same handler, whose requests are recorded as they are answered."""
    if not log.enabled:
        return handler
    if service is Service.C_STORE:
        return partial(_store, handler, log)
    return partial(_recorded, handler, log, service)


def _store(handler: Handler, log: AuditLog, request: Request) -> Iterator[Response]:
    """Storage counts what it has stored; what it could not store is counted here."""
    try:
        yield from handler(request)
    except Exception as error:
        status = status_of(error, Service.C_STORE)
        transfer: Transfer | None = vars(request.association).get("fileroom_store_transfer")
        message = request.message
        if transfer is None:
            # not even begun
            _record(log, request, *_EVENTS[Service.C_STORE], status.code)
        elif isinstance(message, C_STORE):
            sop_class = str(message.AffectedSOPClassUID or "")
            transfer.count_failed(_outcome(status.code), f"status {status.code:04X}", None, sop_class)
        raise


def _recorded(handler: Handler, log: AuditLog, service: Service, request: Request) -> Iterator[Response]:
    """One event a request; a retrieval that sends something is counted as it does so."""
    code: int | None = None
    try:
        with closing(_generator(handler(request))) as responses:
            for response in responses:
                if not response.status.pending:
                    code = response.status.code
                yield response
    except Exception as error:
        code = status_of(error, service).code
        raise
    finally:
        if not vars(request.association).pop("fileroom_retrieved", False):
            _record(log, request, *_EVENTS[service], code)


class Retrieval:
    """What a C-MOVE or C-GET sends, counted by study."""

    def __init__(self, request: Request, storage: Storage, instances: Iterable[StoredInstance]) -> None:
        detail: dict[str, str | int] = {"by": "C-GET"}
        if isinstance(request.message, C_MOVE):
            detail = {"by": "C-MOVE", "destination": str(request.message.MoveDestination or "").strip(" ")}
        studies = dict.fromkeys(instance.study_instance_uid for instance in instances)
        self._transfer: Transfer | None = None
        if studies:
            vars(request.association)["fileroom_retrieved"] = True
            self._transfer = storage.audit.transfer(
                actor_of(request.association), EventId.DICOM_INSTANCES_TRANSFERRED, Action.READ, detail
            )
        if self._transfer is not None:
            self._transfer.begin(studies)

    def count(self, instance: StoredInstance, *, is_sent: bool) -> None:
        transfer = self._transfer
        if transfer is None:
            return
        if is_sent:
            transfer.count(instance.study_instance_uid, instance.sop_class_uid)
        else:
            reason = "sub-operations failed"
            transfer.count_failed(Outcome.MINOR_FAILURE, reason, instance.study_instance_uid, instance.sop_class_uid)

    def close(self) -> None:
        if self._transfer is not None:
            self._transfer.end()


def record_echo_denied(association: Association, log: AuditLog) -> None:
    """A C-ECHO that a peer may not ask for. One that it may ask for touches nothing, and is no event of PS3.15 A.5."""
    reason = f"C-ECHO: status {NOT_AUTHORIZED:04X}"
    alert = (EventId.SECURITY_ALERT, Action.EXECUTE, actor_of(association), Outcome.MINOR_FAILURE)
    _tally(log, AuditEvent(*alert, EventType.USE_OF_RESTRICTED_FUNCTION, detail={"reason": reason}), reason)


def _record(log: AuditLog, request: Request, event: EventId, action: Action, code: int | None) -> None:
    """One row for the same peer, query and outcome in a minute. `code` is None where there was no last response."""
    message = request.message
    outcome, event_type = _outcome(code), None
    if code == NOT_AUTHORIZED:
        # as HTTP's 403
        event, action, event_type = EventId.SECURITY_ALERT, Action.EXECUTE, EventType.USE_OF_RESTRICTED_FUNCTION
    query = None if isinstance(message, C_STORE) else bytes(request.data_set)
    detail: dict[str, str | int] = {"sop_class_uid": str(request.sop_class_uid or "")}
    if query is not None:
        detail["transfer_syntax_uid"] = str(request.transfer_syntax)
    if isinstance(message, C_MOVE):
        detail["destination"] = str(message.MoveDestination or "").strip(" ")
    if not isinstance(message, C_FIND):
        detail["by"] = type(message).__name__.replace("_", "-")
    if outcome is not Outcome.SUCCESS:
        detail["reason"] = _CUT_SHORT if code is None or code == 0xFE00 else f"status {code:04X}"
    _tally(
        log,
        AuditEvent(event, action, actor_of(request.association), outcome, event_type, query=query, detail=detail),
        (str(request.sop_class_uid), str(request.transfer_syntax), query, detail.get("destination")),
    )


def _tally(log: AuditLog, event: AuditEvent, what: object) -> None:
    log.tally((event.actor, event.event, event.action, event.outcome, what), lambda: event)


def _outcome(code: int | None) -> Outcome:
    if code is None:
        return Outcome.MINOR_FAILURE
    if code == SUCCESS.code or code & 0xF000 == 0xB000:  # PS3.7 C.4: a warning
        return Outcome.SUCCESS
    return Outcome.SERIOUS_FAILURE if code in _SERIOUS else Outcome.MINOR_FAILURE


def _generator(responses: Iterable[Response]) -> Generator[Response, None, None]:
    yield from responses
