"""Frames on the disk: never torn, never too many."""

import os
import threading
import time
from pathlib import Path

import pytest

from fileroom_healthimaging.frame_cache import FrameCache


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "frames"


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*"))


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in files(folder))


def test_as_it_was_put(folder: Path) -> None:
    cache = FrameCache(folder, 1 << 20)
    assert cache.get("a") is None
    cache.put("a", b"frame a")
    cache.put("b", b"")
    assert (cache.get("a"), cache.get("b")) == (b"frame a", b"")
    assert FrameCache(folder, 1 << 20).get("a") == b"frame a"  # of another process


def test_for_its_owner_alone(folder: Path) -> None:
    FrameCache(folder, 1 << 20).put("a", b"frame")
    [file] = files(folder)
    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("keep", [0, 10, 47, 48, 50])
def test_torn(folder: Path, keep: int) -> None:
    cache = FrameCache(folder, 1 << 20)
    cache.put("a", b"a frame of some bytes")
    [file] = files(folder)
    os.truncate(file, keep)
    assert cache.get("a") is None
    assert files(folder) == []


@pytest.mark.parametrize("position", [0, 9, 20, 50])
def test_a_changed_byte(folder: Path, position: int) -> None:
    cache = FrameCache(folder, 1 << 20)
    cache.put("a", b"a frame of some bytes")
    [file] = files(folder)
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)
    assert cache.get("a") is None
    cache.put("a", b"again")
    assert cache.get("a") == b"again"


def test_those_not_used_for_longest_go_first(folder: Path) -> None:
    cache = FrameCache(folder, 100_000)
    for number in range(10):
        cache.put(f"{number}", bytes(9_000))
    long_ago = time.time() - 1000
    for file in files(folder):
        os.utime(file, (long_ago, long_ago))
    assert cache.get("3") is not None  # which is used now
    for number in range(10, 20):
        cache.put(f"{number}", bytes(9_000))
    assert size(folder) <= 100_000 + 100_000 // 16 + 9_100
    assert cache.get("3") is not None
    assert cache.get("19") is not None
    assert sum(cache.get(f"{number}") is None for number in range(10)) >= 8


def test_too_large_a_frame_is_not_kept(folder: Path) -> None:
    cache = FrameCache(folder, 1000)
    cache.put("a", bytes(126))
    assert cache.get("a") is None
    cache.put("b", bytes(125))
    assert cache.get("b") is not None


def test_no_cache(folder: Path) -> None:
    cache = FrameCache(folder, 0)
    cache.put("a", b"frame")
    assert cache.get("a") is None
    assert not folder.exists()


def test_a_disk_that_takes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    cache = FrameCache(tmp_path / "file" / "frames", 1 << 20)
    cache.put("a", b"frame")
    assert cache.get("a") is None
    assert "could not be kept" in caplog.text


def test_what_a_crash_left_half_written(folder: Path) -> None:
    cache = FrameCache(folder, 1 << 20)
    cache.put("a", b"frame")
    abandoned, under_way = files(folder)[0].parent / "tmpabandoned", files(folder)[0].parent / "tmpnew"
    for file in (abandoned, under_way):
        file.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    FrameCache(folder, 1 << 20).put("b", b"frame")  # the first that a process keeps makes it look
    assert not abandoned.exists()
    assert under_way.exists()


def test_several_at_once(folder: Path) -> None:
    """Readers see a frame whole or not at all, while others write and make room."""
    wrong: list[bytes] = []

    def work(seed: int) -> None:
        cache = FrameCache(folder, 50_000)
        for number in range(200):
            key = (number * seed) % 40
            found = cache.get(f"{key}")
            if found is not None and found != bytes([key]) * 2000:
                wrong.append(found)
            cache.put(f"{key}", bytes([key]) * 2000)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 3, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert size(folder) <= 50_000 + 4 * (50_000 // 16 + 2_100)
