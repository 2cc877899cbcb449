"""The tables of the audit log."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table

from ..types import ExactText, LongText, Uid, microsecond_datetime

HASH_LENGTH = 64  # SHA-256 in hexadecimal digits


def audit_log(table: Callable[..., Table]) -> Table:
    """Append-only: nothing here changes or deletes a row."""
    return table(
        "audit_log",
        Column("chain", Integer, nullable=False, autoincrement=False),
        Column("sequence", BigInteger, nullable=False, autoincrement=False),
        Column("at", microsecond_datetime(), nullable=False),
        Column("event", ExactText(16), nullable=False),
        Column("type", ExactText(16)),
        Column("action", ExactText(1), nullable=False),
        Column("outcome", Integer, nullable=False),
        Column("source", ExactText(16), nullable=False),
        Column("user_id", ExactText()),
        Column("remote_address", ExactText()),
        Column("called_ae_title", ExactText()),
        Column("study_instance_uid", Uid()),
        Column("patient_id", ExactText()),
        Column("detail", LongText(), nullable=False),  # JSON: counts, the query, what else is to be known
        # a row of another chain that was there before this one
        Column("witness_chain", Integer),
        Column("witness_sequence", BigInteger),
        Column("witness_hash", ExactText(HASH_LENGTH)),
        Column("previous_hash", ExactText(HASH_LENGTH), nullable=False),
        Column("hash", ExactText(HASH_LENGTH), nullable=False),
        PrimaryKeyConstraint("chain", "sequence"),
        Index(None, "study_instance_uid"),
        Index(None, "at"),
    )


def audit_chain(table: Callable[..., Table]) -> Table:
    """The last row of each chain. Whoever holds the lock of one of these rows may append to its chain."""
    return table(
        "audit_chain",
        Column("chain", Integer, primary_key=True, autoincrement=False),
        Column("sequence", BigInteger, nullable=False),
        Column("hash", ExactText(HASH_LENGTH), nullable=False),
    )


def audit_delivery(table: Callable[..., Table]) -> Table:
    """What a collector has, and which process sends to it now."""
    columns: tuple[Any, ...] = (
        Column("destination", ExactText(16), primary_key=True),
        Column("positions", LongText(), nullable=False),  # JSON: chain → [sequence, hash]
        Column("owner", ExactText(64)),
        Column("lease_until", microsecond_datetime()),
    )
    return table("audit_delivery", *columns)
