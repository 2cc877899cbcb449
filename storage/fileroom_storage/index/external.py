"""What a source has under its keys, as the index has it: replaced and removed in one transaction."""

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, select

from .arrival import Arrival, Origin
from .audit import chain
from .audit.event import Action, Actor, AuditEvent, EventId
from .engine import unavailable_errors, write_transaction
from .ingest import Outcome, ingest
from .removal import RemovedInstance, remove_superfluous
from .retrying import retried
from .tables import Tables
from .writer import utc_now

# The statements of whoever brings what is elsewhere, in the transaction of that: it is given the keys of the rows, by
# SOP Instance UID those of instances, by Series Instance UID those of series. Run again when the transaction is.
Companion = Callable[[Connection, Mapping[str, int]], None]

_PAGE = 1000
Key = TypeVar("Key")
# of an instance, what it is the same by: digest, transfer syntax, number of frames
Facts = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Contents:
    """What is known under one key: instances by SOP Instance UID, told series by Series Instance UID."""

    instances: dict[str, Facts] = field(default_factory=dict)
    series: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replacement:
    """What is to be under one key from now on. `takes_over` instances that another key of the source has."""

    key: str
    arrivals: Sequence[Arrival]
    takes_over: bool = False


@dataclass(slots=True)
class Replaced:
    """What a transaction has done. `deletions` are to be purged; `outcomes` are in the order of all arrivals."""

    outcomes: list[Outcome] = field(default_factory=list)
    removed: list[RemovedInstance] = field(default_factory=list)
    deletions: list[int] = field(default_factory=list)


class ExternalIndex:
    """For one source."""

    def __init__(self, engine: Engine, tables: Tables, source: str) -> None:
        self._engine = engine
        self._tables = tables
        self._source = source

    def contents(self, keys: Collection[str]) -> dict[str, Contents]:
        """What is known under each of the keys."""
        with unavailable_errors(), self._engine.connect() as connection:
            return self._contents(connection, keys)

    def owners(self, sop_instance_uids: Collection[str]) -> dict[str, Origin | None]:
        """Of those of the instances that have rows, whose they are; None: the object itself is here."""
        instance = self._tables.instance
        columns = (instance.c.sop_instance_uid, instance.c.external_source, instance.c.external_key)
        found: dict[str, Origin | None] = {}
        with unavailable_errors(), self._engine.connect() as connection:
            for page in _pages(sop_instance_uids):
                rows = connection.execute(select(*columns).where(instance.c.sop_instance_uid.in_(page)))
                found.update((uid, None if source is None else Origin(source, key)) for uid, source, key in rows)
        return found

    def unreferred(self, locations: Collection[str]) -> set[str]:
        """Those of the locations that no instance has."""
        instance = self._tables.instance
        found: set[str] = set()
        with unavailable_errors(), self._engine.connect() as connection:
            for page in _pages(locations):
                found.update(
                    connection.execute(select(instance.c.location).where(instance.c.location.in_(page))).scalars()
                )
        return set(locations) - found

    def replace(
        self,
        replacements: Sequence[Replacement],
        keys: Collection[str],
        companion: Companion | None,
        actor: Actor | None,
    ) -> Replaced:
        """All or nothing. `keys` are all that the companion is told of, also those that nothing is changed under."""

        def transaction() -> Replaced:
            with write_transaction(self._engine) as connection:
                replaced = self._replace(connection, replacements, utc_now())
                if actor is not None:
                    chain.append(connection, self._tables, _events(replaced, replacements, actor))
                if companion is not None:
                    companion(connection, self._pks(connection, keys))
                return replaced

        with unavailable_errors():
            return retried(transaction)

    def _replace(self, connection: Connection, replacements: Sequence[Replacement], now: dt.datetime) -> Replaced:
        replaced = Replaced()
        told = self._tables.external_series
        for page in _pages([replacement.key for replacement in replacements]):
            of_them = (told.c.external_source == self._source) & told.c.external_key.in_(page)
            self._remove(connection, replaced, self._under(page), now, of_them)
        taken_over = [
            arrival.sop_instance_uid
            for replacement in replacements
            if replacement.takes_over
            for arrival in replacement.arrivals
            if arrival.contents is None
        ]
        instance = self._tables.instance
        for page in _pages(taken_over):
            theirs = (instance.c.external_source == self._source) & instance.c.sop_instance_uid.in_(page)
            self._remove(connection, replaced, theirs, now)
        arrivals = [arrival for replacement in replacements for arrival in replacement.arrivals]
        outcomes: dict[int, Outcome] = {}
        for group in _of_different_instances(arrivals):
            taken = ingest(connection, self._tables, [arrivals[number] for number in group], now)
            outcomes.update(zip(group, taken, strict=True))
        replaced.outcomes = [outcomes[number] for number in range(len(arrivals))]
        return replaced

    def _remove(
        self,
        connection: Connection,
        replaced: Replaced,
        condition: ColumnElement[bool],
        now: dt.datetime,
        told: ColumnElement[bool] | None = None,
    ) -> None:
        deletion, removed = remove_superfluous(connection, self._tables, condition, now, told)
        replaced.removed += removed
        if deletion is not None:
            replaced.deletions.append(deletion)

    def _under(self, keys: Collection[str]) -> ColumnElement[bool]:
        instance = self._tables.instance
        return (instance.c.external_source == self._source) & instance.c.external_key.in_(list(keys))

    def _contents(self, connection: Connection, keys: Collection[str]) -> dict[str, Contents]:
        instance, series, told = self._tables.instance, self._tables.series, self._tables.external_series
        found = {key: Contents() for key in keys}
        for page in _pages(keys):
            columns = (
                instance.c.external_key,
                instance.c.sop_instance_uid,
                instance.c.digest,
                instance.c.available_transfer_syntax_uid,
                instance.c.frame_count,
            )
            for key, uid, *facts, frames in connection.execute(select(*columns).where(self._under(page))):
                found[key].instances[uid] = (*facts, frames or 0)
            statement = (
                select(told.c.external_key, series.c.series_instance_uid, told.c.digest)
                .join(series, told.c.series_pk == series.c.pk)
                .where(told.c.external_source == self._source, told.c.external_key.in_(page))
            )
            for key, uid, digest in connection.execute(statement):
                found[key].series[uid] = digest
        return found

    def _pks(self, connection: Connection, keys: Collection[str]) -> dict[str, int]:
        instance, series, told = self._tables.instance, self._tables.series, self._tables.external_series
        pks: dict[str, int] = {}
        for page in _pages(keys):
            of_instances = select(instance.c.sop_instance_uid, instance.c.pk, instance.c.series_pk)
            series_pks = set()
            for uid, pk, series_pk in connection.execute(of_instances.where(self._under(page))):
                pks[uid] = pk
                series_pks.add(series_pk)
            of_told = select(told.c.series_pk).where(
                told.c.external_source == self._source, told.c.external_key.in_(page)
            )
            series_pks.update(connection.execute(of_told).scalars())
            for some in _pages(sorted(series_pks)):
                of_series = select(series.c.series_instance_uid, series.c.pk).where(series.c.pk.in_(some))
                pks.update((uid, pk) for uid, pk in connection.execute(of_series))
        return pks


def _pages(keys: Collection[Key]) -> Iterator[list[Key]]:
    wanted = list(keys)
    for start in range(0, len(wanted), _PAGE):
        yield wanted[start : start + _PAGE]


def _of_different_instances(arrivals: Sequence[Arrival]) -> Iterator[list[int]]:
    """Groups in which no SOP Instance is twice: its second header has to meet the first as a row."""
    group: list[int] = []
    seen: set[str] = set()
    for number, arrival in enumerate(arrivals):
        if arrival.sop_instance_uid in seen or len(group) == _PAGE:
            yield group
            group, seen = [], set()
        group.append(number)
        seen.add(arrival.sop_instance_uid)
    if group:
        yield group


def _events(replaced: Replaced, replacements: Sequence[Replacement], actor: Actor) -> list[AuditEvent]:
    """An event for each study that instances came into, and for each that some left for good."""
    arrivals = [arrival for replacement in replacements for arrival in replacement.arrivals]
    come: dict[str, dict[str, int]] = {}
    patients: dict[str, str | None] = {}
    stored: set[str] = set()
    for arrival, outcome in zip(arrivals, replaced.outcomes, strict=True):
        if outcome.stored:
            classes = come.setdefault(outcome.study_instance_uid, {})
            number = 1 if arrival.contents is None else len(arrival.contents.sop_instance_uids)
            classes[arrival.sop_class_uid] = classes.get(arrival.sop_class_uid, 0) + number
            patients.setdefault(outcome.study_instance_uid, arrival.patient_id)
            stored.add(arrival.sop_instance_uid)
    gone: dict[str, int] = {}
    for removed in replaced.removed:
        if removed.sop_instance_uid not in stored:
            gone[removed.study_instance_uid] = gone.get(removed.study_instance_uid, 0) + 1
    detail = {"by": "external source"}
    return [
        AuditEvent(
            EventId.DICOM_INSTANCES_TRANSFERRED,
            Action.CREATE,
            actor,
            study_instance_uid=study,
            patient_id=patients[study],
            sop_classes=classes,
            detail=detail,
        )
        for study, classes in come.items()
    ] + [
        AuditEvent(
            EventId.DICOM_INSTANCES_ACCESSED,
            Action.DELETE,
            actor,
            study_instance_uid=study,
            sop_classes={"": number},
            detail=detail,
        )
        for study, number in gone.items()
    ]
