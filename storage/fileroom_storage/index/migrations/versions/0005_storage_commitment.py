"""Requests for storage commitment, and what they refer to."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from fileroom_storage.index import types

revision = "0005"
down_revision = "0004"
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


def upgrade() -> None:
    op.create_table(
        "storage_commitment",
        sa.Column("pk", types.surrogate_key(), nullable=False),
        sa.Column("transaction_uid", types.Uid(), nullable=False),
        sa.Column("calling_ae_title", types.ExactText(64), nullable=False),
        sa.Column("called_ae_title", types.ExactText(64), nullable=False),
        sa.Column("remote_address", types.ExactText(), nullable=True),
        sa.Column("references_digest", types.ExactText(64), nullable=False),
        sa.Column("number_of_references", sa.Integer(), nullable=False),
        sa.Column("number_of_failures", sa.Integer(), nullable=True),
        sa.Column("state", types.ExactText(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", types.ExactText(), nullable=True),
        sa.Column("requested_at", types.microsecond_datetime(), nullable=False),
        sa.Column("due_at", types.microsecond_datetime(), nullable=False),
        sa.Column("claimed_by", types.ExactText(), nullable=True),
        sa.Column("give_up_at", types.microsecond_datetime(), nullable=False),
        sa.Column("settled_at", types.microsecond_datetime(), nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_storage_commitment")),
        sa.UniqueConstraint("transaction_uid", name=op.f("uq_storage_commitment_transaction_uid")),
        sqlite_autoincrement=True,
        **_OPTIONS,
    )
    op.create_index(op.f("ix_storage_commitment_state_due_at"), "storage_commitment", ["state", "due_at"], unique=False)
    op.create_index(op.f("ix_storage_commitment_settled_at"), "storage_commitment", ["settled_at"], unique=False)
    op.create_table(
        "storage_commitment_reference",
        sa.Column("storage_commitment_pk", types.surrogate_key(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sop_class_uid", types.Uid(), nullable=False),
        sa.Column("sop_instance_uid", types.Uid(), nullable=False),
        sa.Column("failure_reason", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["storage_commitment_pk"],
            ["storage_commitment.pk"],
            name=op.f("fk_storage_commitment_reference_storage_commitment_pk"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("storage_commitment_pk", "position", name=op.f("pk_storage_commitment_reference")),
        **_OPTIONS,
    )
