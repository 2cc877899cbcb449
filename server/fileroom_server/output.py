"""What commands write: tables and colours on a terminal, lines with tabs in a pipe, JSON where it is asked for."""

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

import click
import orjson


def is_terminal(stream: TextIO) -> bool:
    return stream.isatty()


def write_line(text: str) -> None:
    click.echo(text)


def write_notice(text: str) -> None:
    """A line for the person, not for the program that reads the output."""
    click.echo(text, err=True)


def write_json(document: object) -> None:
    """Times without a zone are UTC, and say so."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
    click.echo(orjson.dumps(document, option=option).decode())


def write_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on a terminal; in a pipe lines with tabs between the columns, and no headings."""
    if not is_terminal(sys.stdout):
        for row in rows:
            click.echo("\t".join(printable(value) for value in row))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    # a UID that is cut off cannot be copied
    table = Table(*(Column(heading, overflow="fold") for heading in headings))
    for row in rows:
        table.add_row(*(escape(printable(value)) for value in row))
    Console(highlight=False).print(table)


def printable(value: object) -> str:
    """The value on one line; what came out of an object cannot steer a terminal or add columns."""
    text = "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def count(number: int, noun: str) -> str:
    """`1 object`, `12,000 objects`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
