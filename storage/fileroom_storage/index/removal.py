"""Takes instances out of the index, with counts, and with the series, studies and patients that are left empty."""

import datetime as dt
from collections.abc import Iterable

from sqlalchemy import Connection, delete, insert, select

from ..attributes import Level
from .entities import Entity, delete_searchable, lock, save
from .ingest import IndexChanged
from .tables import Tables


def remove_instances(connection: Connection, tables: Tables, locations: Iterable[str], now: dt.datetime) -> list[str]:
    """Removes the instances whose objects are there; a location names one for ever, a key may be given again.

    Returns the locations that nothing refers to any more, to be deleted after the commit.
    """
    instance, series, study = tables.instance, tables.series, tables.study
    statement = (
        select(
            instance.c.pk,
            instance.c.sop_instance_uid,
            instance.c.location,
            instance.c.size,
            instance.c.series_pk,
            series.c.study_pk,
            study.c.patient_pk,
        )
        .join(series, instance.c.series_pk == series.c.pk)
        .join(study, series.c.study_pk == study.c.pk)
        .where(instance.c.location.in_(sorted(set(locations))))
    )
    rows = connection.execute(statement).all()
    if not rows:
        return []
    patients = lock(connection, tables, Level.PATIENT, {row.patient_pk for row in rows})
    studies = lock(connection, tables, Level.STUDY, {row.study_pk for row in rows})
    all_series = lock(connection, tables, Level.SERIES, {row.series_pk for row in rows})
    # a study may have moved to another patient, a series to another study
    if set(rows) != set(connection.execute(statement).all()):
        raise IndexChanged
    for row in rows:
        delete_searchable(connection, tables, Level.IMAGE, row.pk)
        patients[row.patient_pk].add("number_of_patient_related_instances", -1)
        studies[row.study_pk].add("number_of_study_related_instances", -1)
        studies[row.study_pk].add("size", -row.size)
        all_series[row.series_pk].add("number_of_series_related_instances", -1)
        all_series[row.series_pk].add("size", -row.size)
    connection.execute(delete(instance).where(instance.c.pk.in_([row.pk for row in rows])))
    connection.execute(
        insert(tables.change),
        [
            {
                "at": now,
                "action": "deleted",
                "study_instance_uid": studies[row.study_pk].values["study_instance_uid"],
                "series_instance_uid": all_series[row.series_pk].values["series_instance_uid"],
                "sop_instance_uid": row.sop_instance_uid,
            }
            for row in rows
        ],
    )
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
    return [row.location for row in rows]


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
    study.set("modalities_in_study", "\\".join(sorted(filter(None, modalities))) or None)
    study.set("sop_classes_in_study", "\\".join(sorted(filter(None, classes))) or None)


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
    delete_searchable(connection, tables, entity.level, entity.pk)
    table = tables.entity(entity.level)
    connection.execute(delete(table).where(table.c.pk == entity.pk))
