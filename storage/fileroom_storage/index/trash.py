"""Deleting, restoring and purging in the index: a method is a transaction, so that a crash leaves no half of it."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, Engine, func, select, update

from ..errors import InstanceNotFound
from . import deletions
from .arrival import Arrival
from .audit import chain
from .audit.deletion_events import deletion_event, patient_of, purge_events
from .audit.event import Action, Actor
from .deletions import DeletedObject, Deletion, DeletionReason, Retention
from .engine import unavailable_errors, write_transaction
from .ingest import Outcome, ingest
from .removal import RemovedInstance, remove_instances, under
from .retrying import retried
from .scope import Scope
from .tables import Tables
from .writer import utc_now

# What is being restored is kept at least this long, whatever its undo time says.
_RESTORATION_TIME = dt.timedelta(days=1)


class Trash:
    """What has been deleted and can be restored. No bytes are touched here."""

    def __init__(self, engine: Engine, tables: Tables, retention: Retention) -> None:
        self._engine = engine
        self._tables = tables
        self._retention = retention

    def delete(
        self, unique_keys: Mapping[str, str], actor: Actor | None = None, scope: Scope = None
    ) -> tuple[Deletion, list[RemovedInstance]]:
        """Takes all instances under these keys out of the index, at once. Raises InstanceNotFound, InvalidQuery.

        The audit log says that `actor` did so.
        """
        condition = under(self._tables, unique_keys, scope)

        def transaction() -> tuple[Deletion, list[RemovedInstance]]:
            now = utc_now()
            with write_transaction(self._engine) as connection:
                # who it is about is known when it is gone
                about: dict[str, str | None] = {"study_instance_uid": ""}
                pk = deletions.begin(connection, self._tables, self._retention, DeletionReason.REQUEST, about, now)
                patient_id = patient_of(connection, self._tables, condition) if actor else None
                removed = remove_instances(
                    connection, self._tables, condition, now, deletion_pk=pk, with_conflicts=True
                )
                if not removed:
                    raise InstanceNotFound("Nothing is stored under these UIDs; a search tells what is.")
                first = removed[0]
                about = {"study_instance_uid": first.study_instance_uid}
                if unique_keys.keys() & {"SeriesInstanceUID", "SOPInstanceUID"}:
                    about["series_instance_uid"] = first.series_instance_uid
                if "SOPInstanceUID" in unique_keys:
                    about["sop_instance_uid"] = first.sop_instance_uid
                table = self._tables.deletion
                connection.execute(update(table).where(table.c.pk == pk), about)
                deletions.settle(connection, self._tables, pk)
                deletion = deletions.read_deletion(connection, self._tables, pk)
                if actor is not None:
                    event = deletion_event(deletion, Action.DELETE, actor, patient_id)
                    chain.append(connection, self._tables, [event])
                return deletion, removed

        with unavailable_errors():
            return retried(transaction)

    def keep_orphan(self, arrival: Arrival, written: dt.datetime) -> bool:
        """Keeps an object without a row out of the index where it was deleted since it was written."""

        def transaction() -> bool:
            with write_transaction(self._engine) as connection:
                if not deletions.was_deleted(connection, self._tables, arrival, written):
                    return False
                self._keep_superfluous(connection, [arrival])
                return True

        with unavailable_errors():
            return retried(transaction)

    def deletions(self, scope: Scope = None) -> Iterator[Deletion]:
        with unavailable_errors():
            yield from deletions.list_deletions(self._engine, self._tables, scope)

    def deletion(self, pk: int, scope: Scope = None) -> Deletion:
        with unavailable_errors(), self._engine.connect() as connection:
            return deletions.read_deletion(connection, self._tables, pk, scope)

    def rejection(self, note_uid: str) -> Deletion:
        """What a rejection note took out of use. Raises InstanceNotFound where that was nothing."""
        with unavailable_errors(), self._engine.connect() as connection:
            return deletions.rejection_by(connection, self._tables, note_uid)

    def objects(self, pk: int, after: int, limit: int) -> list[DeletedObject]:
        with unavailable_errors(), self._engine.connect() as connection:
            return deletions.kept_objects(connection, self._tables, pk, after, limit)

    # -- restore -------------------------------------------------------------------------------------------

    def begin_restoration(self, pk: int, actor: Actor | None = None, scope: Scope = None) -> Deletion:
        """Keeps the purger away from it. Raises InstanceNotFound. The audit log says that `actor` restores it."""

        def transaction() -> Deletion:
            with write_transaction(self._engine) as connection:
                if scope is not None:
                    deletions.read_deletion(connection, self._tables, pk, scope)
                deletion = deletions.read_deletion(connection, self._tables, pk, lock=True)
                deletions.postpone(connection, self._tables, deletion, utc_now() + _RESTORATION_TIME)
                if actor is not None:
                    event = deletion_event(deletion, Action.UPDATE, actor, reason="restored")
                    chain.append(connection, self._tables, [event])
                return deletion

        with unavailable_errors():
            return retried(transaction)

    def take_back(
        self, pk: int, objects: Sequence[DeletedObject], arrivals: Sequence[Arrival]
    ) -> list[tuple[str, Outcome]]:
        """Indexes objects of different SOP Instances again, by UID; what is not needed goes to the purger."""

        def transaction() -> list[tuple[str, Outcome]]:
            with write_transaction(self._engine) as connection:
                deletions.read_deletion(connection, self._tables, pk, lock=True)
                table = self._tables.deleted_object
                statement = select(table.c.pk).where(table.c.pk.in_([kept.pk for kept in objects]))
                # somebody else may be restoring the same
                there = set(connection.execute(statement).scalars())
                mine = [arrival for kept, arrival in zip(objects, arrivals, strict=True) if kept.pk in there]
                deletions.forget_objects(connection, self._tables, there)
                outcomes = ingest(connection, self._tables, mine, utc_now())
                surplus = [arrival for arrival, outcome in zip(mine, outcomes, strict=True) if not outcome.kept]
                self._keep_superfluous(connection, surplus)
                return [(arrival.sop_instance_uid, outcome) for arrival, outcome in zip(mine, outcomes, strict=True)]

        with unavailable_errors():
            return retried(transaction)

    def end_restoration(self, pk: int) -> list[RemovedInstance]:
        """Forgets a deletion that keeps nothing any more; a rejection's note goes with it. Returns what went."""

        def transaction() -> list[RemovedInstance]:
            with write_transaction(self._engine) as connection:
                try:
                    deletion = deletions.read_deletion(connection, self._tables, pk, lock=True)
                except InstanceNotFound:
                    return []  # somebody else has ended it
                left = deletions.settle(connection, self._tables, pk)
                if left or deletion.rejection_note_uid is None:
                    return []
                return self._delete_note(connection, deletion)

        with unavailable_errors():
            return retried(transaction)

    def _delete_note(self, connection: Connection, deletion: Deletion) -> list[RemovedInstance]:
        now = utc_now()
        uid = str(deletion.rejection_note_uid)
        condition = under(self._tables, {"SOPInstanceUID": uid})
        scope: dict[str, str | None] = {"study_instance_uid": deletion.study_instance_uid, "sop_instance_uid": uid}
        pk = deletions.begin(connection, self._tables, self._retention, DeletionReason.REQUEST, scope, now)
        removed = remove_instances(connection, self._tables, condition, now, deletion_pk=pk, with_conflicts=True)
        deletions.settle(connection, self._tables, pk)
        return removed

    def _keep_superfluous(self, connection: Connection, arrivals: Sequence[Arrival]) -> None:
        if not arrivals:
            return
        scope: dict[str, str | None] = {"study_instance_uid": arrivals[0].study_instance_uid}
        reason = DeletionReason.SUPERFLUOUS
        pk = deletions.begin(connection, self._tables, self._retention, reason, scope, utc_now())
        for arrival in arrivals:
            deletions.keep_arrival(connection, self._tables, pk, arrival)
        deletions.settle(connection, self._tables, pk)

    # -- purge ---------------------------------------------------------------------------------------------

    def expired(self) -> list[int]:
        """What the purger has to do now."""
        with unavailable_errors(), self._engine.connect() as connection:
            return deletions.expired(connection, self._tables, utc_now())

    def claim_for_purge(self, pk: int, *, only_expired: bool, actor: Actor | None = None) -> bool:
        """From now on it cannot be undone; False where it is gone, or is not to be purged yet.

        The audit log says that `actor` does it.
        """

        def transaction() -> bool:
            due = utc_now() if only_expired else None
            with write_transaction(self._engine) as connection:
                is_claimed = deletions.claim_for_purge(connection, self._tables, pk, due)
                if is_claimed and actor is not None:
                    chain.append(connection, self._tables, purge_events(connection, self._tables, pk, actor))
                return is_claimed

        with unavailable_errors():
            return retried(transaction)

    def referred_locations(self, locations: Sequence[str]) -> set[str]:
        with unavailable_errors(), self._engine.connect() as connection:
            return deletions.referred_locations(connection, self._tables, locations)

    def forget(self, pk: int, objects: Sequence[DeletedObject]) -> None:
        """To be called once the bytes are gone for good; the deletion goes with its last object."""

        def transaction() -> None:
            with write_transaction(self._engine) as connection:
                deletions.forget_objects(connection, self._tables, {kept.pk for kept in objects})
                table = self._tables.deleted_object
                left = select(func.count()).where(table.c.deletion_pk == pk)
                if not connection.execute(left).scalar_one():
                    deletions.settle(connection, self._tables, pk)

        with unavailable_errors():
            retried(transaction)
