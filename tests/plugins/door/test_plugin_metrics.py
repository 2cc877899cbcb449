"""Metrics that a plugin declares: told with those of the server, whatever the plugin does wrong."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fileroom_server.metrics import metric, of_plugins, sampled
from fileroom_server.metrics.blocks import kept_numbers, shared_blocks
from fileroom_server.metrics.exposition import MetricsExposition
from fileroom_server.metrics.of_plugins import declare_metrics
from fileroom_server.metrics.sampled import Sampler
from fileroom_server.metrics.shared_numbers import NUMBERS, KeptNumbers, SharedBlocks
from fileroom_server.storage_monitor import CountingMonitor
from fileroom_storage.plugin import Plugin, PluginContext, PluginCounter, PluginGauge, PluginHistogram
from fileroom_storage.storage import Storage
from tests.made import made, uid
from tests.plugins.door.plugins import notes, opened
from tests.storage.stored import store

READ = PluginCounter("fileroom_notes_read_total", "Notes that were read.", {"by": ("people", "machines")})
SECONDS = PluginHistogram("fileroom_notes_seconds", "How long they were read.", (0.1, 1.0))
ALL = PluginGauge("fileroom_notes_all", "Notes that there are.", lambda _: 7)


@pytest.fixture(autouse=True)
def _own_numbers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test declares and counts is gone behind it."""
    monkeypatch.setattr(metric, "DECLARED", [])
    monkeypatch.setattr(of_plugins, "_COUNTERS", {})
    monkeypatch.setattr(of_plugins, "_HISTOGRAMS", {})
    before = NUMBERS.values
    NUMBERS.move(memoryview(bytearray(len(before) * 8)).cast("d"))
    yield
    NUMBERS.move(before)


class Told:
    """What a server tells that has a block for this process."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._blocks: SharedBlocks = shared_blocks(1)
        block = self._blocks.claim()
        assert block is not None
        NUMBERS.move(block)
        self.kept: KeptNumbers = kept_numbers(folder)
        self._exposition = MetricsExposition(self._blocks, self.kept, Sampler(storage, dict, lambda: 0))

    def __call__(self) -> dict[str, float]:
        families = text_string_to_metric_families(self._exposition("text/plain")[0].decode())
        return {
            " ".join([sample.name, *sample.labels.values()]): sample.value
            for family in families
            for sample in family.samples
            if "notes" in sample.name or "notes" in sample.labels.values() or "ready" in sample.name
        }


def test_what_a_plugin_counts_is_told(tmp_path: Path) -> None:
    plugin = notes(tmp_path / "plugin", metrics=(READ, SECONDS, ALL))
    declare_metrics([plugin])
    declare_metrics([plugin])
    with opened(tmp_path, f"sqlite:///{tmp_path}/index.db", plugin, monitor=CountingMonitor()) as storage:
        told = Told(storage, tmp_path)
        assert "fileroom_notes_read_total people" not in told()  # combinations that have not happened
        assert told()["fileroom_notes_seconds_count"] == 0
        context = storage.plugins.context("notes")
        context.count(READ, "people")
        context.count(READ, "people", by=2)
        context.count(READ, "Doe^Jane")
        context.observe(SECONDS, 0.5)
        context.observe(SECONDS, 5)
        assert told() == {
            "fileroom_ready storage": 1,
            "fileroom_plugin_failures_open notes": 0,
            "fileroom_notes_all": 7,
            "fileroom_notes_read_total people": 3,
            "fileroom_notes_read_total other": 1,
            "fileroom_notes_seconds_bucket 0.1": 0,
            "fileroom_notes_seconds_bucket 1.0": 1,
            "fileroom_notes_seconds_bucket +Inf": 2,
            "fileroom_notes_seconds_sum": 5.5,
            "fileroom_notes_seconds_count": 2,
        }


def test_commands_keep_what_they_count(tmp_path: Path) -> None:
    plugin = notes(tmp_path / "plugin", metrics=(READ,))
    declare_metrics([plugin])
    with opened(tmp_path, f"sqlite:///{tmp_path}/index.db", plugin, monitor=CountingMonitor()) as storage:
        kept = kept_numbers(tmp_path)
        kept.begin()
        storage.plugins.context("notes").count(READ, "machines")
        kept.end()
        assert Told(storage, tmp_path)()["fileroom_notes_read_total machines"] == 1


def test_without_metrics_counting_does_nothing(tmp_path: Path) -> None:
    plugin = notes(tmp_path / "plugin", metrics=(READ, SECONDS))
    with opened(tmp_path, f"sqlite:///{tmp_path}/index.db", plugin) as storage:
        storage.plugins.context("notes").count(READ, "people")
        storage.plugins.context("notes").observe(SECONDS, 1)
    with opened(tmp_path, f"sqlite:///{tmp_path}/index.db", plugin, monitor=CountingMonitor()) as storage:
        storage.plugins.context("notes").count(READ, "people")  # nobody has declared it to this process


def test_gauges_that_fail_or_hang_harm_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampled, "_PATIENCE", 0.3)
    end = threading.Event()

    def hang(_: PluginContext) -> float:
        end.wait(30)
        return 1

    failing = PluginGauge("fileroom_notes_failing", "It fails.", lambda _: 1 / 0)
    hanging = PluginGauge("fileroom_notes_hanging", "It hangs.", hang)
    plugin = notes(tmp_path / "plugin", metrics=(failing, ALL, hanging))
    with opened(tmp_path, f"sqlite:///{tmp_path}/index.db", plugin) as storage:
        told = Told(storage, tmp_path)
        try:
            assert told() == {
                "fileroom_ready storage": 1,
                "fileroom_plugin_failures_open notes": 0,
                "fileroom_notes_all": 7,
            }
            # what it has found before it hung is old now
            assert told() == {"fileroom_ready storage": 1, "fileroom_plugin_failures_open notes": 0}
        finally:
            end.set()


def test_failures_wait_for_a_backfill(database_url: str, tmp_path: Path) -> None:
    broken = notes(tmp_path / "plugin")
    with opened(tmp_path, database_url, broken) as storage:
        for number, patient in enumerate(("RAISES", "NO NUMBER", "P1"), 1):
            store(storage, made(SOPInstanceUID=uid(number, 1, 1), StudyInstanceUID=uid(number), PatientID=patient))
        assert storage.plugins.failures() == {"notes": 2}
        assert Told(storage, tmp_path)()["fileroom_plugin_failures_open notes"] == 2


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ([PluginCounter("notes_read_total", "")], "begin with fileroom_notes_"),
        ([PluginCounter("fileroom_other_read_total", "")], "begin with fileroom_notes_"),
        ([PluginCounter("fileroom_notes_read", "")], "end in _total"),
        ([PluginGauge("fileroom_notes_all_total", "", lambda _: 0)], "end in _total"),
        ([READ, PluginGauge("fileroom_notes_read_total", "", lambda _: 0)], "declared twice"),
        ([PluginCounter("fileroom_notes_a_total", "", {"le": ("1",)})], "a label le"),
        ([PluginCounter("fileroom_notes_a_total", "", {"Who": ("1",)})], "a label Who"),
        ([PluginCounter("fileroom_notes_a_total", "", {"a": ["x"] * 50, "b": ["y"] * 50})], "combinations"),
        ([PluginHistogram("fileroom_notes_a", "", ())], "do not ascend"),
        ([PluginHistogram("fileroom_notes_a", "", (2, 1))], "do not ascend"),
    ],
)
def test_what_prometheus_would_not_take(declared: list[Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Plugin(name="notes", metrics=declared)
