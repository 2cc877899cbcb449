"""The outcomes of an import together: the table at its end, and the report with a line for each file."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click
import orjson

from fileroom_server.import_outcome import FileOutcome, shown
from fileroom_server.output import count, printable, write_json, write_notice, write_table
from fileroom_storage.storage import ImportOutcome

_SAID = {
    ImportOutcome.STORED: "stored",
    ImportOutcome.ALREADY_STORED: "already there",
    ImportOutcome.REFUSED: "refused",
    ImportOutcome.FAILED: "failed",
}
_FAILURES_SHOWN = 10


class Outcomes:
    """Counts outcomes by reason, and keeps the first failures."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[ImportOutcome, str]] = Counter()
        self._failures: list[FileOutcome] = []
        self._conflicts = 0
        self.size = 0

    def add(self, outcome: FileOutcome) -> None:
        self._counts[outcome.outcome, outcome.reason or ""] += 1
        self._conflicts += bool(outcome.conflicts)
        self.size += outcome.size
        if outcome.outcome is ImportOutcome.FAILED and len(self._failures) < _FAILURES_SHOWN:
            self._failures.append(outcome)

    @property
    def files(self) -> int:
        return self._counts.total()

    @property
    def failed(self) -> int:
        return sum(number for (outcome, _), number in self._counts.items() if outcome is ImportOutcome.FAILED)

    def write(self, *, as_json: bool) -> None:
        rows = [(outcome, reason, number) for outcome in ImportOutcome for reason, number in self._reasons(outcome)]
        if as_json:
            write_json(
                {
                    "outcomes": [
                        {"outcome": outcome.value, "reason": reason or None, "files": number}
                        for outcome, reason, number in rows
                    ],
                    "conflicts": self._conflicts,
                }
            )
        else:
            table = [(_SAID[outcome], reason, number) for outcome, reason, number in rows]
            write_table(("Outcome", "Reason", "Files"), table)
        for failure in self._failures:
            write_notice(f"failed: {printable(shown(failure.name))}: {failure.reason}")
        if self.failed > len(self._failures):
            write_notice(f"… and {self.failed - len(self._failures):,} more; --report lists every file")
        if self._conflicts:
            write_notice(
                f"{count(self._conflicts, 'object')} stored in conflict with the index; see `fileroom conflicts list`"
            )

    def _reasons(self, outcome: ImportOutcome) -> list[tuple[str, int]]:
        """Most frequent first; what was stored and what was there is told even if it was nothing."""
        found = [(reason, number) for (kind, reason), number in self._counts.most_common() if kind is outcome]
        always = outcome in (ImportOutcome.STORED, ImportOutcome.ALREADY_STORED)
        return found or ([("", 0)] if always else [])


class Report:
    """One line of JSON for each file."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file

    def add(self, outcome: FileOutcome) -> None:
        if self._file is not None:
            self._file.write(orjson.dumps(outcome.document(), option=orjson.OPT_APPEND_NEWLINE))


def _opened_for_its_owner(path: Path) -> int:
    """Names of files tell of patients: nobody else may read a report, whoever could read what it replaces."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fchmod(descriptor, 0o600)
    return descriptor


@contextmanager
def opened_report(path: Path | None) -> Iterator[Report]:
    if path is None:
        yield Report(None)
        return
    try:
        descriptor = _opened_for_its_owner(path)
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be written: {error.strerror}", param_hint="--report") from None
    with os.fdopen(descriptor, "wb") as file:
        yield Report(file)
