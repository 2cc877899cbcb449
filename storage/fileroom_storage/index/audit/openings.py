"""What the transaction that takes objects in writes to the audit log: that they begin to come, and what they reject."""

from collections.abc import Sequence

from sqlalchemy import Connection

from ..arrival import Arrival
from ..ingest import Outcome
from ..tables import Tables
from .chain import append
from .event import Action, AuditEvent, EventId
from .transfer import Transfer

Opened = list[tuple[Transfer, str]]


def append_openings(
    connection: Connection, tables: Tables, arrivals: Sequence[Arrival], outcomes: Sequence[Outcome]
) -> Opened:
    """To be called last in the transaction; what it returns has begun once that is committed."""
    opened: Opened = []
    events: list[AuditEvent] = []
    for arrival, outcome in zip(arrivals, outcomes, strict=True):
        transfer = arrival.provenance.transfer
        if transfer is None:
            continue
        study = outcome.study_instance_uid or arrival.study_instance_uid
        if not transfer.has_begun(study) and (transfer, study) not in opened:
            opened.append((transfer, study))
            events.append(transfer.opening(study, arrival.patient_id))
        if outcome.rejected:
            events += _rejections(transfer, arrival, outcome)
    append(connection, tables, events)
    return opened


def set_begun(opened: Opened) -> None:
    for transfer, study in opened:
        transfer.set_begun([study])


def _rejections(transfer: Transfer, note: Arrival, outcome: Outcome) -> list[AuditEvent]:
    """An event for each study from which a rejection note has taken something out of use."""
    gone: dict[str, int] = {}
    for removed in outcome.rejected:
        gone[removed.study_instance_uid] = gone.get(removed.study_instance_uid, 0) + 1
    return [
        AuditEvent(
            EventId.DICOM_INSTANCES_ACCESSED,
            Action.DELETE,
            transfer.actor,
            study_instance_uid=study,
            patient_id=note.patient_id,
            sop_classes={"": number},
            detail={"reason": "rejected", "rejection_note_uid": note.sop_instance_uid},
        )
        for study, number in gone.items()
    ]
