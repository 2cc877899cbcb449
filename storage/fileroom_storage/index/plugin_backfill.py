"""Filling a plugin's tables from instances that are stored already: page by page, each durable before the next."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, func, insert, select, update

from .arrival import Extracted
from .engine import unavailable_errors, write_transaction
from .plugin_rows import PluginRows
from .retrying import retried
from .tables import Tables
from .writer import utc_now

_PAGE = 200
Result = TypeVar("Result")


class Pending(NamedTuple):
    """An instance that a plugin has to look at; `failed` is whether it has done so in vain."""

    pk: int
    sop_instance_uid: str
    sop_class_uid: str
    failed: bool


class PluginProgress(NamedTuple):
    """How far a plugin is: the key of the last instance backfilled, and how many it could not take."""

    backfilled_to: int
    failures: int


class BackfillIndex:
    """For one plugin."""

    def __init__(self, engine: Engine, tables: Tables, plugin: str) -> None:
        self._engine = engine
        self._tables = tables
        self._plugin = plugin

    def progress(self) -> PluginProgress:
        failure = self._tables.plugin_failure
        with unavailable_errors(), self._engine.connect() as connection:
            number = select(func.count()).select_from(failure).where(failure.c.plugin == self._plugin)
            return PluginProgress(self._backfilled_to(connection), connection.execute(number).scalar_one())

    def restart(self) -> None:
        """All instances are to be looked at again."""
        self._write(lambda connection: self._set_backfilled_to(connection, 0))

    def number_pending(self, sop_classes: Collection[str] | None) -> int:
        instance = self._tables.instance
        with unavailable_errors(), self._engine.connect() as connection:
            number = select(func.count()).select_from(instance).where(instance.c.pk > self._backfilled_to(connection))
            if sop_classes is not None:
                number = number.where(instance.c.sop_class_uid.in_(sop_classes))
            return int(connection.execute(number).scalar_one())

    def pages(self, sop_classes: Collection[str] | None) -> Iterator[tuple[list[Pending], int | None]]:
        """Instances by ascending key from where it stopped, and to which key that is; then what has failed before."""
        while True:
            with unavailable_errors(), self._engine.connect() as connection:
                page, last = self._page_after(connection, self._backfilled_to(connection), sop_classes)
            if last is None:
                break
            yield page, last
        after = 0
        while True:
            with unavailable_errors(), self._engine.connect() as connection:
                failed = self._failed_after(connection, after)
            if not failed:
                return
            yield failed, None
            after = failed[-1].pk

    def replace(self, extracted: Sequence[tuple[int, Extracted]], backfilled_to: int | None) -> int:
        """Writes the rows of a page and how far that is; returns how many failures there were."""

        def written(connection: Connection) -> int:
            instance = self._tables.instance
            keys = [pk for pk, _ in extracted]
            # those that have been deleted meanwhile; the others stay until the end of the transaction
            there = set(
                connection.execute(select(instance.c.pk).where(instance.c.pk.in_(keys)).with_for_update()).scalars()
            )
            rows = PluginRows(self._tables)
            failed = rows.replace(connection, self._plugin, [one for one in extracted if one[0] in there], utc_now())
            if backfilled_to is not None:
                self._set_backfilled_to(connection, backfilled_to)
            return failed

        return self._write(written)

    def _page_after(
        self, connection: Connection, pk: int, sop_classes: Collection[str] | None
    ) -> tuple[list[Pending], int | None]:
        instance = self._tables.instance
        statement = select(instance.c.pk, instance.c.sop_instance_uid, instance.c.sop_class_uid)
        rows = connection.execute(statement.where(instance.c.pk > pk).order_by(instance.c.pk).limit(_PAGE)).all()
        page = [
            Pending(key, uid, sop_class, failed=False)
            for key, uid, sop_class in rows
            if sop_classes is None or sop_class in sop_classes
        ]
        return page, rows[-1][0] if rows else None

    def _failed_after(self, connection: Connection, pk: int) -> list[Pending]:
        instance, failure = self._tables.instance, self._tables.plugin_failure
        statement = (
            select(instance.c.pk, instance.c.sop_instance_uid, instance.c.sop_class_uid)
            .join(failure, failure.c.instance_pk == instance.c.pk)
            .where(failure.c.plugin == self._plugin, instance.c.pk > pk)
            .order_by(instance.c.pk)
            .limit(_PAGE)
        )
        return [Pending(key, uid, sop_class, failed=True) for key, uid, sop_class in connection.execute(statement)]

    def _backfilled_to(self, connection: Connection) -> int:
        state = self._tables.plugin_state
        found = connection.execute(select(state.c.backfilled_to).where(state.c.plugin == self._plugin)).scalar()
        return found or 0

    def _set_backfilled_to(self, connection: Connection, pk: int) -> None:
        state = self._tables.plugin_state
        of_plugin = state.c.plugin == self._plugin
        if connection.execute(select(state.c.plugin).where(of_plugin).with_for_update()).first() is None:
            connection.execute(insert(state).values(plugin=self._plugin, backfilled_to=pk, views=""))
        else:
            connection.execute(update(state).where(of_plugin).values(backfilled_to=pk))

    def _write(self, do: Callable[[Connection], Result]) -> Result:
        def transaction() -> Result:
            with write_transaction(self._engine) as connection:
                return do(connection)

        with unavailable_errors():
            return retried(transaction)
