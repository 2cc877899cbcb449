"""The HTTP process: gunicorn with DICOMweb in its workers, each with storage of its own."""

import logging
import os
import re
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from fileroom_dicomweb import Readiness, create_app
from fileroom_server.config import Configuration
from fileroom_server.http_clients import ClientLimits
from fileroom_server.http_record import request_is_answered
from fileroom_server.http_refusals import LONGEST_REQUEST_LINE
from fileroom_server.http_tls import http_tls
from fileroom_server.http_worker import Worker
from fileroom_server.observability import Observability
from fileroom_server.wiring import dicomweb_settings, storage_settings
from fileroom_storage.storage import Storage

# Idle connections that a viewer may come back to.
_KEEP_ALIVE_SECONDS = 30
# Connections beyond the maximum, which are about to be told so.
_BEING_REFUSED = 256
# Descriptors of a worker that are no connections: objects that are sent or written, the database, libraries.
_OTHER_DESCRIPTORS = 1024
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # gunicorn makes its files there safely
_QUERY = re.compile(r"\?[^\s'\"]*")


def serve_http(
    configuration: Configuration,
    listener: socket.socket,
    readiness: Readiness,
    observability: Observability,
    listening: Callable[[int], None],
) -> None:
    """Serves HTTP until SIGTERM, then lets requests finish. `listening` is told the port when a worker has begun."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    HttpServer(configuration, listener, readiness, observability, listening).run()


class HttpServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's master and, after its forks, each of its workers."""

    def __init__(
        self,
        configuration: Configuration,
        listener: socket.socket,
        readiness: Readiness,
        observability: Observability,
        listening: Callable[[int], None],
    ) -> None:
        self._observability = observability
        self._configuration = configuration
        self._port: int = listener.getsockname()[1]
        self._listener = listener.detach()  # gunicorn closes it
        self._readiness = readiness
        self._listening = listening
        self._storage: Storage | None = None
        http = configuration.http
        self.limits = ClientLimits(
            connections=-(-http.maximum_connections // http.workers),
            slow_requests=http.maximum_slow_requests,
            silence=http.timeout,
            rate=http.minimum_rate,
            queue=http.queue_timeout,
        )
        super().__init__()

    def load_config(self) -> None:
        http = self._configuration.http
        settings = {
            "proc_name": "fileroom",
            "bind": [f"fd://{self._listener}"],
            "workers": http.workers,
            "threads": http.threads,
            "worker_connections": self.limits.connections + _BEING_REFUSED,
            "worker_class": Worker,
            "timeout": max(1, round(http.timeout)),
            "graceful_timeout": max(1, round(self._configuration.drain_timeout)),
            "keepalive": _KEEP_ALIVE_SECONDS,
            "limit_request_line": LONGEST_REQUEST_LINE,
            "forwarded_allow_ips": "",  # fileroom_dicomweb.forwarded has it all, RFC 7239 included
            "control_socket_disable": True,
            "logger_class": OurLogger,
            "post_request": request_is_answered,
            "post_worker_init": lambda _worker: self._listening(self._port),
            "worker_exit": lambda _server, _worker: self._close(),
        }
        if (tls := http_tls(http.tls)) is not None:
            # the hook has it all; gunicorn wants to be told that there is TLS
            settings |= {"certfile": http.tls.certificate, "keyfile": http.tls.key}
            settings["ssl_context"] = lambda _configuration, _default: tls.current()
        if os.access(_SHARED_MEMORY, os.W_OK):
            settings["worker_tmp_dir"] = str(_SHARED_MEMORY)  # a sign of life must not wait for a disk
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Runs in each worker after its fork."""
        _allow_descriptors(self.limits.connections + _BEING_REFUSED + _OTHER_DESCRIPTORS)
        self._storage = Storage.open(storage_settings(self._configuration), self._observability.begin())
        exposition = self._observability.exposition(self._storage, self._readiness)
        return create_app(
            self._storage,
            dicomweb_settings(self._configuration),
            self._readiness,
            exposition,
            self._storage.plugins.blueprints(),
        )

    def version(self) -> tuple[int, int] | None:
        """That of the index, in a worker."""
        return self._storage.version() if self._storage is not None else None

    def _close(self) -> None:
        if self._storage is not None:
            self._storage.close()
            self._observability.end()


def _allow_descriptors(count: int) -> None:
    """As far as the system lets us: the usual limit of 1024 is less than the connections may need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class OurLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Passes on to our logging what gunicorn says, without what a client searched for. There is no access log."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True

    def warning(self, message: str, *args: Any, **options: Any) -> None:
        self.error_log.warning(*_without_queries(message, args), **options)

    def error(self, message: str, *args: Any, **options: Any) -> None:
        self.error_log.error(*_without_queries(message, args), **options)

    def exception(self, message: str, *args: Any, **options: Any) -> None:
        """Where it happened, without the error's text: that may quote a value."""
        options["exc_info"] = self.error_log.isEnabledFor(logging.DEBUG)
        self.error_log.error(*_without_queries(message, args), **options)


def _without_queries(message: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_QUERY.sub("?…", part) if isinstance(part, str) else part for part in (message, *args))
