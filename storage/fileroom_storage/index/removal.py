"""Takes instances out of the index, with counts, and with the series, studies and patients that are left empty."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, insert, literal, select, update

from ..attributes import Level
from ..errors import InvalidQuery
from .arrival import Arrival
from .conflicts import ConflictState
from .deletions import DeletionReason, Retention, begin, conflict_copies, keep_objects, settle
from .entities import Entity, IndexChanged, delete_searchable, lock, save
from .external_series import external_sop_classes, weigh_all
from .scope import Scope, patient_within
from .tables import Tables

_PAGE = 1000  # keys in one statement


@dataclass(frozen=True, slots=True)
class RemovedInstance:
    """An instance that was in the index."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


def under(tables: Tables, unique_keys: Mapping[str, str], scope: Scope = None) -> ColumnElement[bool]:
    """The instances under these unique keys, by keyword, that are of the scope. Raises InvalidQuery."""
    if not unique_keys:
        raise InvalidQuery("no unique key is given; name what is to be deleted")
    conditions: list[ColumnElement[bool]] = []
    for keyword, uid in unique_keys.items():
        attribute = tables.registry.get(keyword)
        if attribute is None or attribute is not tables.registry.unique_key(attribute.level) or not uid.isascii():
            raise InvalidQuery(f"{keyword} names nothing to delete; name a study, a series or an instance", keyword)
        conditions.append(tables.entity(attribute.level).c[attribute.column] == uid)
    if scope is not None:
        conditions.append(patient_within(tables, scope))
    return and_(*conditions)


def remove_instances(
    connection: Connection,
    tables: Tables,
    condition: ColumnElement[bool],
    now: dt.datetime,
    *,
    deletion_pk: int | None,
    with_conflicts: bool = False,
    told: ColumnElement[bool] | None = None,
) -> list[RemovedInstance]:
    """Removes the instances that meet the condition, `with_conflicts` also the copies that conflicts about them hold.

    And what sources have `told` of series, where rows of external_series meet that.

    Their objects go to the deletion; without one they are known to be lost. All of a study is gone at once, whatever
    comes in meanwhile: what is removed is read under the lock of its series.
    """
    instance, series, study = tables.instance, tables.series, tables.study
    joined = instance.join(series, instance.c.series_pk == series.c.pk).join(study, series.c.study_pk == study.c.pk)
    joined = joined.join(tables.patient, study.c.patient_pk == tables.patient.c.pk)
    parents = select(instance.c.series_pk, series.c.study_pk, study.c.patient_pk).select_from(joined).where(condition)
    before = {tuple(row) for row in connection.execute(parents.distinct())}
    if told is not None:
        before |= _parents_of_told(connection, tables, told)
    if not before:
        return []
    patients = lock(connection, tables, Level.PATIENT, {patient_pk for _, _, patient_pk in before})
    studies = lock(connection, tables, Level.STUDY, {study_pk for _, study_pk, _ in before})
    all_series = lock(connection, tables, Level.SERIES, {series_pk for series_pk, _, _ in before})
    columns = (instance.c.pk, instance.c.sop_instance_uid, instance.c.size, *parents.selected_columns)
    rows = connection.execute(select(*columns).select_from(joined).where(condition).order_by(instance.c.pk)).all()
    # a study may have moved to another patient, a series to another study, a series may be new
    now_there = {(row.series_pk, row.study_pk, row.patient_pk) for row in rows}
    if told is not None:
        now_there |= _parents_of_told(connection, tables, told)
    if not now_there <= before:
        raise IndexChanged
    if not _complete(before, patients, studies, all_series):
        raise IndexChanged
    for row in rows:
        patients[row.patient_pk].add("number_of_patient_related_instances", -1)
        studies[row.study_pk].add("number_of_study_related_instances", -1)
        studies[row.study_pk].add("size", -row.size)
        all_series[row.series_pk].add("number_of_series_related_instances", -1)
        all_series[row.series_pk].add("size", -row.size)
    removed = [
        RemovedInstance(
            studies[row.study_pk].values["study_instance_uid"],
            all_series[row.series_pk].values["series_instance_uid"],
            row.sop_instance_uid,
        )
        for row in rows
    ]
    _delete(connection, tables, rows, removed, now, deletion_pk)
    if with_conflicts and deletion_pk is not None:
        _settle_conflicts(connection, tables, deletion_pk, removed, now)
    if told is not None:
        connection.execute(delete(tables.external_series).where(told))
    weigh_all(connection, tables, all_series.values(), studies, patients)
    for entity in all_series.values():
        if not entity.values["number_of_series_related_instances"]:
            studies[entity.values["study_pk"]].add("number_of_study_related_series", -1)
            owner = patients[studies[entity.values["study_pk"]].values["patient_pk"]]
            owner.add("number_of_patient_related_series", -1)
    for entity in studies.values():
        if not entity.values["number_of_study_related_instances"]:
            patients[entity.values["patient_pk"]].add("number_of_patient_related_studies", -1)
    _settle(connection, tables, all_series.values(), "number_of_series_related_instances", now)
    for entity in studies.values():
        recount_sets(connection, tables, entity)
    _settle(connection, tables, studies.values(), "number_of_study_related_instances", now)
    _settle(connection, tables, patients.values(), "number_of_patient_related_instances", now)
    return removed


def _parents_of_told(connection: Connection, tables: Tables, told: ColumnElement[bool]) -> set[tuple[int, int, int]]:
    table, series, study = tables.external_series, tables.series, tables.study
    rows = connection.execute(
        select(series.c.pk, series.c.study_pk, study.c.patient_pk)
        .join(table, table.c.series_pk == series.c.pk)
        .join(study, series.c.study_pk == study.c.pk)
        .where(told)
    )
    return {(row.pk, row.study_pk, row.patient_pk) for row in rows}


def displace_headers(
    connection: Connection, tables: Tables, sop_instance_uids: Collection[str], now: dt.datetime
) -> None:
    """Takes out what is only the headers of these instances: the objects themselves have come. They are purged."""
    uids = sorted(sop_instance_uids)
    for start in range(0, len(uids), _PAGE):
        condition = tables.instance.c.sop_instance_uid.in_(uids[start : start + _PAGE])
        remove_superfluous(connection, tables, condition & tables.instance.c.external_source.is_not(None), now)


def remove_superfluous(
    connection: Connection,
    tables: Tables,
    condition: ColumnElement[bool],
    now: dt.datetime,
    told: ColumnElement[bool] | None = None,
) -> tuple[int | None, list[RemovedInstance]]:
    """Removes instances whose objects nobody needs any more; returns the deletion to be purged, where there is one."""
    nothing: dict[str, str | None] = {"study_instance_uid": ""}
    at_once = Retention(dt.timedelta(0))
    pk = begin(connection, tables, at_once, DeletionReason.SUPERFLUOUS, nothing, now)
    removed = remove_instances(connection, tables, condition, now, deletion_pk=pk, told=told)
    if removed:
        of_one: dict[str, str | None] = {"study_instance_uid": removed[0].study_instance_uid}
        connection.execute(update(tables.deletion).where(tables.deletion.c.pk == pk), of_one)
    return (pk if settle(connection, tables, pk) else None), removed


def reject_instances(
    connection: Connection, tables: Tables, retention: Retention, note: Arrival, now: dt.datetime
) -> list[RemovedInstance]:
    """Takes out of use what a rejection note names and is here."""
    if note.rejection is None:
        return []
    scope: dict[str, str | None] = {"study_instance_uid": note.study_instance_uid}
    said = {"code": note.rejection.code, "rejection_note_uid": note.sop_instance_uid}
    deletion_pk = begin(connection, tables, retention, DeletionReason.REJECTION, scope, now, **said)
    studies = sorted(set(note.rejection.instances.values()))[:_PAGE]
    uids = sorted(note.rejection.instances.keys() - {note.sop_instance_uid})
    removed: list[RemovedInstance] = []
    for start in range(0, len(uids), _PAGE):
        condition: ColumnElement[bool] = tables.instance.c.sop_instance_uid.in_(uids[start : start + _PAGE])
        condition &= tables.study.c.study_instance_uid.in_(studies)
        if note.authority is not None and note.authority.scope is not None:
            condition &= patient_within(tables, note.authority.scope)
        removed += remove_instances(connection, tables, condition, now, deletion_pk=deletion_pk, with_conflicts=True)
    if settle(connection, tables, deletion_pk) and len({gone.series_instance_uid for gone in removed}) == 1:
        narrowed = {"series_instance_uid": removed[0].series_instance_uid}
        if len(removed) == 1:
            narrowed["sop_instance_uid"] = removed[0].sop_instance_uid
        connection.execute(update(tables.deletion).where(tables.deletion.c.pk == deletion_pk), narrowed)
    return removed


def _complete(
    parents: Iterable[tuple[int, int, int]],
    patients: Mapping[int, Entity],
    studies: Mapping[int, Entity],
    all_series: Mapping[int, Entity],
) -> bool:
    """Whether every parent is there, and stands where it stood before it was locked."""
    for series_pk, study_pk, patient_pk in parents:
        series, study = all_series.get(series_pk), studies.get(study_pk)
        if series is None or study is None or patient_pk not in patients:
            return False
        if series.values["study_pk"] != study_pk or study.values["patient_pk"] != patient_pk:
            return False
    return True


def _delete(
    connection: Connection,
    tables: Tables,
    rows: Sequence[Row[Any]],
    removed: Sequence[RemovedInstance],
    now: dt.datetime,
    deletion_pk: int | None,
) -> None:
    """Takes the rows out, page by page: no database takes any number of keys in one statement."""
    instance = tables.instance
    action = "lost" if deletion_pk is None else "deleted"
    for start in range(0, len(rows), _PAGE):
        pks = [row.pk for row in rows[start : start + _PAGE]]
        if deletion_pk is not None:
            keep_objects(connection, tables, _kept(tables, deletion_pk, pks))
        delete_searchable(connection, tables, Level.IMAGE, pks)
        connection.execute(delete(instance).where(instance.c.pk.in_(pks)))
        connection.execute(
            insert(tables.change),
            [
                {
                    "at": now,
                    "action": action,
                    "study_instance_uid": gone.study_instance_uid,
                    "series_instance_uid": gone.series_instance_uid,
                    "sop_instance_uid": gone.sop_instance_uid,
                }
                for gone in removed[start : start + _PAGE]
            ],
        )


def _kept(tables: Tables, deletion_pk: int, pks: list[int]) -> Select[Any]:
    """The objects of these instances, as rows of deleted_object."""
    instance, series, study = tables.instance, tables.series, tables.study
    return (
        select(
            literal(deletion_pk).label("deletion_pk"),
            study.c.study_instance_uid,
            series.c.series_instance_uid,
            instance.c.sop_instance_uid,
            instance.c.location,
            instance.c.size,
            instance.c.digest,
            instance.c.available_transfer_syntax_uid.label("transfer_syntax_uid"),
            tables.issuer.c.issuer_of_patient_id,
            instance.c.source,
            instance.c.called_ae_title,
            instance.c.calling_ae_title,
            instance.c.association,
            instance.c.remote_address,
            instance.c.received_at,
        )
        .join(series, instance.c.series_pk == series.c.pk)
        .join(study, series.c.study_pk == study.c.pk)
        .join(tables.patient, study.c.patient_pk == tables.patient.c.pk)
        .join(tables.issuer, tables.patient.c.issuer_pk == tables.issuer.c.pk)
        .where(instance.c.pk.in_(pks))
        .order_by(instance.c.pk)
    )


def _settle_conflicts(
    connection: Connection, tables: Tables, deletion_pk: int, removed: Sequence[RemovedInstance], now: dt.datetime
) -> None:
    """What contradicts an instance goes with it; undone, it comes back as the conflict that it was."""
    conflict = tables.conflict
    for start in range(0, len(removed), _PAGE):
        uids = [gone.sop_instance_uid for gone in removed[start : start + _PAGE]]
        of_them = conflict.c.sop_instance_uid.in_(uids) & conflict.c.location.is_not(None)
        pks = list(connection.execute(select(conflict.c.pk).where(of_them).with_for_update()).scalars())
        if pks:
            keep_objects(connection, tables, conflict_copies(tables, deletion_pk, pks))
            connection.execute(
                update(conflict).where(conflict.c.pk.in_(pks)),
                {"state": ConflictState.RESOLVED.value, "resolution": "delete", "resolved_at": now, "location": None},
            )


def recount_sets(connection: Connection, tables: Tables, study: Entity) -> None:
    """Modalities and SOP Classes of a study, as they are after something left it."""
    instance, series = tables.instance, tables.series
    modalities = connection.execute(
        select(series.c.modality)
        .where(series.c.study_pk == study.pk, series.c.number_of_series_related_instances > 0)
        .distinct()
    ).scalars()
    classes = connection.execute(
        select(instance.c.sop_class_uid)
        .join(series, instance.c.series_pk == series.c.pk)
        .where(series.c.study_pk == study.pk)
        .distinct()
    ).scalars()
    all_classes = {*classes, *external_sop_classes(connection, tables, study.pk)}
    study.set("modalities_in_study", "\\".join(sorted(filter(None, modalities))) or None)
    study.set("sop_classes_in_study", "\\".join(sorted(filter(None, all_classes))) or None)


def _settle(connection: Connection, tables: Tables, entities: Iterable[Entity], count: str, now: dt.datetime) -> None:
    """Deletes what is empty, writes the counts of the rest."""
    kept = []
    for entity in entities:
        if entity.values[count]:
            kept.append(entity)
        else:
            delete_entity(connection, tables, entity)
    save(connection, tables, kept, now)


def delete_entity(connection: Connection, tables: Tables, entity: Entity) -> None:
    delete_searchable(connection, tables, entity.level, [entity.pk])
    table = tables.entity(entity.level)
    connection.execute(delete(table).where(table.c.pk == entity.pk))
