"""What a collector of audit messages has been sent: kept in the database, so that nothing is left out after any crash.

Rows of a chain become visible in their order, so whatever is behind the last one that was sent is still to be sent.
One process at a time sends, by a lease that runs out; should two do so all the same, messages come twice.
"""

import datetime as dt
import json
from collections.abc import Iterable

from sqlalchemy import Engine, or_, select, update

from ..engine import insert_or_ignore, unavailable_errors, write_transaction
from ..retrying import retried
from ..tables import Tables
from .chain import Head, heads
from .reading import AuditRow, by_time
from .verification import positions_of


class Delivery:
    """Everything raises StorageUnavailable."""

    def __init__(self, engine: Engine, tables: Tables, destination: str) -> None:
        self._engine = engine
        self._tables = tables
        self._destination = destination
        self._table = tables.audit_delivery

    def claim(self, owner: str, now: dt.datetime, seconds: float) -> bool:
        """Whether `owner` is the one to send until `seconds` from now (UTC)."""
        table = self._table
        mine = update(table).where(
            table.c.destination == self._destination,
            or_(table.c.owner.is_(None), table.c.owner == owner, table.c.lease_until < now),
        )
        lease = {"owner": owner, "lease_until": now + dt.timedelta(seconds=seconds)}
        first = {"destination": self._destination, "positions": "{}"}

        def transaction() -> bool:
            with write_transaction(self._engine) as connection:
                there = select(table.c.destination).where(table.c.destination == self._destination)
                if connection.execute(there).first() is None:
                    connection.execute(insert_or_ignore(table, connection.dialect.name), first)
                return bool(connection.execute(mine, lease).rowcount)

        with unavailable_errors():
            return retried(transaction)

    def release(self, owner: str) -> None:
        """Lets another process send at once."""
        table = self._table
        statement = update(table).where(table.c.destination == self._destination, table.c.owner == owner)
        with unavailable_errors(), write_transaction(self._engine) as connection:
            connection.execute(statement, {"owner": None, "lease_until": None})

    def positions(self) -> dict[int, Head]:
        """The last row of each chain that has been delivered."""
        table = self._table
        statement = select(table.c.positions).where(table.c.destination == self._destination)
        with unavailable_errors(), self._engine.connect() as connection:
            text = connection.execute(statement).scalar()
        return {head.chain: head for head in positions_of(text or "{}")}

    def undelivered(self, positions: dict[int, Head], limit: int) -> list[AuditRow]:
        """Rows behind these positions, up to `limit` of each chain."""
        table = self._tables.audit_log
        chains: list[list[AuditRow]] = []
        with unavailable_errors(), self._engine.connect() as connection:
            for head in heads(connection, self._tables):
                sent = positions.get(head.chain)
                after = sent.sequence if sent else 0
                if head.sequence > after:
                    statement = select(table).where(table.c.chain == head.chain, table.c.sequence > after)
                    statement = statement.order_by(table.c.sequence).limit(limit)
                    chains.append([AuditRow.of_row(dict(row)) for row in connection.execute(statement).mappings()])
        return by_time(chains)

    def backlog(self) -> tuple[int, dt.datetime | None]:
        """How many rows are still to be delivered, and when the first of them was made (UTC)."""
        positions = self.positions()
        with unavailable_errors(), self._engine.connect() as connection:
            sequences = {head.chain: head.sequence for head in heads(connection, self._tables)}
        number = sum(
            max(0, last - (positions[chain].sequence if chain in positions else 0)) for chain, last in sequences.items()
        )
        first = self.undelivered(positions, 1)
        return number, first[0].at if first else None

    def delivered(self, owner: str, positions: Iterable[Head]) -> bool:
        """Makes positions durable; False where another process sends now."""
        text = json.dumps({str(head.chain): [head.sequence, head.hash] for head in positions}, separators=(",", ":"))
        table = self._table
        statement = update(table).where(table.c.destination == self._destination, table.c.owner == owner)

        def transaction() -> bool:
            with write_transaction(self._engine) as connection:
                return bool(connection.execute(statement, {"positions": text}).rowcount)

        with unavailable_errors():
            return retried(transaction)
