"""Requests for storage commitment: durable before they are answered, and worked on by one process at a time."""

import datetime as dt
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Self

from sqlalchemy import Connection, Engine, RowMapping, delete, func, insert, select, update

from ..errors import DuplicateTransaction, InstanceNotFound
from .engine import unavailable_errors, write_transaction
from .retrying import retried
from .tables import Tables
from .types import TEXT_LENGTH
from .writer import utc_now

_PAGE = 500


class CommitmentState(StrEnum):
    PENDING = "pending"
    REPORTED = "reported"  # the requester has acknowledged the report
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class Reference:
    """An instance whose storage is to be committed to, as the requester names it."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """What an N-ACTION asks for, and who asks."""

    transaction_uid: str
    references: Sequence[Reference]
    calling_ae_title: str
    called_ae_title: str
    remote_address: str | None = None

    @property
    def digest(self) -> str:
        lines = (f"{reference.sop_class_uid}\0{reference.sop_instance_uid}\n" for reference in self.references)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class StorageCommitment:
    """A request and what became of it. `number_of_failures` is None until it is reported; times are UTC."""

    pk: int
    transaction_uid: str
    calling_ae_title: str
    called_ae_title: str
    remote_address: str | None
    number_of_references: int
    number_of_failures: int | None
    state: CommitmentState
    attempts: int
    last_error: str | None
    requested_at: dt.datetime
    due_at: dt.datetime
    give_up_at: dt.datetime
    settled_at: dt.datetime | None

    @classmethod
    def of_row(cls, row: RowMapping) -> Self:
        values: dict[str, Any] = {name: row[name] for name in cls.__dataclass_fields__}
        return cls(**values | {"state": CommitmentState(row["state"])})


@dataclass(frozen=True, slots=True)
class Claim:
    """Who works on what is due, and for how long nobody else does unless it is renewed."""

    owner: str
    lease: dt.timedelta


class StorageCommitments:
    """Each method is a transaction of its own. All raise StorageUnavailable."""

    def __init__(self, engine: Engine, tables: Tables) -> None:
        self._engine = engine
        self._table = tables.storage_commitment
        self._references = tables.storage_commitment_reference

    # -- the requests --------------------------------------------------------------------------------------

    def request(self, request: CommitmentRequest, claim: Claim, patience: dt.timedelta) -> StorageCommitment | None:
        """Takes a request in, claimed; None where it is here already and somebody is at it.

        A requester that did not hear the answer asks again. Raises DuplicateTransaction where the Transaction UID is
        another request's, or this one has been reported.
        """

        def transaction() -> StorageCommitment | None:
            with write_transaction(self._engine) as connection:
                known = self._known(connection, request.transaction_uid, lock=True)
                if known is None:
                    return self._insert(connection, request, claim, patience)
                return self._asked_again(connection, known, request, claim, patience)

        with unavailable_errors():
            return retried(transaction)

    def references(self, pk: int) -> list[Reference]:
        """In the order of the request; of one that has been reported, only those that failed."""
        table = self._references
        statement = select(table.c.sop_class_uid, table.c.sop_instance_uid)
        statement = statement.where(table.c.storage_commitment_pk == pk).order_by(table.c.position)
        with unavailable_errors(), self._engine.connect() as connection:
            return [Reference(*row) for row in connection.execute(statement)]

    def failures(self, pk: int) -> list[tuple[Reference, int]]:
        """What was reported as failed, with the Failure Reason of each."""
        table = self._references
        statement = select(table.c.sop_class_uid, table.c.sop_instance_uid, table.c.failure_reason)
        statement = statement.where(table.c.storage_commitment_pk == pk, table.c.failure_reason.is_not(None))
        with unavailable_errors(), self._engine.connect() as connection:
            rows = connection.execute(statement.order_by(table.c.position))
            return [(Reference(*uids), reason) for *uids, reason in rows]

    def read(self, transaction_uid: str) -> StorageCommitment:
        """Raises InstanceNotFound."""
        with unavailable_errors(), self._engine.connect() as connection:
            known = self._known(connection, transaction_uid)
        if known is None:
            raise InstanceNotFound(
                f"there is no storage commitment {transaction_uid}; `fileroom commitments list --all` shows them"
            )
        return StorageCommitment.of_row(known)

    def all(self, states: Collection[CommitmentState]) -> Iterator[StorageCommitment]:
        """Newest first."""
        table = self._table
        statement = select(table).where(table.c.state.in_([state.value for state in states]))
        with unavailable_errors(), self._engine.connect() as connection:
            rows = connection.execute(statement.order_by(table.c.pk.desc())).mappings()
            for row in rows:
                yield StorageCommitment.of_row(row)

    def backlog(self) -> tuple[int, dt.datetime | None]:
        """How many requests have no report yet, and since when the first of them has waited (UTC)."""
        table = self._table
        statement = select(func.count(), func.min(table.c.requested_at))
        with unavailable_errors(), self._engine.connect() as connection:
            row = connection.execute(statement.where(table.c.state == CommitmentState.PENDING.value)).one()
        number, since = row
        return int(number), since

    # -- the work ------------------------------------------------------------------------------------------

    def claim_due(self, claim: Claim, limit: int, not_of: Collection[str] = ()) -> list[StorageCommitment]:
        """Takes what is due and nobody is at, oldest first; leaves out the requesters `not_of`."""
        with unavailable_errors():
            pks = self._due(limit, not_of)
            return retried(lambda: self._claimed(pks, claim)) if pks else []

    def renew(self, claim: Claim, pks: Collection[int]) -> set[int]:
        """Those of them that are still ours, for another lease."""

        def transaction() -> set[int]:
            with write_transaction(self._engine) as connection:
                return self._renewed(connection, claim, pks)

        with unavailable_errors():
            return retried(transaction) if pks else set()

    def release(self, owner: str) -> None:
        """Whatever this owner is at is due for anybody, at once."""
        table = self._table
        pending = (table.c.claimed_by == owner, table.c.state == CommitmentState.PENDING.value)
        with unavailable_errors():
            retried(lambda: self._update(update(table).where(*pending).values(claimed_by=None, due_at=utc_now())))

    def postpone(self, pk: int, pause: dt.timedelta, error: str) -> CommitmentState:
        """After an attempt that failed: by the pause, or for good where that ends after it is to be given up."""

        def transaction() -> CommitmentState:
            table, due_at = self._table, utc_now() + pause
            with write_transaction(self._engine) as connection:
                row = connection.execute(select(table.c.state, table.c.give_up_at).where(table.c.pk == pk)).first()
                if row is None or row.state != CommitmentState.PENDING.value:
                    return CommitmentState(row.state) if row else CommitmentState.GIVEN_UP
                over = due_at > row.give_up_at
                state = CommitmentState.GIVEN_UP if over else CommitmentState.PENDING
                values = {
                    "state": state.value,
                    "due_at": due_at,
                    "claimed_by": None,
                    "attempts": table.c.attempts + 1,
                    "last_error": error[:TEXT_LENGTH],
                    "settled_at": utc_now() if over else None,
                }
                connection.execute(update(table).where(table.c.pk == pk).values(values))
                return state

        with unavailable_errors():
            return retried(transaction)

    def reported(self, pk: int, failures: Mapping[Reference, int]) -> None:
        """The requester has acknowledged the report. What was committed is not kept here: the index has it."""

        def transaction() -> None:
            table, references = self._table, self._references
            with write_transaction(self._engine) as connection:
                mine = references.c.storage_commitment_pk == pk
                rows = connection.execute(select(references).where(mine).order_by(references.c.position)).mappings()
                failed = [
                    {**row, "failure_reason": failures[reference]}
                    for row in rows
                    if (reference := Reference(row["sop_class_uid"], row["sop_instance_uid"])) in failures
                ]
                values = {
                    "state": CommitmentState.REPORTED.value,
                    "number_of_failures": len(failed),
                    "attempts": table.c.attempts + 1,
                    "claimed_by": None,
                    "last_error": None,
                    "settled_at": utc_now(),
                }
                pending = (table.c.pk == pk, table.c.state == CommitmentState.PENDING.value)
                if connection.execute(update(table).where(*pending).values(values)).rowcount:
                    connection.execute(delete(references).where(mine))
                    if failed:
                        connection.execute(insert(references), failed)

        with unavailable_errors():
            retried(transaction)

    def retry(self, transaction_uid: str, patience: dt.timedelta) -> StorageCommitment:
        """Makes one that waits, or was given up, due now. Raises InstanceNotFound, DuplicateTransaction."""

        def transaction() -> None:
            now, table = utc_now(), self._table
            with write_transaction(self._engine) as connection:
                known = self._known(connection, transaction_uid, lock=True)
                if known is None or known["claimed_by"] is not None:
                    return
                if known["state"] == CommitmentState.REPORTED.value:
                    raise DuplicateTransaction(f"{transaction_uid} has been reported; its requester knows the outcome")
                values = {
                    "state": CommitmentState.PENDING.value,
                    "due_at": now,
                    "give_up_at": now + patience,
                    "settled_at": None,
                }
                connection.execute(update(table).where(table.c.pk == known["pk"]).values(values))

        with unavailable_errors():
            retried(transaction)
        return self.read(transaction_uid)

    def forget(self, age: dt.timedelta) -> int:
        """Drops the record of what was reported or given up that long ago; returns how many."""
        table = self._table
        old = (table.c.settled_at < utc_now() - age, table.c.state != CommitmentState.PENDING.value)
        with unavailable_errors():
            with self._engine.connect() as connection:
                pks = list(connection.execute(select(table.c.pk).where(*old)).scalars())
            for start in range(0, len(pks), _PAGE):
                page = delete(table).where(table.c.pk.in_(pks[start : start + _PAGE]), *old)
                retried(partial(self._update, page))
        return len(pks)

    # -- inside --------------------------------------------------------------------------------------------

    def _known(self, connection: Connection, transaction_uid: str, *, lock: bool = False) -> RowMapping | None:
        statement = select(self._table).where(self._table.c.transaction_uid == transaction_uid)
        return connection.execute(statement.with_for_update() if lock else statement).mappings().first()

    def _insert(
        self, connection: Connection, request: CommitmentRequest, claim: Claim, patience: dt.timedelta
    ) -> StorageCommitment:
        now = utc_now()
        values = {
            "transaction_uid": request.transaction_uid,
            "calling_ae_title": request.calling_ae_title,
            "called_ae_title": request.called_ae_title,
            "remote_address": request.remote_address,
            "references_digest": request.digest,
            "number_of_references": len(request.references),
            "state": CommitmentState.PENDING.value,
            "attempts": 0,
            "requested_at": now,
            "due_at": now + claim.lease,
            "claimed_by": claim.owner,
            "give_up_at": now + patience,
        }
        key = connection.execute(insert(self._table), values).inserted_primary_key
        if key is None:
            raise RuntimeError("the database gave the new storage commitment no key")
        rows = [
            {
                "storage_commitment_pk": key[0],
                "position": position,
                "sop_class_uid": reference.sop_class_uid,
                "sop_instance_uid": reference.sop_instance_uid,
            }
            for position, reference in enumerate(request.references)
        ]
        connection.execute(insert(self._references), rows)
        row = connection.execute(select(self._table).where(self._table.c.pk == key[0])).mappings().one()
        return StorageCommitment.of_row(row)

    def _asked_again(
        self,
        connection: Connection,
        known: RowMapping,
        request: CommitmentRequest,
        claim: Claim,
        patience: dt.timedelta,
    ) -> StorageCommitment | None:
        same = (known["references_digest"], known["calling_ae_title"]) == (request.digest, request.calling_ae_title)
        if not same or known["state"] == CommitmentState.REPORTED.value:
            raise DuplicateTransaction("the Transaction UID is in use; begin a new transaction")
        now, table = utc_now(), self._table
        if known["claimed_by"] is not None and known["due_at"] > now:
            return None
        values = {
            "state": CommitmentState.PENDING.value,
            "due_at": now + claim.lease,
            "claimed_by": claim.owner,
            "give_up_at": now + patience,
            "settled_at": None,
        }
        this = table.c.pk == known["pk"]
        connection.execute(update(table).where(this).values(values))
        return StorageCommitment.of_row(connection.execute(select(table).where(this)).mappings().one())

    def _due(self, limit: int, not_of: Collection[str]) -> list[int]:
        """Only read, so that looking costs nobody anything."""
        table = self._table
        statement = select(table.c.pk).where(
            table.c.state == CommitmentState.PENDING.value, table.c.due_at <= utc_now()
        )
        if not_of:
            statement = statement.where(table.c.calling_ae_title.not_in(list(not_of)))
        with self._engine.connect() as connection:
            return list(connection.execute(statement.order_by(table.c.due_at).limit(limit)).scalars())

    def _claimed(self, pks: Sequence[int], claim: Claim) -> list[StorageCommitment]:
        table, now = self._table, utc_now()
        claimed = []
        with write_transaction(self._engine) as connection:
            # one by one in ascending order, each only where nobody else was faster
            for pk in sorted(pks):
                free = (table.c.pk == pk, table.c.state == CommitmentState.PENDING.value, table.c.due_at <= now)
                taking = update(table).where(*free).values(claimed_by=claim.owner, due_at=now + claim.lease)
                if connection.execute(taking).rowcount:
                    claimed.append(pk)
            rows = connection.execute(select(table).where(table.c.pk.in_(claimed)).order_by(table.c.pk)).mappings()
            return [StorageCommitment.of_row(row) for row in rows]

    def _renewed(self, connection: Connection, claim: Claim, pks: Collection[int]) -> set[int]:
        table = self._table
        renewed = set()
        for pk in sorted(pks):
            mine = (
                table.c.pk == pk,
                table.c.claimed_by == claim.owner,
                table.c.state == CommitmentState.PENDING.value,
            )
            statement = update(table).where(*mine).values(due_at=utc_now() + claim.lease)
            if connection.execute(statement).rowcount:
                renewed.add(pk)
        return renewed

    def _update(self, statement: Any) -> None:
        with write_transaction(self._engine) as connection:
            connection.execute(statement)
