"""Instances whose pixels are elsewhere, and series whose instances have no rows."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from fileroom_storage.index import types

revision = "0007"
down_revision = "0006"
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
    op.add_column("dicom_instance", sa.Column("external_source", types.ExactText(16), nullable=True))
    op.add_column("dicom_instance", sa.Column("external_key", types.ExactText(80), nullable=True))
    op.create_index(
        op.f("ix_dicom_instance_external_source_external_key"),
        "dicom_instance",
        ["external_source", "external_key"],
        unique=False,
        sqlite_where=sa.text("external_source IS NOT NULL"),
        postgresql_where=sa.text("external_source IS NOT NULL"),
    )
    op.add_column("dicom_series", sa.Column("number_of_external_instances", sa.Integer(), nullable=True))
    op.create_table(
        "dicom_external_series",
        sa.Column("pk", types.surrogate_key(), nullable=False),
        sa.Column("series_pk", types.surrogate_key(), nullable=False),
        sa.Column("external_source", types.ExactText(16), nullable=False),
        sa.Column("external_key", types.ExactText(80), nullable=False),
        sa.Column("number_of_instances", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uids", types.binary(), nullable=False),
        sa.Column("sop_class_uids", types.LongText(), nullable=False),
        sa.Column("digest", types.ExactText(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_pk"],
            ["dicom_series.pk"],
            name=op.f("fk_dicom_external_series_series_pk"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_dicom_external_series")),
        sa.UniqueConstraint(
            "external_source",
            "external_key",
            "series_pk",
            name=op.f("uq_dicom_external_series_external_source_external_key_series_pk"),
        ),
        **_OPTIONS,
    )
    op.create_index(op.f("ix_dicom_external_series_series_pk"), "dicom_external_series", ["series_pk"], unique=False)
