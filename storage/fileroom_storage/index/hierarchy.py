"""The patients, studies and series of a batch: found and locked from the patient down, by ascending key, or made."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Connection, select, tuple_

from ..attributes import Level
from .arrival import Arrival
from .engine import insert_or_ignore
from .entities import Entity, IndexChanged, create, save
from .external_series import weigh_all
from .known_hierarchy import KnownHierarchy
from .prepared import rows_by_keys
from .tables import DEFAULT_ISSUER, NO_PATIENT_ID, Tables

PatientKey = tuple[int, str, str]  # issuer pk, Patient ID, UID of the study of a patient without one


class LockedHierarchy:
    """Of one transaction. `known` is what is remembered of transactions before it."""

    def __init__(self, connection: Connection, tables: Tables, now: dt.datetime, known: KnownHierarchy) -> None:
        self.connection = connection
        self.tables = tables
        self.now = now
        self.known = known
        self.issuers: dict[str, int] = {}
        self.patients: dict[int, Entity] = {}
        self.patients_by_key: dict[PatientKey, Entity] = {}
        self.studies: dict[str, Entity] = {}
        self.studies_by_pk: dict[int, Entity] = {}
        self.series: dict[str, Entity] = {}

    def study_of(self, series: Entity) -> Entity:
        return self.studies_by_pk[series.values["study_pk"]]

    def patient_of(self, study: Entity) -> Entity:
        return self.patients[study.values["patient_pk"]]

    def save(self) -> None:
        """Writes what has changed, and remembers it."""
        weigh_all(self.connection, self.tables, self.series.values(), self.studies_by_pk, self.patients)
        for entities in (self.patients.values(), self.studies.values(), self.series.values()):
            save(self.connection, self.tables, entities, self.now)
        self.known.keep(self.patients, self.studies_by_pk, self.series)

    def lock(self, arrivals: Sequence[Arrival]) -> None:
        """All that the arrivals name and that is in the index. Raises IndexChanged."""
        self.known.look(self.connection)
        self.issuers = self._issuers({arrival.issuer_of_patient_id or DEFAULT_ISSUER for arrival in arrivals})
        series_pks, study_pks, patient_pks = self.known.parents({arrival.series_instance_uid for arrival in arrivals})
        unknown = [arrival for arrival in arrivals if arrival.series_instance_uid not in self.known.series]
        if unknown:
            self._look_up(unknown, series_pks, study_pks, patient_pks)
        self.patients = self._locked(Level.PATIENT, patient_pks)
        for entity in self.patients.values():
            values = entity.values
            self.patients_by_key[values["issuer_pk"], values["patient_id"], values["unidentified_study_uid"]] = entity
        studies = self._locked(Level.STUDY, study_pks)
        self.studies = {entity.values["study_instance_uid"]: entity for entity in studies.values()}
        locked = self._locked(Level.SERIES, series_pks)
        self.series = {entity.values["series_instance_uid"]: entity for entity in locked.values()}
        self.studies_by_pk = studies
        complete = len(studies) == len(study_pks) and len(locked) == len(series_pks)
        moved = any(entity.values["patient_pk"] not in self.patients for entity in studies.values())
        if moved or not complete or any(entity.values["study_pk"] not in studies for entity in locked.values()):
            raise IndexChanged

    def _look_up(
        self, arrivals: Sequence[Arrival], series_pks: set[int], study_pks: set[int], patient_pks: set[int]
    ) -> None:
        """Adds the keys of the entities that the arrivals name and that are in the index."""
        series, study, patient = self.tables.series, self.tables.study, self.tables.patient
        series_rows = rows_by_keys(
            self.connection,
            self.tables,
            "series by UID",
            series.c.series_instance_uid,
            {arrival.series_instance_uid for arrival in arrivals},
            lambda chosen: select(series.c.pk, series.c.study_pk).where(chosen),
        )
        parents: set[int] = set()
        for pk, study_pk in series_rows:
            series_pks.add(pk)
            parents.add(study_pk)
        columns = (study.c.pk, study.c.study_instance_uid, study.c.patient_pk)
        uids = {arrival.study_instance_uid for arrival in arrivals}
        study_rows = [
            *self._keyed("studies by UID", columns, study.c.study_instance_uid, uids),
            *self._keyed("studies by key", columns, study.c.pk, parents),
        ]
        known_studies = {uid for _, uid, _ in study_rows}
        study_pks |= {pk for pk, _, _ in study_rows}
        patient_pks |= {patient_pk for _, _, patient_pk in study_rows}
        keys = {self._patient_key(arrival) for arrival in arrivals if arrival.study_instance_uid not in known_studies}
        if keys:
            chosen = tuple_(patient.c.issuer_pk, patient.c.patient_id, patient.c.unidentified_study_uid).in_(keys)
            patient_pks |= set(self.connection.execute(select(patient.c.pk).where(chosen)).scalars())

    def _keyed(
        self, name: str, columns: tuple[Column[Any], ...], column: Column[Any], keys: set[Any]
    ) -> Iterator[tuple[Any, ...]]:
        return rows_by_keys(
            self.connection, self.tables, name, column, keys, lambda chosen: select(*columns).where(chosen)
        )

    def _locked(self, level: Level, pks: set[int]) -> dict[int, Entity]:
        return self.known.locked(self.connection, self.tables, level, pks)

    def _issuers(self, names: set[str]) -> dict[str, int]:
        if names <= self.known.issuers.keys():
            return self.known.issuers
        table = self.tables.issuer
        statement = select(table.c.issuer_of_patient_id, table.c.pk).where(table.c.issuer_of_patient_id.in_(names))
        found = {row.issuer_of_patient_id: row.pk for row in self.connection.execute(statement)}
        missing = sorted(names - found.keys())
        if missing:
            self.connection.execute(
                insert_or_ignore(table, self.connection.dialect.name),
                [{"issuer_of_patient_id": name} for name in missing],
            )
            found = {row.issuer_of_patient_id: row.pk for row in self.connection.execute(statement)}
        else:
            self.known.issuers.update(found)  # what is committed stays: nobody deletes issuers
        return found

    def _patient_key(self, arrival: Arrival) -> PatientKey:
        issuer = self.issuers[arrival.issuer_of_patient_id or DEFAULT_ISSUER]
        if arrival.patient_id is None:
            return issuer, NO_PATIENT_ID, arrival.study_instance_uid
        return issuer, arrival.patient_id, ""

    def create_study(self, arrival: Arrival) -> Entity:
        key = self._patient_key(arrival)
        patient = self.patients_by_key.get(key)
        if patient is None:
            issuer_pk, patient_id, unidentified = key
            patient = create(
                self.connection,
                self.tables,
                Level.PATIENT,
                arrival.rows[Level.PATIENT],
                {
                    "issuer_pk": issuer_pk,
                    "patient_id": patient_id,
                    "unidentified_study_uid": unidentified,
                    **self._timestamps(),
                },
            )
            self.patients[patient.pk] = self.patients_by_key[key] = patient
        values = {"patient_pk": patient.pk, "study_instance_uid": arrival.study_instance_uid, **self._timestamps()}
        study = create(self.connection, self.tables, Level.STUDY, arrival.rows[Level.STUDY], values)
        patient.add("number_of_patient_related_studies", 1)
        self.studies[arrival.study_instance_uid] = self.studies_by_pk[study.pk] = study
        return study

    def create_series(self, arrival: Arrival, study: Entity) -> Entity:
        values = {"study_pk": study.pk, "series_instance_uid": arrival.series_instance_uid, **self._timestamps()}
        series = create(self.connection, self.tables, Level.SERIES, arrival.rows[Level.SERIES], values)
        study.add("number_of_study_related_series", 1)
        self.patients[study.values["patient_pk"]].add("number_of_patient_related_series", 1)
        self.series[arrival.series_instance_uid] = series
        return series

    def _timestamps(self) -> dict[str, dt.datetime]:
        return {"created_at": self.now, "updated_at": self.now}
