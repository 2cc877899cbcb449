"""Entities of a batch as the transaction sees them: read under their lock, filled, counted, written once."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select

from ..attributes import Level
from .arrival import EntityRow
from .name_suffixes import insert_suffixes, remove_unused
from .prepared import insert_row, insert_rows, rows_by_keys, update_row
from .rows import dump_residue, load_residue
from .tables import Tables


class IndexChanged(Exception):
    """Another writer changed what this transaction had read before it held the lock: try again."""


class Entity:
    """A row of patient, study or series that this transaction holds the lock of."""

    def __init__(self, level: Level, row: Mapping[str, Any]) -> None:
        self.level = level
        self.pk: int = row["pk"]
        self.values = dict(row)
        self.residue = load_residue(row["residue"])
        self.changes: dict[str, Any] = {}
        self.additions: list[EntityRow] = []
        self.taken: EntityRow | None = None  # what all is taken over of; the same row again adds nothing
        self.seen_at: int | None = None  # the version of the whole index that this is known to be true of

    def fill(self, tables: Tables, row: EntityRow) -> None:
        """Takes over what is not known yet; what is known stays: a missing value never overwrites one."""
        if row is not self.taken:
            self._fill(tables, row)
            self.taken = row

    def _fill(self, tables: Tables, row: EntityRow) -> None:
        unknown = [
            attribute
            for attribute in tables.registry.in_header(self.level)
            if attribute.tag_hex not in self.residue
            and (attribute.items or (attribute.column in row.columns and self.values.get(attribute.column) is None))
        ]
        filled = [
            attribute
            for attribute in unknown
            if attribute.tag_hex in row.residue or row.columns.get(attribute.column) is not None
        ]
        if not filled:
            return
        tags = {attribute.tag for attribute in filled}
        for attribute in filled:
            if not attribute.items:
                self.set(attribute.column, row.columns[attribute.column])
            if attribute.tag_hex in row.residue:
                self.residue[attribute.tag_hex] = row.residue[attribute.tag_hex]
                self.set("residue", dump_residue(self.residue))
        self.additions.append(
            EntityRow(
                {},
                {},
                tuple(name for name in row.names if name[0] in tags),
                tuple(word for word in row.words if word[0] in tags),
                {attribute.keyword: row.items[attribute.keyword] for attribute in filled if attribute.items},
            )
        )

    def add(self, column: str, number: int) -> None:
        if number:
            self.set(column, self.values[column] + number)

    def include(self, column: str, value: str | None) -> None:
        """Adds a value to a set kept as backslash-separated text."""
        known = self.values[column].split("\\") if self.values[column] else []
        if value and value not in known:
            self.set(column, "\\".join(sorted([*known, value])))

    def set(self, column: str, value: Any) -> None:
        self.values[column] = value
        self.changes[column] = value


def lock(connection: Connection, tables: Tables, level: Level, pks: Iterable[int]) -> dict[int, Entity]:
    """The entities with these keys, locked in the one order that every writer keeps."""
    table = tables.entity(level)
    names = tuple(column.name for column in table.columns)
    rows = rows_by_keys(
        connection,
        tables,
        f"lock {level}",
        table.c.pk,
        sorted(set(pks)),
        lambda chosen: select(table).where(chosen).order_by(table.c.pk).with_for_update(),
    )
    entities = [Entity(level, dict(zip(names, row, strict=True))) for row in rows]
    return {entity.pk: entity for entity in entities}


def create(connection: Connection, tables: Tables, level: Level, row: EntityRow, values: Mapping[str, Any]) -> Entity:
    """Inserts an entity; a concurrent insert of the same raises IntegrityError, and the batch is tried again."""
    table = tables.entity(level)
    columns = {**row.columns, "residue": dump_residue(row.residue), **values}
    entity = Entity(level, _complete(table, columns, insert_row(connection, tables, table, columns)))
    entity.additions.append(row)
    entity.taken = row
    return entity


def save(connection: Connection, tables: Tables, entities: Iterable[Entity], now: Any) -> None:
    """Writes what changed, and the searchable rows that came with it."""
    for entity in entities:
        if entity.changes:
            entity.set("updated_at", now)
            update_row(connection, tables, tables.entity(entity.level), entity.pk, entity.changes)
            entity.changes = {}
        for row in entity.additions:
            insert_searchable(connection, tables, entity.level, entity.pk, row)
        entity.additions = []


def insert_searchable(connection: Connection, tables: Tables, level: Level, pk: int, row: EntityRow) -> None:
    """Name, word and item rows of an entity."""
    of_level = tables.by_level[level]
    owner = f"{level.entity}_pk"
    if of_level.names is not None and row.names:
        insert_rows(
            connection,
            tables,
            of_level.names,
            [
                {owner: pk, "tag": tag, "ordinal": ordinal, "folded": folded}
                for ordinal, (tag, folded) in enumerate(row.names)
            ],
        )
    if of_level.words is not None and row.words:
        insert_rows(
            connection,
            tables,
            of_level.words,
            [
                {owner: pk, "tag": tag, "ordinal": ordinal, "word": word, "phonetic": sound}
                for ordinal, (tag, word, sound) in enumerate(row.words)
            ],
        )
        insert_suffixes(connection, tables, (word for _, word, _ in row.words))
    for keyword, items in row.items.items():
        if items:
            insert_rows(
                connection,
                tables,
                of_level.sequences[keyword],
                [{owner: pk, "item": number, **item} for number, item in enumerate(items, 1)],
            )


def delete_searchable(connection: Connection, tables: Tables, level: Level, pks: Collection[int]) -> None:
    delete_names(connection, tables, level, pks)
    for table in tables.by_level[level].sequences.values():
        connection.execute(table.delete().where(table.c[f"{level.entity}_pk"].in_(pks)))


def delete_names(
    connection: Connection, tables: Tables, level: Level, pks: Collection[int], tags: Collection[int] | None = None
) -> None:
    """Name and word rows of entities, of some attributes only where these are given."""
    of_level, words = tables.by_level[level], set[str]()
    for table in (of_level.names, of_level.words):
        if table is not None:
            chosen: ColumnElement[bool] = table.c[f"{level.entity}_pk"].in_(pks)
            if tags is not None:
                chosen &= table.c.tag.in_(tags)
            if table is of_level.words:
                words.update(connection.execute(select(table.c.word).where(chosen)).scalars())
            connection.execute(table.delete().where(chosen))
    remove_unused(connection, tables, words)


def _complete(table: Table, columns: Mapping[str, Any], pk: int) -> dict[str, Any]:
    """The row as the database now has it: server defaults are zeros and empty texts."""
    row: dict[str, Any] = {}
    for column in table.columns:
        default = column.server_default
        text = str(default.arg) if default is not None else None  # type: ignore[attr-defined]
        row[column.name] = None if text is None else int(text) if text.isdigit() else text
    return {**row, **columns, "pk": pk}
