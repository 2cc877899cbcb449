"""What fileroom commits to having: what is in the index and, as it came in, on the disk."""

import os
from pathlib import Path

import pytest

from fileroom_storage.storage import NotCommitted, Reference, Storage, StorageSettings
from tests.made import CT_IMAGE_STORAGE, made, uid
from tests.storage.stored import store

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"


def reference(*parts: int, sop_class_uid: str = CT_IMAGE_STORAGE) -> Reference:
    return Reference(sop_class_uid, uid(*parts))


def path_of(storage: Storage, number: int) -> Path:
    [instance] = storage.locate({"SOPInstanceUID": uid(1, 1, number)})
    return storage.settings.data / "objects" / instance.location


def test_each_reference_is_judged_by_itself(storage: Storage) -> None:
    for number in range(4):
        store(storage, made(SOPInstanceUID=uid(1, 1, number), InstanceNumber=number))
    path_of(storage, 2).unlink()
    path_of(storage, 3).write_bytes(path_of(storage, 3).read_bytes()[:-2])
    references = [
        reference(1, 1, 3),
        reference(1, 1, 0),
        reference(1, 1, 2),
        reference(1, 1, 9),
        reference(1, 1, 1, sop_class_uid=MR_IMAGE_STORAGE),
        reference(1, 1, 0),
    ]
    assert storage.verify_commitment(references) == [
        NotCommitted.LOST,
        None,
        NotCommitted.LOST,
        NotCommitted.NOT_STORED,
        NotCommitted.OTHER_SOP_CLASS,
        None,
    ]


def test_more_than_a_page(storage: Storage) -> None:
    for number in range(3):
        store(storage, made(SOPInstanceUID=uid(1, 1, 700 * number), InstanceNumber=number))
    found = storage.verify_commitment([reference(1, 1, number) for number in range(1500)])
    assert [number for number, why in enumerate(found) if why is None] == [0, 700, 1400]
    assert storage.verify_commitment([]) == []


def test_what_is_deleted_is_not_committed_to(storage: Storage) -> None:
    store(storage, made(SOPInstanceUID=uid(1, 1, 1)))
    assert storage.verify_commitment([reference(1, 1, 1)]) == [None]
    storage.delete({"StudyInstanceUID": uid(1)})
    assert storage.verify_commitment([reference(1, 1, 1)]) == [NotCommitted.NOT_STORED]


def test_other_bytes_are_found_where_all_are_read(sqlite_storage: Storage) -> None:
    store(sqlite_storage, made(SOPInstanceUID=uid(1, 1, 1)))
    path = path_of(sqlite_storage, 1)
    assert sqlite_storage.verify_commitment([reference(1, 1, 1)], read=True) == [None]
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    assert sqlite_storage.verify_commitment([reference(1, 1, 1)]) == [None]
    assert sqlite_storage.verify_commitment([reference(1, 1, 1)], read=True) == [NotCommitted.LOST]


@pytest.mark.parametrize(("durability", "synced"), [("relaxed", True), ("full", False)])
def test_what_was_stored_without_waiting_for_the_disk_is_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str, synced: bool
) -> None:
    settings = StorageSettings(tmp_path / "data", durability=durability)  # type: ignore[arg-type]
    with Storage.open(settings) as storage:
        storage.create_schema_if_empty()
        store(storage, made(SOPInstanceUID=uid(1, 1, 1)))
        path = path_of(storage, 1)
        seen: list[str] = []
        fsync = os.fsync

        def watched(descriptor: int) -> None:
            seen.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", watched)
        assert storage.verify_commitment([reference(1, 1, 1)]) == [None]
    assert (str(path) in seen, str(path.parent) in seen) == (synced, synced)
