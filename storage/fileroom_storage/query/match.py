"""What an answer has to meet, and how an index finds all that does."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Label, Select, Table

from ..attributes import Level
from ..index.tables import Tables

Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """One key of a query.

    `condition` tells of a row of `table`, by what it holds and what its keys lead to. `few`: an index of that table
    finds the few rows there can be. `candidates` find, each by an index, keys (`pk`) of entities of `level`, together
    all those of answers, `exact` where only those. `in_order`: the index by which studies are listed serves it.
    """

    level: Level
    table: Table
    condition: Condition
    few: bool = False
    candidates: tuple[Select[Any], ...] = ()
    exact: bool = False
    in_order: bool = False


def owner_column(tables: Tables, level: Level, query_level: Level) -> Column[Any]:
    """The key of the entity at a level, in the highest table of a query that has it."""
    if level is query_level:
        return tables.entity(level).c.pk
    below = next(one for one in reversed(query_level.up_to()) if one.rank == level.rank + 1)
    return tables.entity(below).c[f"{level.entity}_pk"]


def any_row(rows: Select[Any], of: Table) -> Condition:
    """Whether there are rows for one of the table's: a form that no optimizer makes a join of, to begin elsewhere."""
    return rows.limit(1).correlate(of).scalar_subquery().is_not(None)


def table_of(column: ColumnElement[Any]) -> Table:
    """The table that a column, or what is shown of it, comes from."""
    element = column.element if isinstance(column, Label) else column
    table = getattr(element, "table", None)
    if not isinstance(table, Table):
        raise TypeError(f"{column} is no column of a table")
    return table
