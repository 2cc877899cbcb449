"""Connections to the index, and what differs between the databases it may live in."""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy
from sqlalchemy import Connection, Engine, RootTransaction, event, make_url
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..errors import StorageError, StorageNotWritable, StorageUnavailable
from .database_errors import cannot_connect, is_full, is_read_only
from .drivers import DRIVERS
from .value_pattern import sqlite_regexp

Durability = Literal["full", "relaxed"]

_SQLITE_BUSY_SECONDS = 30
_CONNECT_SECONDS = 10
# of a row that another writer has locked; then the transaction is tried again
_LOCK_SECONDS = 10
# a migration's statements take as long as they take, but an answer comes some day
_LONGEST_STATEMENT = 24 * 3600.0
_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.02
# lock wait timeout, deadlock, changed row, shutdown and interruption of MariaDB/MySQL
_RETRYABLE_MYSQL = frozenset({1205, 1213, 1020, 1053, 1317})
# serialization failure, deadlock, lock not available of PostgreSQL
_RETRYABLE_SQLSTATE = frozenset({"40001", "40P01", "55P03"})


class UnsupportedDatabase(StorageError):
    """The database URL names something the index cannot live in."""


@dataclass(frozen=True, slots=True)
class ConnectionPool:
    """Connections of one process: kept, opened beyond that; seconds to wait for one, and to trust an old one.

    A server that leaves a statement without an answer for `statement_timeout` seconds is taken to be away.
    """

    size: int = 8
    overflow: int = 16
    timeout: float = 10.0
    recycle: float = 1800.0
    statement_timeout: float = 30.0


def create_engine(
    database: str, *, durability: Durability = "full", pool: ConnectionPool | None = None, writer: bool = False
) -> Engine:
    """An engine for the index. `database` is a SQLAlchemy URL; a driver may be left out.

    A `writer` waits for other writers in short steps, to have its turn as soon as they are done.
    """
    try:
        url = make_url(database)
    except ArgumentError:
        raise UnsupportedDatabase(
            "the database is not a URL; write for example sqlite:///index.sqlite or "
            "mariadb://user:password@host/fileroom or postgresql://user:password@host/fileroom"
        ) from None
    if url.drivername not in DRIVERS:
        raise UnsupportedDatabase(
            f"the index cannot live in {url.drivername}; use sqlite, mariadb, mysql or postgresql"
        )
    url = url.set(drivername=DRIVERS[url.drivername])
    backend = url.get_backend_name()
    pool = pool or ConnectionPool(statement_timeout=_LONGEST_STATEMENT)
    if backend == "sqlite":
        return _sqlite_engine(url, durability, pool, writer=writer)
    options: dict[str, Any] = {
        "pool_size": pool.size,
        "max_overflow": pool.overflow,
        "pool_timeout": pool.timeout,
        "pool_recycle": int(pool.recycle),
        "pool_pre_ping": True,
        "hide_parameters": True,  # an error's text may be logged, and parameters hold patient data
        # a count read under a row's lock has to see what the lock's last holder wrote
        "isolation_level": "READ COMMITTED",
    }
    connect_timeout = max(2, min(_CONNECT_SECONDS, round(pool.statement_timeout)))
    if backend in ("mysql", "mariadb"):
        if "charset" not in url.query:
            url = url.update_query_dict({"charset": "utf8mb4"})
        options["connect_args"] = {
            "connect_timeout": connect_timeout,
            "read_timeout": pool.statement_timeout,
            "write_timeout": pool.statement_timeout,
            "init_command": f"SET SESSION innodb_lock_wait_timeout = {_LOCK_SECONDS}",
        }
    else:
        options["connect_args"] = {"connect_timeout": connect_timeout}
    engine = sqlalchemy.create_engine(url, **options)
    if backend == "postgresql":
        _bound_waiting(engine, durability, pool.statement_timeout)
    _leave_read_only_servers(engine)
    return engine


def _bound_waiting(engine: Engine, durability: Durability, statement_timeout: float) -> None:
    """A PostgreSQL that works ends what takes too long; one that hangs is left by its client."""
    from .bounded_connection import connect  # with psycopg, which other databases do without

    milliseconds = round(statement_timeout * 1000)
    settings = [f"SET lock_timeout = '{_LOCK_SECONDS}s'", f"SET statement_timeout = {milliseconds}"]
    if durability == "relaxed":
        settings.append("SET synchronous_commit = off")

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, arguments: list[Any], parameters: dict[str, Any]) -> Any:
        return connect(statement_timeout, *arguments, **parameters)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # not among the parameters of the connection: poolers such as PgBouncer refuse those
        connection.execute("; ".join(settings))
        connection.commit()


def _leave_read_only_servers(engine: Engine) -> None:
    """After a failover the old server may still be there, read-only: who comes anew finds the one that writes."""
    dialect: Any = engine.dialect
    is_disconnect = dialect.is_disconnect
    dialect.is_disconnect = lambda error, connection, cursor: (
        is_disconnect(error, connection, cursor) or is_read_only(error)
    )


def _sqlite_engine(url: sqlalchemy.URL, durability: Durability, pool: ConnectionPool, *, writer: bool) -> Engine:
    if not url.database or url.database == ":memory:":
        raise UnsupportedDatabase("the index has to outlive the process; name a file, as in sqlite:///index.sqlite")
    engine = sqlalchemy.create_engine(
        url,
        hide_parameters=True,
        connect_args={"timeout": _SQLITE_BUSY_SECONDS, "check_same_thread": False, "isolation_level": None},
        pool_size=pool.size,
        max_overflow=-1,
    )
    with suppress(OSError):  # what is wrong is told when the index is used
        # it holds patient data: nobody else may read it; what SQLite puts beside it gets the same mode
        Path(url.database).touch(mode=0o600)
    synchronous = "FULL" if durability == "full" else "NORMAL"

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.execute("PRAGMA foreign_keys = ON")
        # PS3.4 C.2.2.2.4: wild card matching is case-sensitive but for PN, which is folded
        cursor.execute("PRAGMA case_sensitive_like = ON")
        # KiB, of each connection; the kernel has the file's pages too, once for all processes
        cursor.execute("PRAGMA cache_size = -8192")
        # 16 MiB: a checkpoint copies the pages that every object changes once, not once in a hundred objects
        cursor.execute("PRAGMA wal_autocheckpoint = 4000")
        if writer:
            cursor.execute("PRAGMA busy_timeout = 0")
        cursor.close()
        connection.create_function("regexp", 2, sqlite_regexp, deterministic=True)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # a transaction that will write takes its lock at once: upgrading a read lock would fail under load
        if connection.get_execution_options().get("fileroom_write", False):
            _begin_immediate(connection)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_immediate(connection: Connection) -> None:
    """SQLite itself waits for other writers in steps that grow to 0.1 s, and so keeps a batch of 1 ms waiting."""
    driver_connection: Any = connection.connection.driver_connection
    deadline = time.monotonic() + _SQLITE_BUSY_SECONDS
    pause = _FIRST_PAUSE
    while True:
        try:
            driver_connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise OperationalError("BEGIN IMMEDIATE", None, error) from error
        else:
            return
        time.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE)


def sqlite_path(engine: Engine) -> Path | None:
    """The index's file, where it lives in one."""
    return Path(engine.url.database or "") if engine.dialect.name == "sqlite" else None


@contextmanager
def write_transaction(source: Engine | Connection | RootTransaction) -> Iterator[Connection]:
    """A transaction that will write: one begun already, or on a connection of `writing_connection`, or of its own."""
    if isinstance(source, RootTransaction):
        with source:
            yield source.connection
        return
    if isinstance(source, Connection):
        with source.begin():
            yield source
        return
    with writing_connection(source) as connection, connection.begin():
        yield connection


def writing_connection(engine: Engine) -> Connection:
    """For any number of transactions that will write, one after the other; to be closed."""
    return engine.connect().execution_options(fileroom_write=True)


def is_retryable(error: Exception) -> bool:
    """Whether the same transaction may succeed at once: another writer was in the way."""
    if isinstance(error, IntegrityError):
        return True  # somebody else has just inserted the same entity
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or cannot_connect(error):
        return True
    original = error.orig
    if getattr(original, "sqlstate", None) in _RETRYABLE_SQLSTATE:
        return True
    code = original.args[0] if original is not None and original.args else None
    return code in _RETRYABLE_MYSQL


def is_unavailable(error: Exception) -> bool:
    """Whether the database is away, full or too busy, so that the sender should try again later."""
    return isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError) or is_read_only(error)


def unavailable(error: Exception, otherwise: str) -> StorageUnavailable:
    """What a database that takes nothing is to a client; `otherwise` is the text where nothing more is known."""
    if is_full(error):
        return StorageNotWritable("The index is not available: its disk is full; free some space, then send again.")
    if is_read_only(error):
        return StorageNotWritable("The index is not available: it is read-only; make it writable, then send again.")
    return StorageUnavailable(otherwise)


@contextmanager
def unavailable_errors() -> Iterator[None]:
    """Turns a database that is away into StorageUnavailable."""
    try:
        yield
    except Exception as error:
        if is_unavailable(error):
            raise unavailable(error, f"the index cannot be reached or used now: {_first_line(error)}") from error
        raise


def _first_line(error: Exception) -> str:
    """The driver's own words, without the statement and its parameters, which hold patient data."""
    original = getattr(error, "orig", None) or error
    text = str(original.args[-1] if getattr(original, "args", None) else original)
    return re.sub(r"\s+", " ", text.splitlines()[0] if text else type(original).__name__)[:200]


def insert_or_ignore(table: sqlalchemy.Table, dialect_name: str) -> Any:
    """An INSERT that does nothing where the unique key is there already."""
    if dialect_name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    if dialect_name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    statement = mysql.insert(table)
    # not INSERT IGNORE: it would swallow every other error too
    key = next(iter(table.primary_key.columns))
    return statement.on_duplicate_key_update({key.name: table.c[key.name]})
