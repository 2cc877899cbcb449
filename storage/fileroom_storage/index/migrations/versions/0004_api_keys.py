"""API keys, and whose patients deleted objects were of."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from fileroom_storage.index import types

revision = "0004"
down_revision = "0003"
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
_ISSUERS = "ix_dicom_patient_issuer_pk"


def upgrade() -> None:
    """May be cut short and begun again: MariaDB commits every step."""
    there = sa.inspect(op.get_bind())
    if not there.has_table("api_key"):
        op.create_table(
            "api_key",
            sa.Column("pk", types.surrogate_key(), nullable=False),
            sa.Column("identifier", types.ExactText(32), nullable=False),
            sa.Column("digest", types.ExactText(64), nullable=False),
            sa.Column("name", types.ExactText(), nullable=False),
            sa.Column("permissions", types.ExactText(), nullable=False),
            sa.Column("scope", types.LongText()),
            sa.Column("created_at", types.microsecond_datetime(), nullable=False),
            sa.Column("expires_at", types.microsecond_datetime()),
            sa.Column("revoked_at", types.microsecond_datetime()),
            sa.PrimaryKeyConstraint("pk", name=op.f("pk_api_key")),
            sa.UniqueConstraint("identifier", name=op.f("uq_api_key_identifier")),
            **_OPTIONS,
        )
    # what was deleted before is only for those who see everything
    if "issuer_of_patient_id" not in {column["name"] for column in there.get_columns("deleted_object")}:
        op.add_column("deleted_object", sa.Column("issuer_of_patient_id", types.ExactText()))
    if _ISSUERS not in {index["name"] for index in there.get_indexes("dicom_patient")}:
        op.create_index(op.f(_ISSUERS), "dicom_patient", ["issuer_pk"])
