"""What the audit log says of deletions, their undoing and their purge."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from ..deletions import Deletion
from ..tables import Tables
from .event import Action, Actor, AuditEvent, EventId


def deletion_event(
    deletion: Deletion, action: Action, actor: Actor, patient_id: str | None = None, reason: str | None = None
) -> AuditEvent:
    """PS3.15 A.5.3.6: a study that is deleted is an event of its own; a part of one is instances that are accessed."""
    is_study = action is Action.DELETE and deletion.series_instance_uid is None and deletion.sop_instance_uid is None
    parts: dict[str, str | int] = {
        name: uid
        for name, uid in (
            ("series_instance_uid", deletion.series_instance_uid),
            ("sop_instance_uid", deletion.sop_instance_uid),
            ("reason", reason),
        )
        if uid is not None
    }
    return AuditEvent(
        EventId.DICOM_STUDY_DELETED if is_study else EventId.DICOM_INSTANCES_ACCESSED,
        action,
        actor,
        study_instance_uid=deletion.study_instance_uid,
        patient_id=patient_id,
        sop_classes={"": deletion.number_of_objects},
        detail={"deletion": deletion.pk, **parts},
    )


def patient_of(connection: Connection, tables: Tables, condition: ColumnElement[bool]) -> str | None:
    """The Patient ID of the instances that meet a condition; they are of one study."""
    instance, series, study, patient = tables.instance, tables.series, tables.study, tables.patient
    joined = instance.join(series, instance.c.series_pk == series.c.pk).join(study, series.c.study_pk == study.c.pk)
    joined = joined.join(patient, study.c.patient_pk == patient.c.pk)
    statement = select(patient.c.patient_id).select_from(joined).where(condition).limit(1)
    found: str | None = connection.execute(statement).scalar()
    return found


def purge_events(connection: Connection, tables: Tables, deletion_pk: int, actor: Actor) -> list[AuditEvent]:
    """An event for each study of which a deletion keeps objects, before they go for good."""
    kept: Any = tables.deleted_object
    counts = (
        select(kept.c.study_instance_uid, func.count())
        .where(kept.c.deletion_pk == deletion_pk)
        .group_by(kept.c.study_instance_uid)
    )
    return [
        AuditEvent(
            EventId.DICOM_INSTANCES_ACCESSED,
            Action.DELETE,
            actor,
            study_instance_uid=study,
            sop_classes={"": number},
            detail={"deletion": deletion_pk, "reason": "purged"},
        )
        for study, number in connection.execute(counts)
    ]
