"""Brings the index to the schema of this release, and tells whether it is there."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from ..errors import SchemaNotCurrent
from .engine import create_engine, sqlite_path, unavailable_errors
from .migrations.resumption import check_skipped
from .tables import standard_tables
from .views import create_views, drop_views, has_views

_LOCK_NAME = "fileroom_schema"
_LOCK_NUMBER = 0x66696C65726F6F6D  # "fileroom"


class IndexSchema:
    """The schema of an index alone: needs nothing of the object store. `database` is a SQLAlchemy URL.

    Every method raises StorageUnavailable where the database is away.
    """

    def __init__(self, database: str) -> None:
        self._engine = create_engine(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def revision(self) -> str | None:
        """What the index is at; None for a database without an index."""
        with unavailable_errors():
            return current_revision(self._engine)

    @staticmethod
    def newest_revision() -> str:
        return head_revision()

    def is_current(self) -> bool:
        return self.revision() == self.newest_revision()

    def upgrade(self) -> None:
        with unavailable_errors():
            upgrade(self._engine)

    def create_if_empty(self) -> None:
        with unavailable_errors():
            create_if_empty(self._engine)


def head_revision() -> str:
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise SchemaNotCurrent("this release has no migrations; install it again")
    return revision


def current_revision(engine: Engine) -> str | None:
    """The revision the index is at; None for a database without an index."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def check_current(engine: Engine) -> None:
    """Raises SchemaNotCurrent unless the index has the schema of this release."""
    current, head = current_revision(engine), head_revision()
    if current == head:
        return
    if current is not None and current not in _known_revisions():
        raise SchemaNotCurrent(
            f"the index is at schema {current}, which this release does not know; "
            "run the release that made it, or a newer one"
        )
    raise SchemaNotCurrent(f"the index is at schema {current or 'none'}, not {head}; run `fileroom db upgrade`")


def _known_revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def upgrade(engine: Engine) -> None:
    """Brings the index to this release's schema; any number of processes may call it at once."""
    with _exclusive(engine):
        if current_revision(engine) == head_revision():
            if not has_views(engine):  # an upgrade died before its last step
                with engine.begin() as connection:
                    drop_views(connection)
                    create_views(connection)
            return
        # a view would hold on to the columns a migration changes
        with engine.begin() as connection:
            drop_views(connection)
        with engine.connect() as connection:
            config = _config()
            skipped: list[str] = []
            config.attributes |= {"connection": connection, "skipped": skipped}
            command.upgrade(config, "head")
            check_skipped(connection, standard_tables().metadata, skipped)
            connection.commit()
        with engine.begin() as connection:
            create_views(connection)


def create_if_empty(engine: Engine) -> None:
    """Makes the index in a database without one, or with one that was cut short while it was made; leaves any other."""
    revision = current_revision(engine)
    if revision is not None and revision not in _known_revisions():
        return
    if not (revision == head_revision() and has_views(engine)) and not _is_in_use(engine, revision):
        upgrade(engine)


def _is_in_use(engine: Engine, revision: str | None) -> bool:
    if not inspect(engine).has_table("dicom_instance"):
        return False
    if revision is None and engine.dialect.name != "mysql":
        return True  # there an upgrade that is cut short leaves nothing: somebody has taken the revision away
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1 FROM dicom_instance LIMIT 1")).first() is not None


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


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
