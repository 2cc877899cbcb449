"""The command `fileroom`: its subcommands, and how errors end them."""

import os
import signal
import sys
from typing import Any

import click

from fileroom_server.audit_commands import audit
from fileroom_server.check_command import check
from fileroom_server.commitment_commands import commitments
from fileroom_server.config_commands import config
from fileroom_server.conflict_commands import conflicts
from fileroom_server.database_commands import database
from fileroom_server.deletion_commands import delete, deleted
from fileroom_server.doctor_command import doctor
from fileroom_server.import_command import import_
from fileroom_server.keys_command import keys
from fileroom_server.plugin_commands import PluginGroup, plugins
from fileroom_server.plugins import installed_plugins
from fileroom_server.serve_command import serve
from fileroom_server.viewer_commands import viewer


class OneLineErrors(click.Group):
    """A group whose commands end with one clear line and exit code 1, whatever goes wrong inside them.

    Installed plugins stand below the commands, each a group of its own.
    """

    def list_commands(self, context: click.Context) -> list[str]:
        return [*super().list_commands(context), *(name for name in installed_plugins() if name not in self.commands)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        command = super().get_command(context, name)
        if command is None and name in installed_plugins():
            return PluginGroup(name)
        return command

    def invoke(self, context: click.Context) -> Any:
        from fileroom_storage.errors import StorageError

        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            # whoever read the output has had enough; Python would complain once more when it flushes at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(128 + signal.SIGPIPE) from None
        except StorageError as error:
            if context.params["debug"]:
                raise
            raise click.ClickException(str(error)) from None
        except OSError as error:
            if context.params["debug"]:
                raise
            place = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{place}{error.strerror or error}") from None
        except Exception as error:
            if context.params["debug"]:
                raise
            # without the error's own text, which may quote what stands in an object
            raise click.ClickException(
                f"this should not have happened ({type(error).__name__}); "
                "`fileroom --debug …` with the same command shows where, for a report"
            ) from None


@click.group(
    "fileroom",
    cls=OneLineErrors,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Begin with: fileroom serve",
)
@click.version_option(package_name="fileroom", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks. They may quote patient data.")
def main(debug: bool) -> None:  # OneLineErrors reads it
    """Receives DICOM objects, indexes them, finds them and gives them back, over DIMSE and DICOMweb."""


COMMANDS = (
    serve,
    import_,
    check,
    conflicts,
    commitments,
    delete,
    deleted,
    audit,
    database,
    config,
    keys,
    plugins,
    viewer,
    doctor,
)

for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main()
