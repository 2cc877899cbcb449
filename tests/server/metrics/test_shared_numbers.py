"""Numbers that processes share: exact whoever counts, and none lost or counted twice when a process dies."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fileroom_server.metrics import metric
from fileroom_server.metrics.metric import Counter, Gauge, Histogram
from fileroom_server.metrics.shared_numbers import NUMBERS, KeptNumbers, SharedBlocks


@pytest.fixture(autouse=True)
def _own_numbers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test declares and counts is gone behind it."""
    monkeypatch.setattr(metric, "DECLARED", [])
    before = NUMBERS.values
    NUMBERS.move(memoryview(bytearray(before.tobytes())).cast("d"))
    yield
    NUMBERS.move(before)


def in_child(work: Callable[[], None], *, until_killed: bool = False) -> int:
    """A process that does this; it has done so when this returns."""
    done, tell = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            work()
            os.write(tell, b".")
            if until_killed:
                signal.pause()
        finally:
            os._exit(0)
    assert os.read(done, 1) == b"."
    os.close(done)
    os.close(tell)
    if not until_killed:
        os.waitpid(pid, 0)
    return pid


def total(blocks: SharedBlocks, *, living: bool = False) -> list[float]:
    counted = [np.asarray(block) for lives, block in blocks if lives or not living]
    return [float(number) for number in np.sum(counted, axis=0)] if counted else []


def test_each_process_has_a_block_for_as_long_as_it_lives() -> None:
    blocks = SharedBlocks(2, 3)

    def count() -> None:
        block = blocks.claim()
        assert block is not None
        block[0] += 1
        block[1] = 5

    first = in_child(count, until_killed=True)
    second = in_child(count, until_killed=True)
    assert total(blocks) == total(blocks, living=True) == [2, 10, 0]
    assert blocks.claim() is None
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    assert total(blocks) == [2, 10, 0]
    assert total(blocks, living=True) == [1, 5, 0]
    third = in_child(count, until_killed=True)  # counts on where the first had been
    assert total(blocks) == [3, 10, 0]
    for pid in (second, third):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert total(blocks, living=True) == []
    assert total(blocks) == [3, 10, 0]


def test_own_block_counts_as_living() -> None:
    blocks = SharedBlocks(2, 1)
    assert blocks.claim() is not None
    assert [lives for lives, _ in blocks] == [True, False]


def test_threads_count_exactly() -> None:
    counter, histogram = Counter("a_total", ""), Histogram("b_seconds", "", (1.0, 2.0), kind=("x", "y"))

    def count() -> None:
        for number in range(20_000):
            counter.inc()
            histogram.observe(number % 3 + 0.5, "y")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [place] = [sample.place for sample in counter.samples()]
    assert NUMBERS.values[place] == 80_000
    _, of_y = [sample.place for sample in histogram.samples()]
    buckets = NUMBERS.values[of_y : of_y + 3].tolist()
    assert sum(buckets) == 80_000
    assert max(buckets) - min(buckets) <= 4
    assert NUMBERS.values[of_y + 3] == pytest.approx(80_000 * 1.5, rel=1e-4)


def test_a_bound_is_in_its_bucket() -> None:
    histogram = Histogram("c_seconds", "", (1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    [place] = [sample.place for sample in histogram.samples()]
    assert NUMBERS.values[place : place + 4].tolist() == [2, 2, 1, 7.5]


def test_a_label_has_a_value_that_is_declared() -> None:
    counter, strict = Counter("d_total", "", reason=("known", "other")), Counter("e_total", "", reason=("known",))
    counter.inc("known")
    counter.inc("Doe^Jane")
    assert [NUMBERS.values[sample.place] for sample in counter.samples()] == [1, 1]
    with pytest.raises(KeyError):
        strict.inc("Doe^Jane")


def test_a_gauge_is_what_it_was_set_to() -> None:
    gauge = Gauge("f", "")
    gauge.set(7)
    gauge.set(3)
    [place] = [sample.place for sample in gauge.samples()]
    assert NUMBERS.values[place] == 3


def test_what_commands_count_is_kept(tmp_path: Path) -> None:
    counter = Counter("g_total", "")
    [place] = [sample.place for sample in counter.samples()]
    length, path = len(NUMBERS.values), tmp_path / "kept"

    def command() -> None:
        kept = KeptNumbers(path, length)
        kept.begin()
        for _ in range(3):
            counter.inc()
            kept.keep()

    assert KeptNumbers(path, length).blocks() == []
    in_child(command)
    running = in_child(command, until_killed=True)
    in_child(command)
    os.kill(running, signal.SIGKILL)
    os.waitpid(running, 0)
    in_child(command)
    blocks = KeptNumbers(path, length).blocks()
    assert sum(block[place] for block in blocks) == 12
    assert len(blocks) == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_hurts_nobody(tmp_path: Path) -> None:
    kept = KeptNumbers(tmp_path / "nowhere" / "kept", len(NUMBERS.values))
    kept.begin()
    kept.keep()
    assert kept.blocks() == []
