"""Whether anything has been committed since: what was found in an index of the same version is still what there is."""

import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine

from .engine import sqlite_path


class IndexVersion:
    """SQLite tells a connection whether another has committed; this one commits nothing, so that it hears of all.

    MariaDB and PostgreSQL have nothing as cheap and exact: the change feed's numbers are not committed in order.
    """

    def __init__(self, engine: Engine) -> None:
        self._path = sqlite_path(engine)
        self._asking = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened = 0

    def read(self) -> tuple[int, int] | None:
        """Another value than before as soon as anybody has committed anything; None where that cannot be told."""
        if self._path is None:
            return None
        with self._asking:
            try:
                if self._connection is None:
                    self._connection = self._open(self._path)
                    self._opened += 1  # versions of two connections cannot be compared
                ((version,),) = self._connection.execute("PRAGMA data_version")
            except sqlite3.Error:
                self._let_go()
                return None
            return self._opened, version

    def close(self) -> None:
        with self._asking:
            self._let_go()

    def _open(self, path: Path) -> sqlite3.Connection:
        # mode=rw: an index that is not there is not made
        uri = f"{path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None, timeout=0)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
