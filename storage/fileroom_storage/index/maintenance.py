"""What changes the index besides arrivals: removal, and the answers to conflicts."""

from collections.abc import Iterable, Iterator
from itertools import islice

from sqlalchemy import Engine

from .arrival import Arrival
from .conflicts import ConflictState
from .engine import unavailable_errors, write_transaction
from .removal import remove_instances
from .resolution import Conflict, Resolution, list_conflicts, read_conflict, resolve
from .tables import Tables
from .writer import retried, utc_now

_PAGE = 500


class Maintenance:
    """Runs each change as a transaction of its own. Locations returned are no longer referred to by anything."""

    def __init__(self, engine: Engine, tables: Tables) -> None:
        self._engine = engine
        self._tables = tables

    def remove(self, locations: Iterable[str]) -> Iterator[str]:
        """Removes the instances whose objects are at these locations; gives each page's once it is committed."""
        wanted = iter(locations)
        while page := list(islice(wanted, _PAGE)):
            with unavailable_errors():
                removed = retried(lambda page=page: self._remove(page))  # type: ignore[misc]  # mypy infers no lambda with defaults
            yield from removed

    def conflicts(self, state: ConflictState | None) -> Iterator[Conflict]:
        with unavailable_errors():
            yield from list_conflicts(self._engine, self._tables, state)

    def conflict(self, pk: int) -> Conflict:
        with unavailable_errors(), self._engine.connect() as connection:
            return read_conflict(connection, self._tables, pk)

    def resolve(self, pk: int, resolution: Resolution, arrival: Arrival | None) -> list[str]:
        with unavailable_errors():
            return retried(lambda: self._resolve(pk, resolution, arrival))

    def _remove(self, locations: list[str]) -> list[str]:
        with write_transaction(self._engine) as connection:
            return remove_instances(connection, self._tables, locations, utc_now())

    def _resolve(self, pk: int, resolution: Resolution, arrival: Arrival | None) -> list[str]:
        with write_transaction(self._engine) as connection:
            conflict = read_conflict(connection, self._tables, pk)
            return resolve(connection, self._tables, conflict, resolution, arrival, utc_now())
