"""`fileroom db current` and `fileroom db upgrade`."""

import click

from fileroom_server.config import Configuration
from fileroom_server.config_options import with_configuration
from fileroom_server.output import write_json, write_line


@click.group("db")
def database() -> None:
    """Tell the schema of the index, or bring it to this release's."""


@database.command("current", epilog="Example: fileroom db current --database mariadb://fileroom@localhost/fileroom")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def current(configuration: Configuration, as_json: bool) -> None:
    """Tell the schema of the index and the newest one that this release knows."""
    from fileroom_server.wiring import check_data, existing_index

    if configuration.index_is_in_data:
        check_data(configuration)
    with existing_index(configuration) as schema:
        revision, newest, is_current = schema.revision(), schema.newest_revision(), schema.is_current()
        of_plugins = {name: (schema.revision(name), schema.newest_revision(name)) for name in schema.plugins}
    if as_json:
        plugins = {name: {"revision": at, "newest": needed} for name, (at, needed) in of_plugins.items()}
        write_json({"revision": revision, "newest": newest, "current": is_current, "plugins": plugins})
        return
    if revision == newest:
        write_line(f"The index is at schema {revision}, the newest.")
    elif revision is None:
        write_line(f"The database has no index. `fileroom db upgrade` makes one with schema {newest}.")
    else:
        write_line(f"The index is at schema {revision}, this release needs {newest}. Run `fileroom db upgrade`.")
    for name, (at, needed) in of_plugins.items():
        advice = "the newest" if at == needed else f"it needs {needed}. Run `fileroom db upgrade`"
        write_line(f"Plugin {name} is at schema {at or 'none'}, {advice}.")


@database.command("upgrade", epilog="Example: fileroom db upgrade --data /srv/fileroom")
@with_configuration
def upgrade(configuration: Configuration) -> None:
    """Bring the index to the schema of this release; makes it where there is none.

    Stop older releases of fileroom first, and have a backup.
    """
    from fileroom_server.wiring import existing_index

    if configuration.index_is_in_data:
        configuration.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with existing_index(configuration) as schema:
        before = {name: schema.revision(name) for name in (None, *schema.plugins)}
        schema.upgrade()
        after = {name: schema.revision(name) for name in before}
    for name, revision in after.items():
        subject = "The index" if name is None else f"Plugin {name}"
        if before[name] == revision:
            write_line(f"{subject} is at schema {revision} already.")
        else:
            write_line(f"{subject} is at schema {revision} now; it was at {before[name] or 'none'}.")
