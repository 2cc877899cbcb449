"""What a plugin has in the database of the index: tables, their migrations, views; and how it gets there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Engine, ForeignKey, MetaData, Table

from .audit.chain import append
from .audit.event import AuditEvent
from .engine import unavailable_errors, write_transaction
from .plugin_tables import INSTANCE_KEY
from .tables import NAMING, TABLE_OPTIONS, Tables, standard_tables
from .types import surrogate_key
from .writer import retried

Result = TypeVar("Result")

# Makes the SELECT of a view for a database: "sqlite", "mysql" (MariaDB too) or "postgresql".
ViewSelect = Callable[[str], str]


@dataclass(frozen=True)
class PluginDatabase:
    """The tables of a plugin, each with the plugin's name and an underscore before its own.

    `migrations` is a folder of Alembic revisions, a lineage of its own whose version is kept beside that of the index.
    `views` are made anew at each upgrade: what a view says changes only with a revision.
    """

    metadata: MetaData
    migrations: Path
    views: Mapping[str, ViewSelect] = field(default_factory=dict)


def plugin_metadata() -> MetaData:
    """With the naming of constraints and indexes that the index has itself."""
    return MetaData(naming_convention=NAMING)


def plugin_table(metadata: MetaData, name: str, *columns: Any, **options: Any) -> Table:
    """A table that compares text as those of the index do, on every database."""
    return Table(name, metadata, *columns, **TABLE_OPTIONS, **options)


def instance_key() -> Column[Any]:
    """The column of a table that `extract` gives rows for; these go when the instance goes."""
    instance = ForeignKey(_core().instance.c.pk, ondelete="CASCADE")
    return Column(INSTANCE_KEY, surrogate_key(), instance, nullable=False, index=True)


@cache
def _core() -> Tables:
    return standard_tables()


def extracted_tables(database: PluginDatabase) -> dict[str, Table]:
    """Those that `extract` gives rows for, by name, each after those that it refers to."""
    return {table.name: table for table in database.metadata.sorted_tables if INSTANCE_KEY in table.c}


class PluginConnections:
    """Connections to the index for a plugin. What it raises where the database is away is StorageUnavailable."""

    def __init__(self, engine: Engine, tables: Tables, *, audited: bool) -> None:
        self._audited = audited
        self.engine = engine
        self.tables = tables  # of the core; a plugin reads them, and writes none

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with unavailable_errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction, committed at the end; durable where the index is."""
        with unavailable_errors(), write_transaction(self.engine) as connection:
            yield connection

    def transaction(self, work: Callable[[Connection], Result]) -> Result:
        """As `write`, and tried again where others are in the way: `work` may be called more than once."""

        def tried() -> Result:
            with write_transaction(self.engine) as connection:
                return work(connection)

        with unavailable_errors():
            return retried(tried)

    def audit(self, connection: Connection, events: Sequence[AuditEvent]) -> None:
        """Appends to the audit log, if there is one, in the transaction of this connection; the last thing in it."""
        if self._audited:
            append(connection, self.tables, [event.of_now() for event in events])
