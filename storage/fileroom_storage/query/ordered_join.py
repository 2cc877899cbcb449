"""A join that is run from left to right: which table a query begins with is decided here, not by statistics."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Join
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler


class OrderedJoin(Join):
    """An inner join whose left side is read first. PostgreSQL, which cannot be told, mostly knows by itself."""

    inherit_cache = True

    def __init__(self, left: FromClause, right: FromClause, on: ColumnElement[bool]) -> None:
        super().__init__(left, right, on)


def _compiled(join: OrderedJoin, compiler: SQLCompiler, word: str, options: dict[str, Any]) -> str:
    sides = [compiler.process(side, asfrom=True, from_linter=None, **options) for side in (join.left, join.right)]
    condition = compiler.process(join.onclause, **options) if join.onclause is not None else ""
    return f"{sides[0]} {word} {sides[1]} ON {condition}"


@compiles(OrderedJoin, "sqlite")
def _sqlite(join: OrderedJoin, compiler: SQLCompiler, **options: Any) -> str:
    options = {key: value for key, value in options.items() if key not in ("asfrom", "from_linter")}
    return _compiled(join, compiler, "CROSS JOIN", options)


@compiles(OrderedJoin, "mysql")
@compiles(OrderedJoin, "mariadb")
def _mariadb(join: OrderedJoin, compiler: SQLCompiler, **options: Any) -> str:
    options = {key: value for key, value in options.items() if key not in ("asfrom", "from_linter")}
    return _compiled(join, compiler, "STRAIGHT_JOIN", options)
