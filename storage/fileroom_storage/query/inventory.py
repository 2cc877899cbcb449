"""The index as a list of locations, to be held against the object store."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, union_all

from ..index.tables import Tables

_PAGE = 2000


@dataclass(frozen=True, slots=True)
class IndexedObject:
    """What the index says of one object. `pk` is None for an object that only a conflict refers to."""

    pk: int | None
    sop_instance_uid: str
    location: str
    size: int
    digest: str
    data_set_offset: int


def indexed_objects(connection: Connection, tables: Tables) -> Iterator[IndexedObject]:
    """Every object that an instance refers to, in pages, so that no long read holds up writers."""
    instance = tables.instance
    columns = (
        instance.c.pk,
        instance.c.sop_instance_uid,
        instance.c.location,
        instance.c.size,
        instance.c.digest,
        instance.c.data_set_offset,
    )
    last = -1
    while True:
        statement = select(*columns).where(instance.c.pk > last).order_by(instance.c.pk).limit(_PAGE)
        rows = connection.execute(statement).all()
        connection.rollback()
        yield from (IndexedObject(*row) for row in rows)
        if len(rows) < _PAGE:
            return
        last = rows[-1].pk


def conflict_objects(connection: Connection, tables: Tables) -> Iterator[IndexedObject]:
    """Every object that an open conflict keeps."""
    conflict = tables.conflict
    statement = select(
        conflict.c.sop_instance_uid,
        conflict.c.location,
        conflict.c.size,
        conflict.c.digest,
        conflict.c.data_set_offset,
    ).where(conflict.c.location.is_not(None))
    for row in connection.execute(statement).all():
        yield IndexedObject(None, *row)


def unknown_locations(connection: Connection, tables: Tables, locations: Iterable[str]) -> list[str]:
    """Those of the locations that no instance, no conflict and no deletion refers to."""
    wanted = list(locations)
    # one statement, one moment: objects go from one table to another
    found = union_all(
        *(
            select(table.c.location).where(table.c.location.in_(wanted))
            for table in (tables.instance, tables.conflict, tables.deleted_object)
        )
    )
    known = set(connection.execute(found).scalars())
    connection.rollback()
    return [location for location in wanted if location not in known]


def locations_of(connection: Connection, tables: Tables, sop_instance_uid: str, digest: str) -> list[str]:
    """Where the index has an instance with this content, its own or one that a conflict keeps."""
    found: list[str] = []
    for table in (tables.instance, tables.conflict):
        found += connection.execute(
            select(table.c.location).where(
                table.c.sop_instance_uid == sop_instance_uid, table.c.digest == digest, table.c.location.is_not(None)
            )
        ).scalars()
    return found


def last_change(connection: Connection, tables: Tables) -> datetime | None:
    """When the index last changed."""
    change = tables.change
    newest = select(func.max(change.c.sequence)).scalar_subquery()
    moment: datetime | None = connection.execute(
        select(change.c.at).where(change.c.sequence == newest)
    ).scalar_one_or_none()
    return moment
