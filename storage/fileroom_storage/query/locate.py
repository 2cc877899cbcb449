"""From unique keys to the instances they name, and to where the bytes of each are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, select

from ..attributes import Level
from ..errors import InvalidQuery
from ..index.tables import Tables
from .matching import searchable

_FRAME_ENTRY = 16  # two 64-bit numbers: where the frame's fragments begin and end
_RUNS_AT_A_TIME = 50  # columns of one statement
_GAP = 64  # entries that are read without need are cheaper than another statement
_MOST_UIDS = 10_000  # every database gives up somewhere beyond


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """An instance, and where its object is. `location` is a key of the object store."""

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


@dataclass(frozen=True, slots=True)
class FramePlace:
    """Where the frames of an instance are, counted from the start of its data set."""

    number_of_frames: int
    offset: int
    length: int
    frame_length: int | None


class Locator:
    """Finds instances by the unique keys of their level or above; no wildcards (PS3.4 C.4.2.2.1)."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def locate(self, connection: Connection, matches: Mapping[str, str]) -> list[StoredInstance]:
        """By study, series and instance number. `matches` is by keyword; several UIDs are parted by backslashes."""
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
            )
            .select_from(instance)
            .join(series, instance.c.series_pk == series.c.pk)
            .join(study, series.c.study_pk == study.c.pk)
            .join(patient, study.c.patient_pk == patient.c.pk)
            .where(*self._conditions(matches))
            .order_by(series.c.study_pk, series.c.series_number, series.c.pk, instance.c.instance_number, instance.c.pk)
        )
        return [StoredInstance(*row) for row in connection.execute(statement)]

    def frame_place(self, connection: Connection, pk: int) -> FramePlace | None:
        """None where the instance has no pixel data that can be reached without reading the whole object."""
        table = self._tables.instance
        columns = (table.c.frame_count, table.c.pixel_data_offset, table.c.pixel_data_length, table.c.frame_length)
        row = connection.execute(select(*columns).where(table.c.pk == pk)).one_or_none()
        return FramePlace(*row) if row is not None and row[0] is not None else None

    def frame_entries(self, connection: Connection, pk: int, numbers: Sequence[int]) -> dict[int, bytes]:
        """The entries of these frames, counted from 1, out of the frame table, however long that is."""
        column, key = self._tables.instance.c.frame_table, self._tables.instance.c.pk
        runs = list(_runs(numbers))
        entries: dict[int, bytes] = {}
        for first in range(0, len(runs), _RUNS_AT_A_TIME):
            asked = runs[first : first + _RUNS_AT_A_TIME]
            pieces = [
                func.substr(column, (run[0] - 1) * _FRAME_ENTRY + 1, len(run) * _FRAME_ENTRY).label(f"run_{index}")
                for index, run in enumerate(asked)
            ]
            row = connection.execute(select(*pieces).where(key == pk)).one_or_none()
            for run, piece in zip(asked, row or (), strict=False):
                table = bytes(piece or b"")
                for index, number in enumerate(run):
                    entry = table[index * _FRAME_ENTRY : (index + 1) * _FRAME_ENTRY]
                    if len(entry) == _FRAME_ENTRY:
                        entries[number] = entry
        return entries

    def _conditions(self, matches: Mapping[str, str]) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        for keyword, value in matches.items():
            attribute = self._tables.registry.get(keyword)
            if attribute is None or attribute is not self._tables.registry.unique_key(attribute.level):
                raise InvalidQuery(f"{keyword} is no unique key; objects are retrieved by unique keys", keyword)
            values = [searchable(part) for part in value.split("\\") if searchable(part)]
            if not values:
                raise InvalidQuery(f"{keyword} has no value; name what is to be retrieved", keyword)
            if len(values) > _MOST_UIDS:
                raise InvalidQuery(f"{keyword} has {len(values)} values; ask for {_MOST_UIDS} at a time", keyword)
            if attribute.vr == "UI":
                values = [part for part in values if part.isascii()]
            conditions.append(self._tables.entity(attribute.level).c[attribute.column].in_(values))
        if not conditions:
            raise InvalidQuery("no unique key is given; name what is to be retrieved")
        return conditions


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
