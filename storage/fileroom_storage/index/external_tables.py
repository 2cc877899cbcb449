"""What is kept of instances whose pixels are elsewhere, and of series whose instances have no rows of their own."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, ColumnElement, ForeignKey, Index, Integer, Table, UniqueConstraint

from .types import ExactText, LongText, binary, surrogate_key

SOURCE_LENGTH = 16  # as that of what is kept of a provenance
KEY_LENGTH = 80


def origin_columns() -> tuple[Column[Any], ...]:
    """Of an instance: whose frames its row stands for. Both null: its object is all there is."""
    return Column("external_source", ExactText(SOURCE_LENGTH)), Column("external_key", ExactText(KEY_LENGTH))


def weight_column() -> Column[Any]:
    """Of a series: how many of its instances have no rows. Null: no source has told of any."""
    return Column("number_of_external_instances", Integer)


def external_series(table: Callable[..., Table], instance: Table) -> Table:
    """What sources have told of series without a row for each instance; `instance` gets its index by origin."""
    has_origin: ColumnElement[bool] = instance.c.external_source.is_not(None)
    Index(
        None,
        instance.c.external_source,
        instance.c.external_key,
        # where a database has no such index, null is short
        sqlite_where=has_origin,
        postgresql_where=has_origin,
    )
    return table(
        "dicom_external_series",
        Column("pk", surrogate_key(), primary_key=True),
        Column("series_pk", surrogate_key(), ForeignKey("dicom_series.pk", ondelete="CASCADE"), nullable=False),
        Column("external_source", ExactText(SOURCE_LENGTH), nullable=False),
        Column("external_key", ExactText(KEY_LENGTH), nullable=False),
        Column("number_of_instances", Integer, nullable=False),
        # SOP Instance UIDs, parted by backslashes and compressed by zlib
        Column("sop_instance_uids", binary(), nullable=False),
        Column("sop_class_uids", LongText(), nullable=False),
        # SHA-256 of all that was told: what is told again changes nothing
        Column("digest", ExactText(64), nullable=False),
        UniqueConstraint("external_source", "external_key", "series_pk"),
        Index(None, "series_pk"),
    )
