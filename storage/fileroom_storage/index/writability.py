"""Whether the index could take an object now, found out without writing into it."""

import errno
import tempfile
from pathlib import Path

from sqlalchemy import Engine, text

from ..errors import StorageNotWritable, StorageUnavailable
from .engine import sqlite_path, unavailable_errors

_PROBE = 1 << 16  # bytes: more than the pages that an object changes
# MariaDB and MySQL call it 0 and 1, later releases OFF and other words
_READ_ONLY = {
    "mysql": ("SELECT @@global.read_only", ("0", "OFF")),
    "postgresql": ("SHOW transaction_read_only", ("off",)),
}
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def check_writable(engine: Engine) -> None:
    """Raises StorageNotWritable, StorageUnavailable."""
    path = sqlite_path(engine)
    if path is not None:
        _check_folder(path.absolute().parent)
        return
    statement, writable = _READ_ONLY[engine.dialect.name]
    with unavailable_errors(), engine.connect() as connection:
        if str(connection.execute(text(statement)).scalar()) not in writable:
            raise StorageNotWritable("The index is not available: its database server is read-only; make it writable.")


def _check_folder(folder: Path) -> None:
    """By a file beside the index: a transaction that is not committed would not tell."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(_PROBE))
    except OSError as error:
        if error.errno in _FULL:
            raise StorageNotWritable("The index is not available: its disk is full; free some space.") from error
        if error.errno == errno.EROFS:
            raise StorageNotWritable("The index is not available: its disk is mounted read-only.") from error
        raise StorageUnavailable(f"The index is not available: {error.strerror}.") from error
