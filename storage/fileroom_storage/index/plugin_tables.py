"""What the core keeps about plugins: what they could not extract, and how far they have been filled in."""

from collections.abc import Callable

from sqlalchemy import Column, ForeignKey, Integer, Table, UniqueConstraint

from .types import ExactText, LongText, microsecond_datetime, surrogate_key

# in tables that plugins extract rows for: that of the instance
INSTANCE_KEY = "instance_pk"
PLUGIN_NAME_LENGTH = 24
ERROR_LENGTH = 64


def plugin_failure(table: Callable[..., Table]) -> Table:
    """Instances whose rows a plugin could not make or insert; stored all the same."""
    return table(
        "plugin_failure",
        Column("pk", surrogate_key(), primary_key=True),
        Column("plugin", ExactText(PLUGIN_NAME_LENGTH), nullable=False),
        Column(
            "instance_pk",
            surrogate_key(),
            ForeignKey("dicom_instance.pk", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        Column("error", ExactText(ERROR_LENGTH), nullable=False),  # its type: its text may quote a patient
        Column("attempts", Integer, nullable=False),
        Column("failed_at", microsecond_datetime(), nullable=False),
        UniqueConstraint("plugin", "instance_pk"),
    )


def plugin_state(table: Callable[..., Table]) -> Table:
    return table(
        "plugin_state",
        Column("plugin", ExactText(PLUGIN_NAME_LENGTH), primary_key=True),
        # the key of the last instance that backfilling has looked at
        Column("backfilled_to", surrogate_key(), nullable=False),
        # names, parted by commas: they are dropped before tables change, the plugin enabled or not
        Column("views", LongText(), nullable=False),
    )
