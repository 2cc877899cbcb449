"""A crash between the object store and the index, on either side, is repaired at the next start."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from fileroom_storage.attributes import Level
from fileroom_storage.storage import FindingKind, Query, Storage, StorageSettings
from tests.faults.promises import make_old
from tests.made import made, uid
from tests.storage.stored import exact_counts, store

ROOT = Path(__file__).parents[2]
# a process that dies at the named moment; there is one instance before, its other version as an open conflict
DYING = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from fileroom_storage.deletion import Deleter
from fileroom_storage.index.trash import Trash
from fileroom_storage.index.writer import IndexWriter
from fileroom_storage.storage import Resolution, Storage, StorageSettings
from tests.made import made, uid
from tests.storage.stored import store

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

data, database, moment = sys.argv[1:]
storage = Storage.open(StorageSettings(Path(data), database, undo_time=timedelta(0)))
new = made(SOPInstanceUID=uid(1, 1, 2))
instance = {"SOPInstanceUID": uid(1, 1, 1)}
if moment == "object without row":
    IndexWriter._transaction = die
    store(storage, new)
elif moment == "row without answer":
    storage.observe(die)
    store(storage, new)
elif moment == "superfluous copy":
    IndexWriter._remove = die
    store(storage, made())
elif moment == "deleted, files there":
    Deleter._remove = die
    storage.delete(instance)
elif moment == "deleted, rows there":
    Trash.forget = die
    storage.delete(instance)
elif moment == "conflict resolved, files there":
    Deleter._remove = die
    [conflict] = storage.conflicts()
    storage.resolve_conflict(conflict.pk, Resolution.KEEP)
"""
# what is there once a server has started again: instances, files
MOMENTS = {
    "object without row": (2, 3),
    "row without answer": (2, 3),
    "superfluous copy": (1, 2),
    "deleted, files there": (0, 0),
    "deleted, rows there": (0, 0),
    "conflict resolved, files there": (1, 1),
}


def objects(storage: Storage) -> list[Path]:
    return list((storage.settings.data / "objects").rglob("*.dcm"))


def dies(storage: Storage, moment: str) -> None:
    arguments = [str(storage.settings.data), storage.settings.database_url, moment]
    finished = subprocess.run(
        [sys.executable, "-c", DYING, *arguments], capture_output=True, text=True, timeout=250, cwd=ROOT
    )
    assert finished.returncode == -signal.SIGKILL, finished.stderr


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_crash_is_repaired_at_the_start(moment: str, database_url: str, tmp_path: Path) -> None:
    settings = StorageSettings(tmp_path / "data", database_url, undo_time=timedelta(0))
    with Storage.open(settings) as storage:
        storage.create_schema_if_empty()
        store(storage, made())
        store(storage, made(InstanceNumber="2"))  # a conflict
        dies(storage, moment)
        instances, files = MOMENTS[moment]
        make_old(settings.data)
        # as the first receiver does when it starts
        storage.adopt_orphans()
        storage.purge_expired()
        assert storage.count(Query(Level.IMAGE)) == instances
        assert len(objects(storage)) == files
        assert list(storage.check(verify=True)) == []
        assert exact_counts(storage)


def test_what_was_deleted_stays_so_though_a_crash_left_a_copy(database_url: str, tmp_path: Path) -> None:
    settings = StorageSettings(tmp_path / "data", database_url, undo_time=timedelta(0))
    with Storage.open(settings) as storage:
        storage.create_schema_if_empty()
        store(storage, made())
        store(storage, made(InstanceNumber="2"))
        dies(storage, "superfluous copy")
        assert len(objects(storage)) == 3
        # at times of their own: what is written later than a deletion has been sent again
        make_old(settings.data)
        storage.delete({"StudyInstanceUID": uid(1)})
        storage.adopt_orphans()
        storage.purge_expired()
        assert storage.count(Query(Level.IMAGE)) == 0
        assert objects(storage) == []
        assert list(storage.check(verify=True)) == []


@pytest.mark.parametrize("undone", [False, True])
def test_bit_rot_is_found_and_cured_by_sending_again(database_url: str, tmp_path: Path, undone: bool) -> None:
    """Also under an instance that was restored in between."""
    with Storage.open(StorageSettings(tmp_path / "data", database_url)) as storage:
        storage.create_schema_if_empty()
        store(storage, made())
        if undone:
            assert storage.restore(storage.delete({"StudyInstanceUID": uid(1)}).pk).restored == 1
        [path] = objects(storage)
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        assert list(storage.check()) == []  # it has its length
        [finding] = storage.check(verify=True)
        assert finding.kind is FindingKind.WRONG_DIGEST
        assert finding.sop_instance_uid == uid(1, 1, 1)
        assert store(storage, made()).status == "stored"
        assert list(storage.check(verify=True)) == []
        assert exact_counts(storage)
