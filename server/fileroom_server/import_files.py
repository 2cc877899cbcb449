"""The import of files into storage, a batch at a time; runs in the import's processes."""

import logging
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedIOBase, RawIOBase

from fileroom_server.import_archives import DAMAGED, opened_member
from fileroom_server.import_outcome import FileOutcome, SourceFile, failed, refused
from fileroom_server.import_sources import MEDIA_STORAGE_DIRECTORY
from fileroom_storage.errors import StorageError, UnusableObject, UnusableReason
from fileroom_storage.parse.part10 import read_file_meta
from fileroom_storage.storage import ImportOutcome, IncomingObject, Provenance, Storage, StoreOutcome

_log = logging.getLogger(__name__)

SOURCE = "import"
_HEAD = 1 << 16

ByteSource = BufferedIOBase | RawIOBase


def import_files(storage: Storage, files: Sequence[SourceFile], provenance: Provenance) -> list[FileOutcome]:
    """Stores files, whatever they are, all together; errors are outcomes."""
    received: dict[int, IncomingObject] = {}
    outcomes: dict[int, FileOutcome] = {}
    for number, file in enumerate(files):
        try:
            with _opened(file) as source:
                received[number] = _received(storage, source, file.size)
        except Exception as error:  # noqa: BLE001  # one file must not end an import, whatever it holds
            storage.monitor.refused(SOURCE, error)
            outcomes[number] = _failed(file, error)
    stored = storage.store_many(list(received.values()), provenance)
    for number, outcome in zip(received, stored, strict=True):
        file = files[number]
        if isinstance(outcome, Exception):
            storage.monitor.refused(SOURCE, outcome)
            outcomes[number] = _failed(file, outcome)
        else:
            outcomes[number] = _stored(file, outcome)
    return [outcomes[number] for number in range(len(files))]


def _failed(file: SourceFile, error: Exception) -> FileOutcome:
    if isinstance(error, UnusableObject):
        return refused(file.name, error.reason.value, str(error), file.size)
    if isinstance(error, StorageError):
        return FileOutcome(file.name, ImportOutcome.FAILED, str(error), size=file.size, try_again=True)
    if isinstance(error, OSError):
        return failed(file.name, error)
    if file.member is not None and isinstance(error, DAMAGED):
        return refused(file.name, "damaged in the archive", str(error), file.size)
    place = traceback.extract_tb(error.__traceback__)[-1]
    # without the error's own text, which may quote a value
    _log.error("%s at %s:%s", type(error).__name__, place.filename, place.lineno)
    return FileOutcome(file.name, ImportOutcome.FAILED, f"an error of fileroom itself, {type(error).__name__}")


def _stored(file: SourceFile, stored: StoreOutcome) -> FileOutcome:
    return FileOutcome(
        file.name,
        ImportOutcome(stored.status),
        sop_class_uid=stored.sop_class_uid,
        sop_instance_uid=stored.sop_instance_uid,
        study_instance_uid=stored.study_instance_uid,
        series_instance_uid=stored.series_instance_uid,
        conflicts=tuple(conflict.value for conflict in stored.conflicts),
        size=file.size,
    )


@contextmanager
def _opened(file: SourceFile) -> Iterator[ByteSource]:
    if file.member is not None:
        with opened_member(file) as member:
            yield member
    else:
        with open(file.file, "rb", buffering=0) as source:  # noqa: PTH123
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            yield source


def _received(storage: Storage, source: ByteSource, size: int) -> IncomingObject:
    head = _read_head(source)
    _refuse_early(head)
    incoming = storage.receive(size)
    try:
        incoming.write(head)
        del head
        while incoming.write_from(source):
            pass
    except BaseException:
        incoming.discard()
        raise
    return incoming


def _read_head(source: ByteSource) -> bytes:
    head = b""
    while len(head) < _HEAD and (part := source.read(_HEAD - len(head))):
        head += part
    return head


def _refuse_early(head: bytes) -> None:
    """What is no object by its first bytes is not copied to be looked at."""
    try:
        meta = read_file_meta(head)
    except UnusableObject as error:
        # a head may be cut off where the file is not
        if error.reason is UnusableReason.NOT_DICOM or len(head) < _HEAD:
            raise
        return
    if meta.media_storage_sop_class_uid == MEDIA_STORAGE_DIRECTORY:
        raise UnusableObject(
            UnusableReason.NOT_A_COMPOSITE_INSTANCE,
            "a DICOMDIR is a table of contents and no object; `fileroom import` with its path imports what it names",
        )
