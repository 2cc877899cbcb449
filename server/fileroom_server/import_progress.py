"""How far an import is: a bar on a terminal, a line now and then elsewhere; always on standard error."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from fileroom_server.import_sources import Sources
from fileroom_server.output import is_terminal, write_notice

_SECONDS_BETWEEN_LINES = 10.0

# Takes the number of files and bytes that are done since the last call.
Advance = Callable[[int, int], None]


class ExpectedFiles:
    """How many files there are: counted beside the import, which does not wait for it."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._is_over = False
        self.total: int | None = None
        threading.Thread(target=self._count, name="import-count", daemon=True).start()

    def stop(self) -> None:
        self._is_over = True

    def _count(self) -> None:
        number = 0
        for number, _ in enumerate(self._sources.files(), 1):  # noqa: B007  # the last number is what is wanted
            if self._is_over:
                return
        self.total = number


@contextmanager
def shown_progress(sources: Sources) -> Iterator[Advance]:
    expected = ExpectedFiles(sources)
    try:
        with _bar(expected) if is_terminal(sys.stderr) else _lines(expected) as advance:
            yield advance
    finally:
        expected.stop()


@contextmanager
def _bar(expected: ExpectedFiles) -> Iterator[Advance]:
    columns = (
        SpinnerColumn(),
        TextColumn("Importing"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Importing", total=None, bytes=0)

        def advance(files: int, size: int) -> None:
            done = progress.tasks[0].fields["bytes"] + size
            progress.update(task, advance=files, total=expected.total, bytes=done)

        yield advance


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        elapsed = task.elapsed or 0
        if elapsed <= 0:
            return Text("")
        return Text(rate(int(task.completed), task.fields["bytes"], elapsed), style="progress.data.speed")


@contextmanager
def _lines(expected: ExpectedFiles) -> Iterator[Advance]:
    begun = told = time.monotonic()
    done = done_bytes = 0

    def advance(files: int, size: int) -> None:
        nonlocal told, done, done_bytes
        done, done_bytes = done + files, done_bytes + size
        now = time.monotonic()
        if now - told < _SECONDS_BETWEEN_LINES:
            return
        told = now
        line = f"{done:,} files, {rate(done, done_bytes, now - begun)}"
        if expected.total:
            left = (now - begun) / max(done, 1) * max(expected.total - done, 0)
            line = f"{done:,} of {expected.total:,} files, {rate(done, done_bytes, now - begun)}, {left:.0f} s left"
        write_notice(line)

    yield advance


def rate(files: int, size: int, seconds: float) -> str:
    return f"{files / seconds:,.0f} files/s, {size / seconds / 1e6:,.1f} MB/s"
