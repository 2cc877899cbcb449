"""Index and object store, held against each other and brought together again."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from fileroom_storage.attributes import Level
from fileroom_storage.errors import StorageUnavailable
from fileroom_storage.index import writer
from fileroom_storage.storage import FindingKind, Provenance, Query, Resolution, Storage
from tests.made import made, part10, uid
from tests.storage.stored import exact_counts, store

HOUR = 3600.0


def only_object(storage: Storage) -> Path:
    [path] = objects(storage)
    return path


def objects(storage: Storage) -> list[Path]:
    return sorted((storage.settings.data / "objects").rglob("*.dcm"))


def orphan(storage: Storage, data: bytes, *, age: float = HOUR) -> Path:
    """A published file without a row, as a crash before the commit leaves it."""
    store(storage, made(SOPInstanceUID=uid(8, 8, 8), StudyInstanceUID=uid(8), SeriesInstanceUID=uid(8, 8)))
    [instance] = storage.locate({"StudyInstanceUID": uid(8)})
    path = storage.settings.data / "objects" / instance.location
    twin = path.with_name(path.name[:2] + "0" * 29 + "a.dcm")
    storage.delete({"StudyInstanceUID": uid(8)})
    twin.parent.mkdir(parents=True, exist_ok=True)
    twin.write_bytes(data)
    os.utime(twin, (time.time() - age, time.time() - age))
    return twin


def test_nothing_is_wrong_with_what_was_stored(storage: Storage) -> None:
    store(storage, made())
    assert list(storage.check(verify=True)) == []


def test_an_orphan_is_found_and_adopted(storage: Storage) -> None:
    path = orphan(storage, part10(made()))
    [finding] = storage.check()
    assert (finding.kind, finding.repair) == (FindingKind.ORPHAN, None)
    assert path.name in finding.location
    [repaired] = storage.check(repair=True)
    assert repaired.repair == "adopted"
    assert list(storage.check(verify=True)) == []
    assert storage.count(Query(Level.IMAGE, {"SOPInstanceUID": uid(1, 1, 1)})) == 1


def test_an_orphan_is_adopted_at_start(storage: Storage) -> None:
    orphan(storage, part10(made()))
    assert storage.adopt_orphans() == 1
    assert storage.adopt_orphans() == 0
    assert list(storage.check(verify=True)) == []


def test_an_orphan_of_what_is_stored_already_goes(storage: Storage) -> None:
    path = orphan(storage, part10(made()))
    store(storage, made())
    [repaired] = storage.check(repair=True)
    assert str(repaired.repair).startswith("removed")
    assert not path.exists()
    assert list(storage.check(verify=True)) == []


def test_an_orphan_survives_a_refusal_of_the_index(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be all that is left of an acknowledged object, when the index was restored from a backup."""
    path = orphan(storage, part10(made()))

    def away(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("away"))

    with monkeypatch.context() as patch:
        patch.setattr(writer, "ingest", away)
        with pytest.raises(StorageUnavailable):
            storage.adopt_orphans()
    assert path.exists()
    assert storage.adopt_orphans() == 1
    assert storage.count(Query(Level.IMAGE)) == 1


def test_the_last_copy_is_no_superfluous_one(storage: Storage) -> None:
    store(storage, made())
    indexed = only_object(storage)
    path = orphan(storage, part10(made()))
    indexed.unlink()
    storage.adopt_orphans()
    # it takes the place of what was lost
    assert path.exists()
    assert list(storage.check(verify=True)) == []
    assert len(list(storage.locate({"SOPInstanceUID": uid(1, 1, 1)}))) == 1


def test_a_conflicts_own_copy_may_be_adopted_twice(storage: Storage) -> None:
    """All processes look for orphans when they start."""
    store(storage, made())
    path = orphan(storage, part10(made(InstanceNumber="2")))
    location = str(path.relative_to(storage.settings.data / "objects"))
    with Storage.open(storage.settings) as second:
        for process in (storage, second):
            assert process._checker.adopt(location) == "adopted"
    assert path.exists()
    assert list(storage.check(verify=True)) == []


def test_an_orphan_of_a_strange_sender_is_adopted(storage: Storage) -> None:
    data = part10(made())
    sender = b"\x02\x00\x16\x00AE" + (400).to_bytes(2, "little") + b"\xe9\0" * 200
    start = data.index(b"\x02\x00\x12\x00UI")
    orphan(storage, data[:start] + sender + data[start:])
    assert [finding.repair for finding in storage.check(repair=True)] == ["adopted"]


def test_what_is_deleted_during_a_check_is_not_missing(storage: Storage) -> None:
    for number in (1, 2):
        store(storage, made(SOPInstanceUID=uid(1, 1, number)))

    def delete(seen: int) -> None:
        if seen == 1:
            storage.purge(storage.delete({"StudyInstanceUID": uid(1)}).pk)

    assert list(storage.check(progress=delete)) == []


def test_an_object_just_written_is_no_orphan_yet(storage: Storage) -> None:
    orphan(storage, part10(made()), age=1)
    assert [finding.kind for finding in storage.check(repair=True)] == [FindingKind.YOUNG]


def test_an_orphan_that_cannot_be_read_stays(storage: Storage) -> None:
    path = orphan(storage, b"not DICOM")
    [repaired] = storage.check(repair=True)
    assert str(repaired.repair).startswith("left as it is")
    assert path.exists()


def test_a_row_whose_object_is_gone_is_found_and_removed(storage: Storage) -> None:
    store(storage, made())
    store(storage, made(SOPInstanceUID=uid(1, 1, 2)))
    objects(storage)[0].unlink()
    [finding] = storage.check()
    assert finding.kind is FindingKind.MISSING
    [repaired] = storage.check(repair=True)
    assert repaired.repair == "row removed"
    assert list(storage.check(verify=True)) == []
    assert storage.count(Query(Level.IMAGE)) == 1
    assert exact_counts(storage)


@pytest.mark.parametrize(
    ("damage", "kind"),
    [(lambda data: data[:-1], FindingKind.WRONG_SIZE), (lambda data: data[:-1] + b"!", FindingKind.WRONG_DIGEST)],
)
def test_damage_is_found_and_left_for_a_person(sqlite_storage: Storage, damage: object, kind: FindingKind) -> None:
    store(sqlite_storage, made())
    path = only_object(sqlite_storage)
    path.chmod(0o600)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]  # a function of bytes
    [finding] = sqlite_storage.check(verify=True, repair=True)
    assert finding.kind is kind
    assert str(finding.repair).startswith("left as it is")
    assert finding.sop_instance_uid == uid(1, 1, 1)


def test_a_conflicts_own_copy_is_no_orphan(storage: Storage) -> None:
    store(storage, made(InstanceNumber="1"))
    store(storage, made(InstanceNumber="2"))
    for path in objects(storage):
        os.utime(path, (time.time() - HOUR, time.time() - HOUR))
    assert list(storage.check(verify=True)) == []
    [conflict] = storage.conflicts()
    storage.resolve_conflict(conflict.pk, Resolution.KEEP)
    assert list(storage.check(verify=True)) == []
    [deletion] = storage.deletions()
    assert storage.purge(deletion.pk) == 1
    assert len(objects(storage)) == 1
    assert list(storage.check(verify=True)) == []


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[:-2]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"),
    ],
    ids=["gone", "shorter", "other bytes"],
)
def test_an_object_that_was_lost_is_put_back_when_it_is_sent_again(
    storage: Storage, damage: Callable[[Path], object]
) -> None:
    store(storage, made())
    damage(only_object(storage))
    assert store(storage, made()).status == "stored"
    [instance] = storage.locate({"SOPInstanceUID": uid(1, 1, 1)})
    assert storage.read_data_set(instance) == part10(made())[instance.data_set_offset :]
    assert exact_counts(storage)
    assert FindingKind.MISSING not in {finding.kind for finding in storage.check(verify=True)}
    assert store(storage, made()).status == "already stored"


def test_objects_with_other_bytes_are_put_back_when_many_are_sent_again(sqlite_storage: Storage) -> None:
    uids = [uid(1, 1, number) for number in range(1, 4)]
    for one in uids:
        store(sqlite_storage, made(SOPInstanceUID=one))
    [instance] = sqlite_storage.locate({"SOPInstanceUID": uids[1]})
    path = sqlite_storage.settings.data / "objects" / instance.location
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    again = [sqlite_storage.receive() for _ in uids]
    for incoming, one in zip(again, uids, strict=True):
        incoming.write(part10(made(SOPInstanceUID=one)))
    outcomes = sqlite_storage.store_many(again, Provenance("import"))
    assert [getattr(outcome, "status", outcome) for outcome in outcomes] == [
        "already stored",
        "stored",
        "already stored",
    ]
    assert list(sqlite_storage.check(verify=True)) == []
    assert exact_counts(sqlite_storage)


def test_an_orphan_takes_the_place_of_what_has_other_bytes(storage: Storage) -> None:
    store(storage, made())
    indexed = only_object(storage)
    path = orphan(storage, part10(made()))
    indexed.write_bytes(indexed.read_bytes()[:-1] + b"!")
    storage.adopt_orphans()
    assert path.exists()
    assert list(storage.check(verify=True)) == []
