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
    from fileroom_server.wiring import check_data
    from fileroom_storage.storage import IndexSchema

    if configuration.index_is_in_data:
        check_data(configuration)
    with IndexSchema(configuration.database_url()) as schema:
        revision, newest, is_current = schema.revision(), schema.newest_revision(), schema.is_current()
    if as_json:
        write_json({"revision": revision, "newest": newest, "current": is_current})
    elif is_current:
        write_line(f"The index is at schema {revision}, the newest.")
    elif revision is None:
        write_line(f"The database has no index. `fileroom db upgrade` makes one with schema {newest}.")
    else:
        write_line(f"The index is at schema {revision}, this release needs {newest}. Run `fileroom db upgrade`.")


@database.command("upgrade", epilog="Example: fileroom db upgrade --data /srv/fileroom")
@with_configuration
def upgrade(configuration: Configuration) -> None:
    """Bring the index to the schema of this release; makes it where there is none.

    Stop older releases of fileroom first, and have a backup.
    """
    from fileroom_storage.storage import IndexSchema

    if configuration.index_is_in_data:
        configuration.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with IndexSchema(configuration.database_url()) as schema:
        before = schema.revision()
        schema.upgrade()
        after = schema.revision()
    if before == after:
        write_line(f"The index is at schema {after} already.")
    else:
        write_line(f"The index is at schema {after} now; it was at {before or 'none'}.")
