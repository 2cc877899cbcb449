"""Image sets: what was told of them, their series and frames, and their conflicts."""

import sqlalchemy as sa
from alembic import op

from fileroom_storage.plugin import (
    TABLE_OPTIONS,
    ExactText,
    LongText,
    Uid,
    binary,
    microsecond_datetime,
    surrogate_key,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "healthimaging_image_set",
        sa.Column("pk", surrogate_key(), nullable=False),
        sa.Column("datastore_id", ExactText(32), nullable=False),
        sa.Column("image_set_id", ExactText(32), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=True),
        sa.Column("state", ExactText(16), nullable=False),
        sa.Column("workflow_status", ExactText(64), nullable=True),
        sa.Column("is_primary", sa.Boolean(), nullable=True),
        sa.Column("storage_tier", ExactText(64), nullable=True),
        sa.Column("created_at", microsecond_datetime(), nullable=True),
        sa.Column("updated_at", microsecond_datetime(), nullable=True),
        sa.Column("deleted_at", microsecond_datetime(), nullable=True),
        sa.Column("message", LongText(), nullable=True),
        sa.Column("document_version_id", sa.BigInteger(), nullable=True),
        sa.Column("document_digest", ExactText(64), nullable=True),
        sa.Column("document", binary(), nullable=True),
        sa.Column("study_instance_uid", Uid(), nullable=True),
        sa.Column("patient_key", ExactText(64), nullable=True),
        sa.Column("patient_digest", ExactText(64), nullable=True),
        sa.Column("study_digest", ExactText(64), nullable=True),
        sa.Column("index_level", ExactText(16), nullable=True),
        sa.Column("change", ExactText(32), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_healthimaging_image_set")),
        sa.UniqueConstraint(
            "datastore_id", "image_set_id", name=op.f("uq_healthimaging_image_set_datastore_id_image_set_id")
        ),
        **TABLE_OPTIONS,
    )
    op.create_index(
        op.f("ix_healthimaging_image_set_patient_key"), "healthimaging_image_set", ["patient_key"], unique=False
    )
    op.create_index(
        op.f("ix_healthimaging_image_set_study_instance_uid"),
        "healthimaging_image_set",
        ["study_instance_uid"],
        unique=False,
    )
    op.create_table(
        "healthimaging_turn",
        sa.Column("pk", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_healthimaging_turn")),
        **TABLE_OPTIONS,
    )
    op.create_table(
        "healthimaging_conflict",
        sa.Column("pk", surrogate_key(), nullable=False),
        sa.Column("series_instance_uid", Uid(), nullable=False),
        sa.Column("first_image_set_pk", surrogate_key(), nullable=False),
        sa.Column("second_image_set_pk", surrogate_key(), nullable=False),
        sa.Column("type", ExactText(16), nullable=False),
        sa.Column("differing_attributes", LongText(), nullable=False),
        sa.Column("state", ExactText(16), nullable=False),
        sa.Column("resolution", ExactText(16), nullable=True),
        sa.Column("opened_at", microsecond_datetime(), nullable=False),
        sa.Column("closed_at", microsecond_datetime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["first_image_set_pk"],
            ["healthimaging_image_set.pk"],
            name=op.f("fk_healthimaging_conflict_first_image_set_pk"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["second_image_set_pk"],
            ["healthimaging_image_set.pk"],
            name=op.f("fk_healthimaging_conflict_second_image_set_pk"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_healthimaging_conflict")),
        sa.UniqueConstraint(
            "first_image_set_pk",
            "second_image_set_pk",
            "series_instance_uid",
            name=op.f("uq_healthimaging_conflict_first_image_set_pk_second_image_set_pk_series_instance_uid"),
        ),
        **TABLE_OPTIONS,
    )
    op.create_index(
        op.f("ix_healthimaging_conflict_second_image_set_pk"),
        "healthimaging_conflict",
        ["second_image_set_pk"],
        unique=False,
    )
    op.create_index(op.f("ix_healthimaging_conflict_state"), "healthimaging_conflict", ["state"], unique=False)
    op.create_table(
        "healthimaging_series",
        sa.Column("pk", surrogate_key(), nullable=False),
        sa.Column("image_set_pk", surrogate_key(), nullable=False),
        sa.Column("series_instance_uid", Uid(), nullable=False),
        sa.Column("sop_instance_uids", binary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_set_pk"],
            ["healthimaging_image_set.pk"],
            name=op.f("fk_healthimaging_series_image_set_pk"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_healthimaging_series")),
        sa.UniqueConstraint(
            "image_set_pk", "series_instance_uid", name=op.f("uq_healthimaging_series_image_set_pk_series_instance_uid")
        ),
        **TABLE_OPTIONS,
    )
    op.create_index(
        op.f("ix_healthimaging_series_series_instance_uid"),
        "healthimaging_series",
        ["series_instance_uid"],
        unique=False,
    )
    op.create_table(
        "healthimaging_version",
        sa.Column("pk", surrogate_key(), nullable=False),
        sa.Column("image_set_pk", surrogate_key(), nullable=False),
        sa.Column("digest", ExactText(64), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=True),
        sa.Column("state", ExactText(16), nullable=False),
        sa.Column("workflow_status", ExactText(64), nullable=True),
        sa.Column("is_primary", sa.Boolean(), nullable=True),
        sa.Column("storage_tier", ExactText(64), nullable=True),
        sa.Column("created_at", microsecond_datetime(), nullable=True),
        sa.Column("updated_at", microsecond_datetime(), nullable=True),
        sa.Column("deleted_at", microsecond_datetime(), nullable=True),
        sa.Column("message", LongText(), nullable=True),
        sa.Column("told_at", microsecond_datetime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_set_pk"],
            ["healthimaging_image_set.pk"],
            name=op.f("fk_healthimaging_version_image_set_pk"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_healthimaging_version")),
        sa.UniqueConstraint("image_set_pk", "digest", name=op.f("uq_healthimaging_version_image_set_pk_digest")),
        **TABLE_OPTIONS,
    )
    op.create_table(
        "healthimaging_frame",
        sa.Column("pk", surrogate_key(), nullable=False),
        sa.Column("instance_pk", surrogate_key(), nullable=False),
        sa.Column("image_set_pk", surrogate_key(), nullable=False),
        sa.Column("frame_number", sa.Integer(), nullable=False),
        sa.Column("image_frame_id", ExactText(256), nullable=False),
        sa.Column("minimum_pixel_value", sa.Double(), nullable=True),
        sa.Column("maximum_pixel_value", sa.Double(), nullable=True),
        sa.Column("frame_size", sa.BigInteger(), nullable=True),
        sa.Column("checksums", LongText(), nullable=True),
        sa.ForeignKeyConstraint(
            ["image_set_pk"],
            ["healthimaging_image_set.pk"],
            name=op.f("fk_healthimaging_frame_image_set_pk"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["instance_pk"], ["dicom_instance.pk"], name=op.f("fk_healthimaging_frame_instance_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_healthimaging_frame")),
        **TABLE_OPTIONS,
    )
    op.create_index(op.f("ix_healthimaging_frame_image_set_pk"), "healthimaging_frame", ["image_set_pk"], unique=False)
    op.create_index(op.f("ix_healthimaging_frame_instance_pk"), "healthimaging_frame", ["instance_pk"], unique=False)
