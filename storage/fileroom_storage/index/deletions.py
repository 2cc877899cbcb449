"""The record of deletions, and of the objects that each keeps until it is undone or purged."""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)

from ..errors import InstanceNotFound
from .arrival import PROVENANCE_COLUMNS, Arrival, Provenance
from .prepared import insert_row, rows_by_keys
from .rejection import RETENTION_EXPIRED
from .scope import Scope, deletion_within
from .tables import Tables

_PAGE = 500


class DeletionReason(StrEnum):
    REQUEST = "request"  # somebody asked for it
    REJECTION = "rejection"  # a rejection note (IHE IOCM)
    REPLACED = "replaced"  # another object took its place
    CONFLICT = "conflict"  # a conflict's own copy, which was not taken
    SUPERFLUOUS = "superfluous"  # a copy of what is stored, or was deleted


@dataclass(frozen=True, slots=True)
class Retention:
    """How long deleted objects are kept. Rejected ones are kept for good unless `purge_rejected`."""

    undo_time: dt.timedelta
    purge_rejected: bool = False

    def purge_at(self, reason: DeletionReason, code: str | None, now: dt.datetime) -> dt.datetime | None:
        if reason is DeletionReason.SUPERFLUOUS:
            return now
        if reason is DeletionReason.REJECTION and code != RETENTION_EXPIRED and not self.purge_rejected:
            return None
        return now + self.undo_time


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion that can be undone. A None in the UIDs: all that is below the one before.

    `number_of_objects` and `size` are those still kept; `purge_at`: when they go, None: never by itself.
    """

    pk: int
    at: dt.datetime
    reason: DeletionReason
    code: str | None
    rejection_note_uid: str | None
    study_instance_uid: str
    series_instance_uid: str | None
    sop_instance_uid: str | None
    number_of_objects: int
    size: int
    purge_at: dt.datetime | None
    purging: bool

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        values = {name: row[name] for name in cls.__dataclass_fields__}
        values["reason"] = DeletionReason(row["reason"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class DeletedObject:
    """An object out of use: its bytes are there, no instance is."""

    pk: int
    sop_instance_uid: str
    location: str
    provenance: Provenance
    received_at: dt.datetime | None


def begin(
    connection: Connection,
    tables: Tables,
    retention: Retention,
    reason: DeletionReason,
    scope: Mapping[str, str | None],
    now: dt.datetime,
    **rejection: str,
) -> int:
    """A deletion without objects yet. `scope` names the UIDs it is about, `rejection` code and rejection_note_uid."""
    values = {
        "at": now,
        "reason": reason.value,
        "number_of_objects": 0,
        "size": 0,
        "purge_at": retention.purge_at(reason, rejection.get("code"), now),
        "purging": reason is DeletionReason.SUPERFLUOUS,
    }
    return insert_row(connection, tables, tables.deletion, {**values, **scope, **rejection})


def keep_objects(connection: Connection, tables: Tables, source: Select[Any]) -> None:
    """Puts into the record what `source` selects: rows with columns of deleted_object."""
    names = [column.name for column in source.selected_columns]
    connection.execute(insert(tables.deleted_object).from_select(names, source))


def conflict_copies(tables: Tables, deletion_pk: int, conflict_pks: Iterable[int]) -> Select[Any]:
    """The copies that these conflicts hold, as rows of deleted_object."""
    conflict = tables.conflict
    return select(
        literal(deletion_pk).label("deletion_pk"),
        conflict.c.study_instance_uid,
        conflict.c.series_instance_uid,
        conflict.c.sop_instance_uid,
        conflict.c.location,
        conflict.c.size,
        conflict.c.digest,
        conflict.c.transfer_syntax_uid,
    ).where(conflict.c.pk.in_(list(conflict_pks)), conflict.c.location.is_not(None))


def keep_arrival(connection: Connection, tables: Tables, deletion_pk: int, arrival: Arrival) -> None:
    """Puts an object that was not taken into the index into the record."""
    stored, provenance = arrival.stored_object, arrival.provenance
    values = {
        "deletion_pk": deletion_pk,
        "study_instance_uid": arrival.study_instance_uid,
        "series_instance_uid": arrival.series_instance_uid,
        "sop_instance_uid": arrival.sop_instance_uid,
        "location": stored.location,
        "size": stored.size,
        "digest": stored.digest,
        "transfer_syntax_uid": stored.transfer_syntax_uid,
        **{name: getattr(provenance, name) for name in PROVENANCE_COLUMNS},
        "received_at": arrival.received_at,
    }
    connection.execute(insert(tables.deleted_object), values)


def settle(connection: Connection, tables: Tables, deletion_pk: int) -> int:
    """Writes what a deletion keeps now; one that keeps nothing goes. Returns how many objects it keeps."""
    kept = tables.deleted_object
    totals = select(func.count(), func.coalesce(func.sum(kept.c.size), 0)).where(kept.c.deletion_pk == deletion_pk)
    number, size = connection.execute(totals).one()
    table = tables.deletion
    if number:
        changed = update(table).where(table.c.pk == deletion_pk)
        connection.execute(changed, {"number_of_objects": number, "size": int(size)})
    else:
        connection.execute(delete(table).where(table.c.pk == deletion_pk))
    return int(number)


def list_deletions(engine: Engine, tables: Tables, scope: Scope = None) -> Iterator[Deletion]:
    """Those that can be undone, newest first; in pages, so that no long read holds up writers."""
    table = tables.deletion
    statement = select(table).where(table.c.purging.is_(False)).order_by(table.c.pk.desc()).limit(_PAGE)
    if scope is not None:
        statement = statement.where(deletion_within(tables, scope))
    page = statement
    while True:
        with engine.connect() as connection:
            rows = connection.execute(page).mappings().all()
        yield from (Deletion.of_row(dict(row)) for row in rows)
        if len(rows) < _PAGE:
            return
        page = statement.where(table.c.pk < rows[-1]["pk"])


def read_deletion(
    connection: Connection, tables: Tables, pk: int, scope: Scope = None, *, lock: bool = False
) -> Deletion:
    """Raises InstanceNotFound where there is none of this scope, or where its purge has begun."""
    table = tables.deletion
    statement = select(table).where(table.c.pk == pk, table.c.purging.is_(False))
    if scope is not None:
        statement = statement.where(deletion_within(tables, scope))
    row = connection.execute(statement.with_for_update() if lock else statement).mappings().one_or_none()
    if row is None:
        raise InstanceNotFound(
            f"there is no deletion {pk} that could be undone; `fileroom deleted list` shows those there are"
        )
    return Deletion.of_row(dict(row))


def rejection_by(connection: Connection, tables: Tables, note_uid: str) -> Deletion:
    table = tables.deletion
    statement = select(table).where(table.c.rejection_note_uid == note_uid, table.c.purging.is_(False))
    row = connection.execute(statement).mappings().first()
    if row is None:
        raise InstanceNotFound("What was to be rejected has just been deleted; a search tells what is stored.")
    return Deletion.of_row(dict(row))


def kept_objects(
    connection: Connection, tables: Tables, deletion_pk: int, after: int, limit: int
) -> list[DeletedObject]:
    """A page of what a deletion keeps, behind the key `after`."""
    table = tables.deleted_object
    statement = (
        select(table).where(table.c.deletion_pk == deletion_pk, table.c.pk > after).order_by(table.c.pk).limit(limit)
    )
    return [
        DeletedObject(
            row["pk"],
            row["sop_instance_uid"],
            row["location"],
            Provenance(
                **{
                    **{name: row[name] for name in PROVENANCE_COLUMNS},
                    "source": row["source"] or "recovery",
                }
            ),
            row["received_at"],
        )
        for row in connection.execute(statement).mappings()
    ]


def forget_objects(connection: Connection, tables: Tables, pks: Collection[int]) -> int:
    """Takes objects out of the record; returns how many were in it."""
    table = tables.deleted_object
    return connection.execute(delete(table).where(table.c.pk.in_(list(pks)))).rowcount


def referred_locations(connection: Connection, tables: Tables, locations: Collection[str]) -> set[str]:
    """Those of the locations that an instance or a conflict refers to: their bytes must stay."""
    wanted = list(locations)
    found = union_all(
        *(select(table.c.location).where(table.c.location.in_(wanted)) for table in (tables.instance, tables.conflict))
    )
    return set(connection.execute(found).scalars())


def expired(connection: Connection, tables: Tables, now: dt.datetime) -> list[int]:
    """Deletions to be purged, and those whose purge was cut short."""
    table = tables.deletion
    due = table.c.purging.is_(True) | (table.c.purge_at <= now)
    return list(connection.execute(select(table.c.pk).where(due).order_by(table.c.pk)).scalars())


def claim_for_purge(connection: Connection, tables: Tables, pk: int, due: dt.datetime | None) -> bool:
    """From now on nobody can undo it. With `due` only where it has to go by then."""
    table = tables.deletion
    row = connection.execute(select(table).where(table.c.pk == pk).with_for_update()).mappings().one_or_none()
    if row is None:
        return False
    if due is not None and not row["purging"] and (row["purge_at"] is None or row["purge_at"] > due):
        return False
    connection.execute(update(table).where(table.c.pk == bindparam("key")), {"key": pk, "purging": True})
    return True


def postpone(connection: Connection, tables: Tables, deletion: Deletion, until: dt.datetime) -> None:
    """Keeps a deletion at least until then."""
    if deletion.purge_at is not None and deletion.purge_at < until:
        table = tables.deletion
        connection.execute(update(table).where(table.c.pk == deletion.pk), {"purge_at": until})


def rejected_digests(
    connection: Connection, tables: Tables, sop_instance_uids: Collection[str]
) -> set[tuple[str, str]]:
    """Of these SOP Instances, those that are rejected, each with the digest of the bytes that are."""
    kept, deletion = tables.deleted_object, tables.deletion
    deleted = rows_by_keys(
        connection,
        tables,
        "deleted objects",
        kept.c.sop_instance_uid,
        sop_instance_uids,
        lambda chosen: select(kept.c.sop_instance_uid).where(chosen),
    )
    sop_instance_uids = {uid for (uid,) in deleted}
    if not sop_instance_uids:
        return set()
    statement = (
        select(kept.c.sop_instance_uid, kept.c.digest)
        .join(deletion, kept.c.deletion_pk == deletion.c.pk)
        .where(
            kept.c.sop_instance_uid.in_(list(sop_instance_uids)),
            deletion.c.reason == DeletionReason.REJECTION.value,
            deletion.c.code != RETENTION_EXPIRED,
            deletion.c.purging.is_(False),
        )
    )
    return {(row.sop_instance_uid, row.digest) for row in connection.execute(statement)}


def was_deleted(connection: Connection, tables: Tables, arrival: Arrival, written: dt.datetime) -> bool:
    """Whether an object that has no row was deleted after it was written, or is rejected: it must not come back."""
    uid = arrival.sop_instance_uid
    if (uid, arrival.stored_object.digest) in rejected_digests(connection, tables, [uid]):
        return True
    change = tables.change
    newest = (
        select(change.c.action)
        .where(change.c.sequence >= _first_since(connection, tables, written), change.c.sop_instance_uid == uid)
        .order_by(change.c.sequence.desc())
        .limit(1)
    )
    return connection.execute(newest).scalar_one_or_none() == "deleted"


def _first_since(connection: Connection, tables: Tables, moment: dt.datetime) -> int:
    """Where the change feed gets to a moment, found by halving: only its sequence is indexed."""
    change = tables.change
    low, high = connection.execute(
        # where nothing has changed since, it is behind the last change
        select(func.coalesce(func.min(change.c.sequence), 0), func.coalesce(func.max(change.c.sequence) + 1, 0))
    ).one()
    while low < high:
        middle = (low + high) // 2
        at = connection.execute(
            select(change.c.at).where(change.c.sequence >= middle).order_by(change.c.sequence).limit(1)
        ).scalar_one()
        low, high = (low, middle) if at >= moment else (middle + 1, high)
    return int(low)
