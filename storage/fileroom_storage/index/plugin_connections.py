"""How a plugin gets to its tables in the database of the index."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine

from .audit.chain import append
from .audit.event import AuditEvent
from .engine import unavailable_errors, write_transaction
from .retrying import retried
from .tables import Tables

Result = TypeVar("Result")


class PluginConnections:
    """Connections to the index for a plugin. What it raises where the database is away is StorageUnavailable."""

    def __init__(self, engine: Engine, tables: Tables, *, audit: bool = False) -> None:
        self.engine = engine
        self.tables = tables  # of the core; a plugin reads them, and writes none
        self._audit = audit

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with unavailable_errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction, committed at the end; durable where the index is."""
        with unavailable_errors(), write_transaction(self.engine) as connection:
            yield connection

    def audited(self, work: Callable[[Connection], tuple[Result, Sequence[AuditEvent]]]) -> Result:
        """Runs `work` in a transaction, again where another writer was in its way; returns once it is durable.

        What it returns is its result, and events that are durable with it where the audit log is kept.
        """

        def transaction() -> Result:
            with write_transaction(self.engine) as connection:
                result, events = work(connection)
                if self._audit:
                    append(connection, self.tables, [event.of_now() for event in events])
                return result

        with unavailable_errors():
            return retried(transaction)
