"""Appending to the audit log: each row holds the hash of the one before it.

There are several chains, because there must be no lock that one writer, frozen or cut off while it holds it, could
keep from all others. Whoever appends takes the first chain that nobody holds: where little is written, always the same.
A row names, as a witness, the last row of another chain that it has seen, so that no chain can be cut or lost alone.
"""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from ..prepared import insert_rows, prepared
from ..tables import Tables
from .event import AuditEvent

CHAINS = 16
FIRST_HASH = "0" * 64

_HASHED = (
    "chain",
    "sequence",
    "at",
    "event",
    "type",
    "action",
    "outcome",
    "source",
    "user_id",
    "remote_address",
    "called_ae_title",
    "study_instance_uid",
    "patient_id",
    "detail",
    "witness_chain",
    "witness_sequence",
    "witness_hash",
    "previous_hash",
)


class Head(NamedTuple):
    """The last row of a chain."""

    chain: int
    sequence: int
    hash: str


def row_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 of all other columns, as a JSON array in ASCII."""
    values = [row[name] for name in _HASHED]
    values[2] = row["at"].isoformat(timespec="microseconds")
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode("ascii")).hexdigest()


def append(connection: Connection, tables: Tables, events: Sequence[AuditEvent]) -> None:
    """Appends events in the transaction of this connection, which must take no other locks after this one."""
    if not events:
        return
    head = _take_head(connection, tables)
    patient_ids = _patient_ids(connection, tables, events)
    witness = _witness(connection, tables, head)
    rows = []
    for event in events:
        patient_id = event.patient_id
        if patient_id is None and event.study_instance_uid is not None:
            patient_id = patient_ids.get(event.study_instance_uid)
        row = {
            "chain": head.chain,
            "sequence": head.sequence + 1,
            **event.columns(patient_id),
            "witness_chain": witness.chain if witness else None,
            "witness_sequence": witness.sequence if witness else None,
            "witness_hash": witness.hash if witness else None,
            "previous_hash": head.hash,
        }
        row["hash"] = row_hash(row)
        rows.append(row)
        head, witness = Head(head.chain, head.sequence + 1, row["hash"]), None
    insert_rows(connection, tables, tables.audit_log, rows)
    table = tables.audit_chain
    statement = prepared(
        connection,
        tables,
        "audit head",
        lambda: update(table).where(table.c.chain == bindparam("of_chain")),
        ("sequence", "hash"),
    )
    statement.run(connection, {"sequence": head.sequence, "hash": head.hash, "of_chain": head.chain})


def heads(connection: Connection, tables: Tables) -> list[Head]:
    table = tables.audit_chain
    statement = select(table.c.chain, table.c.sequence, table.c.hash).order_by(table.c.chain)
    return [Head(*row) for row in connection.execute(statement)]


def _take_head(connection: Connection, tables: Tables) -> Head:
    table = tables.audit_chain
    columns = select(table.c.chain, table.c.sequence, table.c.hash)
    free = prepared(
        connection,
        tables,
        "audit head that is free",
        lambda: columns.order_by(table.c.chain).limit(1).with_for_update(skip_locked=True),
    )
    found = free.rows(connection, {})
    if not found:
        chain = random.randrange(CHAINS)  # noqa: S311  # any will do
        found = [tuple(row) for row in connection.execute(columns.where(table.c.chain == chain).with_for_update())]
    [row] = found
    return Head(*row)


def _witness(connection: Connection, tables: Tables, head: Head) -> Head | None:
    """The last row of another chain; each of them in turn."""
    if connection.dialect.name == "sqlite":
        return None  # there is one writer at a time, so there is one chain
    table = tables.audit_chain
    others = prepared(
        connection,
        tables,
        "other audit heads",
        lambda: (
            select(table.c.chain, table.c.sequence, table.c.hash)
            .where(table.c.sequence > 0, table.c.chain != bindparam("own"))
            .order_by(table.c.chain)
        ),
    )
    found = others.rows(connection, {"own": head.chain})
    return Head(*found[head.sequence % len(found)]) if found else None


def _patient_ids(connection: Connection, tables: Tables, events: Sequence[AuditEvent]) -> dict[str, str]:
    """Of the studies that events name without their patient."""
    uids = {event.study_instance_uid for event in events if event.patient_id is None and event.study_instance_uid}
    return patient_ids(connection, tables, uids) if uids else {}


def patient_ids(connection: Connection, tables: Tables, studies: set[str]) -> dict[str, str]:
    study, patient = tables.study, tables.patient
    found: dict[str, str] = {}
    wanted = sorted(studies)
    for start in range(0, len(wanted), 256):
        statement = (
            select(study.c.study_instance_uid, patient.c.patient_id)
            .join(patient, study.c.patient_pk == patient.c.pk)
            .where(study.c.study_instance_uid.in_(wanted[start : start + 256]))
        )
        found |= {uid: patient_id for uid, patient_id in connection.execute(statement).all()}  # noqa: C416  # typed rows
    return found
