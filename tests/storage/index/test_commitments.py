"""Requests for storage commitment in the index: taken in once, worked on by one at a time, never lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from itertools import chain

import pytest

from fileroom_storage.errors import DuplicateTransaction, InstanceNotFound
from fileroom_storage.storage import (
    Claim,
    CommitmentRequest,
    CommitmentState,
    Reference,
    Storage,
    StorageCommitment,
)
from tests.made import CT_IMAGE_STORAGE, uid
from tests.storage.stored import tables_of

MINUTES, WEEK, NOW = timedelta(minutes=5), timedelta(days=7), timedelta(0)
OURS, THEIRS = Claim("host:104/0", MINUTES), Claim("other:104/0", MINUTES)


def references(number: int, series: int = 1) -> list[Reference]:
    return [Reference(CT_IMAGE_STORAGE, uid(1, series, instance)) for instance in range(number)]


def asked(transaction: int = 1, number: int = 2, calling: str = "MODALITY", series: int = 1) -> CommitmentRequest:
    return CommitmentRequest(uid(77, transaction), references(number, series), calling, "FILEROOM", "10.0.0.7")


def take(storage: Storage, request: CommitmentRequest, claim: Claim = OURS) -> StorageCommitment:
    commitment = storage.commitments.request(request, claim, WEEK)
    assert commitment is not None
    return commitment


def due(storage: Storage, claim: Claim = OURS, not_of: tuple[str, ...] = ()) -> list[int]:
    return [commitment.pk for commitment in storage.commitments.claim_due(claim, 100, not_of)]


def test_a_request_is_there_for_whoever_opens_the_index_next(storage: Storage) -> None:
    commitment = take(storage, asked(number=1000))
    with Storage.open(storage.settings) as other:
        read = other.commitments.read(uid(77, 1))
        assert read == commitment
        assert other.commitments.references(read.pk) == references(1000)
    assert (read.calling_ae_title, read.called_ae_title, read.remote_address) == ("MODALITY", "FILEROOM", "10.0.0.7")
    assert (read.number_of_references, read.number_of_failures, read.attempts) == (1000, None, 0)
    assert read.state is CommitmentState.PENDING
    assert read.give_up_at - read.requested_at == WEEK


def test_the_same_request_again_is_the_same(storage: Storage) -> None:
    commitment = take(storage, asked())
    assert storage.commitments.request(asked(), THEIRS, WEEK) is None
    assert len(list(storage.commitments.all(set(CommitmentState)))) == 1
    # where it waits for another attempt, its requester is there now
    storage.commitments.postpone(commitment.pk, MINUTES, "no answer")
    again = storage.commitments.request(asked(), THEIRS, WEEK)
    assert again is not None
    assert again.pk == commitment.pk
    assert storage.commitments.renew(OURS, [commitment.pk]) == set()
    assert storage.commitments.renew(THEIRS, [commitment.pk]) == {commitment.pk}


@pytest.mark.parametrize(
    "other", [asked(number=3), asked(series=2), asked(calling="OTHER")], ids=["more", "other instances", "other peer"]
)
def test_a_transaction_uid_is_one_requests(sqlite_storage: Storage, other: CommitmentRequest) -> None:
    commitment = take(sqlite_storage, asked())
    with pytest.raises(DuplicateTransaction):
        sqlite_storage.commitments.request(other, OURS, WEEK)
    sqlite_storage.commitments.reported(commitment.pk, {})
    with pytest.raises(DuplicateTransaction):
        sqlite_storage.commitments.request(asked(), OURS, WEEK)


def test_what_somebody_is_at_nobody_else_takes(storage: Storage) -> None:
    first, second = take(storage, asked(1)), take(storage, asked(2, calling="OTHER"))
    assert due(storage, THEIRS) == []
    storage.commitments.release(THEIRS.owner)
    assert due(storage, THEIRS) == []
    storage.commitments.release(OURS.owner)
    assert due(storage, THEIRS, not_of=("OTHER",)) == [first.pk]
    assert due(storage, OURS) == [second.pk]
    assert due(storage, OURS) == []
    assert storage.commitments.renew(OURS, [first.pk, second.pk]) == {second.pk}


def test_what_a_dead_process_was_at_is_free_once_its_lease_is_over(storage: Storage) -> None:
    commitment = take(storage, asked(), Claim("dead", NOW))
    assert due(storage, THEIRS) == [commitment.pk]
    assert storage.commitments.renew(Claim("dead", MINUTES), [commitment.pk]) == set()


@pytest.fixture
def storages(storage: Storage) -> Iterator[list[Storage]]:
    """Four that share one index, as processes do."""
    with ExitStack() as stack:
        yield [stack.enter_context(Storage.open(storage.settings)) for _ in range(4)]


def test_each_that_is_due_is_taken_by_one(storage: Storage, storages: list[Storage]) -> None:
    pks = [take(storage, asked(number), Claim("dead", NOW)).pk for number in range(60)]

    def claim(number: int) -> list[int]:
        mine = Claim(f"process {number}", MINUTES)
        return list(chain.from_iterable(due_of_ten(storages[number], mine) for _ in range(12)))

    with ThreadPoolExecutor(4) as pool:
        taken = list(chain.from_iterable(pool.map(claim, range(4))))
    assert sorted(taken) == pks


def due_of_ten(storage: Storage, claim: Claim) -> list[int]:
    return [commitment.pk for commitment in storage.commitments.claim_due(claim, 10)]


def test_one_transaction_uid_at_once(storage: Storage, storages: list[Storage]) -> None:
    def take_in(number: int) -> bool:
        claim = Claim(f"process {number}", MINUTES)
        return storages[number].commitments.request(asked(number=50), claim, WEEK) is not None

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(take_in, range(4))) == [False, False, False, True]
    assert len(tables_of(storage)["storage_commitment_reference"]) == 50


def test_attempts_end_where_it_is_to_be_given_up(storage: Storage) -> None:
    commitment = storage.commitments.request(asked(), OURS, timedelta(minutes=7))
    assert commitment is not None
    assert storage.commitments.postpone(commitment.pk, MINUTES, "no answer") is CommitmentState.PENDING
    assert due(storage) == []
    waiting = storage.commitments.read(uid(77, 1))
    assert (waiting.attempts, waiting.last_error, waiting.settled_at) == (1, "no answer", None)
    assert storage.commitments.postpone(commitment.pk, 2 * MINUTES, "x" * 1000) is CommitmentState.GIVEN_UP
    given_up = storage.commitments.read(uid(77, 1))
    assert (given_up.state, given_up.attempts) == (CommitmentState.GIVEN_UP, 2)
    assert given_up.settled_at is not None
    assert due(storage) == []
    # somebody has repaired the network
    again = storage.commitments.retry(uid(77, 1), WEEK)
    assert (again.state, again.settled_at) == (CommitmentState.PENDING, None)
    assert again.give_up_at > given_up.give_up_at
    assert due(storage) == [commitment.pk]
    assert len(storage.commitments.references(commitment.pk)) == 2


def test_a_requester_may_ask_again_for_what_was_given_up(storage: Storage) -> None:
    commitment = storage.commitments.request(asked(), OURS, NOW)
    assert commitment is not None
    assert storage.commitments.postpone(commitment.pk, MINUTES, "no answer") is CommitmentState.GIVEN_UP
    assert take(storage, asked()).state is CommitmentState.PENDING


def test_a_retry_leaves_alone_what_somebody_is_at(sqlite_storage: Storage) -> None:
    take(sqlite_storage, asked())
    sqlite_storage.commitments.retry(uid(77, 1), WEEK)
    assert due(sqlite_storage, THEIRS) == []


def test_of_what_was_reported_only_failures_are_kept(storage: Storage) -> None:
    commitment, other = take(storage, asked(number=3)), take(storage, asked(2, number=1))
    failures = {references(3)[1]: 0x0112}
    storage.commitments.reported(commitment.pk, failures)
    assert storage.commitments.references(commitment.pk) == [references(3)[1]]
    assert storage.commitments.failures(commitment.pk) == [(references(3)[1], 0x0112)]
    assert storage.commitments.failures(other.pk) == []
    reported = storage.commitments.read(uid(77, 1))
    assert (reported.state, reported.number_of_failures, reported.attempts) == (CommitmentState.REPORTED, 1, 1)
    # what comes too late changes nothing
    assert storage.commitments.postpone(commitment.pk, MINUTES, "late") is CommitmentState.REPORTED
    storage.commitments.reported(commitment.pk, {})
    assert storage.commitments.read(uid(77, 1)) == reported
    with pytest.raises(DuplicateTransaction):
        storage.commitments.retry(uid(77, 1), WEEK)
    waiting = {CommitmentState.PENDING, CommitmentState.GIVEN_UP}
    assert [found.pk for found in storage.commitments.all(waiting)] == [other.pk]
    assert [found.pk for found in storage.commitments.all(set(CommitmentState))] == [other.pk, commitment.pk]


def test_what_is_settled_is_forgotten_after_a_time(storage: Storage) -> None:
    reported, _waiting = take(storage, asked(1)), take(storage, asked(2))
    storage.commitments.reported(reported.pk, {references(2)[0]: 0x0112})
    assert storage.commitments.forget(MINUTES) == 0
    assert storage.commitments.forget(NOW) == 1
    with pytest.raises(InstanceNotFound, match="commitments list --all"):
        storage.commitments.read(uid(77, 1))
    rows = tables_of(storage)
    assert [row["transaction_uid"] for row in rows["storage_commitment"]] == [uid(77, 2)]
    assert len(rows["storage_commitment_reference"]) == 2


def test_the_backlog_is_what_has_no_report(storage: Storage) -> None:
    assert storage.commitments.backlog() == (0, None)
    first, second = take(storage, asked(1)), take(storage, asked(2))
    assert storage.commitments.backlog() == (2, first.requested_at)
    storage.commitments.reported(first.pk, {})
    assert storage.commitments.backlog() == (1, second.requested_at)
