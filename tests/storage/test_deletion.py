"""Deleting, restoring and purging: at once for those who ask, with a way back, and nothing that returns by itself."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from fileroom_storage.attributes import Level
from fileroom_storage.errors import InstanceNotFound, InvalidQuery, ObjectMissing
from fileroom_storage.events import Event, InstanceDeleted, InstanceStored
from fileroom_storage.index import deletions
from fileroom_storage.storage import (
    ConflictType,
    DeletionReason,
    Query,
    Resolution,
    Restoration,
    Storage,
    StorageSettings,
)
from tests.made import made, part10, uid
from tests.storage.stored import exact_counts, store, tables_of

HOUR = 3600.0
STUDY = {"StudyInstanceUID": uid(1)}
INSTANCE = {**STUDY, "SeriesInstanceUID": uid(1, 1), "SOPInstanceUID": uid(1, 1, 1)}


def fill(storage: Storage, number: int = 3) -> None:
    for instance in range(1, number + 1):
        store(storage, made(SOPInstanceUID=uid(1, 1, instance), SeriesInstanceUID=uid(1, instance % 2 + 1)))


def objects(storage: Storage) -> list[Path]:
    return sorted((storage.settings.data / "objects").rglob("*.dcm"))


def make_old(storage: Storage) -> None:
    for path in objects(storage):
        os.utime(path, (time.time() - HOUR, time.time() - HOUR))


def count(storage: Storage) -> int:
    return storage.count(Query(Level.IMAGE))


def actions(storage: Storage) -> list[str]:
    return [row["action"] for row in tables_of(storage)["change"]]


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        (STUDY, 0),
        ({**STUDY, "SeriesInstanceUID": uid(1, 2)}, 1),
        ({"SOPInstanceUID": uid(1, 1, 1)}, 2),
    ],
)
def test_what_is_deleted_is_gone_at_once_and_comes_back_whole(
    storage: Storage, keys: dict[str, str], left: int
) -> None:
    fill(storage)
    before = {storage.read_data_set(instance) for instance in storage.locate(STUDY)}
    provenance = {row["sop_instance_uid"]: row["received_at"] for row in tables_of(storage)["dicom_instance"]}
    deletion = storage.delete(keys)
    assert count(storage) == left
    assert exact_counts(storage)
    assert (deletion.reason, deletion.number_of_objects) == (DeletionReason.REQUEST, 3 - left)
    assert deletion.study_instance_uid == uid(1)
    assert deletion.purge_at is not None
    assert deletion.purge_at - deletion.at == timedelta(days=7)
    assert list(storage.deletions()) == [deletion]
    assert len(objects(storage)) == 3

    assert storage.restore(deletion.pk) == Restoration(restored=3 - left)
    assert exact_counts(storage)
    assert {storage.read_data_set(instance) for instance in storage.locate(STUDY)} == before
    assert {row["sop_instance_uid"]: row["received_at"] for row in tables_of(storage)["dicom_instance"]} == provenance
    assert list(storage.deletions()) == []
    assert actions(storage) == 3 * ["stored"] + (3 - left) * ["deleted"] + (3 - left) * ["stored"]
    with pytest.raises(InstanceNotFound, match="fileroom deleted list"):
        storage.restore(deletion.pk)


def test_nothing_to_delete(storage: Storage) -> None:
    with pytest.raises(InstanceNotFound):
        storage.delete(STUDY)
    with pytest.raises(InvalidQuery):
        storage.delete({})
    with pytest.raises(InvalidQuery):
        storage.delete({"PatientName": "Doe"})
    assert list(storage.deletions()) == []


def test_observers_hear_of_each_instance(sqlite_storage: Storage) -> None:
    events: list[Event] = []
    fill(sqlite_storage, 2)
    sqlite_storage.observe(events.append)
    sqlite_storage.restore(sqlite_storage.delete(STUDY).pk)
    assert [type(event) for event in events] == [InstanceDeleted, InstanceDeleted, InstanceStored, InstanceStored]


def test_a_purge_leaves_nothing(storage: Storage) -> None:
    fill(storage)
    deletion = storage.delete(STUDY)
    assert storage.purge_expired() == 0
    assert storage.purge(deletion.pk) == 3
    assert objects(storage) == []
    rows = tables_of(storage)
    assert rows["deletion"] == rows["deleted_object"] == rows["dicom_patient"] == []
    with pytest.raises(InstanceNotFound):
        storage.purge(deletion.pk)


def test_the_undo_time_ends(storage: Storage) -> None:
    settings = storage.settings
    fill(storage)
    hurried = StorageSettings(settings.data, settings.database, undo_time=timedelta(milliseconds=1))
    with Storage.open(hurried) as other:
        deletion = other.delete({"SOPInstanceUID": uid(1, 1, 1)})
        time.sleep(0.01)
        assert other.purge_expired() == 1
        with pytest.raises(InstanceNotFound):
            other.restore(deletion.pk)
    assert len(objects(storage)) == count(storage) == 2


def test_without_undo_time_the_bytes_go_at_once(storage: Storage) -> None:
    settings = StorageSettings(storage.settings.data, storage.settings.database, undo_time=timedelta(0))
    with Storage.open(settings) as without:
        fill(without)
        without.delete(STUDY)
        assert objects(without) == []
        assert list(without.deletions()) == []


def test_a_check_knows_what_was_deleted(storage: Storage) -> None:
    fill(storage)
    storage.delete({"SOPInstanceUID": uid(1, 1, 1)})
    make_old(storage)
    assert list(storage.check(verify=True, repair=True)) == []
    assert storage.adopt_orphans() == 0
    assert count(storage) == 2


def test_what_was_deleted_can_be_sent_again(storage: Storage) -> None:
    fill(storage, 1)
    data_set = made(SOPInstanceUID=uid(1, 1, 1), SeriesInstanceUID=uid(1, 2))
    deletion = storage.delete(STUDY)
    assert store(storage, data_set).status == "stored"
    assert storage.restore(deletion.pk) == Restoration(already_stored=1)
    assert list(storage.conflicts()) == []
    assert list(storage.deletions()) == []
    assert storage.purge_expired() == 1
    assert len(objects(storage)) == count(storage) == 1
    assert list(storage.check(verify=True)) == []


def test_what_came_in_meanwhile_under_the_same_uid_is_a_conflict(storage: Storage) -> None:
    store(storage, made())
    deletion = storage.delete(STUDY)
    store(storage, made(InstanceNumber="2"))
    assert storage.restore(deletion.pk) == Restoration(in_conflict=1)
    [conflict] = storage.conflicts()
    assert conflict.type is ConflictType.CONTENT
    storage.resolve_conflict(conflict.pk, Resolution.ACCEPT)
    [instance] = storage.locate(STUDY)
    assert storage.read_data_set(instance) == part10(made())[instance.data_set_offset :]
    assert list(storage.check(verify=True)) == []


def test_a_conflicts_copy_goes_and_comes_with_its_instance(storage: Storage) -> None:
    store(storage, made())
    store(storage, made(InstanceNumber="2"))
    deletion = storage.delete(STUDY)
    assert deletion.number_of_objects == 2
    assert list(storage.conflicts()) == []
    assert storage.restore(deletion.pk) == Restoration(restored=1, in_conflict=1)
    [conflict] = storage.conflicts()
    assert conflict.location is not None
    assert list(storage.check(verify=True)) == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(Resolution.KEEP, DeletionReason.CONFLICT), (Resolution.ACCEPT, DeletionReason.REPLACED)],
)
def test_what_a_conflict_was_resolved_against_can_be_restored(
    storage: Storage, answer: Resolution, reason: DeletionReason
) -> None:
    store(storage, made())
    store(storage, made(InstanceNumber="2"))
    [conflict] = storage.conflicts()
    storage.resolve_conflict(conflict.pk, answer)
    [deletion] = storage.deletions()
    assert (deletion.reason, deletion.number_of_objects) == (reason, 1)
    make_old(storage)
    assert list(storage.check(verify=True)) == []
    assert storage.restore(deletion.pk) == Restoration(in_conflict=1)
    assert len(list(storage.conflicts())) == 1
    assert exact_counts(storage)


def test_what_the_object_store_has_lost_stays_deleted(storage: Storage) -> None:
    fill(storage, 2)
    [lost, _] = storage.locate(STUDY)
    deletion = storage.delete(STUDY)
    (storage.settings.data / "objects" / lost.location).unlink()
    assert storage.restore(deletion.pk) == Restoration(restored=1, lost=1)
    assert storage.deletion(deletion.pk).number_of_objects == 1
    assert storage.purge(deletion.pk) == 1
    assert count(storage) == 1


def test_a_damaged_object_that_was_replaced_is_not_adopted(storage: Storage) -> None:
    store(storage, made())
    [path] = objects(storage)
    path.write_bytes(path.read_bytes()[:-2])
    assert store(storage, made()).status == "stored"
    make_old(storage)
    assert list(storage.check(verify=True)) == []
    [deletion] = storage.deletions()
    assert deletion.reason is DeletionReason.REPLACED


def test_a_reader_who_has_begun_may_finish(sqlite_storage: Storage) -> None:
    store(sqlite_storage, made())
    [instance] = sqlite_storage.locate(STUDY)
    deletion = sqlite_storage.delete(STUDY)
    assert sqlite_storage.read_data_set(instance)
    sqlite_storage.purge(deletion.pk)
    with pytest.raises(ObjectMissing):
        sqlite_storage.read_data_set(instance)


def test_all_deletions_are_listed(sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletions, "_PAGE", 2)
    fill(sqlite_storage, 5)
    made_here = [sqlite_storage.delete({"SOPInstanceUID": uid(1, 1, number)}).pk for number in range(1, 6)]
    assert [deletion.pk for deletion in sqlite_storage.deletions()] == made_here[::-1]


def test_an_id_is_not_given_again(storage: Storage) -> None:
    """Whoever has noted it must not restore another deletion."""
    store(storage, made())
    first = storage.delete(STUDY).pk
    storage.purge(first)
    store(storage, made())
    assert storage.delete(STUDY).pk > first


class TestOrphans:
    def copy_of_first(self, storage: Storage, *, age: float) -> Path:
        """A second file of an object, as a crash between a commit and the removal of a superfluous file leaves it."""
        path = objects(storage)[0]
        copy = path.with_name(path.name[:2] + "0" * 29 + "b.dcm")
        copy.write_bytes(path.read_bytes())
        os.utime(copy, (time.time() - age, time.time() - age))
        return copy

    @pytest.mark.parametrize("purged", [False, True])
    def test_a_copy_of_what_was_deleted_does_not_come_back(self, storage: Storage, purged: bool) -> None:
        store(storage, made())
        copy = self.copy_of_first(storage, age=HOUR)
        deletion = storage.delete(STUDY)
        if purged:
            storage.purge(deletion.pk)
        storage.adopt_orphans()
        assert count(storage) == 0
        assert storage.purge_expired() == 1
        assert not copy.exists()
        assert len(objects(storage)) == (0 if purged else 1)

    def test_what_was_sent_again_is_adopted(self, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
        """It was written after the deletion, so the deletion did not mean it."""
        monkeypatch.setattr(storage._checker, "_young", -HOUR)
        store(storage, made())
        for _ in range(5):  # the change feed is longer than this one change
            store(storage, made(SOPInstanceUID=uid(1, 1, 2)))
            storage.delete({"SOPInstanceUID": uid(1, 1, 2)})
        storage.delete(STUDY)
        self.copy_of_first(storage, age=-60.0)
        assert storage.adopt_orphans() == 1
        assert count(storage) == 1

    def test_what_was_only_lost_is_adopted_when_it_is_found_again(self, storage: Storage) -> None:
        store(storage, made())
        make_old(storage)
        [path] = objects(storage)
        aside = path.rename(storage.settings.data / "aside")
        assert [finding.repair for finding in storage.check(repair=True)] == ["row removed"]
        assert actions(storage)[-1] == "lost"
        aside.rename(path)
        assert storage.adopt_orphans() == 1
        assert count(storage) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from fileroom_storage.storage import Storage, StorageSettings
import fileroom_storage.index.trash as trash, fileroom_storage.index.removal as removal
import fileroom_storage.deletion as deletion
from tests.made import uid

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def after(target, name, calls=1):
    method, seen = getattr(target, name), []
    def then_die(*arguments, **options):
        result = method(*arguments, **options)
        seen.append(name)
        if len(seen) == calls:
            die()
        return result
    setattr(target, name, then_die)

storage = Storage.open(StorageSettings(Path(sys.argv[1]), sys.argv[2]))
deletion._RESTORE_PAGE = deletion._PURGE_PAGE = removal._PAGE = 1
study = {"StudyInstanceUID": uid(1)}
moment = sys.argv[3]
if moment == "before the commit of a deletion":
    trash.remove_instances = die
    storage.delete(study)
elif moment == "in the middle of a deletion":
    after(removal, "keep_objects", 2)
    storage.delete(study)
elif moment == "after the commit of a deletion":
    after(trash.Trash, "delete")
    storage.delete(study)
elif moment == "before the commit of a restoration":
    pk = storage.delete(study).pk
    trash.ingest = die
    storage.restore(pk)
elif moment == "in the middle of a restoration":
    pk = storage.delete(study).pk
    after(trash.Trash, "take_back", 2)
    storage.restore(pk)
elif moment == "when a purge is claimed":
    pk = storage.delete(study).pk
    after(trash.Trash, "claim_for_purge")
    storage.purge(pk)
elif moment == "in a purge, before the rows go":
    pk = storage.delete(study).pk
    trash.Trash.forget = die
    storage.purge(pk)
elif moment == "in the middle of a purge":
    pk = storage.delete(study).pk
    after(trash.Trash, "forget", 2)
    storage.purge(pk)
"""


def killed(storage: Storage, moment: str) -> None:
    arguments = [str(storage.settings.data), storage.settings.database_url, moment]
    finished = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, timeout=120, cwd=Path.cwd()
    )
    assert finished.returncode == -signal.SIGKILL, finished.stderr


def deleted(storage: Storage) -> int:
    return sum(deletion.number_of_objects for deletion in storage.deletions())


@pytest.mark.parametrize(
    ("moment", "here", "restorable"),
    [
        ("before the commit of a deletion", 3, 0),
        ("in the middle of a deletion", 3, 0),
        ("after the commit of a deletion", 0, 3),
        ("before the commit of a restoration", 0, 3),
        ("in the middle of a restoration", 2, 1),
        ("when a purge is claimed", 0, 0),
        ("in a purge, before the rows go", 0, 0),
        ("in the middle of a purge", 0, 0),
    ],
)
def test_kill_9(storage: Storage, moment: str, here: int, restorable: int) -> None:
    """Nothing comes back by itself, nothing is an orphan, and whoever goes on comes to the end."""
    fill(storage)
    killed(storage, moment)
    make_old(storage)
    storage.adopt_orphans()
    assert count(storage) == here
    assert exact_counts(storage)
    assert list(storage.check(verify=True)) == []
    left = [storage.restore(deletion.pk).restored for deletion in storage.deletions()]
    assert sum(left) == restorable
    assert deleted(storage) == 0
    storage.purge_expired()
    assert len(objects(storage)) == count(storage) == here + restorable
    rows = tables_of(storage)
    assert rows["deletion"] == rows["deleted_object"] == []
    assert exact_counts(storage)
