"""The group commit when the database is away, slow, or loses its answer: no bytes are lost, nobody waits for ever."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import OperationalError

from fileroom_storage.attributes import Level
from fileroom_storage.errors import StorageUnavailable
from fileroom_storage.index import engine, removal, retrying, writer
from fileroom_storage.index.engine import create_engine, write_transaction
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.objects import FilesystemObjectStore
from fileroom_storage.storage import ConflictType, ConnectionPool, Query, Storage, StorageSettings
from tests.databases import Databases
from tests.made import made, uid
from tests.storage.stored import exact_counts, store

NUMBER = {"InstanceNumber": "2"}


def objects(storage: Storage) -> list[Path]:
    return sorted((storage.settings.data / "objects").rglob("*.dcm"))


def lose_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next commit happens, but its answer does not come back."""
    lost: list[bool] = []

    @contextmanager
    def transaction(source: Engine | RootTransaction) -> Iterator[Connection]:
        with write_transaction(source) as connection:
            yield connection
        if not lost:
            lost.append(True)
            raise OperationalError("COMMIT", {}, Exception("connection lost"), connection_invalidated=True)

    monkeypatch.setattr(writer, "write_transaction", transaction)


def test_an_object_whose_commit_was_not_answered_is_stored_once(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_the_answer(monkeypatch)
    assert store(storage, made()).status == "stored"
    assert list(storage.check(verify=True)) == []
    assert exact_counts(storage)


def test_a_conflicts_copy_survives_a_commit_that_was_not_answered(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(storage, made())
    lose_the_answer(monkeypatch)
    assert store(storage, made(**NUMBER)).conflicts == (ConflictType.CONTENT,)
    [conflict] = storage.conflicts()
    assert conflict.occurrences == 1
    assert len(objects(storage)) == 2
    assert list(storage.check(verify=True)) == []


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_readers_who_hold_all_connections_keep_no_object_out(kind: str, databases: Databases, tmp_path: Path) -> None:
    with databases.fresh_index(kind, tmp_path) as url:
        settings = StorageSettings(tmp_path / "data", url, pool=ConnectionPool(size=2, overflow=0, timeout=0.1))
        with Storage.open(settings) as storage:
            store(storage, made())
            readers = [storage.find(Query(Level.IMAGE)) for _ in range(2)]
            for reader in readers:
                next(reader)
            with pytest.raises(StorageUnavailable):
                storage.count(Query(Level.IMAGE))
            assert store(storage, made(SOPInstanceUID=uid(1, 1, 2))).status == "stored"
            for reader in readers:
                reader.close()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_closing_does_not_wait_for_a_database_that_does_not_answer(
    kind: str, databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_ANSWER_SECONDS", 0.2)
    with databases.fresh_index(kind, tmp_path) as url:
        storage = Storage.open(StorageSettings(tmp_path / "data", url))
        other = create_engine(url)
        with other.connect() as connection:
            connection.execute(standard_tables().issuer.insert(), {"issuer_of_patient_id": "DEFAULT_DOMAIN"})
            with pytest.raises(StorageUnavailable, match="takes too long"):
                store(storage, made())
            closing = threading.Thread(target=storage.close)
            closing.start()
            closing.join(30)
            assert not closing.is_alive()
            with pytest.raises(StorageUnavailable, match="stopping"):
                store(storage, made())
            connection.rollback()
        other.dispose()


def test_a_deletion_that_the_index_goes_away_in_deletes_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_PAGE", 1)
    for number in (1, 2):
        store(storage, made(SOPInstanceUID=uid(1, 1, number)))

    def away(*_: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("away"))

    with monkeypatch.context() as patch:
        patch.setattr(removal, "recount_sets", away)
        patch.setattr(retrying, "RETRY_SECONDS", 0.0)
        with pytest.raises(StorageUnavailable):
            storage.delete({"StudyInstanceUID": uid(1)})
    assert storage.count(Query(Level.IMAGE)) == 2
    assert list(storage.deletions()) == []
    assert exact_counts(storage)
    assert storage.delete({"StudyInstanceUID": uid(1)}).number_of_objects == 2


def test_what_queues_while_another_process_writes_goes_along_in_one_transaction(
    sqlite_storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    store(sqlite_storage, made())
    other = sqlite3.connect(sqlite_storage.settings.data / "index.sqlite", isolation_level=None)
    others = [made(SOPInstanceUID=uid(1, 1, number)) for number in range(2, 7)]
    with caplog.at_level("DEBUG", "fileroom_storage.index"), ThreadPoolExecutor(5) as senders:
        other.execute("BEGIN IMMEDIATE")
        outcomes = [senders.submit(store, sqlite_storage, each) for each in others]
        deadline = time.monotonic() + 30
        while len(objects(sqlite_storage)) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)  # from the object's place to the queue
        other.execute("COMMIT")
        assert {outcome.result().status for outcome in outcomes} == {"stored"}
    other.close()
    assert caplog.text.count(", in a batch of 5\n") == 5
    assert exact_counts(sqlite_storage)


def test_a_lock_that_is_not_let_go_of_is_told_once_and_leaves_nothing(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_SQLITE_BUSY_SECONDS", 0.5)
    store(sqlite_storage, made())
    other = sqlite3.connect(sqlite_storage.settings.data / "index.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with pytest.raises(StorageUnavailable):
        store(sqlite_storage, made(SOPInstanceUID=uid(1, 1, 2)))
    assert time.monotonic() - begun < 20
    assert len(objects(sqlite_storage)) == 1
    other.execute("COMMIT")
    assert store(sqlite_storage, made(SOPInstanceUID=uid(1, 1, 2))).status == "stored"
    other.close()


def test_an_object_whose_name_cannot_be_made_durable_is_refused_and_leaves_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageUnavailable("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr(FilesystemObjectStore, "sync_folders", full)
        with pytest.raises(StorageUnavailable, match="the disk is away"):
            store(storage, made())
    assert objects(storage) == []
    assert storage.count(Query(Level.IMAGE)) == 0
    assert store(storage, made()).status == "stored"


def test_a_surprise_between_the_turn_and_the_transaction_keeps_nobody_out(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(*_: object) -> None:
        raise RuntimeError("a surprise")

    with monkeypatch.context() as patch:
        patch.setattr(type(sqlite_storage.monitor), "waited", surprise)
        with pytest.raises(RuntimeError):
            store(sqlite_storage, made())
    other = sqlite3.connect(sqlite_storage.settings.data / "index.sqlite", isolation_level=None, timeout=0)
    other.execute("BEGIN IMMEDIATE")
    other.execute("COMMIT")
    other.close()
    assert store(sqlite_storage, made()).status == "stored"
