"""The table of API keys: of each its digest, never the key."""

from collections.abc import Callable

from sqlalchemy import Column, Table, UniqueConstraint

from .types import ExactText, LongText, microsecond_datetime, surrogate_key


def api_key_table(table: Callable[..., Table]) -> Table:
    """`table` makes one of a name and columns."""
    return table(
        "api_key",
        Column("pk", surrogate_key(), primary_key=True),
        # the part of a key that names it; the digest is of the whole
        Column("identifier", ExactText(32), nullable=False),
        Column("digest", ExactText(64), nullable=False),
        Column("name", ExactText(), nullable=False),
        Column("permissions", ExactText(), nullable=False),  # parted by commas
        Column("scope", LongText()),  # a JSON list of issuers; null: all
        Column("created_at", microsecond_datetime(), nullable=False),
        Column("expires_at", microsecond_datetime()),
        Column("revoked_at", microsecond_datetime()),
        UniqueConstraint("identifier"),
    )
