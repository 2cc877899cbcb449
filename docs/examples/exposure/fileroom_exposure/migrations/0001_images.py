"""The table of images."""

import sqlalchemy as sa
from alembic import op

from fileroom_storage.plugin import TABLE_OPTIONS, ExactText, surrogate_key

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exposure_image",
        sa.Column("pk", surrogate_key(), primary_key=True),
        sa.Column(
            "instance_pk",
            surrogate_key(),
            sa.ForeignKey("dicom_instance.pk", name=op.f("fk_exposure_image_instance_pk"), ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("protocol", ExactText()),
        sa.Column("kvp", sa.Double()),
        sa.Column("exposure", sa.Double()),
        **TABLE_OPTIONS,
    )
    op.create_index(op.f("ix_exposure_image_instance_pk"), "exposure_image", ["instance_pk"])
