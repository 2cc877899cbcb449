"""`fileroom serve`."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fileroom_server.config import Configuration, masked_url
from fileroom_server.config_errors import ConfigurationError
from fileroom_server.config_options import UnusableConfiguration, with_configuration
from fileroom_server.output import write_line

if TYPE_CHECKING:
    from fileroom_server.service import Listening

_HEARTBEAT_PATIENCE = 5.0


@click.command("serve", epilog="Example: fileroom serve --data /srv/fileroom --http-port 8081")
@click.option("--dicom-port", type=click.IntRange(0, 65535), help="0 takes a free one.  [default: 11112]")
@click.option("--http-port", type=click.IntRange(0, 65535), help="0 takes a free one.  [default: 8080]")
@with_configuration
def serve(configuration: Configuration) -> None:
    """Receive, index, find and return DICOM objects until Ctrl-C or SIGTERM.

    Then associations and requests that are running may finish; a second signal ends them at once.
    """
    from fileroom_server.application_audit import record_start, record_stop
    from fileroom_server.application_entity import association_counts
    from fileroom_server.association_counts import ReceiverPlace
    from fileroom_server.heartbeat import Heartbeat
    from fileroom_server.http_process import serve_http
    from fileroom_server.listening import listening_socket
    from fileroom_server.logs import start_logging
    from fileroom_server.observability import Observability
    from fileroom_server.receiver_process import receive
    from fileroom_server.service import Service
    from fileroom_server.supervisor import StartFailure, Supervisor
    from fileroom_server.tls import tls_problems
    from fileroom_server.wiring import new_or_existing_storage

    if unusable := list(tls_problems(configuration)):
        raise UnusableConfiguration(ConfigurationError(unusable))
    start_logging(configuration.logging)
    if configuration.tracing.enabled:
        _check_tracing()
    # before the processes, which want it to be there; what is stored can be read from a full disk too
    with new_or_existing_storage(configuration, to_read=True) as storage:
        _check_addresses(configuration)
        record_start(storage)
    http = configuration.http
    dicom = configuration.dicom
    listener = listening_socket(http.host, http.port)
    dicom_listener = listening_socket(dicom.host, dicom.port)
    counts = association_counts(dicom, dicom.processes)
    observability = Observability(configuration, counts.total)
    heartbeats = [Heartbeat(_HEARTBEAT_PATIENCE) for _ in range(dicom.processes)]

    def receiver(number: int) -> Service:
        heartbeat = heartbeats[number]

        def receive_dicom(_port: int, listening: "Listening") -> None:
            listener.close()  # or HTTP clients would wait for this process when the others are gone
            receive(configuration, dicom_listener, ReceiverPlace(counts, number), heartbeat, observability, listening)

        return Service("DICOM receiver", "fileroom-dicom", receive_dicom, dicom.port, heartbeat.stop)

    def serve_web(_port: int, listening: "Listening") -> None:
        dicom_listener.close()
        serve_http(configuration, listener, readiness, observability, listening)

    def readiness() -> dict[str, str | None]:
        beating = all(heartbeat.is_beating() for heartbeat in heartbeats)
        return {"dicom": None if beating else "a DICOM receiver is not running; see the server's log"}

    def stop_listening() -> None:
        listener.close()
        dicom_listener.close()

    receivers = [receiver(number) for number in range(dicom.processes)]
    web = Service("HTTP server", "fileroom-http", serve_web, http.port, lambda: None)
    supervisor = Supervisor((*receivers, web), configuration.drain_timeout)
    try:
        code = supervisor.run(
            started=lambda: _tell(configuration, receivers[0].port, web.port), stopping=stop_listening
        )
    except StartFailure as failure:
        record_stop(configuration)
        raise click.ClickException(str(failure)) from None
    record_stop(configuration)
    sys.exit(code)


def _check_tracing() -> None:
    from fileroom_server.tracing import TracingNotInstalled, check_installed

    try:
        check_installed()
    except TracingNotInstalled as error:
        raise click.ClickException(str(error)) from None


def _check_addresses(configuration: Configuration) -> None:
    """Raises ClickException with all that cannot be listened on, rather than one after the other."""
    from fileroom_server.listening import CannotListen, listening_socket

    dicom, http = configuration.dicom, configuration.http
    problems = []
    for service, section, option in (("DICOM", dicom, "--dicom-port"), ("HTTP", http, "--http-port")):
        try:
            listening_socket(section.host, section.port).close()
        except OSError as error:
            problems.append(str(CannotListen(service, section.host, section.port, option, error)))
    if problems:
        raise click.ClickException("\n".join(problems))


def _tell(configuration: Configuration, dicom_port: int, http_port: int) -> None:
    """What listens where, and what to try next."""
    from fileroom_server.listening import address, reachable_host

    dicom, http = configuration.dicom, configuration.http
    index = masked_url(configuration.database_url())
    url = f"{http.scheme}://{address(reachable_host(http.host), http_port)}"
    is_installed = (configuration.viewer_folder() / "index.html").is_file()
    viewer = f"{url}/viewer/" if is_installed else f"not installed; get it with: {_command('viewer', 'install')}"
    peer = f"-aec {shlex.quote(dicom.ae_title)} {reachable_host(dicom.host)} {dicom_port}"
    if configuration.only_peers_may_call:
        peer = f"-aet {shlex.quote(configuration.peers[0].ae_title)} {peer}"
    credential = '-H "X-API-Key: $KEY" ' if "api_keys" in http.authentication.methods else ""
    if dicom.tls.is_on:
        peer = f"{'+tls KEY CERTIFICATE' if dicom.tls.require_client_certificate else '+tla'} -ic {peer}"
    write_line(
        f"""fileroom is running.

  DICOM     {dicom.ae_title} at {address(dicom.host, dicom_port)}{", TLS" if dicom.tls.is_on else ""}
  DICOMweb  {http.scheme}://{address(http.host, http_port)}{http.prefix}
  Viewer    {viewer}
  Health    {url}/health/ready
  Data      {configuration.data.absolute()}
  Index     {index}

Try next:

  echoscu {peer}
  {_command("import")} FOLDER
  curl {credential}{url}{http.prefix}/studies

Ctrl-C stops it."""
    )
    sys.stdout.flush()


def _command(*subcommand: str) -> str:
    """As this server was started, and found on the same PATH or not."""
    program = Path(sys.argv[0])
    found = shutil.which(program.name)
    words = [program.name if found and Path(found).resolve() == program.resolve() else os.path.relpath(program)]
    words += subcommand
    given = click.get_current_context().params
    for name, option in (("config_file", "--config"), ("data", "--data"), ("database", "--database")):
        if given.get(name):
            words += [option, masked_url(str(given[name]))]
    return shlex.join(words)
