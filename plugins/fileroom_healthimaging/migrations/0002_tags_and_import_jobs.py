"""Tags, import jobs, and what became of each file of a job."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from fileroom_storage.plugin import TABLE_OPTIONS, ExactText, LongText, Uid, microsecond_datetime, surrogate_key

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _work_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("state", ExactText(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", LongText(), nullable=True),
        sa.Column("requested_at", microsecond_datetime(), nullable=False),
        sa.Column("due_at", microsecond_datetime(), nullable=False),
        sa.Column("claimed_by", ExactText(64), nullable=True),
        sa.Column("give_up_at", microsecond_datetime(), nullable=False),
        sa.Column("settled_at", microsecond_datetime(), nullable=True),
    ]


def upgrade() -> None:
    op.create_table(
        "healthimaging_tag",
        sa.Column("pk", surrogate_key(), nullable=False),
        sa.Column("datastore_id", ExactText(32), nullable=False),
        sa.Column("series_instance_uid", Uid(), nullable=False),
        sa.Column("sop_instance_uid", Uid(), nullable=True),
        sa.Column("level", ExactText(16), nullable=False),
        sa.Column("keyword", ExactText(64), nullable=False),
        sa.Column("value", LongText(), nullable=False),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("named_image_set_id", ExactText(32), nullable=True),
        sa.Column("image_set_id", ExactText(32), nullable=True),
        sa.Column("base_version", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("pending_key", ExactText(64), nullable=True),
        *_work_columns(),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_healthimaging_tag")),
        sa.UniqueConstraint("pending_key", name=op.f("uq_healthimaging_tag_pending_key")),
        **TABLE_OPTIONS,
    )
    op.create_index(op.f("ix_healthimaging_tag_due_at"), "healthimaging_tag", ["due_at"], unique=False)
    op.create_index(
        op.f("ix_healthimaging_tag_series_instance_uid"), "healthimaging_tag", ["series_instance_uid"], unique=False
    )
    op.create_table(
        "healthimaging_import_job",
        sa.Column("pk", surrogate_key(), nullable=False),
        sa.Column("datastore_id", ExactText(32), nullable=False),
        sa.Column("name", ExactText(64), nullable=False),
        sa.Column("client_token", ExactText(64), nullable=False),
        sa.Column("data_access_role_arn", LongText(), nullable=False),
        sa.Column("input_s3_uri", LongText(), nullable=False),
        sa.Column("output_s3_uri", LongText(), nullable=False),
        sa.Column("job_id", ExactText(32), nullable=True),
        sa.Column("manifest_s3_uri", LongText(), nullable=True),
        sa.Column("message", LongText(), nullable=True),
        sa.Column("number_of_scanned_files", sa.BigInteger(), nullable=True),
        sa.Column("number_of_imported_files", sa.BigInteger(), nullable=True),
        sa.Column("number_of_failed_files", sa.BigInteger(), nullable=True),
        sa.Column("number_of_image_sets", sa.BigInteger(), nullable=True),
        sa.Column("told_image_set_id", ExactText(32), nullable=True),
        sa.Column("ended_at", microsecond_datetime(), nullable=True),
        *_work_columns(),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_healthimaging_import_job")),
        sa.UniqueConstraint("client_token", name=op.f("uq_healthimaging_import_job_client_token")),
        **TABLE_OPTIONS,
    )
    op.create_index(op.f("ix_healthimaging_import_job_due_at"), "healthimaging_import_job", ["due_at"], unique=False)
    op.create_table(
        "healthimaging_import_file",
        sa.Column("import_job_pk", surrogate_key(), nullable=False),
        sa.Column("outcome", ExactText(16), nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("input_file", LongText(), nullable=False),
        sa.Column("image_set_id", ExactText(32), nullable=True),
        sa.Column("image_set_version", sa.BigInteger(), nullable=True),
        sa.Column("is_primary", sa.Boolean(), nullable=True),
        sa.Column("exception_type", ExactText(64), nullable=True),
        sa.Column("reason", LongText(), nullable=True),
        sa.ForeignKeyConstraint(
            ["import_job_pk"],
            ["healthimaging_import_job.pk"],
            name=op.f("fk_healthimaging_import_file_import_job_pk"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("import_job_pk", "outcome", "line", name=op.f("pk_healthimaging_import_file")),
        **TABLE_OPTIONS,
    )
    op.create_index(
        op.f("ix_healthimaging_import_file_image_set_id"), "healthimaging_import_file", ["image_set_id"], unique=False
    )
