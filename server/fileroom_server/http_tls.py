"""TLS of the HTTP port: a certificate that is put in another's place counts for the next connection."""

import logging
import ssl
from pathlib import Path
from threading import Lock
from typing import Any

from fileroom_server.config_http_access import TlsConfiguration

_log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


class ReloadedContext:
    """gunicorn's hook `ssl_context`, which it calls for each connection."""

    def __init__(self, tls: TlsConfiguration) -> None:
        self._tls = tls
        self._files = [Path(file) for file in (tls.certificate, tls.key, tls.client_ca) if file]
        self._lock = Lock()
        self._context: ssl.SSLContext | None = None
        self._stamp: _Stamp | None = None

    def __call__(self, _configuration: Any, _default: Any) -> ssl.SSLContext:
        """Raises OSError where there has never been a usable certificate; later the one before stays in use."""
        with self._lock:
            try:
                stamp = tuple(_stamp_of(file) for file in self._files)
                if stamp != self._stamp:
                    self._context, self._stamp = server_context(self._tls), stamp
            except OSError as error:  # ssl.SSLError is one
                if self._context is None:
                    raise
                _log.error("the new certificate or key cannot be used, the one before stays: %s", _reason(error))
            if self._context is None:
                raise OSError("there is no certificate")
            return self._context


def server_context(tls: TlsConfiguration) -> ssl.SSLContext:
    """Raises OSError where certificate and key cannot be read or do not belong together."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.client_ca or None)
    # an encrypted key would have OpenSSL ask at the terminal
    context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")
    context.verify_mode = ssl.CERT_REQUIRED if tls.client_ca else ssl.CERT_NONE
    return context


def _stamp_of(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
