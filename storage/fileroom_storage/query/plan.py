"""How a query is run: which table it begins with, and how it gets from there to its answers.

A list of the newest is either read newest first, until it is long enough, or it is sorted from all that matches: the
one is good where much matches, the other where little does. What an index says is counted, up to where it no longer
matters, and then decides; no optimizer has to guess it from statistics it may not have.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    FromClause,
    Label,
    Select,
    Subquery,
    Table,
    case,
    func,
    nulls_last,
    select,
    union,
)

from ..attributes import Level
from ..index.tables import Tables
from .match import Condition, Match, table_of
from .ordered_join import OrderedJoin
from .query import Query

_FEW = 200  # candidates that are sorted without thinking
_MOST = 20_000  # candidates that are counted at most
_SIZE_SECONDS = 60.0  # how long the size of the index is believed


class Planner:
    """Plans queries of one index."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._size = 0
        self._size_read_at = -math.inf

    def plan(self, query: Query, matches: Sequence[Match], dialect: Dialect, connection: Connection | None) -> "Plan":
        """The plan of a query; without a connection one of its kind, which is right too, but maybe slow."""
        return Plan(self._tables, query, tuple(matches), self._driver(query, matches, connection), dialect)

    def _driver(self, query: Query, matches: Sequence[Match], connection: Connection | None) -> Match | None:
        """The match by which answers are found; None where they are read in their order."""
        few = [match for match in matches if match.few]
        if few:
            return max(few, key=lambda match: match.level.rank)
        counted = [match for match in matches if match.candidates]
        if query.limit is None and len(counted) < 2:
            return counted[0] if counted else None
        if connection is not None:
            fewest = _with_fewest(connection, counted, (_FEW, self._worth_sorting(query, connection)))
            if fewest is not None:
                return fewest
        return counted[0] if query.limit is None else next((match for match in counted if match.in_order), None)

    def _worth_sorting(self, query: Query, connection: Connection) -> int:
        """How many matches cost as much to sort as it does to come across enough of them, reading newest first."""
        if query.limit is None:
            return _MOST
        if time.monotonic() - self._size_read_at > _SIZE_SECONDS:
            study = self._tables.study
            self._size = connection.execute(select(func.max(study.c.pk))).scalar() or 0
            self._size_read_at = time.monotonic()
        return min(_MOST, math.isqrt((query.limit + query.offset + 1) * self._size))


def _with_fewest(connection: Connection, matches: Sequence[Match], limits: Sequence[int]) -> Match | None:
    """The first match with no more candidates than the first limit, or else than the next."""
    beyond = [
        candidates.offset(limit).limit(1).scalar_subquery()
        for limit in limits
        for match in matches
        for candidates in match.candidates
    ]
    if not beyond:
        return None
    row = connection.execute(select(*(one.label(f"c{index}") for index, one in enumerate(beyond)))).one()
    is_beyond = iter([value is not None for value in row])
    for _ in limits:
        for match in matches:
            if sum(next(is_beyond) for _ in match.candidates) == 0:
                return match
    return None


@dataclass(frozen=True, slots=True)
class Plan:
    """A query with the match by which its answers are found."""

    tables: Tables
    query: Query
    matches: tuple[Match, ...]
    driver: Match | None
    dialect: Dialect

    def select(self, columns: Sequence[Label[Any]]) -> Select[Any]:
        """The answers, in their order."""
        query, shown = self.query, [table_of(column) for column in columns]
        order = self._order()
        listed = query.limit is not None and (self.matches or query.offset) and not (self.driver and self.driver.few)
        if not listed:
            statement = select(*columns).select_from(self._source(shown)).where(*self._filters()).order_by(*order)
            return self._page(statement)
        # which answers first, from what indexes hold; then their rows
        key = self.tables.entity(query.level).c.pk
        keys = select(key.label("pk")).select_from(self._source(())).where(*self._filters()).order_by(*order)
        source = self._joined(self._page(keys).subquery("page"), query.level, [*shown, *self._order_tables()])
        return select(*columns).select_from(source).order_by(*order)

    def count(self) -> Select[Any]:
        return select(func.count()).select_from(self._source(())).where(*self._filters())

    def _page(self, statement: Select[Any]) -> Select[Any]:
        if self.query.limit is not None:
            statement = statement.limit(self.query.limit)
        # MariaDB knows no OFFSET without LIMIT; SQLAlchemy writes one
        return statement.offset(self.query.offset) if self.query.offset else statement

    def _filters(self) -> list[Condition]:
        filters = []
        for match in self.matches:
            if match is not self.driver:
                filters.append(match.condition if match.in_order and self._walks() else self._hidden(match.condition))
            elif match.few or match.in_order:
                filters.append(match.condition)
            elif not match.exact:
                filters.append(self._hidden(match.condition))
        return filters

    def _walks(self) -> bool:
        return self.driver is None or self.driver.in_order

    def _hidden(self, condition: Condition) -> Condition:
        """The condition in a form that does not tempt an optimizer to begin with it."""
        # PostgreSQL knows what is frequent
        return condition if self.dialect.name == "postgresql" else case((condition, 1), else_=0) == 1

    # -- tables ----------------------------------------------------------------------------------------------

    def _source(self, shown: Iterable[Table]) -> FromClause:
        """The tables that the query needs, the one it begins with first."""
        driver, level = self.driver, self.query.level
        needed = [*shown, *self._order_tables(), *(match.table for match in self.matches if not self._is_found(match))]
        if driver is None or driver.in_order:
            # instances are listed series by series
            return self._joined(None, Level.SERIES if level is Level.IMAGE else level, needed)
        if driver.few:
            return self._joined(None, driver.level, needed)
        chosen = driver.candidates
        found: Subquery = (union(*chosen) if len(chosen) > 1 else chosen[0].distinct()).subquery("found")
        return self._joined(found, driver.level, needed)

    def _is_found(self, match: Match) -> bool:
        return match is self.driver and match.exact and not match.few and not match.in_order

    def _joined(self, found: Subquery | None, start: Level, needed: Iterable[Table]) -> FromClause:
        """From the entities of a level, or from those whose keys were found, up to what they belong to, then down."""
        chain = [*(self.tables.entity(level) for level in reversed(Level)), self.tables.issuer]
        first = chain.index(self.tables.entity(start))
        places = {chain.index(table) for table in needed} | {chain.index(self.tables.entity(self.query.level))}
        lowest, highest = min(places), max(places)
        source: FromClause = chain[first]
        key: ColumnElement[Any] = chain[first].c.pk
        if found is not None:
            key, source = found.c.pk, found
            if highest >= first:
                source = OrderedJoin(found, chain[first], chain[first].c.pk == key)
        for child, parent in zip(chain[first:highest], chain[first + 1 : highest + 1], strict=True):
            source = OrderedJoin(source, parent, self._link(child, parent) == parent.c.pk)
        for child, parent in zip(reversed(chain[lowest:first]), reversed(chain[lowest + 1 : first + 1]), strict=True):
            above = key if parent is chain[first] else parent.c.pk
            source = OrderedJoin(source, child, self._link(child, parent) == above)
        return source

    def _link(self, child: Table, parent: Table) -> ColumnElement[Any]:
        return child.c[parent.name.removeprefix("dicom_") + "_pk"]

    # -- order -----------------------------------------------------------------------------------------------

    def _order_tables(self) -> list[Table]:
        return [table_of(column) for column in self._order_columns()]

    def _order_columns(self) -> list[ColumnElement[Any]]:
        tables = self.tables
        if self.query.level is Level.PATIENT:
            return [tables.patient.c.pk]
        if self.query.level is Level.STUDY:
            return [tables.study.c.study_date, tables.study.c.study_time, tables.study.c.pk]
        columns: list[ColumnElement[Any]] = [
            tables.series.c.study_pk,
            tables.series.c.series_number,
            tables.series.c.pk,
        ]
        if self.query.level is Level.IMAGE:
            columns += [tables.instance.c.instance_number, tables.instance.c.pk]
        return columns

    def _order(self) -> list[ColumnElement[Any]]:
        columns = self._order_columns()
        if self.query.level is not Level.STUDY:
            return columns
        # the newest first; what has no date last, as SQLite and MariaDB have it
        newest: list[ColumnElement[Any]] = [column.desc() for column in columns]
        if self.dialect.name == "postgresql":
            newest[:2] = [nulls_last(column) for column in newest[:2]]
        return newest
