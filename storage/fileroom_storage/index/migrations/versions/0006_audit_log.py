"""The audit log, its chains, and what collectors have been sent of it."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from fileroom_storage.index import types
from fileroom_storage.index.engine import insert_or_ignore

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OPTIONS: Any = {
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
_CHAINS = 16
_FIRST_HASH = "0" * 64


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("chain", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", types.microsecond_datetime(), nullable=False),
        sa.Column("event", types.ExactText(16), nullable=False),
        sa.Column("type", types.ExactText(16), nullable=True),
        sa.Column("action", types.ExactText(1), nullable=False),
        sa.Column("outcome", sa.Integer(), nullable=False),
        sa.Column("source", types.ExactText(16), nullable=False),
        sa.Column("user_id", types.ExactText(), nullable=True),
        sa.Column("remote_address", types.ExactText(), nullable=True),
        sa.Column("called_ae_title", types.ExactText(), nullable=True),
        sa.Column("study_instance_uid", types.Uid(), nullable=True),
        sa.Column("patient_id", types.ExactText(), nullable=True),
        sa.Column("detail", types.LongText(), nullable=False),
        sa.Column("witness_chain", sa.Integer(), nullable=True),
        sa.Column("witness_sequence", sa.BigInteger(), nullable=True),
        sa.Column("witness_hash", types.ExactText(64), nullable=True),
        sa.Column("previous_hash", types.ExactText(64), nullable=False),
        sa.Column("hash", types.ExactText(64), nullable=False),
        sa.PrimaryKeyConstraint("chain", "sequence", name=op.f("pk_audit_log")),
        **_OPTIONS,
    )
    op.create_index(op.f("ix_audit_log_study_instance_uid"), "audit_log", ["study_instance_uid"], unique=False)
    op.create_index(op.f("ix_audit_log_at"), "audit_log", ["at"], unique=False)
    chains = op.create_table(
        "audit_chain",
        sa.Column("chain", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", types.ExactText(64), nullable=False),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_audit_chain")),
        **_OPTIONS,
    )
    connection = op.get_bind()
    rows = [{"chain": chain, "sequence": 0, "hash": _FIRST_HASH} for chain in range(_CHAINS)]
    # they may be there already, where an upgrade of MariaDB was cut short behind them
    connection.execute(insert_or_ignore(chains, connection.dialect.name), rows)
    op.create_table(
        "audit_delivery",
        sa.Column("destination", types.ExactText(16), nullable=False),
        sa.Column("positions", types.LongText(), nullable=False),
        sa.Column("owner", types.ExactText(64), nullable=True),
        sa.Column("lease_until", types.microsecond_datetime(), nullable=True),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_audit_delivery")),
        **_OPTIONS,
    )
