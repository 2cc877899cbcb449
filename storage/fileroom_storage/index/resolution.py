"""A person's answer to a conflict, carried out in the index."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, select, update

from ..attributes import Level
from ..errors import InstanceNotFound, InvalidQuery
from .arrival import Arrival
from .conflicts import ConflictState, ConflictType
from .deletions import DeletionReason, Retention, begin, conflict_copies, keep_objects, settle
from .entities import Entity, IndexChanged, create, delete_names, insert_searchable, lock, save
from .ingest import ingest
from .prepared import insert_row
from .removal import delete_entity, recount_sets, remove_instances, under
from .rows import dump_residue
from .tables import DEFAULT_ISSUER, NO_PATIENT_ID, Tables


class Resolution(StrEnum):
    KEEP = "keep"  # what the index says stays
    ACCEPT = "accept"  # what the object says takes its place
    DELETE = "delete"  # nobody's answer: the instance was deleted, and the conflict with it


@dataclass(frozen=True, slots=True)
class Conflict:
    """A recorded conflict. `differences`: keyword → what the index said, what the object said."""

    pk: int
    type: ConflictType
    state: ConflictState
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    differences: dict[str, tuple[Any, Any]]
    location: str | None
    transfer_syntax_uid: str | None
    data_set_offset: int | None
    digest: str | None
    size: int | None
    occurrences: int
    detected_at: dt.datetime
    resolved_at: dt.datetime | None
    resolution: Resolution | None


def list_conflicts(engine: Engine, tables: Tables, state: ConflictState | None) -> Iterator[Conflict]:
    table = tables.conflict
    statement = select(table).order_by(table.c.pk)
    if state is not None:
        statement = statement.where(table.c.state == state.value)
    with engine.connect() as connection:
        for row in connection.execute(statement):
            yield _conflict(row._mapping)


def read_conflict(connection: Connection, tables: Tables, pk: int) -> Conflict:
    table = tables.conflict
    row = connection.execute(select(table).where(table.c.pk == pk).with_for_update()).one_or_none()
    if row is None:
        raise InstanceNotFound(f"there is no conflict {pk}; `fileroom conflicts list` shows those there are")
    return _conflict(row._mapping)


def _conflict(row: Any) -> Conflict:
    values = {name: row[name] for name in Conflict.__dataclass_fields__}
    values["type"] = ConflictType(row["type"])
    values["state"] = ConflictState(row["state"])
    values["differences"] = {keyword: tuple(pair) for keyword, pair in orjson.loads(row["differences"]).items()}
    values["resolution"] = Resolution(row["resolution"]) if row["resolution"] else None
    return Conflict(**values)


def resolve(
    connection: Connection,
    tables: Tables,
    conflict: Conflict,
    resolution: Resolution,
    arrival: Arrival | None,
    retention: Retention,
    now: dt.datetime,
) -> None:
    """Carries out the resolution. `arrival` is the object that brought the conflict, needed to accept it.

    What is in use no longer can be restored for as long as what was deleted.
    """
    if resolution is Resolution.DELETE:
        raise InvalidQuery("a conflict is resolved with `keep` or `accept`")
    if conflict.state is ConflictState.RESOLVED:
        raise InvalidQuery(f"conflict {conflict.pk} is resolved already")
    if resolution is Resolution.KEEP:
        if conflict.location is not None:
            _put_aside(connection, tables, conflict, retention, now)
    else:
        if arrival is None:
            raise InstanceNotFound(
                "the object that brought the conflict is gone; resolve with `keep`, or send the object again"
            )
        if conflict.location is not None and conflict.location != arrival.stored_object.location:
            raise InvalidQuery(f"conflict {conflict.pk} has just changed; look at it, then resolve it again")
        if conflict.type is ConflictType.CONTENT:
            _accept_content(connection, tables, arrival, retention, now)
        else:
            _ACCEPT[conflict.type](connection, tables, arrival, now)
    connection.execute(
        update(tables.conflict).where(tables.conflict.c.pk == conflict.pk),
        {
            "state": ConflictState.RESOLVED.value,
            "resolution": resolution.value,
            "resolved_at": now,
            "location": None,
        },
    )


def _put_aside(
    connection: Connection, tables: Tables, conflict: Conflict, retention: Retention, now: dt.datetime
) -> None:
    deletion_pk = begin(connection, tables, retention, DeletionReason.CONFLICT, _scope(conflict), now)
    keep_objects(connection, tables, conflict_copies(tables, deletion_pk, [conflict.pk]))
    settle(connection, tables, deletion_pk)


def _scope(subject: Conflict | Arrival) -> dict[str, str | None]:
    return {
        "study_instance_uid": subject.study_instance_uid,
        "series_instance_uid": subject.series_instance_uid,
        "sop_instance_uid": subject.sop_instance_uid,
    }


def _accept_content(
    connection: Connection, tables: Tables, arrival: Arrival, retention: Retention, now: dt.datetime
) -> None:
    replaced = under(tables, {"SOPInstanceUID": arrival.sop_instance_uid})
    deletion_pk = begin(connection, tables, retention, DeletionReason.REPLACED, _scope(arrival), now)
    remove_instances(connection, tables, replaced, now, deletion_pk=deletion_pk)
    settle(connection, tables, deletion_pk)
    [outcome] = ingest(connection, tables, [arrival], now)
    if not outcome.stored:
        raise IndexChanged  # the same SOP Instance has come in again meanwhile


def _accept_patient(connection: Connection, tables: Tables, arrival: Arrival, now: dt.datetime) -> None:
    """Moves the study to the patient the object names."""
    study_row = _row_of(connection, tables, Level.STUDY, arrival.study_instance_uid)
    target_pk = _patient_pk(connection, tables, arrival, now)
    patients = lock(connection, tables, Level.PATIENT, {study_row.patient_pk, target_pk})
    study = lock(connection, tables, Level.STUDY, [study_row.pk]).get(study_row.pk)
    if study is None or len(patients | {study.values["patient_pk"]: None}) != len(patients):
        raise IndexChanged
    source, target = patients[study.values["patient_pk"]], patients[target_pk]
    if target is source:
        return
    for entity, sign in ((source, -1), (target, 1)):
        entity.add("number_of_patient_related_studies", sign)
        entity.add("number_of_patient_related_series", sign * study.values["number_of_study_related_series"])
        entity.add("number_of_patient_related_instances", sign * study.values["number_of_study_related_instances"])
    study.set("patient_pk", target.pk)
    save(connection, tables, [target, study], now)
    _settle_patient(connection, tables, source, now)


def _accept_study(connection: Connection, tables: Tables, arrival: Arrival, now: dt.datetime) -> None:
    """Moves the series to the study the object names: out of the index and in again, from the rows' own objects."""
    series_row = _row_of(connection, tables, Level.SERIES, arrival.series_instance_uid)
    study_table = tables.study
    source_row = connection.execute(select(study_table).where(study_table.c.pk == series_row.study_pk)).one()
    named = select(study_table.c.pk, study_table.c.patient_pk).where(
        study_table.c.study_instance_uid == arrival.study_instance_uid
    )
    target_row = connection.execute(named).one_or_none()
    if target_row is not None and target_row.pk == source_row.pk:
        return  # it was moved there meanwhile, or deleted and sent again
    if target_row is None:
        patient_pk = _patient_pk(connection, tables, arrival, now)
        values = {
            "patient_pk": patient_pk,
            "study_instance_uid": arrival.study_instance_uid,
            "created_at": now,
            "updated_at": now,
        }
        study = create(connection, tables, Level.STUDY, arrival.rows[Level.STUDY], values)
        patient = lock(connection, tables, Level.PATIENT, [patient_pk]).get(patient_pk)
        if patient is None:
            raise IndexChanged
        patient.add("number_of_patient_related_studies", 1)
        save(connection, tables, [patient, study], now)
        target_row = connection.execute(named).one()
    patients = lock(connection, tables, Level.PATIENT, {source_row.patient_pk, target_row.patient_pk})
    studies = lock(connection, tables, Level.STUDY, {source_row.pk, target_row.pk})
    series = lock(connection, tables, Level.SERIES, [series_row.pk]).get(series_row.pk)
    if series is None or len(studies) != 2 or series.values["study_pk"] != source_row.pk:
        raise IndexChanged
    if any(study.values["patient_pk"] not in patients for study in studies.values()):
        raise IndexChanged
    source, target = studies[source_row.pk], studies[target_row.pk]
    instances = series.values["number_of_series_related_instances"]
    for study, sign in ((source, -1), (target, 1)):
        patient = patients[study.values["patient_pk"]]
        study.add("number_of_study_related_series", sign)
        study.add("number_of_study_related_instances", sign * instances)
        study.add("size", sign * series.values["size"])
        patient.add("number_of_patient_related_series", sign)
        patient.add("number_of_patient_related_instances", sign * instances)
    series.set("study_pk", target.pk)
    save(connection, tables, [series], now)
    for study in (source, target):
        recount_sets(connection, tables, study)
    save(connection, tables, [target], now)
    source_patient = patients[source.values["patient_pk"]]
    if source.values["number_of_study_related_instances"]:
        save(connection, tables, [source], now)
    else:
        source_patient.add("number_of_patient_related_studies", -1)
        delete_entity(connection, tables, source)
    target_patient = patients[target.values["patient_pk"]]
    if target_patient is not source_patient:
        save(connection, tables, [target_patient], now)
    _settle_patient(connection, tables, source_patient, now)


def _accept_demographics(connection: Connection, tables: Tables, arrival: Arrival, now: dt.datetime) -> None:
    """The patient's attributes become those the object tells; what it leaves out stays."""
    study_row = _row_of(connection, tables, Level.STUDY, arrival.study_instance_uid)
    patient = lock(connection, tables, Level.PATIENT, [study_row.patient_pk]).get(study_row.patient_pk)
    if patient is None:
        raise IndexChanged
    said = arrival.rows[Level.PATIENT]
    residue = dict(patient.residue)
    replaced = set()
    for attribute in tables.registry.in_header(Level.PATIENT):
        if attribute.column in ("patient_id", "issuer_of_patient_id"):
            continue
        if said.columns.get(attribute.column) is None and attribute.tag_hex not in said.residue:
            continue
        replaced.add(attribute.tag)
        patient.set(attribute.column, said.columns[attribute.column])
        residue.pop(attribute.tag_hex, None)
        if attribute.tag_hex in said.residue:
            residue[attribute.tag_hex] = said.residue[attribute.tag_hex]
    patient.set("residue", dump_residue(residue))
    save(connection, tables, [patient], now)
    delete_names(connection, tables, Level.PATIENT, [patient.pk], replaced)
    insert_searchable(connection, tables, Level.PATIENT, patient.pk, said)


def _settle_patient(connection: Connection, tables: Tables, patient: Entity, now: dt.datetime) -> None:
    if patient.values["number_of_patient_related_studies"]:
        save(connection, tables, [patient], now)
    else:
        delete_entity(connection, tables, patient)


def _row_of(connection: Connection, tables: Tables, level: Level, uid: str) -> Any:
    table = tables.entity(level)
    key = tables.registry.unique_key(level).column
    row = connection.execute(select(table).where(table.c[key] == uid)).one_or_none()
    if row is None:
        raise InstanceNotFound(f"the {level.entity} of this conflict is no longer in the index; resolve it with `keep`")
    return row


def _patient_pk(connection: Connection, tables: Tables, arrival: Arrival, now: dt.datetime) -> int:
    """The patient the object names, made where there is none."""
    issuer = tables.issuer
    name = arrival.issuer_of_patient_id or DEFAULT_ISSUER
    statement = select(issuer.c.pk).where(issuer.c.issuer_of_patient_id == name)
    issuer_pk = connection.execute(statement).scalar_one_or_none()
    if issuer_pk is None:
        issuer_pk = insert_row(connection, tables, issuer, {"issuer_of_patient_id": name})
    key = {
        "issuer_pk": issuer_pk,
        "patient_id": arrival.patient_id or NO_PATIENT_ID,
        "unidentified_study_uid": "" if arrival.patient_id else arrival.study_instance_uid,
    }
    patient = tables.patient
    found = connection.execute(select(patient.c.pk).filter_by(**key)).scalar_one_or_none()
    if found is not None:
        return int(found)
    values = {**key, "created_at": now, "updated_at": now}
    entity = create(connection, tables, Level.PATIENT, arrival.rows[Level.PATIENT], values)
    save(connection, tables, [entity], now)
    return entity.pk


_ACCEPT = {
    ConflictType.STUDY_PATIENT: _accept_patient,
    ConflictType.SERIES_STUDY: _accept_study,
    ConflictType.DEMOGRAPHICS: _accept_demographics,
}
