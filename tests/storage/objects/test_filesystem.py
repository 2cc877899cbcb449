"""FilesystemObjectStore: the conformance suite, and what only a filesystem can do to it."""

import errno
import fcntl
import logging
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fileroom_storage.errors import ObjectMissing, StorageUnavailable
from fileroom_storage.objects import FilesystemObjectStore, ObjectStore
from fileroom_storage.objects.file_writing import FilesystemObjectWriter
from tests.storage.objects.object_store_tests import BYTES, ObjectStoreTests, put


@pytest.fixture
def store(tmp_path: Path) -> FilesystemObjectStore:
    return FilesystemObjectStore(tmp_path / "store")


class TestFilesystemObjectStore(ObjectStoreTests):
    pass


class TestRelaxedFilesystemObjectStore(ObjectStoreTests):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FilesystemObjectStore:
        return FilesystemObjectStore(tmp_path / "store", durability="relaxed")


class _Unread(FilesystemObjectStore):
    """Whose objects nobody waits to read."""

    def create(self, *, unread_size: int | None = None) -> FilesystemObjectWriter:
        return super().create(unread_size=unread_size or 1 << 20)


class TestUnreadObjects(ObjectStoreTests):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FilesystemObjectStore:
        return _Unread(tmp_path / "store")


class TestUnreadObjectsOfAFilesystemWithoutDirectWriting(ObjectStoreTests):
    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FilesystemObjectStore:
        pwrite = os.pwrite

        def buffered_only(descriptor: int, data: memoryview, offset: int) -> int:
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return pwrite(descriptor, data, offset)

        monkeypatch.setattr(os, "pwrite", buffered_only)
        return _Unread(tmp_path / "store")


@pytest.mark.parametrize("chunk", [1_000, 1 << 19, 3 << 20])
def test_an_unread_object_may_be_larger_than_was_said(store: FilesystemObjectStore, chunk: int) -> None:
    data = random.Random(1).randbytes(3 << 20)
    with store.create(unread_size=1 << 17) as writer:
        for start in range(0, len(data), chunk):
            writer.write(data[start : start + chunk])
        assert bytes(writer.buffer()) == data
        key = writer.commit()
    assert store.read_at(key, 0, 4 << 20) == data


@pytest.mark.parametrize("pieces", [[b"abc"], [b"abc", b""], [b"abc", b"def"], [b"", b"abc"], [BYTES, b"x"]])
def test_the_buffer_is_what_was_written_however_it_came(store: FilesystemObjectStore, pieces: list[bytes]) -> None:
    with store.create() as writer:
        for number, piece in enumerate(pieces, 1):
            writer.write(piece)
            assert bytes(writer.buffer()) == b"".join(pieces[:number])
        key = writer.commit()
    assert store.read_at(key, 0, 1 << 20) == b"".join(pieces)


def test_a_buffer_is_not_used_again_while_somebody_looks_into_it(store: FilesystemObjectStore) -> None:
    held = []
    for number in range(3):
        with store.create(unread_size=1 << 17) as writer:
            writer.write(bytes([number]) * 100_000)
            held.append(writer.buffer())
            writer.commit()
    assert [bytes(buffer) == bytes([number]) * 100_000 for number, buffer in enumerate(held)] == [True] * 3
    assert not store.free_buffers
    with store.create(unread_size=1 << 17) as writer:
        writer.write(b"x")
    assert len(store.free_buffers) == 1


def test_a_full_disk_is_told_when_an_unread_object_is_written(
    store: FilesystemObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with store.create(unread_size=1 << 17) as writer:
        writer.write(BYTES)
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(StorageUnavailable):
            writer.sync()
    assert not temporary_files(store)


def in_another_process(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a Python script with the arguments."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def temporary_files(store: FilesystemObjectStore) -> list[Path]:
    return list((store.root / "incoming").iterdir())


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_only_the_owner_may_read(store: FilesystemObjectStore) -> None:
    put(store, BYTES)
    with store.create():
        for path in (store.root, *store.root.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_temporary_files_are_in_incoming_until_published(store: FilesystemObjectStore) -> None:
    with store.create() as writer:
        writer.write(BYTES)
        assert len(temporary_files(store)) == 1
        key = writer.commit()
    assert temporary_files(store) == []
    assert (store.root / "objects" / key).read_bytes() == BYTES


def test_foreign_files_are_not_objects(store: FilesystemObjectStore) -> None:
    key = put(store, BYTES)
    objects = store.root / "objects"
    (objects / "README").write_text("hello")
    (objects / "2024").write_text("a file where a folder would be")
    (objects / key).with_name("notes.txt").write_text("hello")
    assert list(store.keys()) == [key]


def test_an_object_that_is_a_symbolic_link_is_not_followed(store: FilesystemObjectStore, tmp_path: Path) -> None:
    key = put(store, BYTES)
    (tmp_path / "secret").write_text("secret")
    path = store.root / "objects" / key
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(StorageUnavailable):
        store.open(key)


def test_keys_come_by_day(store: FilesystemObjectStore) -> None:
    key = put(store, BYTES)
    name = key.rpartition("/")[2]
    days = [f"{year}/0{month}/1{day}" for year in (2019, 2021) for month in (1, 2) for day in (1, 2)]
    for day in reversed(days):
        folder = store.root / "objects" / day / name[:2]
        folder.mkdir(parents=True)
        (folder / name).write_bytes(BYTES)
    assert list(store.keys()) == [f"{day}/{name[:2]}/{name}" for day in days] + [key]


class TestDurability:
    """Which file and which folders are synced, in which order, by a record of the calls."""

    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
        calls: list[tuple[str, str]] = []
        fsync, rename = os.fsync, os.rename

        def recorded_fsync(descriptor: int) -> None:
            calls.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
            fsync(descriptor)

        def recorded_rename(path: str, target: str) -> None:
            rename(path, target)
            calls.append(("rename", target))

        monkeypatch.setattr(os, "fsync", recorded_fsync)
        monkeypatch.setattr(os, "rename", recorded_rename)
        return calls

    def test_file_then_rename_then_folders(self, store: FilesystemObjectStore, calls: list[tuple[str, str]]) -> None:
        key = put(store, BYTES)
        target = store.root / "objects" / key
        (first, temporary), *others = calls
        assert first == "fsync"
        assert "/incoming/" in temporary
        assert others[0] == ("rename", str(target))
        folders = [target.parents[number] for number in range(5)]
        assert sorted(others[1:]) == sorted(("fsync", str(folder)) for folder in folders)

    def test_a_folder_is_synced_once_a_batch(self, store: FilesystemObjectStore, calls: list[tuple[str, str]]) -> None:
        keys = [put(store, b"") for _ in range(300)]
        calls.clear()
        store.sync_folders(keys)
        leaves = {str((store.root / "objects" / key).parent) for key in keys}
        assert sorted(calls) == sorted(("fsync", leaf) for leaf in leaves)

    def test_a_folder_made_by_another_process_is_synced_up_to_the_root(
        self, store: FilesystemObjectStore, calls: list[tuple[str, str]]
    ) -> None:
        key = put(store, b"")
        calls.clear()
        FilesystemObjectStore(store.root, durability="full").sync_folders([key])
        synced = {path for _, path in calls}
        target = store.root / "objects" / key
        assert {str(target.parents[number]) for number in range(5)} <= synced

    def test_relaxed_syncs_nothing(self, tmp_path: Path, calls: list[tuple[str, str]]) -> None:
        store = FilesystemObjectStore(tmp_path / "relaxed", durability="relaxed")
        put(store, BYTES)
        assert [name for name, _ in calls] == ["rename"]

    def test_a_new_root_is_named_durably(self, tmp_path: Path, calls: list[tuple[str, str]]) -> None:
        FilesystemObjectStore(tmp_path / "a" / "b")
        assert {("fsync", str(tmp_path)), ("fsync", str(tmp_path / "a")), ("fsync", str(tmp_path / "a" / "b"))} == set(
            calls
        )


class TestDiskFull:
    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "small"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=777", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            pytest.skip("only root can mount a small disk; the limit on file sizes is tested instead")
        yield folder
        subprocess.run(["umount", str(folder)], check=True)

    def test_a_full_disk(self, small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
        store = FilesystemObjectStore(small_disk / "store")
        kept = put(store, BYTES[:1_000])
        with caplog.at_level(logging.ERROR), store.create() as writer:
            with pytest.raises(StorageUnavailable, match="disk is full; free some space") as raised:
                writer.write(BYTES)
            assert str(small_disk) not in str(raised.value)
            with pytest.raises(StorageUnavailable):
                store.writable()
        assert str(small_disk) in caplog.text
        assert list(store.keys()) == [kept]
        assert temporary_files(store) == []
        store.writable()  # the room of what was discarded is free again
        assert store.read_at(kept, 0, 1_000) == BYTES[:1_000]

    def test_a_limit_on_file_sizes(self, store: FilesystemObjectStore) -> None:
        script = """
import resource, sys
from pathlib import Path
from fileroom_storage.errors import StorageUnavailable
from fileroom_storage.objects import FilesystemObjectStore
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store = FilesystemObjectStore(Path(sys.argv[1]))
with store.create() as writer:
    try:
        writer.write(bytes(200_000))
    except StorageUnavailable as error:
        print(error)
with store.create() as writer:
    writer.write(bytes(50_000))
    print(store.size(writer.commit()))
"""
        finished = in_another_process(script, store.root)
        refused, stored = finished.stdout.splitlines()
        assert refused.endswith("raise the limit on file sizes, then send again."), finished.stderr
        assert stored == "50000"
        assert temporary_files(store) == []


def test_a_read_only_folder(tmp_path: Path) -> None:
    root = tmp_path / "store"
    store = FilesystemObjectStore(root)
    key = put(store, BYTES)
    script = """
import os, sys
from pathlib import Path
from fileroom_storage.errors import StorageUnavailable
from fileroom_storage.objects import FilesystemObjectStore
if os.geteuid() == 0:  # root may write anywhere
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
store = FilesystemObjectStore(Path(sys.argv[1]), durability="relaxed")
for action in (store.writable, store.create):
    try:
        action()
    except StorageUnavailable as error:
        print(error)
print(store.size(sys.argv[2]))
"""
    for path in (*root.rglob("*"), root):
        path.chmod(0o555 if path.is_dir() else 0o444)
    closed = [parent for parent in root.parents if not parent.stat().st_mode & stat.S_IXOTH]
    try:
        for parent in closed:
            parent.chmod(0o755)
        finished = in_another_process(script, root, key)
    finally:
        for parent in closed:
            parent.chmod(0o700)
        for path in (root, *root.rglob("*")):
            path.chmod(0o700)
    refused = "The object store is not available: the server may not use its folder; give the server's user access"
    lines = finished.stdout.splitlines()
    assert [line[: len(refused)] for line in lines] == [refused, refused, str(len(BYTES))], finished.stderr


def test_a_disk_that_is_away_is_not_an_empty_store(store: FilesystemObjectStore) -> None:
    key = put(store, BYTES)
    store.root.rename(store.root.with_name("away"))
    for action in (
        store.create,
        store.writable,
        store.remove_stale_temporary,
        lambda: list(store.keys()),
        lambda: store.open(key),
        lambda: store.size(key),
        lambda: store.sync_folders([key]),
    ):
        with pytest.raises(StorageUnavailable, match="see whether its disk is mounted"):
            action()
    assert not store.root.exists()


def test_folders_that_vanish_while_objects_come_in(store: FilesystemObjectStore) -> None:
    with store.create() as writer:
        writer.write(BYTES)
        (store.root / "objects").rename(store.root / "elsewhere")
        with pytest.raises(StorageUnavailable):
            writer.publish()
        assert not (store.root / "objects").exists()
        (store.root / "elsewhere").rename(store.root / "objects")
        assert store.size(writer.commit()) == len(BYTES)


def test_what_cannot_be_named_durably_is_not_kept(
    store: FilesystemObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(keys: object) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(store, "sync_folders", fail)
    with store.create() as writer, pytest.raises(StorageUnavailable):
        writer.commit()
    assert list(store.keys()) == []


WRITE_AND_WAIT = """
import sys, time
from pathlib import Path
from fileroom_storage.objects import FilesystemObjectStore
store = FilesystemObjectStore(Path(sys.argv[1]))
writers = [store.create() for _ in range(3)]
for writer in writers:
    writer.write(b"half an object")
    writer.buffer()
print("written", flush=True)
time.sleep(60)
"""


class TestCrashLeftovers:
    @pytest.fixture
    def other_process(self, store: FilesystemObjectStore) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-c", WRITE_AND_WAIT, str(store.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "written\n"
            yield process
            process.kill()

    def test_what_a_living_process_writes_is_kept_however_old(
        self, store: FilesystemObjectStore, other_process: subprocess.Popen[str]
    ) -> None:
        for path in temporary_files(store):
            age(path, 1e6)
        assert store.remove_stale_temporary() == 0
        assert len(temporary_files(store)) == 3

    def test_what_a_dead_process_left_goes(
        self, store: FilesystemObjectStore, other_process: subprocess.Popen[str]
    ) -> None:
        other_process.send_signal(signal.SIGKILL)
        other_process.wait()
        assert store.remove_stale_temporary() == 0  # too young to tell from a writer that is about to lock
        for path in temporary_files(store):
            age(path, 61)
        assert store.remove_stale_temporary() == 3
        assert temporary_files(store) == []

    def test_a_writer_of_this_process_is_kept_and_still_publishes(self, store: FilesystemObjectStore) -> None:
        with store.create() as writer:
            writer.write(BYTES)
            age(temporary_files(store)[0], 1e6)
            assert store.remove_stale_temporary() == 0
            assert store.size(writer.commit()) == len(BYTES)

    def test_a_forgotten_writer_is_stale(self, store: FilesystemObjectStore) -> None:
        store.create().write(BYTES)
        age(temporary_files(store)[0], 61)
        assert store.remove_stale_temporary() == 1

    def test_without_locks_a_day_decides(self, store: FilesystemObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_locks(descriptor: int, operation: int) -> None:
            raise OSError(37, "No locks available")

        monkeypatch.setattr("fcntl.flock", no_locks)
        writer = store.create()
        age(temporary_files(store)[0], 23 * 3600)
        assert store.remove_stale_temporary() == 0
        age(temporary_files(store)[0], 25 * 3600)
        assert store.remove_stale_temporary() == 1
        writer.discard()

    def test_foreign_files_in_incoming_are_left_alone(self, store: FilesystemObjectStore) -> None:
        note = store.root / "incoming" / "note.txt"
        note.write_text("hello")
        age(note, 1e6)
        (store.root / "incoming" / "link.part").symlink_to(note)
        (store.root / "incoming" / "folder.part").mkdir()
        assert store.remove_stale_temporary() == 0

    def test_published_objects_are_never_stale(self, store: FilesystemObjectStore) -> None:
        key = put(store, BYTES)
        age(store.root / "objects" / key, 1e6)
        assert store.remove_stale_temporary() == 0
        assert store.size(key) == len(BYTES)


def test_processes_share_a_store(store: FilesystemObjectStore) -> None:
    script = """
import sys
from pathlib import Path
from fileroom_storage.objects import FilesystemObjectStore
store = FilesystemObjectStore(Path(sys.argv[1]))
for count in range(50):
    with store.create() as writer:
        writer.write(sys.argv[2].encode())
        print(writer.commit())
"""
    here = [put(store, b"here") for _ in range(10)]
    there = in_another_process(script, store.root, "there").stdout.split()
    assert len(there) == 50
    assert sorted(store.keys()) == sorted([*here, *there])
    assert {store.read_at(key, 0, 10) for key in there} == {b"there"}


def test_the_store_is_an_object_store(store: FilesystemObjectStore) -> None:
    declared: ObjectStore = store
    with pytest.raises(ObjectMissing):
        declared.size("2024/01/01/ab/ab34567890123456789012345678901a.dcm")
