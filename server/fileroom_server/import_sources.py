"""What an import reads: the files under the paths that it is given, members of zip archives, what a DICOMDIR names."""

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fileroom_server.import_archives import ArchiveLimits, archive_members, is_archive
from fileroom_server.import_outcome import FileOutcome, SourceFile, failed, refused
from fileroom_storage.errors import StorageError
from fileroom_storage.parse.header import parse_header
from fileroom_storage.parse.part10 import read_file_meta
from fileroom_storage.storage import ImportOutcome

# PS3.4 table I.4-1 (Media Storage Directory), PS3.3 F.3.2.2
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_DIRECTORY_RECORD_SEQUENCE = 0x00041220
_REFERENCED_FILE_ID = "00041500"


@dataclass(frozen=True, slots=True)
class Sources:
    """The paths to import. `excluded` folders, fileroom's own data, are passed by wherever they turn up."""

    paths: Sequence[Path]
    excluded: Sequence[Path]
    limits: ArchiveLimits

    def files(self) -> Iterator[SourceFile | FileOutcome]:
        """Every file, or what is the matter with it; in the order of names."""
        walk = _Walk(self)
        for path in self.paths:
            yield from walk.argument(os.fspath(path))


def _is_media_directory(head: bytes) -> bool:
    """Whether the file that begins so is a DICOMDIR."""
    try:
        return read_file_meta(head).media_storage_sop_class_uid == MEDIA_STORAGE_DIRECTORY
    except StorageError:
        return False


class _Walk:
    def __init__(self, sources: Sources) -> None:
        self._limits = sources.limits
        # a folder is entered once, however many links lead to it
        self._entered = {identity for folder in sources.excluded if (identity := _identity(folder))}

    def argument(self, path: str) -> Iterator[SourceFile | FileOutcome]:
        try:
            status = os.stat(path)  # noqa: PTH116  # paths are text here: millions of Path objects cost too much
            if stat.S_ISDIR(status.st_mode):
                yield from self._folder(path)
                return
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:  # noqa: PTH123
                    head = file.read(1 << 16)
                if _is_media_directory(head):
                    yield from self._media_directory(path)
                    return
        except OSError as error:
            yield failed(path, error)
            return
        yield from self._file(path, status, named=True)

    def _folder(self, path: str) -> Iterator[SourceFile | FileOutcome]:
        folders = [path]
        while folders:
            folder = folders.pop()
            try:
                status = os.stat(folder)  # noqa: PTH116
                identity = status.st_dev, status.st_ino
                if identity in self._entered:
                    continue
                self._entered.add(identity)
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                yield failed(folder, error)
                continue
            below = []
            for entry in entries:
                try:
                    status = entry.stat()
                except OSError as error:
                    yield failed(entry.path, error)
                    continue
                if stat.S_ISDIR(status.st_mode):
                    below.append(entry.path)
                else:
                    yield from self._file(entry.path, status)
            folders.extend(reversed(below))

    def _file(self, path: str, status: os.stat_result, *, named: bool = False) -> Iterator[SourceFile | FileOutcome]:
        if not stat.S_ISREG(status.st_mode):
            yield refused(path, "not a file")  # a pipe or a device, which nobody may open to see
        elif is_archive(path, any_name=named):
            yield from archive_members(path, status, self._limits)
        else:
            yield SourceFile(path, path, status.st_size, status.st_mtime_ns)

    def _media_directory(self, path: str) -> Iterator[SourceFile | FileOutcome]:
        """PS3.10 8: the files that a DICOMDIR names, in the folder that it is in."""
        try:
            references = _referenced_file_ids(Path(path).read_bytes())
        except OSError as error:
            yield failed(path, error)
            return
        except StorageError as error:
            yield refused(path, "a damaged DICOMDIR", str(error))
            return
        root = Path(path).parent
        for components in references:
            file = _referenced_file(root, components)
            if file is None:
                name = str(root.joinpath(*components))
                yield FileOutcome(name, ImportOutcome.FAILED, "missing, though the DICOMDIR names it")
                continue
            try:
                status = file.stat()
            except OSError as error:
                yield failed(str(file), error)
                continue
            yield from self._file(str(file), status)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _referenced_file_ids(content: bytes) -> list[tuple[str, ...]]:
    meta = read_file_meta(content)
    header = parse_header(content, meta.transfer_syntax_uid, meta.data_set_offset)
    records = (header.element(_DIRECTORY_RECORD_SEQUENCE, sys.maxsize) or {}).get("Value") or []
    return [
        tuple(str(component) for component in components)
        for record in records
        if isinstance(record, dict) and (components := record.get(_REFERENCED_FILE_ID, {}).get("Value"))
    ]


def _referenced_file(root: Path, components: Sequence[str]) -> Path | None:
    """The file that a File ID names; discs that were copied may have their names in lower case."""
    place = root
    for component in components:
        # PS3.10 8.5 allows capitals, digits and underscores; whatever stands there stays inside the folder
        if component in ("", ".", "..") or "/" in component or "\0" in component:
            return None
        exact = place / component
        if not exact.exists():
            try:
                names = {entry.name.upper(): entry for entry in place.iterdir()}
            except OSError:
                return None
            if component.upper() not in names:
                return None
            exact = names[component.upper()]
        place = exact
    return place
