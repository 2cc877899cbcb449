"""Whether the audit log is what was written: every chain to its head, and what chains say of each other."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, or_, select

from ..engine import unavailable_errors
from ..tables import Tables
from .chain import CHAINS, FIRST_HASH, Head, heads, row_hash

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Breach:
    """One place at which the log is not what was written."""

    chain: int
    sequence: int
    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found. `heads` are those of the chains that have rows: keep them elsewhere, and give them next time."""

    rows: int
    heads: tuple[Head, ...]
    breaches: tuple[Breach, ...]

    @property
    def is_unbroken(self) -> bool:
        return not self.breaches


def verify(engine: Engine, tables: Tables, known: Iterable[Head] = ()) -> Verification:
    """Reads the whole log. `known` are heads that were seen before, in this database or outside of it."""
    with unavailable_errors():
        with engine.connect() as connection:
            # before the rows: whatever is appended meanwhile is behind them
            found = {head.chain: head for head in heads(connection, tables)}
            delivered = _delivered(connection, tables)
        breaches: list[Breach] = []
        rows = 0
        for chain in range(CHAINS):
            head = found.get(chain)
            if head is None:
                breaches.append(Breach(chain, 0, "the chain's head is gone"))
            count, broken = _verify_chain(engine, tables, chain, head)
            rows += count
            breaches += broken
        breaches += [
            Breach(head.chain, head.sequence, "there is a chain that fileroom did not make")
            for head in found.values()
            if head.chain not in range(CHAINS)
        ]
        with engine.connect() as connection:
            breaches += _unknown_chains(connection, tables)
            breaches += _missing_witnesses(connection, tables)
            breaches += _missing(connection, tables, delivered, "the collector has been sent")
            breaches += _missing(connection, tables, known, "a head that was kept names")
    return Verification(rows, tuple(head for head in found.values() if head.sequence), tuple(breaches))


def _verify_chain(engine: Engine, tables: Tables, chain: int, head: Head | None) -> tuple[int, list[Breach]]:
    """The number of its rows, and what is wrong with them."""
    breaches: list[Breach] = []
    last = Head(chain, 0, FIRST_HASH)
    count = 0
    for row in chain_rows(engine, tables, chain, after=None):
        sequence = int(row["sequence"])
        count += 1
        if sequence != last.sequence + 1:
            missing = f"{last.sequence + 1}" + (f" to {sequence - 1}" if sequence > last.sequence + 2 else "")
            breaches.append(Breach(chain, last.sequence + 1, f"rows are missing or out of order: {missing}"))
        elif row["previous_hash"] != last.hash:
            breaches.append(Breach(chain, sequence, "the row does not follow the one before it"))
        if row_hash(row) != row["hash"]:
            breaches.append(Breach(chain, sequence, "the row was changed"))
        if head is not None and sequence == head.sequence and row["hash"] != head.hash:
            breaches.append(Breach(chain, sequence, "the row is not the one that the chain's head names"))
        last = Head(chain, sequence, str(row["hash"]))
    if head is None:
        return count, breaches
    if last.sequence < head.sequence:
        reason = f"rows are missing at the end: the chain's head names {head.sequence}"
        breaches.append(Breach(chain, last.sequence + 1, reason))
    elif head.sequence == 0 and not last.sequence and head.hash != FIRST_HASH:
        breaches.append(Breach(chain, 0, "the chain's head was changed"))
    with engine.connect() as connection:
        # it goes on with each row that is written, so it cannot be behind those that were read before
        now = {one.chain: one for one in heads(connection, tables)}.get(chain)
    if now is None or now.sequence < last.sequence:
        breaches.append(Breach(chain, last.sequence, "there are rows behind the one that the chain's head names"))
    return count, breaches


def chain_rows(engine: Engine, tables: Tables, chain: int, after: int | None) -> Iterator[dict[str, Any]]:
    """The rows of a chain in order, behind a sequence; in pages, so that no long read holds up writers."""
    table = tables.audit_log
    statement = select(table).where(table.c.chain == chain).order_by(table.c.sequence).limit(_PAGE)
    while True:
        with engine.connect() as connection:
            page = statement if after is None else statement.where(table.c.sequence > after)
            rows = [dict(row) for row in connection.execute(page).mappings()]
        yield from rows
        if len(rows) < _PAGE:
            return
        after = int(rows[-1]["sequence"])


def _unknown_chains(connection: Connection, tables: Tables) -> Iterator[Breach]:
    table = tables.audit_log
    unknown = (
        select(table.c.chain, table.c.sequence).where(or_(table.c.chain < 0, table.c.chain >= CHAINS)).limit(_PAGE)
    )
    for chain, sequence in connection.execute(unknown):
        yield Breach(chain, sequence, "the row is in a chain that fileroom did not make")


def _missing_witnesses(connection: Connection, tables: Tables) -> Iterator[Breach]:
    """Rows of other chains that rows have seen, and that are not there any more."""
    table, seen = tables.audit_log, tables.audit_log.alias()
    same = and_(seen.c.chain == table.c.witness_chain, seen.c.sequence == table.c.witness_sequence)
    missing = (
        select(table.c.witness_chain, table.c.witness_sequence, table.c.chain, table.c.sequence)
        .select_from(table.outerjoin(seen, same))
        .where(table.c.witness_chain.is_not(None), or_(seen.c.hash.is_(None), seen.c.hash != table.c.witness_hash))
        .order_by(table.c.witness_chain, table.c.witness_sequence)
        .limit(_PAGE)
    )
    for chain, sequence, by_chain, by_sequence in connection.execute(missing):
        yield Breach(chain, sequence, f"the row that {by_chain}:{by_sequence} has seen is not there any more")


def _missing(connection: Connection, tables: Tables, known: Iterable[Head], who: str) -> Iterator[Breach]:
    table = tables.audit_log
    for head in known:
        statement = select(table.c.hash).where(table.c.chain == head.chain, table.c.sequence == head.sequence)
        if head.sequence and connection.execute(statement).scalar() != head.hash:
            yield Breach(head.chain, head.sequence, f"{who} a row that is not there any more")


def _delivered(connection: Connection, tables: Tables) -> list[Head]:
    statement = select(tables.audit_delivery.c.positions)
    return [head for text in connection.execute(statement).scalars() for head in positions_of(text)]


def positions_of(text: str) -> list[Head]:
    """What audit_delivery holds of a collector."""
    return [Head(int(chain), sequence, digest) for chain, (sequence, digest) in json.loads(text).items()]
