"""Reads the index: each method is one question, on a connection of its own."""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Engine, select

from ..index.engine import unavailable_errors
from ..index.scope import Scope
from ..index.tables import Tables
from ..monitor import UNWATCHED, Monitor
from .inventory import IndexedObject, conflict_objects, indexed_objects, last_change, locations_of, unknown_locations
from .locate import Locator, StoredInstance
from .match import Match
from .query import Query
from .select import Answer, Finder


class IndexReader:
    """`server_values`: the attributes that are the same for all the server holds, by keyword."""

    def __init__(
        self, engine: Engine, tables: Tables, server_values: Mapping[str, str], monitor: Monitor = UNWATCHED
    ) -> None:
        self._engine = engine
        self._monitor = monitor
        self._tables = tables
        self._finder = Finder(tables, server_values)
        self._locator = Locator(tables)

    def find(self, query: Query) -> Generator[Answer, None, None]:
        """Answers from a cursor; exhaust or close the generator. A query that cannot be put raises at once."""
        return self._answers(query, self._finder.matches(query))

    def _answers(self, query: Query, matches: list[Match]) -> Generator[Answer, None, None]:
        begun = time.perf_counter()
        try:
            with unavailable_errors(), self._engine.connect() as connection:
                yield from self._finder.find(connection, query, matches)
        finally:
            self._monitor.searched(query.level.name, time.perf_counter() - begun)

    def count(self, query: Query) -> int:
        with unavailable_errors(), self._engine.connect() as connection:
            return self._finder.count(connection, query)

    def locate(self, matches: Mapping[str, str], scope: Scope = None) -> list[StoredInstance]:
        with unavailable_errors(), self._engine.connect() as connection:
            return self._locator.locate(connection, matches, scope)

    def frame_entries(self, pk: int, numbers: Sequence[int]) -> dict[int, bytes]:
        with unavailable_errors(), self._engine.connect() as connection:
            return self._locator.frame_entries(connection, pk, numbers)

    def objects(self) -> Iterator[IndexedObject]:
        with unavailable_errors(), self._engine.connect() as connection:
            yield from indexed_objects(connection, self._tables)
            yield from conflict_objects(connection, self._tables)

    def unknown_locations(self, locations: Iterable[str]) -> list[str]:
        with unavailable_errors(), self._engine.connect() as connection:
            return unknown_locations(connection, self._tables, locations)

    def locations_of(self, sop_instance_uid: str, digest: str) -> list[str]:
        with unavailable_errors(), self._engine.connect() as connection:
            return locations_of(connection, self._tables, sop_instance_uid, digest)

    def last_change(self) -> datetime | None:
        with unavailable_errors(), self._engine.connect() as connection:
            return last_change(connection, self._tables)

    def ping(self) -> None:
        """Raises StorageUnavailable when the index does not answer."""
        with unavailable_errors(), self._engine.connect() as connection:
            connection.execute(select(1))
