"""Rows that one process at a time works on: claimed for a while, put off with growing pauses, given up at some time."""

import datetime as dt
import os
import random
import socket
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, func, select, update

from fileroom_storage.plugin import AuditEvent, PluginConnections, StorageError, utc_now

from .tag_and_job_tables import REASON_LENGTH

Events = Callable[[Connection, RowMapping], Sequence[AuditEvent]]


class NotYet(StorageError):
    """What has to be so first is not so: it is tried again later."""


class ClaimLost(StorageError):
    """Another process has taken over what this one was at; it goes on there."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds: between attempts, from the first to the longest; how long a claim holds without renewal."""

    first: float = 2.0
    longest: float = 300.0
    lease: float = 120.0

    def after(self, attempts: int) -> dt.timedelta:
        """Doubled each time, with chance in it, so that many do not come back at once."""
        pause = min(self.longest, self.first * 2 ** min(attempts, 16))
        return dt.timedelta(seconds=pause * random.uniform(0.75, 1.0))  # noqa: S311  # no secret

    def beside(self, elapsed: dt.timedelta) -> dt.timedelta:
        """A tenth of what has been waited for."""
        return dt.timedelta(seconds=min(self.longest, max(self.first, elapsed.total_seconds() / 10)))


def new_owner() -> str:
    """A name for this process' claims that no other has."""
    return f"{socket.gethostname()[:20]}:{os.getpid()}:{uuid.uuid4().hex[:16]}"


class DueWork:
    """The claims on the rows of one table. All raise StorageUnavailable."""

    def __init__(
        self, database: PluginConnections, table: Table, pending: Collection[str], pauses: Pauses | None = None
    ) -> None:
        self._database = database
        self._table = table
        self._pending = tuple(pending)
        self._pauses = pauses or Pauses()

    def claim(self, owner: str, pks: Collection[int] | None = None) -> int | None:
        """Takes what has been due for longest, of `pks` where they are given; None where nothing is due."""
        table = self._table
        due = [table.c.state.in_(self._pending), table.c.due_at <= utc_now()]
        if pks is not None:
            due.append(table.c.pk.in_(list(pks)))
        statement = select(table.c.pk).where(*due).order_by(table.c.due_at, table.c.pk).limit(20)
        with self._database.read() as connection:
            candidates: list[int] = list(connection.execute(statement).scalars())
        return next((pk for pk in candidates if self._database.audited(partial(self._claim, pk, owner))), None)

    def change(self, pk: int, owner: str, values: Mapping[str, Any], events: Events | None = None) -> RowMapping:
        """Changes a row that is ours, and renews the claim unless `values` end it. Raises ClaimLost."""
        table = self._table
        kept = {"due_at": utc_now() + dt.timedelta(seconds=self._pauses.lease)}

        def work(connection: Connection) -> tuple[RowMapping, Sequence[AuditEvent]]:
            ours = (table.c.pk == pk, table.c.claimed_by == owner, table.c.state.in_(self._pending))
            if not connection.execute(update(table).where(*ours).values(kept | dict(values))).rowcount:
                raise ClaimLost("another process goes on with it")
            row = connection.execute(select(table).where(table.c.pk == pk)).mappings().one()
            return row, events(connection, row) if events else ()

        return self._database.audited(work)

    def settle(self, pk: int, owner: str, values: Mapping[str, Any], events: Events) -> RowMapping:
        """Ends the work on a row in the state that `values` have. Raises ClaimLost."""
        ended = {"claimed_by": None, "settled_at": utc_now()}
        return self.change(pk, owner, ended | dict(values), events)

    def postpone(self, row: RowMapping, owner: str, why: str, *, failing: bool = True) -> bool:
        """Puts a row off; False where it would be due after it is to be given up. Raises ClaimLost.

        `failing`: the pause is longer with each attempt; otherwise with the time that has gone by, as there is only
        more to wait for.
        """
        now = utc_now()
        attempts = row["attempts"] + 1 if failing else row["attempts"]
        due_at = now + (self._pauses.after(attempts) if failing else self._pauses.beside(now - row["requested_at"]))
        if due_at > row["give_up_at"]:
            return False
        values = {
            "due_at": due_at,
            "claimed_by": None,
            "attempts": attempts,
            "last_error": why[:REASON_LENGTH] or None,
        }
        self.change(row["pk"], owner, values)
        return True

    def release(self, owner: str) -> None:
        """Whatever this owner is at is due for anybody, at once."""
        table = self._table
        ours = (table.c.claimed_by == owner, table.c.state.in_(self._pending))
        free = update(table).where(*ours).values(claimed_by=None, due_at=utc_now())
        self._database.audited(lambda connection: (connection.execute(free), ()))

    def next_due(self, pks: Collection[int] | None = None) -> dt.datetime | None:
        """When the next row is due (UTC); None where all is settled."""
        table = self._table
        of_these: list[ColumnElement[bool]] = [] if pks is None else [table.c.pk.in_(list(pks))]
        statement = select(func.min(table.c.due_at)).where(table.c.state.in_(self._pending), *of_these)
        with self._database.read() as connection:
            found: dt.datetime | None = connection.execute(statement).scalar()
        return found

    def _claim(self, pk: int, owner: str, connection: Connection) -> tuple[bool, Sequence[AuditEvent]]:
        table, now = self._table, utc_now()
        free = (table.c.pk == pk, table.c.state.in_(self._pending), table.c.due_at <= now)
        lease = now + dt.timedelta(seconds=self._pauses.lease)
        taking = update(table).where(*free).values(claimed_by=owner, due_at=lease)
        return bool(connection.execute(taking).rowcount), ()
