"""What plugins could not extract, and how far they have been filled in."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from fileroom_storage.index import types

revision = "0008"
down_revision = "0007"
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
        "plugin_failure",
        sa.Column("pk", types.surrogate_key(), nullable=False),
        sa.Column("plugin", types.ExactText(24), nullable=False),
        sa.Column("instance_pk", types.surrogate_key(), nullable=False),
        sa.Column("error", types.ExactText(64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failed_at", types.microsecond_datetime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_pk"], ["dicom_instance.pk"], name=op.f("fk_plugin_failure_instance_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_plugin_failure")),
        sa.UniqueConstraint("plugin", "instance_pk", name=op.f("uq_plugin_failure_plugin_instance_pk")),
        **_OPTIONS,
    )
    op.create_index(op.f("ix_plugin_failure_instance_pk"), "plugin_failure", ["instance_pk"], unique=False)
    op.create_table(
        "plugin_state",
        sa.Column("plugin", types.ExactText(24), nullable=False),
        sa.Column("backfilled_to", types.surrogate_key(), nullable=False),
        sa.Column("views", types.LongText(), nullable=False),
        sa.PrimaryKeyConstraint("plugin", name=op.f("pk_plugin_state")),
        **_OPTIONS,
    )
