"""The import of one file into storage; runs in the threads of the import's processes."""

import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from fileroom_server.import_archives import DAMAGED, opened_member
from fileroom_server.import_outcome import FileOutcome, SourceFile, failed, refused
from fileroom_server.import_sources import is_media_directory
from fileroom_storage.errors import StorageError, UnusableObject, UnusableReason
from fileroom_storage.parse.part10 import read_file_meta
from fileroom_storage.storage import ImportOutcome, Provenance, Storage

_log = logging.getLogger(__name__)

_HEAD = 1 << 16
_CHUNK = 1 << 20


def import_file(storage: Storage, file: SourceFile, association: str) -> FileOutcome:
    """Stores a file, whatever it is; errors are outcomes."""
    try:
        with _opened(file) as source:
            return _import(storage, file, source, association)
    except UnusableObject as error:
        return refused(file.name, error.reason.value, str(error), file.size)
    except StorageError as error:
        return FileOutcome(file.name, ImportOutcome.FAILED, str(error), size=file.size, try_again=True)
    except OSError as error:
        return failed(file.name, error)
    except Exception as error:  # noqa: BLE001  # one file must not end an import, whatever it holds
        if file.member is not None and isinstance(error, DAMAGED):
            return refused(file.name, "damaged in the archive", str(error), file.size)
        place = traceback.extract_tb(error.__traceback__)[-1]
        # without the error's own text, which may quote a value
        _log.error("%s at %s:%s", type(error).__name__, place.filename, place.lineno)
        return FileOutcome(file.name, ImportOutcome.FAILED, f"an error of fileroom itself, {type(error).__name__}")


@contextmanager
def _opened(file: SourceFile) -> Iterator[IO[bytes]]:
    if file.member is not None:
        with opened_member(file) as member:
            yield member
    else:
        with open(file.file, "rb", buffering=0) as source:  # noqa: PTH123
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            yield source


def _import(storage: Storage, file: SourceFile, source: IO[bytes], association: str) -> FileOutcome:
    head = _read_head(source)
    _refuse_early(head)
    incoming = storage.receive()
    try:
        incoming.write(head)
        del head
        while chunk := source.read(_CHUNK):
            incoming.write(chunk)
        stored = incoming.store(Provenance("import", association=association))
    finally:
        incoming.discard()
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


def _read_head(source: IO[bytes]) -> bytes:
    head = b""
    while len(head) < _HEAD and (part := source.read(_HEAD - len(head))):
        head += part
    return head


def _refuse_early(head: bytes) -> None:
    """What is no object by its first bytes is not copied to be looked at."""
    try:
        read_file_meta(head)
    except UnusableObject as error:
        # a head may be cut off where the file is not
        if error.reason is UnusableReason.NOT_DICOM or len(head) < _HEAD:
            raise
    if is_media_directory(head):
        raise UnusableObject(
            UnusableReason.NOT_A_COMPOSITE_INSTANCE,
            "a DICOMDIR is a table of contents and no object; `fileroom import` with its path imports what it names",
        )
