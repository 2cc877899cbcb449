"""One run of an import: what an earlier run did is not done again, the rest goes to the processes, all is recorded."""

import time
from collections.abc import Callable, Iterator
from itertools import islice

from fileroom_server.import_outcome import FileOutcome, SourceFile
from fileroom_server.import_outcomes import Outcomes, Report
from fileroom_server.import_processes import ImportProcesses
from fileroom_server.import_progress import Advance
from fileroom_server.import_sources import Sources
from fileroom_storage.errors import StorageError
from fileroom_storage.storage import ImportedFile, ImportJobs, ImportOutcome, ImportState, file_digest

_PAGE = 500
_RECORD_SECONDS = 2.0
# So many files in a row that failed for no reason of theirs end the import.
_UNAVAILABLE_IN_A_ROW = 8


class ImportRun:
    """Takes every file of the sources to its outcome. `gave_up` says why it did not."""

    def __init__(
        self,
        source: str,
        jobs: ImportJobs,
        processes: ImportProcesses,
        outcomes: Outcomes,
        report: Report,
        *,
        again: bool,
    ) -> None:
        self._jobs = jobs
        self._job = jobs.start(source)
        self._processes = processes
        self._outcomes = outcomes
        self._report = report
        self._again = again
        self._unrecorded: list[ImportedFile] = []
        self._recorded_at = time.monotonic()
        self._unavailable = 0
        self.gave_up: str | None = None

    def run(self, sources: Sources, advance: Advance) -> None:
        self._advance = advance
        for file, outcome in self._processes.run(self._files_to_import(sources)):
            self._take(outcome, file.digest)
        self._record()
        state = ImportState.INTERRUPTED if self._processes.is_stopped else ImportState.FINISHED
        self._attempt(lambda: self._jobs.finish(self._job, state))

    def _files_to_import(self, sources: Sources) -> Iterator[SourceFile]:
        found = sources.files()
        while not self._processes.is_stopped and (page := list(islice(found, _PAGE))):
            files = [file for file in page if isinstance(file, SourceFile)]
            try:
                done = {} if self._again else self._jobs.succeeded(self._job, [file.digest for file in files])
            except StorageError as error:
                self._give_up(str(error))
                return
            for item in page:
                if isinstance(item, FileOutcome):
                    self._take(item, file_digest(item.name, 0, 0))
                elif (digest := item.digest) in done:
                    outcome = FileOutcome(
                        item.name, ImportOutcome.ALREADY_STORED, sop_instance_uid=done[digest], size=item.size
                    )
                    self._take(outcome, digest)
                else:
                    yield item

    def _take(self, outcome: FileOutcome, digest: str) -> None:
        self._outcomes.add(outcome)
        self._report.add(outcome)
        self._advance(1, outcome.size)
        self._unrecorded.append(outcome.record(digest))
        if len(self._unrecorded) >= _PAGE or time.monotonic() - self._recorded_at > _RECORD_SECONDS:
            self._record()
        self._unavailable = self._unavailable + 1 if outcome.try_again else 0
        if self._unavailable >= _UNAVAILABLE_IN_A_ROW:
            self._give_up(outcome.reason or "nothing can be stored")

    def _record(self) -> None:
        files, self._unrecorded = self._unrecorded, []
        self._attempt(lambda: self._jobs.record(self._job, files))
        self._recorded_at = time.monotonic()

    def _attempt(self, change: Callable[[], None]) -> None:
        """What is not recorded is done again by the next run, so that it must not hide what was done."""
        try:
            change()
        except StorageError as error:
            self._give_up(str(error))

    def _give_up(self, reason: str) -> None:
        self.gave_up = self.gave_up or reason
        self._processes.stop()
