"""What the audit log is told of each request: who asked for what, from where, and how it was answered (PS3.15 A.5)."""

from collections import Counter
from collections.abc import Hashable, Mapping
from http import HTTPStatus

from flask import Blueprint, Response, g, request

from fileroom_storage.index.audit.event import Action, Actor, AuditEvent, EventId, EventType, Outcome
from fileroom_storage.index.audit.recorder import AuditLog
from fileroom_storage.index.audit.transfer import Transfer
from fileroom_storage.storage import Storage, StoredInstance

# in the WSGI environment: what counts the same request when it is answered again from memory
AUDIT_TALLY = "fileroom.audit_tally"

# By the name of the endpoint. Whoever takes objects has them transferred; whoever looks at parts of them accesses them.
_READ: Mapping[str, tuple[EventId, Action]] = {
    "search_for_studies": (EventId.QUERY, Action.EXECUTE),
    "search_for_series": (EventId.QUERY, Action.EXECUTE),
    "search_for_instances": (EventId.QUERY, Action.EXECUTE),
    "deletions": (EventId.QUERY, Action.EXECUTE),
    "deletion": (EventId.QUERY, Action.EXECUTE),
    "retrieve": (EventId.DICOM_INSTANCES_TRANSFERRED, Action.READ),
    "metadata": (EventId.DICOM_INSTANCES_ACCESSED, Action.READ),
    "frames": (EventId.DICOM_INSTANCES_ACCESSED, Action.READ),
    "all_bulk_data": (EventId.DICOM_INSTANCES_ACCESSED, Action.READ),
    "bulk_data": (EventId.DICOM_INSTANCES_ACCESSED, Action.READ),
    "rendered": (EventId.DICOM_INSTANCES_ACCESSED, Action.READ),
    "thumbnail": (EventId.DICOM_INSTANCES_ACCESSED, Action.READ),
}
# Storage records these as it does them; what is left is that they were not done.
_CHANGES: Mapping[str, tuple[EventId, Action]] = {
    "store": (EventId.DICOM_INSTANCES_TRANSFERRED, Action.CREATE),
    "store_to_study": (EventId.DICOM_INSTANCES_TRANSFERRED, Action.CREATE),
    "delete": (EventId.DICOM_INSTANCES_ACCESSED, Action.DELETE),
    "reject": (EventId.DICOM_INSTANCES_ACCESSED, Action.DELETE),
    "restore": (EventId.DICOM_INSTANCES_ACCESSED, Action.UPDATE),
}


def register_audit(blueprint: Blueprint, storage: Storage) -> None:
    """Has the audit log of `storage` told of every request to the resources of this blueprint."""
    if not storage.audit.enabled:
        return

    @blueprint.after_request
    def audit(response: Response) -> Response:
        _audit(storage.audit, response)
        return response


def actor() -> Actor:
    """Who makes this request: the name behind its token or key, where there is one."""
    principal = getattr(g, "principal", None)
    name = getattr(principal, "name", None)
    return Actor("HTTP", str(name) if name else None, request.remote_addr)


def located(instances: list[StoredInstance]) -> None:
    """To be told of what a request is about."""
    g.fileroom_located = instances


def store_transfer(storage: Storage) -> Transfer | None:
    """What counts the objects that this request brings."""
    g.fileroom_store_is_counted = True
    return storage.audit.transfer(
        actor(), EventId.DICOM_INSTANCES_TRANSFERRED, Action.CREATE, {"path": request.path, "by": "STOW-RS"}
    )


def _audit(log: AuditLog, response: Response) -> None:
    status = response.status_code
    if status == HTTPStatus.UNAUTHORIZED:
        _record(log, status, EventId.USER_AUTHENTICATION, Action.EXECUTE, EventType.LOGIN)
        return
    if status == HTTPStatus.FORBIDDEN:
        _record(log, status, EventId.SECURITY_ALERT, Action.EXECUTE, EventType.USE_OF_RESTRICTED_FUNCTION)
        return
    endpoint = (request.endpoint or "").rpartition(".")[2]
    what = _READ.get(endpoint) if request.method in ("GET", "HEAD") else None
    if what is None and status >= HTTPStatus.BAD_REQUEST and not g.get("fileroom_store_is_counted"):
        what = _CHANGES.get(endpoint)
    if what is not None:
        _record(log, status, *what)


def http_outcome(status: int) -> Outcome:
    """What could be asked for better is a minor failure, what the server could not do a serious one."""
    if status < HTTPStatus.BAD_REQUEST:
        return Outcome.SUCCESS
    return Outcome.MINOR_FAILURE if status < HTTPStatus.INTERNAL_SERVER_ERROR else Outcome.SERIOUS_FAILURE


def _record(log: AuditLog, status: int, event: EventId, action: Action, event_type: EventType | None = None) -> None:
    """One row for the same user, event and study, or query, in a minute."""
    who, outcome = actor(), http_outcome(status)
    study = (request.view_args or {}).get("study") or request.args.get("studyUID")
    # a request that was refused, or found nothing, is told apart by its address; parts of a study are one access to it
    is_whole = event is EventId.QUERY or outcome is not Outcome.SUCCESS or study is None
    path = request.path if is_whole else ""
    query = request.query_string if event is EventId.QUERY else None
    key: Hashable = (who, event, action, outcome, study, path, query)
    classes: Mapping[str, int] = {}
    instances: list[StoredInstance] | None = g.get("fileroom_located")
    if instances and outcome is Outcome.SUCCESS:
        one = len(instances) == 1
        classes = {instances[0].sop_class_uid: 1} if one else Counter(found.sop_class_uid for found in instances)

    def make() -> AuditEvent:
        detail = {"method": request.method, **({"path": path} if path else {})}
        if outcome is not Outcome.SUCCESS:
            detail["reason"] = f"answered with {status}"
        return AuditEvent(event, action, who, outcome, event_type, study_instance_uid=study, query=query, detail=detail)

    tally = log.tally(key, make, classes)
    if tally is not None and outcome is Outcome.SUCCESS:
        request.environ[AUDIT_TALLY] = tally
