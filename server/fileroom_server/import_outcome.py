"""One file of an import: what it is, and what became of it."""

from dataclasses import dataclass

from fileroom_storage.storage import ImportedFile, ImportOutcome, file_digest


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to import. `name` is what outcomes call it; a member of an archive is in `file` at `member`."""

    name: str
    file: str
    size: int
    modified_ns: int
    member: int | None = None

    @property
    def digest(self) -> str:
        name = self.name if self.member is None else f"{self.name}\0{self.member}"
        return file_digest(name, self.size, self.modified_ns)


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of a file. `reason` is a few words, the same for many files; `detail` is about this one."""

    name: str
    outcome: ImportOutcome
    reason: str | None = None
    detail: str | None = None
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    conflicts: tuple[str, ...] = ()
    size: int = 0
    try_again: bool = False  # the index or the object store is away: others will fail alike

    def document(self) -> dict[str, object]:
        """A line of the report."""
        return {
            "file": shown(self.name),
            "outcome": self.outcome.value,
            "reason": self.reason,
            "detail": self.detail,
            "sop_class_uid": self.sop_class_uid,
            "sop_instance_uid": self.sop_instance_uid,
            "study_instance_uid": self.study_instance_uid,
            "series_instance_uid": self.series_instance_uid,
            "conflicts": list(self.conflicts),
            "size": self.size,
        }

    def record(self, digest: str) -> ImportedFile:
        return ImportedFile(digest, self.name, self.outcome, self.reason, self.sop_instance_uid)


def shown(name: str) -> str:
    """The name of a file as text: names of files are bytes, and not always UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def refused(name: str, reason: str, detail: str | None = None, size: int = 0) -> FileOutcome:
    return FileOutcome(name, ImportOutcome.REFUSED, reason, detail, size=size)


def failed(name: str, error: OSError) -> FileOutcome:
    return FileOutcome(name, ImportOutcome.FAILED, error.strerror or type(error).__name__)
