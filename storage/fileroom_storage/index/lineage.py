"""A lineage of Alembic's revisions: that of the core, and one for each plugin, each with a version of its own."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, MetaData, inspect, text

from ..errors import SchemaNotCurrent
from .plugin_database import PluginDatabase
from .tables import standard_tables

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class Lineage:
    """Where its revisions are, and where the database has which of them it is at."""

    subject: str  # for messages
    revisions: Path
    version_table: str
    of_plugin: PluginDatabase | None = None

    @property
    def metadata(self) -> MetaData:
        """What the newest revision comes to, beside what is there of others."""
        metadata = standard_tables().metadata
        if self.of_plugin is not None:
            for table in self.of_plugin.metadata.sorted_tables:
                table.to_metadata(metadata)  # they refer to those of the core
        return metadata

    def current(self, engine: Engine) -> str | None:
        """The revision that the database is at; None where it has nothing of this lineage."""
        with engine.connect() as connection:
            if not inspect(connection).has_table(self.version_table):
                return None
            # as Alembic keeps it, which need not be loaded for this
            found = connection.execute(text(f"SELECT version_num FROM {self.version_table}")).first()  # noqa: S608
        return None if found is None else str(found[0])

    def is_current(self, engine: Engine) -> bool:
        return self.current(engine) == self.head()

    def head(self) -> str:
        """The newest revision. Raises SchemaNotCurrent where there is none."""
        before = self._before()
        heads = before.keys() - before.values()
        if len(heads) != 1:
            raise SchemaNotCurrent(f"{self.subject} has no single newest migration; install what brings it again")
        return heads.pop()

    def known(self) -> set[str]:
        return set(self._before())

    def _before(self) -> dict[str, str | None]:
        """Each revision and the one before it, as Alembic would find them; loading that takes a third of a second."""
        # asked with every check of the server's health
        facts = (_revision(file, file.stat().st_mtime_ns) for file in self.revisions.glob("[!_]*.py"))
        return dict(filter(None, facts))

    def upgrade(self, engine: Engine, revision: str = "head") -> None:
        from alembic import command

        from .migrations.resumption import check_skipped

        if self.current(engine) == self.head():
            return
        with engine.connect() as connection:
            config = self.config()
            skipped: list[str] = []
            config.attributes |= {"connection": connection, "skipped": skipped}
            command.upgrade(config, revision)
            check_skipped(connection, self.metadata, skipped)
            connection.commit()

    def config(self) -> "Config":
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.set_main_option("version_locations", str(self.revisions))
        config.set_main_option("path_separator", "newline")
        config.attributes |= {"metadata": self.metadata, "version_table": self.version_table, "skipped": []}
        return config


@cache
def _revision(file: Path, _changed_at: int) -> tuple[str, str | None] | None:
    """A revision and the one before it, where the file has one."""
    facts = {
        target.id: ast.literal_eval(statement.value)
        for statement in ast.parse(file.read_bytes()).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name) and target.id in ("revision", "down_revision")
    }
    return (facts["revision"], facts.get("down_revision")) if "revision" in facts else None


def core_lineage() -> Lineage:
    return Lineage("the index", _MIGRATIONS / "versions", "alembic_version")


def plugin_lineage(name: str, database: PluginDatabase) -> Lineage:
    return Lineage(f"plugin {name}", database.migrations, f"alembic_version_{name}", database)
