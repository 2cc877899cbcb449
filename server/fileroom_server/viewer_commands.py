"""`fileroom viewer install`, `status` and `remove`."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from fileroom_server.config import Configuration
from fileroom_server.config_options import with_configuration
from fileroom_server.output import is_terminal, write_json, write_line, write_notice
from fileroom_server.viewer_download import (
    DEFAULT_VERSION,
    KNOWN_INTEGRITY,
    CannotInstallViewer,
    Download,
    check_integrity,
    download,
    npm_program,
)

Advance = Callable[[int, int | None], None]


@click.group("viewer")
def viewer() -> None:
    """The OHIF viewer, which `serve` offers at /viewer when it is installed."""


@viewer.command("install", epilog="Example: fileroom viewer install --data /srv/fileroom")
@click.option("--version", default=DEFAULT_VERSION, show_default=True, help="Which release of OHIF.")
@click.option(
    "--from",
    "package",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.tgz",
    help="Take it from this file, made by `npm pack @ohif/app` where there is a network.",
)
@click.option("--registry", metavar="URL", help="The npm registry to take it from.  [default: as npm is configured]")
@click.option("--integrity", metavar="sha512-…", help="What the package's digest has to be, for a build of your own.")
@with_configuration
def install(
    configuration: Configuration, version: str, package: Path | None, registry: str | None, integrity: str | None
) -> None:
    """Install the OHIF viewer from npm, or replace the installed one.

    A running server offers it at once; nothing has to be started anew.
    """
    from fileroom_server import viewer_package

    folder = configuration.viewer_folder()
    try:
        what = Download(version, registry, integrity)
        with tempfile.TemporaryDirectory(prefix="fileroom-viewer-") as temporary:
            if package is None:
                package = _fetched(what, Path(temporary))
            else:
                expected = integrity or KNOWN_INTEGRITY.get(viewer_package.package_version(package))
                if expected is not None:
                    check_integrity(package, expected)
            with _shown_progress("Unpacking") as advance:
                installed = viewer_package.install(package, folder, advance)
    except CannotInstallViewer as error:
        raise click.ClickException(str(error)) from None
    write_line(f"OHIF {installed.version} is in {installed.folder}. `fileroom serve` offers it at /viewer/.")


def _fetched(what: Download, folder: Path) -> Path:
    npm = npm_program()
    write_notice(f"Fetching {what.specification}, 50 MB, {'with npm' if npm else 'from the npm registry'}")
    with _shown_progress("Fetching") as advance:
        return download(what, folder, npm, advance)


@viewer.command("status", epilog="Example: fileroom viewer status")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def status(configuration: Configuration, as_json: bool) -> None:
    """Tell which viewer is installed, and where."""
    from fileroom_server import viewer_package

    folder = configuration.viewer_folder()
    installed = viewer_package.installed_viewer(folder)
    if as_json:
        version, size = (installed.version, installed.size) if installed else (None, 0)
        write_json({"version": version, "folder": str(folder), "size": size, "newest_tested": DEFAULT_VERSION})
    elif installed is None:
        write_line(f"There is no viewer in {folder}. `fileroom viewer install` gets one.")
    else:
        write_line(f"OHIF {installed.version} is in {folder} ({installed.size / 1e6:.0f} MB).")


@viewer.command("remove", epilog="Example: fileroom viewer remove")
@with_configuration
def remove(configuration: Configuration) -> None:
    """Remove the installed viewer. No image and no measurement is touched."""
    from fileroom_server import viewer_package

    folder = configuration.viewer_folder()
    if viewer_package.remove(folder):
        write_line(f"The viewer is removed from {folder}.")
    else:
        write_line(f"There is no viewer in {folder}.")


@contextmanager
def _shown_progress(verb: str) -> Iterator[Advance]:
    """A bar on a terminal; elsewhere nothing, for it takes seconds."""
    if not is_terminal(sys.stderr):
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn(verb), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(verb, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
