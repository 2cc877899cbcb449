"""The views that plugins declare: dropped before tables change, and made anew when all have their columns."""

from collections.abc import Mapping

from sqlalchemy import Connection, Engine, insert, inspect, select, text, update

from .plugin_database import PluginDatabase
from .tables import standard_tables


def are_there(engine: Engine, plugins: Mapping[str, PluginDatabase]) -> bool:
    """Whether all views of these plugins are."""
    wanted = {name.lower() for database in plugins.values() for name in database.views}
    return not wanted or wanted <= {name.lower() for name in inspect(engine).get_view_names()}


def create(connection: Connection, plugins: Mapping[str, PluginDatabase]) -> None:
    """And remembers their names, for when the plugin is not enabled any more."""
    state = standard_tables().plugin_state
    dialect = "mysql" if connection.dialect.name == "mariadb" else connection.dialect.name
    known = set(connection.execute(select(state.c.plugin)).scalars())
    for plugin, database in plugins.items():
        for name, view in database.views.items():
            select_ = view(dialect).replace(":", "\\:")  # text() would read it as a parameter
            connection.execute(text(f"CREATE VIEW {_quoted(connection, name)} AS {select_}"))
        names = ",".join(database.views)
        if plugin in known:
            connection.execute(update(state).where(state.c.plugin == plugin).values(views=names))
        else:
            connection.execute(insert(state).values(plugin=plugin, backfilled_to=0, views=names))


def drop(connection: Connection) -> None:
    """Those of all plugins that ever had some here."""
    state = standard_tables().plugin_state
    if not inspect(connection).has_table(state.name):
        return
    for names in connection.execute(select(state.c.views)).scalars().all():
        for name in filter(None, names.split(",")):
            connection.execute(text(f"DROP VIEW IF EXISTS {_quoted(connection, name)}"))
    connection.execute(update(state).values(views=""))


def _quoted(connection: Connection, name: str) -> str:
    # PostgreSQL folds names to lower case, so that the same unquoted SQL runs everywhere
    folded = name.lower() if connection.dialect.name == "postgresql" else name
    return connection.dialect.identifier_preparer.quote_identifier(folded)
