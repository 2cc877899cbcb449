"""The tables of storage commitment: who asked for it, and for which instances (PS3.4 J.3)."""

from collections.abc import Callable

from sqlalchemy import Column, ForeignKey, Index, Integer, PrimaryKeyConstraint, Table, UniqueConstraint

from .types import ExactText, Uid, microsecond_datetime, surrogate_key


def commitment_tables(table: Callable[..., Table]) -> tuple[Table, Table]:
    """The requests, and their references; `table` makes one of a name and columns."""
    commitment = table(
        "storage_commitment",
        Column("pk", surrogate_key(), primary_key=True),
        Column("transaction_uid", Uid(), nullable=False),
        Column("calling_ae_title", ExactText(64), nullable=False),
        Column("called_ae_title", ExactText(64), nullable=False),
        Column("remote_address", ExactText()),
        # SHA-256 of what is referred to: tells a request that came twice from one that took another's UID
        Column("references_digest", ExactText(64), nullable=False),
        Column("number_of_references", Integer, nullable=False),
        Column("number_of_failures", Integer),  # null: not reported yet
        Column("state", ExactText(16), nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("last_error", ExactText()),
        Column("requested_at", microsecond_datetime(), nullable=False),
        # when the next attempt is due; whoever is at it has moved this forward, and says who it is
        Column("due_at", microsecond_datetime(), nullable=False),
        Column("claimed_by", ExactText()),
        Column("give_up_at", microsecond_datetime(), nullable=False),
        Column("settled_at", microsecond_datetime()),
        UniqueConstraint("transaction_uid"),
        Index(None, "state", "due_at"),
        Index(None, "settled_at"),
        # another request must not get the key of one that was forgotten while somebody was at it
        sqlite_autoincrement=True,
    )
    reference = table(
        "storage_commitment_reference",
        Column(
            "storage_commitment_pk",
            surrogate_key(),
            ForeignKey("storage_commitment.pk", ondelete="CASCADE"),
            nullable=False,
        ),
        Column("position", Integer, nullable=False),
        Column("sop_class_uid", Uid(), nullable=False),
        Column("sop_instance_uid", Uid(), nullable=False),
        Column("failure_reason", Integer),  # (0008,1197); null: not reported yet
        PrimaryKeyConstraint("storage_commitment_pk", "position"),
    )
    return commitment, reference
