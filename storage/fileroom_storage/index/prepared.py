"""Statements of the hot path: compiled once for a database, then run on its driver's own cursor.

SQLAlchemy's work for each execution costs more than what SQLite does for a small statement. What is prepared here is
still written with SQLAlchemy, and its types decide how values go in and come out.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Delete,
    Insert,
    Select,
    Table,
    Time,
    Update,
    bindparam,
)
from sqlalchemy import insert as insert_into
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

from .engine import insert_or_ignore
from .tables import Tables
from .traced_statements import TRACED, Traced

Statement = Select[Any] | Insert | Update | Delete
Convert = Callable[[Any], Any]

# of keys in one IN: statements are prepared for these numbers, and lists filled up to the next of them
_KEYS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MOST_KEYS = _KEYS[-1]
_REMEMBERED_TIMES = 64


class Prepared:
    """One statement. `parameters` are by name, as `bindparam` or the columns of an INSERT name them."""

    def __init__(self, statement: Statement, dialect: Dialect, column_keys: Sequence[str] | None = None) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(column_keys) if column_keys else None)
        self.sql = str(compiled)
        self._names: tuple[str, ...] | None = tuple(compiled.positiontup or ()) if compiled.positional else None
        self._fixed = {
            name: bind.value
            for bind, name in compiled.bind_names.items()
            if bind.value is not None and not bind.required
        }
        self._into = {
            name: convert
            for bind, name in compiled.bind_names.items()
            if (convert := _bind_processor(bind, dialect)) is not None
        }
        converts = (
            (index, _result_processor(column.type, dialect))
            for index, column in enumerate(statement.selected_columns if isinstance(statement, Select) else ())
        )
        self._out = tuple((index, convert) for index, convert in converts if convert is not None)

    def bound(self, parameters: Mapping[str, Any]) -> Any:
        """The parameters as the driver takes them."""
        values = {**self._fixed, **parameters} if self._fixed else dict(parameters)
        for name, convert in self._into.items():
            value = values.get(name)
            if value is not None:
                values[name] = convert(value)
        return values if self._names is None else tuple([values[name] for name in self._names])

    def rows(self, connection: Connection, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        cursor = self._executed(connection, self.bound(parameters))
        try:
            found: list[tuple[Any, ...]] = list(cursor.fetchall())
        finally:
            cursor.close()
        return [self._converted(row) for row in found] if self._out and found else found

    def run(self, connection: Connection, parameters: Mapping[str, Any]) -> int | None:
        """Executes; returns the key of the row that was inserted, where the driver tells it."""
        cursor = self._executed(connection, self.bound(parameters))
        key: int | None = getattr(cursor, "lastrowid", None)
        cursor.close()
        return key

    def run_many(self, connection: Connection, parameters: Iterable[Mapping[str, Any]]) -> None:
        bound = [self.bound(one) for one in parameters]
        if bound:
            self._executed(connection, bound if len(bound) > 1 else bound[0], many=len(bound) > 1).close()

    def _executed(self, connection: Connection, bound: Any, *, many: bool = False) -> Any:
        dialect = connection.dialect
        driver: Any = dialect.loaded_dbapi
        cursor = connection.connection.cursor()
        traced: Traced | None = connection.engine.get_execution_options().get(TRACED)
        try:
            if traced is None:
                (cursor.executemany if many else cursor.execute)(self.sql, bound)
            else:
                with traced(self.sql):
                    (cursor.executemany if many else cursor.execute)(self.sql, bound)
        except driver.Error as error:
            with suppress(driver.Error):
                cursor.close()
            raise _translated(connection, self.sql, error) from error
        return cursor

    def _converted(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(row)
        for index, convert in self._out:
            if values[index] is not None:
                values[index] = convert(values[index])
        return tuple(values)


def prepared(
    connection: Connection,
    tables: Tables,
    key: Hashable,
    make: Callable[[], Statement],
    column_keys: Sequence[str] | None = None,
) -> Prepared:
    """The statement that `make` writes, compiled at its first use. `key` tells it from all others of these tables."""
    dialect = connection.dialect
    known: Prepared | None = tables.prepared.get((dialect.name, key))
    if known is None:
        known = tables.prepared[dialect.name, key] = Prepared(make(), dialect, column_keys)
    return known


def insert_rows(connection: Connection, tables: Tables, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts rows that all name the same columns."""
    if rows:
        names = tuple(rows[0])
        statement = prepared(
            connection, tables, ("insert", table.name, names), lambda: insert_into(table).inline(), names
        )
        statement.run_many(connection, rows)


def insert_new_rows(connection: Connection, tables: Tables, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts those of the rows whose key is not there yet."""
    if rows:
        dialect_name = connection.dialect.name
        statement = prepared(
            connection,
            tables,
            ("insert new", table.name),
            lambda: insert_or_ignore(table, dialect_name),
            tuple(rows[0]),
        )
        statement.run_many(connection, rows)


def insert_row(connection: Connection, tables: Tables, table: Table, row: Mapping[str, Any]) -> int:
    """Inserts a row; returns its surrogate key."""
    names, (key,) = tuple(row), table.primary_key.columns
    if connection.dialect.name == "postgresql":
        returning = prepared(
            connection,
            tables,
            ("insert returning", table.name, names),
            lambda: insert_into(table).returning(key),
            names,
        )
        return int(returning.rows(connection, row)[0][0])
    statement = prepared(connection, tables, ("insert", table.name, names), lambda: insert_into(table).inline(), names)
    return int(statement.run(connection, row) or 0)


def update_row(connection: Connection, tables: Tables, table: Table, pk: int, changes: Mapping[str, Any]) -> None:
    names = tuple(changes)
    statement = prepared(
        connection,
        tables,
        ("update", table.name, names),
        lambda: table.update().where(table.c.pk == bindparam("key_of_row")),
        names,
    )
    statement.run(connection, {**changes, "key_of_row": pk})


def rows_by_keys(
    connection: Connection,
    tables: Tables,
    name: str,
    column: Column[Any],
    keys: Iterable[Any],
    make: Callable[[ColumnElement[bool]], Select[Any]],
) -> Iterator[tuple[Any, ...]]:
    """The rows of a SELECT for which `column` is one of the keys; `make` writes it around that condition."""
    wanted = list(keys)
    for start in range(0, len(wanted), MOST_KEYS):
        page = wanted[start : start + MOST_KEYS]
        number = next(size for size in _KEYS if size >= len(page))
        statement = prepared(
            connection,
            tables,
            (name, number),
            lambda number=number: make(  # type: ignore[misc]  # a default binds the loop's value
                column.in_([bindparam(f"key_{index}", type_=column.type) for index in range(number)])
                if number > 1
                else column == bindparam("key_0", type_=column.type)
            ),
        )
        # the last key again and again makes the list as long as the statement
        page += page[-1:] * (number - len(page))
        yield from statement.rows(connection, {f"key_{index}": key for index, key in enumerate(page)})


def _bind_processor(bind: BindParameter[Any], dialect: Dialect) -> Convert | None:
    convert: Convert | None = bind.type.dialect_impl(dialect).bind_processor(dialect)
    if convert is not None and isinstance(bind.type, Date | DateTime | Time):
        # the same times come again and again: of a transaction, of a series
        return lru_cache(_REMEMBERED_TIMES)(convert)
    return convert


def _result_processor(kind: Any, dialect: Dialect) -> Convert | None:
    if dialect.name == "postgresql":
        return None  # psycopg gives what the types promise
    convert: Convert | None = kind.dialect_impl(dialect).result_processor(dialect, None)
    return convert


def _translated(connection: Connection, sql: str, error: Exception) -> Exception:
    """What SQLAlchemy would raise for what the driver raised; a connection that is lost is given up."""
    dialect = connection.dialect
    driver: Any = dialect.loaded_dbapi
    lost = dialect.is_disconnect(cast("Any", error), connection.connection, None)
    translated: Exception = DBAPIError.instance(
        sql, None, error, driver.Error, hide_parameters=True, connection_invalidated=lost, dialect=dialect
    )
    if lost:
        connection.invalidate(error)
    return translated
