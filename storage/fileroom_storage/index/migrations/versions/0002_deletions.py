"""Deletions, and the objects that they keep until their undo time is over."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from fileroom_storage.index import types

revision = "0002"
down_revision = "0001"
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
        "deletion",
        sa.Column("pk", types.surrogate_key(), nullable=False),
        sa.Column("at", types.microsecond_datetime(), nullable=False),
        sa.Column("reason", types.ExactText(16), nullable=False),
        sa.Column("code", types.ExactText(16), nullable=True),
        sa.Column("rejection_note_uid", types.Uid(), nullable=True),
        sa.Column("study_instance_uid", types.Uid(), nullable=False),
        sa.Column("series_instance_uid", types.Uid(), nullable=True),
        sa.Column("sop_instance_uid", types.Uid(), nullable=True),
        sa.Column("number_of_objects", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("purge_at", types.microsecond_datetime(), nullable=True),
        sa.Column("purging", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_deletion")),
        sqlite_autoincrement=True,
        **_OPTIONS,
    )
    op.create_table(
        "deleted_object",
        sa.Column("pk", types.surrogate_key(), nullable=False),
        sa.Column("deletion_pk", types.surrogate_key(), nullable=False),
        sa.Column("study_instance_uid", types.Uid(), nullable=False),
        sa.Column("series_instance_uid", types.Uid(), nullable=False),
        sa.Column("sop_instance_uid", types.Uid(), nullable=False),
        sa.Column("location", types.ExactText(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", types.ExactText(64), nullable=False),
        sa.Column("transfer_syntax_uid", types.ExactText(), nullable=False),
        sa.Column("source", types.ExactText(16), nullable=True),
        sa.Column("called_ae_title", types.ExactText(64), nullable=True),
        sa.Column("calling_ae_title", types.ExactText(64), nullable=True),
        sa.Column("association", types.ExactText(64), nullable=True),
        sa.Column("remote_address", types.ExactText(), nullable=True),
        sa.Column("received_at", types.microsecond_datetime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["deletion_pk"], ["deletion.pk"], name=op.f("fk_deleted_object_deletion_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_deleted_object")),
        sa.UniqueConstraint("location", name=op.f("uq_deleted_object_location")),
        **_OPTIONS,
    )
    op.create_index(op.f("ix_deleted_object_deletion_pk_pk"), "deleted_object", ["deletion_pk", "pk"], unique=False)
    op.create_index(op.f("ix_deleted_object_sop_instance_uid"), "deleted_object", ["sop_instance_uid"], unique=False)
