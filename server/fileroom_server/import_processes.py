"""The processes of an import: each opens storage of its own and imports files in batches."""

import os
import signal
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children
from multiprocessing.synchronize import Event
from multiprocessing.util import Finalize
from types import FrameType
from typing import Self

from fileroom_server.child_process import FORK, become_child
from fileroom_server.command_actor import command_actor
from fileroom_server.config import LoggingConfiguration, MetricsConfiguration
from fileroom_server.correlation import CorrelationId, correlate
from fileroom_server.import_files import SOURCE, import_files
from fileroom_server.import_outcome import FileOutcome, SourceFile
from fileroom_server.logs import start_logging
from fileroom_server.metrics.blocks import kept_numbers
from fileroom_server.metrics.of_plugins import declare_metrics
from fileroom_server.metrics.shared_numbers import KeptNumbers
from fileroom_server.storage_monitor import CountingMonitor
from fileroom_storage.index.audit.event import Action, EventId
from fileroom_storage.monitor import UNWATCHED
from fileroom_storage.storage import ImportOutcome, Provenance, Storage, StorageSettings

# One batch is one transaction.
_BATCH = 32
_BATCH_BYTES = 64 << 20
_BATCHES_AHEAD = 2

Batch = list[SourceFile]


class ImportProcesses:
    """Imports files in any order. To be started before the process has threads of its own."""

    def __init__(
        self, jobs: int, settings: StorageSettings, logging: LoggingConfiguration, metrics: MetricsConfiguration
    ) -> None:
        self._jobs = jobs
        self._stopped = FORK.Event()
        self._arguments = (os.getpid(), settings, logging, metrics, f"import {uuid.uuid4()}", self._stopped)
        self._pool = self._started_pool()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._pool.shutdown(cancel_futures=True)

    def run(self, files: Iterable[SourceFile]) -> Iterator[tuple[SourceFile, FileOutcome]]:
        """The outcomes, as they come; after `stop`, those of the files that are on their way."""
        batches = _batches(files)
        running: dict[Future[list[FileOutcome | None]], Batch] = {}
        while True:
            while not self.is_stopped and len(running) < self._jobs * _BATCHES_AHEAD:
                batch = next(batches, None)
                if batch is None:
                    break
                running[self._pool.submit(import_batch, batch)] = batch
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                batch = running.pop(future, [])
                try:
                    outcomes = future.result()
                except BrokenProcessPool:
                    # one process died, and nobody can tell by which file: all that were on their way failed
                    lost = [*batch, *(file for others in running.values() for file in others)]
                    running.clear()
                    self._pool.shutdown()
                    yield from ((file, _lost(file)) for file in lost)
                    if not self.is_stopped:
                        self._pool = self._started_pool()
                    break
                yield from ((file, outcome) for file, outcome in zip(batch, outcomes, strict=True) if outcome)

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def stop(self) -> None:
        """Begins no more files."""
        self._stopped.set()

    def _started_pool(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(self._jobs, FORK, _begin, self._arguments)
        pool.submit(int)  # all processes are forked by the first call
        return pool


@dataclass
class Stopping:
    """The signal that the import was told to stop by."""

    signal: int | None = None


@contextmanager
def stopped_by_signals(processes: ImportProcesses) -> Iterator[Stopping]:
    """Ctrl-C lets the files on their way come through; a second one ends their processes."""
    stopping = Stopping()

    def stop(number: int, _frame: FrameType | None) -> None:
        if stopping.signal is not None:
            for child in active_children():
                child.kill()
        stopping.signal = number
        processes.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _batches(files: Iterable[SourceFile]) -> Iterator[Batch]:
    batch: Batch = []
    for file in files:
        batch.append(file)
        if len(batch) == _BATCH or sum(file.size for file in batch) >= _BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


class _Process:
    """What a process of the pool has opened."""

    storage: Storage
    kept: KeptNumbers | None = None
    provenance: Provenance
    stopped: Event


def _begin(
    parent: int,
    settings: StorageSettings,
    logging: LoggingConfiguration,
    metrics: MetricsConfiguration,
    association: str,
    stopped: Event,
) -> None:
    become_child("fileroom-import", parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent says when to stop
    start_logging(logging)
    if metrics.enabled:
        declare_metrics(settings.plugins)
        _Process.kept = kept_numbers(settings.data)
        _Process.kept.begin()
    correlate(CorrelationId(association))
    _Process.storage = Storage.open(settings, CountingMonitor() if metrics.enabled else UNWATCHED)
    transfer = _Process.storage.audit.transfer(command_actor(), EventId.IMPORT, Action.CREATE, {"by": SOURCE})
    _Process.provenance = Provenance(SOURCE, association=association, transfer=transfer)
    _Process.stopped = stopped
    # the audit log hears of the last objects at the end; of the first of each study when that was stored
    Finalize(None, _Process.storage.close, exitpriority=0)


def import_batch(files: Sequence[SourceFile]) -> list[FileOutcome | None]:
    """Runs in a process of the pool. None for files that the import was stopped before."""
    if _Process.stopped.is_set():
        return [None] * len(files)
    outcomes = import_files(_Process.storage, files, _Process.provenance)
    if _Process.kept is not None:
        _Process.kept.keep()
    return [*outcomes]


def _lost(file: SourceFile) -> FileOutcome:
    return FileOutcome(file.name, ImportOutcome.FAILED, "an import process ended unexpectedly; run the import again")
