"""One transaction that takes a batch of arrivals into the index: hierarchy, counts, conflicts, change feed.

The first object to name an entity decides where it stands; a later one that disagrees is indexed there too, and a
conflict says so. Rows are locked from the patient down, each level by ascending key.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from ..attributes import Level
from .arrival import Arrival, Origin
from .conflicts import ConflictType, NewConflict, content_differences, demographic_differences, record
from .deletions import rejected_digests
from .entities import Entity, IndexChanged
from .external_series import insert_contents
from .hierarchy import LockedHierarchy
from .known_hierarchy import KnownHierarchy
from .new_instances import NewInstance, insert_instances
from .plugin_rows import PluginRows
from .prepared import rows_by_keys
from .removal import RemovedInstance, displace_headers
from .scope import issuers_within
from .tables import DEFAULT_ISSUER, Tables


class Twin(NamedTuple):
    """An object with the same content that the index has already."""

    location: str
    size: int
    data_set_offset: int


class Met(NamedTuple):
    """An instance that was there; without an origin the object itself."""

    origin: Origin | None


@dataclass(slots=True)
class Outcome:
    """What became of one arrival."""

    stored: bool = False  # this very object is now the indexed one
    outside_scope: bool = False  # it belongs to what its sender may not see, and nothing was done
    kept: bool = False  # its bytes are referred to, by an instance or by a conflict
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    twin: Twin | None = None
    met: Met | None = None  # it or what it met is only a header, and what was there stays
    conflicts: list[ConflictType] = field(default_factory=list)
    failed_plugins: list[str] = field(default_factory=list)  # which have no rows of it
    rejected: list[RemovedInstance] = field(default_factory=list)  # what it took out of use, being a rejection note


def ingest(
    connection: Connection,
    tables: Tables,
    arrivals: Sequence[Arrival],
    now: dt.datetime,
    known: KnownHierarchy | None = None,
) -> list[Outcome]:
    """Takes in arrivals of different SOP Instances. `known` is what the caller has seen of the hierarchy before.

    Raises IndexChanged, or a retryable database error, when the batch should be tried again.
    """
    return _Batch(connection, tables, arrivals, now, known or KnownHierarchy()).run()


class _Batch:
    def __init__(
        self,
        connection: Connection,
        tables: Tables,
        arrivals: Sequence[Arrival],
        now: dt.datetime,
        known: KnownHierarchy,
    ) -> None:
        self.connection = connection
        self.tables = tables
        self.arrivals = arrivals
        self.now = now
        self.known = known
        self.outcomes = [Outcome() for _ in arrivals]
        self.conflicts: list[tuple[Outcome, NewConflict]] = []
        self.hierarchy = LockedHierarchy(connection, tables, now, known)

    def run(self) -> list[Outcome]:
        fresh = self._without_known_instances()
        if fresh:
            self.hierarchy.lock([arrival for arrival, _ in fresh])
            for arrival, outcome in fresh:
                self._place(arrival, outcome)
            fresh = [(arrival, outcome) for arrival, outcome in fresh if not outcome.outside_scope]
            insert_instances(
                self.connection,
                self.tables,
                [
                    NewInstance(
                        arrival,
                        self.hierarchy.series[arrival.series_instance_uid].pk,
                        outcome.study_instance_uid,
                        outcome.series_instance_uid,
                    )
                    for arrival, outcome in fresh
                    if arrival.contents is None
                ],
                self.now,
            )
            self._insert_extracted(fresh)
            self._take_contents([arrival for arrival, _ in fresh if arrival.contents is not None])
            self.hierarchy.save()
        self._record_conflicts()
        return self.outcomes

    # -- instances that are there already ------------------------------------------------------------------

    def _without_known_instances(self) -> list[tuple[Arrival, Outcome]]:
        uids = {arrival.sop_instance_uid for arrival in self.arrivals if arrival.contents is None}
        known = self._known_instances(uids)
        headers = {uid for uid, row in known.items() if row["external_source"] is not None}
        rejected = rejected_digests(self.connection, self.tables, uids - (known.keys() - headers))
        fresh: list[tuple[Arrival, Outcome]] = []
        for arrival, outcome in zip(self.arrivals, self.outcomes, strict=True):
            uid = arrival.sop_instance_uid
            if arrival.contents is not None:
                fresh.append((arrival, outcome))
            elif uid in known and not (uid in headers and self._may_displace(arrival, known[uid])):
                self._meet_known(arrival, outcome, known[uid])
            elif (uid, arrival.stored_object.digest) in rejected:
                # IHE RAD TF-2 4.66.4.1.3: what was rejected stays so, however often it is sent; its bytes are kept
                outcome.study_instance_uid = arrival.study_instance_uid
                outcome.series_instance_uid = arrival.series_instance_uid
            else:
                fresh.append((arrival, outcome))
        if headers:
            displaced = headers & {arrival.sop_instance_uid for arrival, _ in fresh}
            displace_headers(self.connection, self.tables, displaced, self.now)
            self.known.clear()
        return fresh

    def _may_displace(self, arrival: Arrival, header: Mapping[str, Any]) -> bool:
        """An object takes the place of what is only the header of one."""
        return arrival.origin is None and not self._is_outside(
            arrival, lambda: self._parents_of(header)[Level.PATIENT]["issuer_pk"]
        )

    def _known_instances(self, uids: set[str]) -> dict[str, Mapping[str, Any]]:
        instance, series, study = self.tables.instance, self.tables.series, self.tables.study
        present = rows_by_keys(
            self.connection,
            self.tables,
            "known instances",
            instance.c.sop_instance_uid,
            uids,
            lambda chosen: select(instance.c.sop_instance_uid).where(chosen),
        )
        found = [uid for (uid,) in present]
        if not found:
            return {}
        statement = (
            select(instance, series.c.series_instance_uid, study.c.study_instance_uid)
            .join(series, instance.c.series_pk == series.c.pk)
            .join(study, series.c.study_pk == study.c.pk)
            .where(instance.c.sop_instance_uid.in_(found))
        )
        return {row["sop_instance_uid"]: dict(row) for row in self.connection.execute(statement).mappings()}

    def _meet_known(self, arrival: Arrival, outcome: Outcome, known: Mapping[str, Any]) -> None:
        if self._is_outside(arrival, lambda: self._parents_of(known)[Level.PATIENT]["issuer_pk"]):
            outcome.outside_scope = True
            return
        outcome.study_instance_uid = known["study_instance_uid"]
        outcome.series_instance_uid = known["series_instance_uid"]
        source = known["external_source"]
        if arrival.origin is not None or source is not None:
            outcome.met = Met(None if source is None else Origin(source, known["external_key"]))
            return
        if known["digest"] == arrival.stored_object.digest:
            # the very same object: an earlier try did commit, though its answer was lost
            outcome.stored = outcome.kept = known["location"] == arrival.stored_object.location
            if not outcome.kept:
                outcome.twin = Twin(known["location"], known["size"], known["data_set_offset"])
            return
        existing = self._parents_of(known)
        issuer = self.connection.execute(
            select(self.tables.issuer.c.issuer_of_patient_id).where(
                self.tables.issuer.c.pk == existing[Level.PATIENT]["issuer_pk"]
            )
        ).scalar_one()
        differences = content_differences(self.tables, existing, issuer, arrival)
        self._add_conflict(outcome, ConflictType.CONTENT, arrival, differences, arrival.sop_instance_uid)

    def _parents_of(self, instance: Mapping[str, Any]) -> dict[Level, Mapping[str, Any]]:
        rows: dict[Level, Mapping[str, Any]] = {Level.IMAGE: instance}
        row = instance
        for level in (Level.SERIES, Level.STUDY, Level.PATIENT):
            table = self.tables.entity(level)
            statement = select(table).where(table.c.pk == row[f"{level.entity}_pk"])
            found = self.connection.execute(statement).mappings().one_or_none()
            if found is None:
                raise IndexChanged  # read without a lock: it has been moved or deleted since
            row = rows[level] = dict(found)
        return rows

    # -- each arrival's place ------------------------------------------------------------------------------

    def _place(self, arrival: Arrival, outcome: Outcome) -> None:
        series = self.hierarchy.series.get(arrival.series_instance_uid)
        there = self.hierarchy.study_of(series) if series else self.hierarchy.studies.get(arrival.study_instance_uid)
        if there and self._is_outside(arrival, lambda: self.hierarchy.patient_of(there).values["issuer_pk"]):
            outcome.outside_scope = True
            return
        if series is None:
            study = self.hierarchy.studies.get(arrival.study_instance_uid) or self.hierarchy.create_study(arrival)
            series = self.hierarchy.create_series(arrival, study)
        else:
            study = self.hierarchy.study_of(series)
        patient = self.hierarchy.patient_of(study)
        outcome.stored = outcome.kept = True
        outcome.study_instance_uid = study.values["study_instance_uid"]
        outcome.series_instance_uid = arrival.series_instance_uid
        if outcome.study_instance_uid != arrival.study_instance_uid:
            differences = {"StudyInstanceUID": (outcome.study_instance_uid, arrival.study_instance_uid)}
            subject = arrival.series_instance_uid
            self._add_conflict(outcome, ConflictType.SERIES_STUDY, arrival, differences, subject)
        elif self._names_another_patient(arrival, patient):
            self._meet_other_patient(arrival, outcome, study, patient)
        else:
            self._meet_patient(arrival, outcome, patient)
            study.fill(self.tables, arrival.rows[Level.STUDY])
            series.fill(self.tables, arrival.rows[Level.SERIES])
        self._count(arrival, patient, study, series)

    def _is_outside(self, arrival: Arrival, issuer_pk: Callable[[], int]) -> bool:
        """Whether an arrival would get to an issuer whose patients its sender may not see."""
        scope = arrival.authority.scope if arrival.authority is not None else None
        if scope is None:
            return False
        within = issuers_within(self.tables, scope)
        return issuer_pk() not in set(self.connection.execute(within).scalars())

    def _take_contents(self, told: Sequence[Arrival]) -> None:
        """What a source tells of series; they are weighed when they are saved."""
        all_series = [self.hierarchy.series[arrival.series_instance_uid] for arrival in told]
        insert_contents(
            self.connection, self.tables, list(zip(told, (series.pk for series in all_series), strict=True))
        )
        for series in all_series:
            if series.values["number_of_external_instances"] is None:
                series.set("number_of_external_instances", 0)

    def _count(self, arrival: Arrival, patient: Entity, study: Entity, series: Entity) -> None:
        if arrival.contents is not None:
            study.include("modalities_in_study", series.values["modality"])
            for sop_class_uid in arrival.contents.sop_class_uids:
                study.include("sop_classes_in_study", sop_class_uid)
            return
        size = arrival.stored_object.size
        patient.add("number_of_patient_related_instances", 1)
        study.add("number_of_study_related_instances", 1)
        study.add("size", size)
        study.include("modalities_in_study", series.values["modality"])
        study.include("sop_classes_in_study", arrival.sop_class_uid)
        series.add("number_of_series_related_instances", 1)
        series.add("size", size)

    def _insert_extracted(self, fresh: Sequence[tuple[Arrival, Outcome]]) -> None:
        """What plugins have made of instances that are new."""
        by_uid = {
            arrival.sop_instance_uid: (arrival, outcome)
            for arrival, outcome in fresh
            if arrival.extracted and arrival.contents is None
        }
        if not by_uid:
            return
        instance = self.tables.instance
        chosen = instance.c.sop_instance_uid.in_(by_uid)
        rows = self.connection.execute(select(instance.c.pk, instance.c.sop_instance_uid).where(chosen)).all()
        outcomes = {pk: by_uid[uid][1] for pk, uid in rows}
        extracted = [(pk, by_uid[uid][0].extracted) for pk, uid in sorted(rows)]
        for pk, plugin in PluginRows(self.tables).insert(self.connection, extracted, self.now):
            outcomes[pk].failed_plugins.append(plugin)

    # -- conflicts -----------------------------------------------------------------------------------------

    def _names_another_patient(self, arrival: Arrival, patient: Entity) -> bool:
        # an object that names nobody does not name another
        if arrival.patient_id is None:
            return False
        if patient.values["unidentified_study_uid"] or arrival.patient_id != patient.values["patient_id"]:
            return True
        issuer = arrival.issuer_of_patient_id
        return issuer is not None and self.hierarchy.issuers[issuer] != patient.values["issuer_pk"]

    def _meet_other_patient(self, arrival: Arrival, outcome: Outcome, study: Entity, patient: Entity) -> None:
        issuer = self.connection.execute(
            select(self.tables.issuer.c.issuer_of_patient_id).where(
                self.tables.issuer.c.pk == patient.values["issuer_pk"]
            )
        ).scalar_one()
        differences = {
            "PatientID": (patient.values["patient_id"], arrival.patient_id),
            "IssuerOfPatientID": (issuer, arrival.issuer_of_patient_id or DEFAULT_ISSUER),
        }
        differences = {keyword: pair for keyword, pair in differences.items() if pair[0] != pair[1]}
        subject = study.values["study_instance_uid"]
        self._add_conflict(outcome, ConflictType.STUDY_PATIENT, arrival, differences, subject)

    def _meet_patient(self, arrival: Arrival, outcome: Outcome, patient: Entity) -> None:
        if arrival.rows[Level.PATIENT] is patient.taken:
            return
        differences = demographic_differences(self.tables, patient.values, arrival)
        if differences:
            self._add_conflict(outcome, ConflictType.DEMOGRAPHICS, arrival, differences, str(patient.pk))
        else:
            patient.fill(self.tables, arrival.rows[Level.PATIENT])

    def _add_conflict(
        self,
        outcome: Outcome,
        kind: ConflictType,
        arrival: Arrival,
        differences: dict[str, tuple[Any, Any]],
        subject: str,
    ) -> None:
        outcome.conflicts.append(kind)
        self.conflicts.append((outcome, NewConflict(kind, arrival, differences, subject)))

    def _record_conflicts(self) -> None:
        # one order for all writers
        ordered = sorted(self.conflicts, key=lambda pair: pair[1].fingerprint)
        held = record(self.connection, self.tables, [conflict for _, conflict in ordered], self.now)
        for outcome, conflict in self.conflicts:
            outcome.kept = outcome.kept or conflict.arrival.stored_object.location in held
