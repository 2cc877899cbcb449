"""What a plugin has in the database of the index: tables, their migrations, views."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Column, ForeignKey, MetaData, Table

from .plugin_tables import INSTANCE_KEY
from .tables import NAMING, TABLE_OPTIONS, Tables, standard_tables
from .types import surrogate_key

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
