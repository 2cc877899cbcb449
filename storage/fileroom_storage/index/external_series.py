"""Series of which a source has told what is in them, without a row for each instance: their weight in all counts.

An instance counts once, whoever tells of it: what has a row in the series is counted by that.
"""

import zlib
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from .arrival import Arrival
from .entities import Entity
from .prepared import insert_rows
from .tables import Tables


def insert_contents(connection: Connection, tables: Tables, told: Sequence[tuple[Arrival, int]]) -> None:
    """Writes down what is told of series, by their keys; it counts once the series are weighed."""
    rows = [
        {
            "series_pk": series_pk,
            "external_source": arrival.origin.source,
            "external_key": arrival.origin.key,
            "number_of_instances": len(arrival.contents.sop_instance_uids),
            "sop_instance_uids": zlib.compress("\\".join(sorted(arrival.contents.sop_instance_uids)).encode("ascii")),
            "sop_class_uids": "\\".join(sorted(arrival.contents.sop_class_uids)),
            "digest": arrival.contents.digest,
        }
        for arrival, series_pk in told
        if arrival.origin is not None and arrival.contents is not None
    ]
    insert_rows(connection, tables, tables.external_series, rows)


def weigh(connection: Connection, tables: Tables, series: Entity, study: Entity, patient: Entity) -> None:
    """Brings the counts of a series, its study and its patient to what is told of it now. All of them are locked."""
    table, instance = tables.external_series, tables.instance
    told = connection.execute(select(table.c.sop_instance_uids).where(table.c.series_pk == series.pk)).scalars().all()
    weight: int | None = None
    if told:
        uids = {uid for compressed in told for uid in zlib.decompress(compressed).decode("ascii").split("\\")}
        here = select(instance.c.sop_instance_uid).where(instance.c.series_pk == series.pk)
        uids.difference_update(connection.execute(here).scalars())
        weight = len(uids)
    before = series.values["number_of_external_instances"]
    if weight != before:
        series.set("number_of_external_instances", weight)
        number = (weight or 0) - (before or 0)
        series.add("number_of_series_related_instances", number)
        study.add("number_of_study_related_instances", number)
        patient.add("number_of_patient_related_instances", number)


def external_sop_classes(connection: Connection, tables: Tables, study_pk: int) -> set[str]:
    """The SOP Classes that sources tell of in the series of a study."""
    table, series = tables.external_series, tables.series
    told = connection.execute(
        select(table.c.sop_class_uids)
        .join(series, table.c.series_pk == series.c.pk)
        .where(series.c.study_pk == study_pk, series.c.number_of_external_instances.is_not(None))
    ).scalars()
    return {uid for classes in told for uid in classes.split("\\") if uid}


def weigh_all(
    connection: Connection,
    tables: Tables,
    all_series: Iterable[Entity],
    studies: dict[int, Entity],
    patients: dict[int, Entity],
) -> None:
    """Those of the series that a source has told of."""
    for series in all_series:
        if series.values["number_of_external_instances"] is not None:
            study = studies[series.values["study_pk"]]
            weigh(connection, tables, series, study, patients[study.values["patient_pk"]])
