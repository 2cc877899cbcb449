"""From unique keys to the instances they name, and to where the bytes of each are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Integer, Select, bindparam, func, select

from ..attributes import Level
from ..errors import InvalidQuery
from ..index.arrival import Origin
from ..index.prepared import prepared
from ..index.scope import Scope, patient_within
from ..index.tables import Tables
from .matching import searchable

_FRAME_ENTRY = 16  # two 64-bit numbers: where the frame's fragments begin and end
_RUNS_AT_A_TIME = 50  # columns of one statement
_GAP = 64  # entries that are read without need are cheaper than another statement
_MOST_PREPARED_ISSUERS = 32  # there is a statement for each number of them
_MOST_UIDS = 10_000  # every database gives up somewhere beyond


@dataclass(frozen=True, slots=True)
class FramePlace:
    """Where the frames of an instance are, counted from the start of its data set."""

    number_of_frames: int
    offset: int
    length: int
    frame_length: int | None


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """An instance, and where its object is. `location` is a key of the object store.

    `frames` is None where it has no pixel data that can be reached without reading the whole object. With an `origin`
    the object is only the header of the instance, and its frames are elsewhere.
    """

    pk: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    location: str
    size: int
    digest: str
    data_set_offset: int
    number_of_frames: int
    frames: FramePlace | None
    origin: Origin | None = None


class Locator:
    """Finds instances by the unique keys of their level or above; no wildcards (PS3.4 C.4.2.2.1)."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._unique_keys = {key.keyword: key for key in map(tables.registry.unique_key, Level)}

    def locate(self, connection: Connection, matches: Mapping[str, str], scope: Scope = None) -> list[StoredInstance]:
        """By study, series and instance number. `matches` is by keyword; several UIDs are parted by backslashes."""
        if not matches:
            raise InvalidQuery("no unique key is given; name what is to be retrieved")
        asked = {keyword: self._values(keyword, value) for keyword, value in matches.items()}
        if not all(asked.values()) or scope == frozenset():
            return []
        if any(len(values) > 1 for values in asked.values()) or len(scope or ()) > _MOST_PREPARED_ISSUERS:
            conditions: list[ColumnElement[bool]] = [self._column(name).in_(values) for name, values in asked.items()]
            if scope is not None:
                conditions.append(patient_within(self._tables, scope))
            statement = self._statement(asked, conditions, with_patient=scope is not None)
            return [_stored_instance(row) for row in connection.execute(statement)]
        issuers = {f"issuer_{number}": name for number, name in enumerate(scope or ())}
        known = prepared(
            connection,
            self._tables,
            ("locate", tuple(asked), len(issuers)),
            lambda: self._single_statement(asked, issuers),
        )
        rows = known.rows(connection, {**{keyword: value for keyword, (value,) in asked.items()}, **issuers})
        return [_stored_instance(row) for row in rows]

    def _single_statement(self, asked: Iterable[str], issuers: Iterable[str]) -> Select[Any]:
        """For one value of each key; `issuers` are the names of the parameters that the scope is given by."""
        conditions: list[ColumnElement[bool]] = [self._column(keyword) == bindparam(keyword) for keyword in asked]
        issuer = self._tables.issuer
        column = issuer.c.issuer_of_patient_id
        names = [bindparam(name, type_=column.type) for name in issuers]
        if names:
            conditions.append(self._tables.patient.c.issuer_pk.in_(select(issuer.c.pk).where(column.in_(names))))
        return self._statement(asked, conditions, with_patient=bool(names))

    def _statement(
        self, asked: Iterable[str], conditions: Iterable[ColumnElement[bool]], *, with_patient: bool
    ) -> Select[Any]:
        instance, series, study, patient = (self._tables.entity(level) for level in reversed(Level))
        statement = (
            select(
                instance.c.pk,
                study.c.study_instance_uid,
                series.c.series_instance_uid,
                instance.c.sop_instance_uid,
                instance.c.sop_class_uid,
                instance.c.available_transfer_syntax_uid,
                instance.c.location,
                instance.c.size,
                instance.c.digest,
                instance.c.data_set_offset,
                func.coalesce(instance.c.number_of_frames, 1),
                instance.c.frame_count,
                instance.c.pixel_data_offset,
                instance.c.pixel_data_length,
                instance.c.frame_length,
                instance.c.external_source,
                instance.c.external_key,
            )
            .select_from(instance)
            .join(series, instance.c.series_pk == series.c.pk)
            .join(study, series.c.study_pk == study.c.pk)
        )
        if with_patient or any(self._unique_keys[keyword].level is Level.PATIENT for keyword in asked):
            statement = statement.join(patient, study.c.patient_pk == patient.c.pk)
        return statement.where(*conditions).order_by(
            series.c.study_pk, series.c.series_number, series.c.pk, instance.c.instance_number, instance.c.pk
        )

    def frame_entries(self, connection: Connection, pk: int, numbers: Sequence[int]) -> dict[int, bytes]:
        """The entries of these frames, counted from 1, out of the frame table, however long that is."""
        runs = list(_runs(numbers))
        entries: dict[int, bytes] = {}
        for first in range(0, len(runs), _RUNS_AT_A_TIME):
            asked = runs[first : first + _RUNS_AT_A_TIME]
            # two statements do for any number of runs: what is not asked for is empty
            columns = 1 if len(asked) == 1 else _RUNS_AT_A_TIME
            statement = prepared(connection, self._tables, ("frame entries", columns), partial(self._entries, columns))
            keys = {"pk_of_instance": pk}
            for index in range(columns):
                run = asked[index] if index < len(asked) else range(1, 1)
                keys[f"first_{index}"] = (run.start - 1) * _FRAME_ENTRY + 1
                keys[f"length_{index}"] = len(run) * _FRAME_ENTRY
            pieces = next(iter(statement.rows(connection, keys)), ())
            for run, piece in zip(asked, pieces, strict=False):
                table = bytes(piece or b"")
                for index, number in enumerate(run):
                    entry = table[index * _FRAME_ENTRY : (index + 1) * _FRAME_ENTRY]
                    if len(entry) == _FRAME_ENTRY:
                        entries[number] = entry
        return entries

    def _entries(self, columns: int) -> Select[Any]:
        """Stretches of the frame table of one instance."""
        table = self._tables.instance
        stretches = (
            func.substr(
                table.c.frame_table,
                bindparam(f"first_{index}", type_=Integer()),
                bindparam(f"length_{index}", type_=Integer()),
            ).label(f"run_{index}")
            for index in range(columns)
        )
        return select(*stretches).where(table.c.pk == bindparam("pk_of_instance"))

    def _values(self, keyword: str, value: str) -> list[str]:
        """Those that the index can hold, at most."""
        attribute = self._unique_keys.get(keyword)
        if attribute is None:
            raise InvalidQuery(f"{keyword} is no unique key; objects are retrieved by unique keys", keyword)
        values = [part for part in map(searchable, value.split("\\")) if part]
        if not values:
            raise InvalidQuery(f"{keyword} has no value; name what is to be retrieved", keyword)
        if len(values) > _MOST_UIDS:
            raise InvalidQuery(f"{keyword} has {len(values)} values; ask for {_MOST_UIDS} at a time", keyword)
        return [part for part in values if part.isascii()] if attribute.vr == "UI" else values

    def _column(self, keyword: str) -> Column[Any]:
        attribute = self._unique_keys[keyword]
        return self._tables.entity(attribute.level).c[attribute.column]


def _stored_instance(row: Sequence[Any]) -> StoredInstance:
    *facts, number_of_frames, frame_count, offset, length, frame_length, source, key = row
    if source is not None:
        return StoredInstance(*(*facts, frame_count or 0, None, Origin(source, key)))
    place = None if frame_count is None else FramePlace(frame_count, offset, length, frame_length)
    return StoredInstance(*(*facts, number_of_frames, place))


def _runs(numbers: Sequence[int]) -> Iterator[range]:
    """Ranges that together hold all numbers."""
    wanted = sorted(set(numbers))
    start = previous = None
    for number in wanted:
        if start is None or previous is None:
            start = number
        elif number - previous > _GAP:
            yield range(start, previous + 1)
            start = number
        previous = number
    if start is not None and previous is not None:
        yield range(start, previous + 1)
