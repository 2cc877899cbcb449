"""What changes the index besides arrivals and deletions: the removal of lost objects, and the answers to conflicts."""

from collections.abc import Iterator

from sqlalchemy import Engine, func, select

from .arrival import Arrival
from .audit import chain
from .audit.event import Action, Actor, AuditEvent, EventId
from .conflicts import ConflictState
from .deletions import Retention
from .engine import unavailable_errors, write_transaction
from .removal import RemovedInstance, remove_instances
from .resolution import Conflict, Resolution, list_conflicts, read_conflict, resolve
from .retrying import retried
from .tables import Tables
from .writer import utc_now


class Maintenance:
    """Runs each change as a transaction of its own."""

    def __init__(self, engine: Engine, tables: Tables, retention: Retention) -> None:
        self._engine = engine
        self._tables = tables
        self._retention = retention

    def remove_lost(self, location: str, actor: Actor | None = None) -> bool:
        """Removes the instance whose object was there; False where there is none any more."""
        with unavailable_errors():
            return retried(lambda: self._remove_lost(location, actor))

    def conflicts(self, state: ConflictState | None) -> Iterator[Conflict]:
        with unavailable_errors():
            yield from list_conflicts(self._engine, self._tables, state)

    def count_conflicts(self, state: ConflictState) -> int:
        table = self._tables.conflict
        statement = select(func.count()).select_from(table).where(table.c.state == state)
        with unavailable_errors(), self._engine.connect() as connection:
            return int(connection.execute(statement).scalar_one())

    def conflict(self, pk: int) -> Conflict:
        with unavailable_errors(), self._engine.connect() as connection:
            return read_conflict(connection, self._tables, pk)

    def resolve(self, pk: int, resolution: Resolution, arrival: Arrival | None, actor: Actor | None = None) -> None:
        """The audit log says that `actor` did so."""
        with unavailable_errors():
            retried(lambda: self._resolve(pk, resolution, arrival, actor))

    def _remove_lost(self, location: str, actor: Actor | None) -> bool:
        there = self._tables.instance.c.location == location
        with write_transaction(self._engine) as connection:
            removed = remove_instances(connection, self._tables, there, utc_now(), deletion_pk=None)
            if actor is not None:
                chain.append(connection, self._tables, [_loss_event(instance, actor) for instance in removed])
            return bool(removed)

    def _resolve(self, pk: int, resolution: Resolution, arrival: Arrival | None, actor: Actor | None) -> None:
        with write_transaction(self._engine) as connection:
            conflict = read_conflict(connection, self._tables, pk)
            resolve(connection, self._tables, conflict, resolution, arrival, self._retention, utc_now())
            if actor is not None:
                chain.append(connection, self._tables, [_resolution_event(conflict, resolution, actor)])


def _loss_event(lost: RemovedInstance, actor: Actor) -> AuditEvent:
    return AuditEvent(
        EventId.DICOM_INSTANCES_ACCESSED,
        Action.DELETE,
        actor,
        study_instance_uid=lost.study_instance_uid,
        sop_classes={"": 1},
        detail={"reason": "the object store has lost it", "sop_instance_uid": lost.sop_instance_uid},
    )


def _resolution_event(conflict: Conflict, resolution: Resolution, actor: Actor) -> AuditEvent:
    return AuditEvent(
        EventId.DICOM_INSTANCES_ACCESSED,
        Action.UPDATE,
        actor,
        study_instance_uid=conflict.study_instance_uid,
        sop_classes={"": 1},
        detail={
            "reason": f"conflict {conflict.pk} ({conflict.type.value}) resolved: {resolution.value}",
            "sop_instance_uid": conflict.sop_instance_uid,
        },
    )
