"""Patients, studies and series as a writer's last commits left them, so that the next batch need not read them again.

Nothing here is believed before its row is locked and found unchanged, by its time of change to the microsecond and by
its count of instances: whoever changes an entity writes the one, and most write the other too. SQLite also tells
whether anybody else has changed anything at all.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Table, select

from ..attributes import Level
from .entities import Entity, lock
from .prepared import rows_by_keys
from .tables import Tables

_MOST = 256  # entities of a level, of some kilobytes each: no more are being received at a time
_COUNT = {
    Level.PATIENT: "number_of_patient_related_instances",
    Level.STUDY: "number_of_study_related_instances",
    Level.SERIES: "number_of_series_related_instances",
}


class KnownHierarchy:
    """For one writer, which tells of every batch whether it was committed: `clear` where it was not."""

    def __init__(self) -> None:
        self.issuers: dict[str, int] = {}
        self._version: int | None = None
        self.series: dict[str, Entity] = {}  # by Series Instance UID
        self._by_level: dict[Level, dict[int, Entity]] = {level: {} for level in _COUNT}

    def clear(self) -> None:
        """To be called where a batch has failed: its entities have changed here, and not in the index."""
        self.series.clear()
        for entities in self._by_level.values():
            entities.clear()

    def look(self, connection: Connection) -> None:
        """To be called when the transaction has begun: nobody else changes an SQLite index until it ends.

        The version moves with every commit of another connection; so it tells something only of the one that asks.
        """
        if connection.dialect.name == "sqlite":
            cursor = connection.connection.cursor()
            ((self._version,),) = cursor.execute("PRAGMA data_version")
            cursor.close()

    def keep(self, patients: Mapping[int, Entity], studies: Mapping[int, Entity], series: Mapping[str, Entity]) -> None:
        if any(len(entities) > _MOST for entities in self._by_level.values()):
            self.clear()
        for entities in (patients, studies, series):
            for entity in entities.values():
                entity.seen_at = self._version
        self._by_level[Level.PATIENT].update(patients)
        self._by_level[Level.STUDY].update(studies)
        self._by_level[Level.SERIES].update((entity.pk, entity) for entity in series.values())
        self.series.update(series)

    def parents(self, series_instance_uids: Iterable[str]) -> tuple[set[int], set[int], set[int]]:
        """The keys of the series that are known, of their studies, and of their patients."""
        series = [self.series[uid] for uid in series_instance_uids if uid in self.series]
        study_pks = {entity.values["study_pk"] for entity in series}
        patient_pks = {self._by_level[Level.STUDY][pk].values["patient_pk"] for pk in study_pks}
        return {entity.pk for entity in series}, study_pks, patient_pks

    def locked(self, connection: Connection, tables: Tables, level: Level, pks: set[int]) -> dict[int, Entity]:
        """The entities with these keys, locked by ascending key; only those that have changed are read."""
        known = self._by_level[level]
        if self._version is not None:
            seen = {pk: known[pk] for pk in pks if pk in known and known[pk].seen_at == self._version}
            if len(seen) == len(pks):
                return seen
        if not pks & known.keys():
            return lock(connection, tables, level, pks)
        unchanged: dict[int, Entity] = {}
        for pk, updated_at, count in _stamps(connection, tables, level, pks):
            entity = known.get(pk)
            values = entity.values if entity is not None else {}
            if entity is not None and (values["updated_at"], values[_COUNT[level]]) == (updated_at, count):
                unchanged[pk] = entity
        changed = pks - unchanged.keys()
        return {**unchanged, **lock(connection, tables, level, changed)} if changed else unchanged


def _stamps(connection: Connection, tables: Tables, level: Level, pks: set[int]) -> Iterable[tuple[Any, ...]]:
    table: Table = tables.entity(level)
    columns = (table.c.pk, table.c.updated_at, table.c[_COUNT[level]])
    return rows_by_keys(
        connection,
        tables,
        f"stamps {level}",
        table.c.pk,
        sorted(pks),
        lambda chosen: select(*columns).where(chosen).order_by(table.c.pk).with_for_update(),
    )
