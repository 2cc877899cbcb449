"""`fileroom doctor`: would viewers work with this DICOMweb server?"""

import base64
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import click

from fileroom_server.config import Configuration
from fileroom_server.config_options import with_configuration
from fileroom_server.output import is_terminal, write_json, write_line

if TYPE_CHECKING:
    from fileroom_server.doctor.examination import Progress

_CLIENTS = ("ohif", "cornerstone", "weasis", "dicomweb-client")
_CONFIGURATIONS = ("ohif", "weasis", "dicomweb-client")

_EXAMPLES = """\b
Example: fileroom doctor
         fileroom doctor https://pacs.example.org/dicom-web --user reader
         fileroom doctor https://pacs.example.org/dicom-web --token-file token
         fileroom doctor https://pacs.example.org/dicom-web --origin https://viewer.example.org
         fileroom doctor http://localhost:8042/dicom-web --config-for ohif > app-config.js
"""


@click.command("doctor", epilog=_EXAMPLES)
@click.argument("url", required=False)
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Send this header; may be repeated.")
@click.option("--user", metavar="NAME[:PASSWORD]", help="Log in by HTTP Basic; the password is asked for.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Send the token or API key in this file; FILEROOM_TOKEN is one too.",
)
@click.option("--study", metavar="UID", help="Try with this study.  [default: suitable ones, by QIDO]")
@click.option("--client", "clients", multiple=True, type=click.Choice(_CLIENTS), help="Only this one; may be repeated.")
@click.option(
    "--origin", metavar="ORIGIN", help="Where the viewer is served, if it is elsewhere; its CORS then counts."
)
@click.option("--wado-uri", metavar="URL", help="Where WADO-URI is.  [default: /wado beside or below the URL]")
@click.option("--store", is_flag=True, help="Store a tiny synthetic instance too, and delete it again.")
@click.option("--timeout", type=click.FloatRange(0.1, 3600), default=20, show_default=True, help="Seconds per answer.")
@click.option("--insecure", is_flag=True, help="Accept certificates that are not trusted.")
@click.option("--config-for", type=click.Choice(_CONFIGURATIONS), help="Write this viewer's configuration only.")
@click.option("--verbose", "-v", is_flag=True, help="List every request, also those that pass.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def doctor(
    configuration: Configuration,
    url: str | None,
    headers: tuple[str, ...],
    user: str | None,
    token_file: Path | None,
    study: str | None,
    clients: tuple[str, ...],
    origin: str | None,
    wado_uri: str | None,
    store: bool,
    timeout: float,
    insecure: bool,
    config_for: str | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Would viewers work with this server? Ask it what OHIF, cornerstone, Weasis and dicomweb-client ask.

    Without URL: the fileroom of this configuration, which has to be running. With URL: any DICOMweb server, named by
    what comes before /studies. Nothing is stored or changed without --store. Tells what passes, what would break and
    where, and writes a configuration for the viewers. No patient data are shown.

    Exits with 1 if something would break, or nothing can be examined.
    """
    from fileroom_server.doctor import report, viewer_configuration
    from fileroom_server.doctor.examination import Plan, examine
    from fileroom_server.doctor.findings import CLIENTS, Client
    from fileroom_server.doctor.prober import Prober

    base_url, from_url = _base_url(url) if url else (_local_url(configuration), {})
    if study is not None and not re.fullmatch(r"[0-9.]{1,64}", study):
        raise click.BadParameter("write a Study Instance UID: digits and dots", param_hint="--study")
    plan = Plan(
        base_url=base_url,
        clients=tuple(Client(client) for client in clients) or CLIENTS,
        study_instance_uid=study,
        viewer_origin=origin.rstrip("/") if origin else None,
        wado_url=wado_uri,
        store=store,
    )
    sent = {**_token(token_file), **from_url, **_credentials(headers, user)}
    prober = Prober(base_url, sent, timeout=timeout, insecure=insecure)
    with _shown_progress() as progress:
        examination = examine(plan, prober, progress)
    if examination.fatal and examination.fatal.code == "unreachable" and url is None:
        raise click.ClickException(
            f"nothing answers at {base_url}. Start the server with `fileroom serve`, or name another one: "
            "`fileroom doctor https://pacs.example.org/dicom-web`"
        )
    made = {name: viewer_configuration.configuration(examination, name) for name in _CONFIGURATIONS}
    if config_for:
        if examination.fatal:
            raise click.ClickException(f"{examination.fatal.what}: {examination.fatal.url}")
        write_line(made[config_for].rstrip("\n"))
    elif as_json:
        write_json(report.document(examination, made))
    else:
        report.write_report(examination, verbose=verbose)
        if not examination.fatal:
            report.write_configurations(examination, made)
    sys.exit(0 if examination.is_good else 1)


def _local_url(configuration: Configuration) -> str:
    http = configuration.http
    if http.port == 0:
        raise click.UsageError("http.port is 0, any free one: name the URL that `fileroom serve` wrote when it began")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)  # noqa: S104  # what listens everywhere
    return f"{http.scheme}://{f'[{host}]' if ':' in host else host}:{http.port}{http.prefix}"


def _base_url(url: str) -> tuple[str, dict[str, str]]:
    """The URL without what does not belong to it, and the credentials that stood in it."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter("write a URL like https://pacs.example.org/dicom-web", param_hint="URL")
    address = parts.netloc.rpartition("@")[2]
    path = re.sub(r"/(studies|series|instances)(/.*)?$", "", parts.path).rstrip("/")
    credentials = {}
    if parts.username is not None:
        credentials = _basic(unquote(parts.username), unquote(parts.password or ""))
    return f"{parts.scheme}://{address}{path}", credentials


def _credentials(headers: tuple[str, ...], user: str | None) -> dict[str, str]:
    sent = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not re.fullmatch(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+", name.strip()) or not value.isprintable():
            raise click.BadParameter("write a header like 'Authorization: Bearer …'", param_hint="--header")
        sent[name.strip()] = value.strip()
    if user is not None:
        name, colon, password = user.partition(":")
        sent |= _basic(name, password if colon else click.prompt("Password", hide_input=True, err=True))
    return sent


def _token(file: Path | None) -> dict[str, str]:
    token = (file.read_text(encoding="utf-8") if file is not None else os.environ.get("FILEROOM_TOKEN", "")).strip()
    if not token:
        return {}
    if not token.isascii() or not token.isprintable() or " " in token:
        raise click.BadParameter("the token is not one line of ASCII", param_hint="--token-file")
    return {"Authorization": f"Bearer {token}"}


def _basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@contextmanager
def _shown_progress() -> "Iterator[Progress]":
    """A bar on a terminal; elsewhere nothing, for it takes seconds."""
    if not is_terminal(sys.stderr):
        yield lambda _done, _total, _what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, what: progress.update(task, completed=done, total=total, description=what)
