"""The rows that plugins have extracted, in the transaction of their instances; and what could not be had of them.

Nothing a plugin does keeps an object out: its rows are inserted under a savepoint, first those of all instances, then,
where that fails, those of each alone.
"""

import datetime as dt
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from .arrival import Extracted
from .database_errors import cannot_connect, is_full, is_read_only
from .engine import is_retryable
from .plugin_tables import ERROR_LENGTH, INSTANCE_KEY
from .tables import Tables

_log = logging.getLogger(__name__)


class PluginRows:
    """For all enabled plugins that extract."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._plugins = tables.of_plugins

    def insert(
        self, connection: Connection, extracted: Iterable[tuple[int, Sequence[Extracted]]], now: dt.datetime
    ) -> list[tuple[int, str]]:
        """For new instances, by key. Returns the instance and the plugin of each failure.

        Raises what stands in the way of the whole transaction.
        """
        by_plugin: dict[str, list[tuple[int, Extracted]]] = {}
        for pk, all_of_it in extracted:
            for one in all_of_it:
                by_plugin.setdefault(one.plugin, []).append((pk, one))
        failed: list[tuple[int, str]] = []
        for plugin, of_plugin in sorted(by_plugin.items()):
            failures = {pk: one.error for pk, one in of_plugin if one.rows is None}
            failures |= self._insert_of_plugin(connection, plugin, [one for one in of_plugin if one[1].rows])
            if failures:
                self._record(connection, plugin, failures, now)
                failed += [(pk, plugin) for pk in failures]
        return failed

    def replace(
        self, connection: Connection, plugin: str, extracted: Sequence[tuple[int, Extracted]], now: dt.datetime
    ) -> int:
        """As `insert` for instances that may have rows already; returns how many failures there were."""
        keys = [pk for pk, _ in extracted]
        for table in reversed(self._plugins[plugin].values()):
            connection.execute(delete(table).where(table.c[INSTANCE_KEY].in_(keys)))
        failed = self.insert(connection, [(pk, [one]) for pk, one in extracted], now)
        failure = self._tables.plugin_failure
        if keys:
            # those that have failed again have just been written
            connection.execute(
                delete(failure).where(
                    failure.c.plugin == plugin, failure.c.instance_pk.in_(keys), failure.c.failed_at != now
                )
            )
        return len(failed)

    def _insert_of_plugin(
        self, connection: Connection, plugin: str, extracted: Sequence[tuple[int, Extracted]]
    ) -> dict[int, str]:
        if not extracted:
            return {}
        if self._failure(connection, plugin, extracted) is None:
            return {}
        failures = {}
        for one in extracted:
            error = self._failure(connection, plugin, [one])
            if error is not None:
                failures[one[0]] = error
        return failures

    def _failure(self, connection: Connection, plugin: str, extracted: Sequence[tuple[int, Extracted]]) -> str | None:
        """Inserts, all or nothing; returns the type of the error."""
        savepoint = connection.begin_nested()
        try:
            for table, rows in self._rows_by_table(plugin, extracted):
                connection.execute(insert(table), rows)
        except Exception as error:
            if _ends_the_transaction(error):
                raise
            savepoint.rollback()
            return type(getattr(error, "orig", None) or error).__name__
        savepoint.commit()
        return None

    def _rows_by_table(
        self, plugin: str, extracted: Sequence[tuple[int, Extracted]]
    ) -> Iterable[tuple[Table, list[dict[str, Any]]]]:
        tables = self._plugins[plugin]
        by_columns: dict[tuple[str, frozenset[str]], list[dict[str, Any]]] = {}
        for pk, one in extracted:
            for name, rows in (one.rows or {}).items():
                for row in rows:
                    by_columns.setdefault((name, frozenset(row)), []).append({**row, INSTANCE_KEY: pk})
        # in the order of the tables: rows may refer to those of tables before
        order = list(tables)
        for (name, _), rows in sorted(by_columns.items(), key=lambda item: order.index(item[0][0])):
            yield tables[name], rows

    def _record(self, connection: Connection, plugin: str, failures: Mapping[int, str], now: dt.datetime) -> None:
        failure = self._tables.plugin_failure
        of_plugin = failure.c.plugin == plugin
        known = connection.execute(
            select(failure.c.instance_pk).where(of_plugin, failure.c.instance_pk.in_(failures))
        ).scalars()
        again = set(known)
        for pk, error in failures.items():
            _log.warning("plugin %s could not index the instance with key %d: %s", plugin, pk, error)
            values: dict[str, Any] = {"error": error[:ERROR_LENGTH], "failed_at": now}
            if pk in again:
                statement = update(failure).where(of_plugin, failure.c.instance_pk == pk)
                connection.execute(statement.values(**values, attempts=failure.c.attempts + 1))
            else:
                connection.execute(insert(failure).values(**values, plugin=plugin, instance_pk=pk, attempts=1))


def _ends_the_transaction(error: Exception) -> bool:
    """Deadlocks, lost connections, full disks are nobody's fault; a row that a table does not take is the plugin's."""
    if isinstance(error, IntegrityError) or not isinstance(error, DBAPIError):
        return False
    return is_retryable(error) or cannot_connect(error) or is_full(error) or is_read_only(error)
