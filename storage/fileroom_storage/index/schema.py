"""Brings the index to the schema of this release, and tells whether it is there."""

import fcntl
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from sqlalchemy import Connection, Engine, inspect, text

from ..errors import SchemaNotCurrent
from . import plugin_views
from .engine import create_engine, sqlite_path, unavailable_errors
from .lineage import Lineage, core_lineage, plugin_lineage
from .plugin_database import PluginDatabase
from .views import create_views, drop_views, has_views

PluginDatabases = Mapping[str, PluginDatabase]  # by the name of the plugin

_LOCK_NAME = "fileroom_schema"
_LOCK_NUMBER = 0x66696C65726F6F6D  # "fileroom"


class IndexSchema:
    """The schema of an index alone: needs nothing of the object store. `database` is a SQLAlchemy URL.

    `plugins` are those that are enabled; what others have in the database stays as it is.
    Every method raises StorageUnavailable where the database is away.
    """

    def __init__(self, database: str, plugins: PluginDatabases | None = None) -> None:
        self._engine = create_engine(database)
        self.plugins = plugins or {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def revision(self, plugin: str | None = None) -> str | None:
        """What the index, or the tables of a plugin, are at; None where there are none."""
        with unavailable_errors():
            return self._lineage(plugin).current(self._engine)

    def newest_revision(self, plugin: str | None = None) -> str:
        return self._lineage(plugin).head()

    def is_current(self) -> bool:
        """Whether the index and the tables of all plugins are."""
        with unavailable_errors():
            return _is_current(self._engine, self.plugins)

    def upgrade(self) -> None:
        with unavailable_errors():
            upgrade(self._engine, self.plugins)

    def create_if_empty(self) -> None:
        """Makes the index where there is none, and the tables of plugins that have none."""
        with unavailable_errors():
            create_if_empty(self._engine, self.plugins)

    def _lineage(self, plugin: str | None) -> Lineage:
        return core_lineage() if plugin is None else plugin_lineage(plugin, self.plugins[plugin])


def _lineages(plugins: PluginDatabases) -> list[Lineage]:
    return [plugin_lineage(name, database) for name, database in plugins.items()]


def _is_current(engine: Engine, plugins: PluginDatabases) -> bool:
    return all(lineage.is_current(engine) for lineage in (core_lineage(), *_lineages(plugins)))


def check_current(engine: Engine, plugins: PluginDatabases | None = None) -> None:
    """Raises SchemaNotCurrent unless the index, and the tables of plugins, have the schema of this release."""
    for lineage in (core_lineage(), *_lineages(plugins or {})):
        current, head = lineage.current(engine), lineage.head()
        if current == head:
            continue
        if current is not None and current not in lineage.known():
            raise SchemaNotCurrent(
                f"{lineage.subject} is at schema {current}, which this release does not know; "
                "run the release that made it, or a newer one"
            )
        raise SchemaNotCurrent(
            f"{lineage.subject} is at schema {current or 'none'}, not {head}; run `fileroom db upgrade`"
        )


def upgrade(engine: Engine, plugins: PluginDatabases | None = None) -> None:
    """Brings the index to this release's schema; any number of processes may call it at once."""
    _upgrade(engine, plugins or {}, tuple(plugins or ()))


def _upgrade(engine: Engine, plugins: PluginDatabases, chosen: Collection[str]) -> None:
    """Upgrades the core, and the tables of the `chosen` among the plugins that are enabled."""
    core = core_lineage()
    lineages = [plugin_lineage(name, plugins[name]) for name in chosen]
    with _exclusive(engine):
        behind = [lineage for lineage in (core, *lineages) if lineage.current(engine) != lineage.head()]
        if behind:
            # a view would hold on to the columns a migration changes
            with engine.begin() as connection:
                plugin_views.drop(connection)
                if core in behind:
                    drop_views(connection)
            for lineage in behind:
                lineage.upgrade(engine)
        # also where an upgrade died before its last steps
        if not has_views(engine):
            with engine.begin() as connection:
                drop_views(connection)
                create_views(connection)
        current = {name: plugins[name] for name in plugins if plugin_lineage(name, plugins[name]).is_current(engine)}
        if not plugin_views.are_there(engine, current):
            with engine.begin() as connection:
                plugin_views.drop(connection)
                plugin_views.create(connection, current)


def create_if_empty(engine: Engine, plugins: PluginDatabases | None = None) -> None:
    """Makes the index in a database without one, or with one that was cut short while it was made; leaves any other.

    The tables of plugins are made where there are none, in a new index and in one that is in use.
    """
    plugins, core = plugins or {}, core_lineage()
    revision = core.current(engine)
    if revision is not None and revision not in core.known():
        return
    if not (revision == core.head() and has_views(engine)):
        if not _is_in_use(engine, revision):
            upgrade(engine, plugins)
        return
    lineages = {name: plugin_lineage(name, database) for name, database in plugins.items()}
    new = [name for name, lineage in lineages.items() if lineage.current(engine) is None]
    current = {name: plugins[name] for name, lineage in lineages.items() if lineage.is_current(engine)}
    if new or not plugin_views.are_there(engine, current):
        _upgrade(engine, plugins, new)


def _is_in_use(engine: Engine, revision: str | None) -> bool:
    if not inspect(engine).has_table("dicom_instance"):
        return False
    if revision is None and engine.dialect.name != "mysql":
        return True  # there an upgrade that is cut short leaves nothing: somebody has taken the revision away
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1 FROM dicom_instance LIMIT 1")).first() is not None


@contextmanager
def _exclusive(engine: Engine) -> Iterator[None]:
    """One process at a time, in whatever way the database offers."""
    path = sqlite_path(engine)
    if path is not None:
        with path.with_name(path.name + ".lock").open("w") as lock_file:
            fcntl.flock(lock_file, fcntl.LOCK_EX)
            yield
        return
    with engine.connect() as connection:
        _take_lock(connection)
        try:
            yield
        finally:
            _release_lock(connection)


def _take_lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": _LOCK_NUMBER})
    elif not connection.execute(text("SELECT GET_LOCK(:name, 120)"), {"name": _LOCK_NAME}).scalar():
        raise SchemaNotCurrent("another process is upgrading the index; try again when it is done")


def _release_lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": _LOCK_NUMBER})
    else:
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK_NAME})
