"""Private database servers that keep what they have committed through a crash, as those of a hospital do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.databases import MariaDB, PostgreSQL, PrivateServer, free_port


def durable(kind: str, connections: int = 150) -> PrivateServer:
    """MariaDB or PostgreSQL with its own defaults for durability, which other tests do without for speed."""
    if kind == "mariadb":
        durability = ("--innodb-flush-log-at-trx-commit=1", "--innodb-doublewrite=1", "--innodb-flush-method=fsync")
        return MariaDB((*durability, f"--max-connections={connections}"))
    settings = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
    return PostgreSQL({**settings, "max_connections": str(connections)})


def copy_of(database: PrivateServer) -> PrivateServer:
    """Another server with the same data, running beside it."""
    other = durable("mariadb" if isinstance(database, MariaDB) else "postgresql")
    database.kill()
    shutil.copytree(database.folder / "data", other.folder / "data", symlinks=True)
    (other.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
    if os.geteuid() == 0:
        for path in other.folder.rglob("*"):
            shutil.chown(path, other.user, other.user)
    database.start_again()
    other.port = free_port()
    other.start_again()
    return other


@contextmanager
def durable_database(kind: str, folder: Path) -> Iterator[tuple[PrivateServer | None, str]]:
    """A server, and the URL of a fresh database on it; for SQLite no server."""
    if kind == "sqlite":
        yield None, f"sqlite:///{folder / 'index.sqlite'}"
        return
    server = durable(kind)
    server.start()
    try:
        with server.fresh_database() as url:
            yield server, url
    finally:
        server.stop()
