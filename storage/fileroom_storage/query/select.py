"""From a Query to a SELECT, and from its rows to answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, CursorResult, Dialect, Label, Select

from ..attributes import Level, Origin
from ..index.rows import Element, column_reader, load_residue
from ..index.tables import Tables, has_column
from .match import Match
from .matching import Matcher
from .plan import Planner
from .query import Query

_FETCH = 500

Answer = dict[str, Element]


class Finder:
    """Runs queries against one index. `server_values` are the attributes that are the same for all it holds."""

    def __init__(self, tables: Tables, server_values: Mapping[str, str]) -> None:
        self._tables = tables
        self._server_values = server_values
        self._planner = Planner(tables)

    def matches(self, query: Query) -> list[Match]:
        """What the query asks of its answers. Raises InvalidQuery."""
        return Matcher(self._tables, self._server_values, query).matches()

    def statement(
        self, query: Query, dialect: Dialect, connection: Connection | None = None, matches: list[Match] | None = None
    ) -> tuple[Select[Any], "_Reader"]:
        reader = _Reader(self._tables, self._server_values, query)
        plan = self._planner.plan(query, self.matches(query) if matches is None else matches, dialect, connection)
        return plan.select(reader.columns), reader

    def find(self, connection: Connection, query: Query, matches: list[Match] | None = None) -> Iterator[Answer]:
        """Streams the answers; no more than a few hundred rows are in memory at once."""
        statement, reader = self.statement(query, connection.dialect, connection, matches)
        result = connection.execution_options(stream_results=True, yield_per=_FETCH).execute(statement)
        exhausted = False
        try:
            for row in result:
                yield reader.answer(row)
            exhausted = True
        finally:
            if not exhausted:
                _abandon(connection, result)
            result.close()

    def count(self, connection: Connection, query: Query) -> int:
        everything = replace(query, limit=None, offset=0)
        plan = self._planner.plan(everything, self.matches(query), connection.dialect, connection)
        return int(connection.execute(plan.count()).scalar_one())


def _abandon(connection: Connection, result: CursorResult[Any]) -> None:
    """PyMySQL reads all that is left of a streamed result before it lets go of it: give up the connection instead."""
    if connection.dialect.name in ("mysql", "mariadb"):
        cursor: Any = result.cursor
        if cursor is not None and cursor._result is not None:  # there is no public way
            cursor._result.unbuffered_active = False  # as above
        connection.invalidate()


class _Reader:
    """Knows which columns to select, and makes an answer of a row."""

    def __init__(self, tables: Tables, server_values: Mapping[str, str], query: Query) -> None:
        wanted = [
            attribute
            for level in query.level.up_to()
            for attribute in tables.registry.at_level(level)
            if query.return_keys is None or attribute.keyword in query.return_keys
        ]
        self.columns: list[Label[Any]] = []
        self._constants: Answer = {}
        self._readers: list[tuple[str, int | None, Callable[[Any], Element], int | None]] = []
        residues: dict[Level, int] = {}
        for attribute in wanted:
            if attribute.origin is Origin.SERVER:
                value = server_values.get(attribute.keyword)
                if value:
                    self._constants[attribute.tag_hex] = {"vr": attribute.vr, "Value": [value]}
                continue
            column = None
            if attribute.keyword == "IssuerOfPatientID":
                column = self._select(tables.issuer.c.issuer_of_patient_id)
            elif has_column(attribute):
                column = self._select(tables.entity(attribute.level).c[attribute.column])
            residue = None
            if attribute.origin is Origin.HEADER:
                if attribute.level not in residues:
                    residues[attribute.level] = self._select(tables.entity(attribute.level).c.residue)
                residue = residues[attribute.level]
            self._readers.append((attribute.tag_hex, column, column_reader(attribute), residue))
        self._residues = tuple(residues.values())
        if not self.columns:
            self._select(tables.entity(query.level).c.pk)

    def _select(self, column: ColumnElement[Any]) -> int:
        # several tables have columns of one name
        self.columns.append(column.label(f"c{len(self.columns)}"))
        return len(self.columns) - 1

    def answer(self, row: Sequence[Any]) -> Answer:
        residues = {index: load_residue(row[index]) for index in self._residues if row[index]}
        answer = dict(self._constants)
        for tag_hex, column, convert, residue in self._readers:
            if residue in residues and tag_hex in residues[residue]:
                answer[tag_hex] = residues[residue][tag_hex]
            elif column is not None and row[column] is not None:
                answer[tag_hex] = convert(row[column])
        return answer


__all__ = ["Answer", "Finder"]
