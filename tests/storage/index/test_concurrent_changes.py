"""What one writer reads before it holds the locks, another changes: counts stay exact, and no sender hears of it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fileroom_storage.attributes import Level
from fileroom_storage.index import entities, removal
from fileroom_storage.index.known_hierarchy import KnownHierarchy
from fileroom_storage.storage import ConflictType, Query, Resolution, Storage, StorageSettings
from tests.databases import Databases
from tests.made import made, uid
from tests.storage.stored import exact_counts, store


# SQLite lets only one writer begin
@pytest.fixture(params=["mariadb", "postgresql"])
def served(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Storage]:
    with (
        databases.fresh_index(request.param, tmp_path) as url,
        Storage.open(StorageSettings(tmp_path / "data", url)) as storage,
    ):
        yield storage


def before_the_lock(monkeypatch: pytest.MonkeyPatch, module: Any, change: Callable[[], object]) -> None:
    """Runs `change` once, when `module` has read what it wants to lock."""
    done: list[bool] = []

    def lock(*arguments: Any) -> Any:
        if not done:
            done.append(True)
            change()
        return entities.lock(*arguments)

    monkeypatch.setattr(module, "lock", lock)


def before_the_writer_locks(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Runs `change` once, when a store has read, or knows from the last one, what it wants to lock."""
    done: list[bool] = []
    locked = KnownHierarchy.locked

    def changed(*arguments: Any) -> Any:
        if not done:
            done.append(True)
            change()
        return locked(*arguments)

    monkeypatch.setattr(KnownHierarchy, "locked", changed)


def series_in_conflict(storage: Storage) -> Callable[[], None]:
    """A series that can be moved to study 2, and what moves it."""
    store(storage, made())
    store(storage, made(SOPInstanceUID=uid(1, 1, 2), StudyInstanceUID=uid(2)))
    other = {"StudyInstanceUID": uid(1), "SeriesInstanceUID": uid(1, 2)}
    store(storage, made(SOPInstanceUID=uid(1, 2, 1), **other))
    [conflict] = storage.conflicts()
    assert conflict.type is ConflictType.SERIES_STUDY
    return lambda: storage.resolve_conflict(conflict.pk, Resolution.ACCEPT)


def test_a_series_that_moves_while_an_object_comes_in(served: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    before_the_writer_locks(monkeypatch, series_in_conflict(served))
    outcome = store(served, made(SOPInstanceUID=uid(1, 1, 3)))
    assert (outcome.status, outcome.study_instance_uid) == ("stored", uid(2))
    assert exact_counts(served)


def test_a_series_that_moves_while_an_instance_is_deleted(served: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    before_the_lock(monkeypatch, removal, series_in_conflict(served))
    assert served.delete({"SOPInstanceUID": uid(1, 1, 2)}).number_of_objects == 1
    assert exact_counts(served)


def test_what_comes_in_while_its_study_is_deleted_goes_with_it(
    served: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(served, made())
    before_the_lock(monkeypatch, removal, lambda: store(served, made(SOPInstanceUID=uid(1, 1, 2))))
    assert served.delete({"StudyInstanceUID": uid(1)}).number_of_objects == 2
    assert served.count(Query(Level.STUDY)) == 0


def test_a_series_that_is_new_while_its_study_is_deleted_goes_with_it(
    served: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(served, made())
    another = made(SOPInstanceUID=uid(1, 2, 1), SeriesInstanceUID=uid(1, 2))
    before_the_lock(monkeypatch, removal, lambda: store(served, another))
    assert served.delete({"StudyInstanceUID": uid(1)}).number_of_objects == 2
    assert served.count(Query(Level.STUDY)) == 0


def test_what_comes_in_when_its_study_has_just_gone_is_stored(served: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    store(served, made())
    before_the_writer_locks(monkeypatch, lambda: served.delete({"StudyInstanceUID": uid(1)}))
    assert store(served, made(SOPInstanceUID=uid(1, 1, 2))).status == "stored"
    assert served.count(Query(Level.IMAGE)) == 1
    assert exact_counts(served)


@pytest.mark.parametrize("study", [1, 2])
def test_many_delete_restore_and_store_at_once(storage: Storage, study: int) -> None:
    """`study` 1: the one that is deleted; 2: another of its patient."""
    for number in range(4):
        store(storage, made(SOPInstanceUID=uid(1, 1, number)))

    def send(number: int) -> str:
        uids = {"StudyInstanceUID": uid(study), "SeriesInstanceUID": uid(study, 1)}
        return store(storage, made(SOPInstanceUID=uid(study, 1, 100 + number), **uids)).status

    def delete_and_restore(_: int) -> int:
        return storage.restore(storage.delete({"StudyInstanceUID": uid(1)}).pk).restored

    with ThreadPoolExecutor(4) as threads:
        sent = [threads.submit(send, number) for number in range(12)]
        restored = [threads.submit(delete_and_restore, number) for number in range(1)]
        assert {future.result() for future in sent} == {"stored"}
        assert restored[0].result() >= 4
    assert storage.count(Query(Level.IMAGE)) == 16
    assert list(storage.deletions()) == []
    assert exact_counts(storage)


def test_a_series_that_is_already_where_it_was_to_go(storage: Storage) -> None:
    store(storage, made())
    store(storage, made(SOPInstanceUID=uid(1, 1, 2), StudyInstanceUID=uid(2)))
    storage.delete({"StudyInstanceUID": uid(1)})
    store(storage, made(SOPInstanceUID=uid(1, 1, 2), StudyInstanceUID=uid(2)))
    [conflict] = storage.conflicts()
    storage.resolve_conflict(conflict.pk, Resolution.ACCEPT)
    assert list(storage.conflicts()) == []
    assert exact_counts(storage)
