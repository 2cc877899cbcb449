"""Wild card matching (PS3.4 C.2.2.2.4) as SQL: `*` is any text, `?` any one character."""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_

ESCAPE = "!"
_AFTER_ANY_TEXT = "\U0010ffff"
_WILDCARDS = re.compile(r"[*?]")


def has_wildcard(value: str) -> bool:
    return _WILDCARDS.search(value) is not None


def literal_prefix(pattern: str) -> str:
    """What every text that matches begins with."""
    return _WILDCARDS.split(pattern, maxsplit=1)[0]


def escaped(value: str) -> str:
    """The value for LIKE: all but the standard's wild cards, `%` and `_` too, is itself."""
    return re.sub(r"([!%_])", rf"{ESCAPE}\1", value)


def one_of(column: ColumnElement[Any], values: Sequence[str], *, wildcards: bool) -> ColumnElement[bool]:
    """Some value is the column's, in a form that an index can use."""
    exact = [value for value in values if not (wildcards and has_wildcard(value))]
    conditions: list[ColumnElement[bool]] = []
    if exact:
        conditions.append(column == exact[0] if len(exact) == 1 else column.in_(exact))
    conditions += [like(column, value) for value in values if wildcards and has_wildcard(value)]
    return or_(*conditions) if conditions else false()


def like(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    prefix = literal_prefix(pattern)
    # what every index can use, whatever its database makes of LIKE
    return and_(begins_with(column, prefix), like_only(column, pattern)) if prefix else like_only(column, pattern)


def like_only(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    """For a row that another key leads to."""
    return column.like(escaped(pattern).replace("*", "%").replace("?", "_"), escape=ESCAPE)


def begins_with(column: ColumnElement[Any], prefix: str) -> ColumnElement[bool]:
    return and_(column >= prefix, column < prefix + _AFTER_ANY_TEXT)
