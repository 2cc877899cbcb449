"""Series that more than one image set has: a row for each pair, open until it is resolved or its cause is gone."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import combinations
from typing import Any

import orjson
from sqlalchemy import Connection, insert, or_, select, update

from .document import ImageSetDocument
from .image_set_rows import ImageSet, pages
from .image_set_version import ImageSetName
from .read_versions import differing_attributes
from .tables import HealthImagingTables


class ConflictType(StrEnum):
    INSTANCES = "instances"  # both have some of the instances: those are of the primary
    ATTRIBUTES = "attributes"  # what they say of patient, study or series differs
    DIVIDED = "divided"  # neither: the series is in two parts


class ConflictState(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"
    GONE = "gone"  # its cause is


class Resolution(StrEnum):
    """How a person has ended it in the service."""

    PROMOTE = "promote"
    COPY = "copy"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Conflict:
    """`differing_attributes` are the values of the first and of the second, by keyword."""

    pk: int
    series_instance_uid: str
    first: ImageSetName
    second: ImageSetName
    type: ConflictType
    differing_attributes: Mapping[str, list[Any]]
    state: ConflictState
    resolution: Resolution | None
    opened_at: datetime
    closed_at: datetime | None


Pair = tuple[int, int, str]


class ConflictRows:
    """Statements on one connection."""

    def __init__(self, connection: Connection, tables: HealthImagingTables) -> None:
        self._connection = connection
        self._tables = tables

    def settle(
        self,
        image_sets: Collection[ImageSet],
        changed: Collection[int],
        metadata_of: Callable[[ImageSet], ImageSetDocument],
        now: datetime,
    ) -> None:
        """Makes the conflicts of these what they are; `changed` are the keys of those with another document."""
        table = self._tables.conflict
        live = sorted((one for one in image_sets if one.is_live), key=lambda one: one.key)
        causes = {
            (first.pk, second.pk, uid): (first, second)
            for first, second in combinations(live, 2)
            for uid in first.series.keys() & second.series.keys()
        }
        known = self._known([one.pk for one in image_sets])
        for pair, (first, second) in sorted(causes.items()):
            row = known.get(pair)
            if row is not None and row.state != ConflictState.GONE and not {first.pk, second.pk} & set(changed):
                continue
            values = _cause(first, second, pair[2], metadata_of(first), metadata_of(second))
            if row is None:
                names = dict(
                    zip(("first_image_set_pk", "second_image_set_pk", "series_instance_uid"), pair, strict=True)
                )
                opened = values | names | {"state": ConflictState.OPEN, "opened_at": now}
                self._connection.execute(insert(table).values(opened))
            elif (
                row.state == ConflictState.GONE
                or row.type != values["type"]
                or row.differing_attributes != values["differing_attributes"]
            ):
                again = {"state": ConflictState.OPEN, "opened_at": now, "closed_at": None, "resolution": None}
                if row.state == ConflictState.OPEN:
                    again = {}
                self._connection.execute(update(table).where(table.c.pk == row.pk).values(values | again))
        gone = [row.pk for pair, row in known.items() if pair not in causes and row.state != ConflictState.GONE]
        for page in pages(gone):
            closed = {"state": ConflictState.GONE, "closed_at": now}
            self._connection.execute(update(table).where(table.c.pk.in_(page)).values(closed))

    def all(self, state: ConflictState | None) -> list[Conflict]:
        table, first, second = self._tables.conflict, *(self._tables.image_set.alias() for _ in range(2))
        statement = (
            select(table, *(one.c[name] for one in (first, second) for name in ("datastore_id", "image_set_id")))
            .join(first, first.c.pk == table.c.first_image_set_pk)
            .join(second, second.c.pk == table.c.second_image_set_pk)
            .order_by(table.c.pk)
        )
        if state is not None:
            statement = statement.where(table.c.state == state)
        return [
            Conflict(
                row[0],
                row[1],
                ImageSetName(*row[-4:-2]),
                ImageSetName(*row[-2:]),
                ConflictType(row[4]),
                orjson.loads(row[5]),
                ConflictState(row[6]),
                None if row[7] is None else Resolution(row[7]),
                row[8],
                row[9],
            )
            for row in self._connection.execute(statement)
        ]

    def resolve(self, pk: int, resolution: Resolution, now: datetime) -> bool:
        """Whether there was an open one with this key."""
        table = self._tables.conflict
        resolved = {"state": ConflictState.RESOLVED, "resolution": resolution, "closed_at": now}
        is_open = (table.c.pk == pk) & (table.c.state == ConflictState.OPEN)
        return self._connection.execute(update(table).where(is_open).values(resolved)).rowcount == 1

    def _known(self, pks: Collection[int]) -> dict[Pair, Any]:
        table = self._tables.conflict
        found: dict[Pair, Any] = {}
        for page in pages(pks):
            either = or_(table.c.first_image_set_pk.in_(page), table.c.second_image_set_pk.in_(page))
            for row in self._connection.execute(select(table).where(either)):
                found[row.first_image_set_pk, row.second_image_set_pk, row.series_instance_uid] = row
        return found


def _cause(
    first: ImageSet, second: ImageSet, uid: str, of_first: ImageSetDocument, of_second: ImageSetDocument
) -> dict[str, str]:
    differing = differing_attributes(_shared_attributes(of_first, uid), _shared_attributes(of_second, uid))
    if first.series[uid] & second.series[uid]:
        kind = ConflictType.INSTANCES
    elif differing:
        kind = ConflictType.ATTRIBUTES
    else:
        kind = ConflictType.DIVIDED
    return {"type": kind, "differing_attributes": orjson.dumps(differing).decode()}


def _shared_attributes(document: ImageSetDocument, series_instance_uid: str) -> dict[str, Any]:
    [series] = [one for one in document.series if one.series_instance_uid == series_instance_uid]
    return {**document.patient_attributes, **document.study_attributes, **series.attributes}
