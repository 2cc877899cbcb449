"""TLS contexts for the DICOM port and for peers, made of PEM files and made anew when these change (PS3.15 B.12)."""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from fileroom_server.config import Configuration, Peer
from fileroom_server.config_errors import Problem
from fileroom_server.config_tls import DicomTlsConfiguration

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_log = logging.getLogger(__name__)

# RFC 9325 4.2, which PS3.15 B.12 refers to; those of TLS 1.3 are OpenSSL's
CIPHER_SUITES = tuple(
    f"ECDHE-{signature}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for signature in ("ECDSA", "RSA")
)
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_LOOK_SECONDS = 1.0  # between two looks at the files
_Stamp = tuple[tuple[int, int, int], ...]


class TlsUnusable(Exception):
    """Files that no TLS can be made of; `key` is the key of the configuration that names the wrong one."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key = key
        self.message = message


class PromptTlsSocket(ssl.SSLSocket):
    """Acknowledges at once what it receives, as PromptSocket does."""

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        count = super().recv_into(buffer, nbytes, flags)
        with suppress(OSError):
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return count


class TlsContext:
    """A context that follows its files. What changes to something unusable is told, and the old one stays."""

    def __init__(self, make: Callable[[], ssl.SSLContext], files: Sequence[str]) -> None:
        self._make = make
        self._files = [Path(file) for file in files if file]
        self._lock = threading.Lock()
        self._stamp = self._read_stamp()
        self._context = make()
        self._looked = time.monotonic()

    def current(self) -> ssl.SSLContext:
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            with self._lock:
                self._looked = now
                stamp = self._read_stamp()
                if stamp != self._stamp:
                    self._stamp = stamp
                    self._renew()
        return self._context

    def _renew(self) -> None:
        try:
            self._context = self._make()
        except TlsUnusable as error:
            _log.error("changed certificates are not used, the old ones stay: %s", error)
        else:
            _log.info("changed certificates are used from now on")

    def _read_stamp(self) -> _Stamp:
        stamp = []
        for file in self._files:
            try:
                status = file.stat()
            except OSError:
                stamp.append((0, 0, 0))
            else:
                stamp.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(stamp)


def server_tls(tls: DicomTlsConfiguration) -> TlsContext | None:
    """What connections to the DICOM port are accepted with; None without TLS. Raises TlsUnusable."""
    if not tls.is_on:
        return None
    return TlsContext(lambda: _server_context(tls), [tls.certificate, tls.key, tls.key_password_file, tls.client_ca])


@cache
def client_tls(peer: Peer, own: DicomTlsConfiguration) -> TlsContext | None:
    """What a peer is called with, our certificate included; None where it wants no TLS. Raises TlsUnusable."""
    if not peer.tls:
        return None
    return TlsContext(
        lambda: _client_context(peer, own), [own.certificate, own.key, own.key_password_file, peer.tls_ca]
    )


def tls_problems(configuration: Configuration) -> Iterator[Problem]:
    """What keeps the files of a configuration from being used."""
    own = configuration.dicom.tls
    made: list[Callable[[], object]] = [lambda: server_tls(own)]
    made += [partial(client_tls, peer, own) for peer in configuration.peers]
    told: set[str] = set()
    for make in made:
        try:
            make()
        except TlsUnusable as error:
            if str(error) not in told:
                yield Problem("configuration", error.key, error.message)
            told.add(str(error))


def _server_context(tls: DicomTlsConfiguration) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_SERVER, tls)
    # without resumption every client shows its certificate, and none is told something that it does not wait for
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    if tls.client_ca:
        _load_authorities(context, tls.client_ca, "dicom.tls.client_ca")
        context.verify_mode = ssl.CERT_REQUIRED if tls.require_client_certificate else ssl.CERT_OPTIONAL
    return context


def _client_context(peer: Peer, own: DicomTlsConfiguration) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_CLIENT, own)
    context.check_hostname = peer.tls_check_host
    if peer.tls_ca:
        _load_authorities(context, peer.tls_ca, "peers.tls_ca")
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def _context(protocol: int, tls: DicomTlsConfiguration) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.sslsocket_class = PromptTlsSocket
    context.minimum_version = _VERSIONS[tls.minimum_version]
    context.set_ciphers(":".join(CIPHER_SUITES))
    if tls.certificate:
        password = _password(tls)
        _check_readable(tls.certificate, "dicom.tls.certificate")
        if tls.key:
            _check_readable(tls.key, "dicom.tls.key")
        try:
            # always with a password: OpenSSL would ask for one at the terminal
            context.load_cert_chain(tls.certificate, tls.key or None, lambda: password)
        except (ssl.SSLError, ValueError) as error:
            raise TlsUnusable(*_reason(error, tls)) from None
    return context


def _password(tls: DicomTlsConfiguration) -> str:
    if not tls.key_password_file:
        return ""
    _check_readable(tls.key_password_file, "dicom.tls.key_password_file")
    return Path(tls.key_password_file).read_text(encoding="utf-8", errors="replace").rstrip("\r\n")


def _reason(error: Exception, tls: DicomTlsConfiguration) -> tuple[str, str]:
    """The key and what to do; OpenSSL does not tell which of the files it means."""
    reason = getattr(error, "reason", None) or ""
    if reason == "KEY_VALUES_MISMATCH":
        return "dicom.tls.key", "is not the key of the certificate; name the one that belongs to it"
    if "-----BEGIN CERTIFICATE-----" not in _text(tls.certificate):
        return "dicom.tls.certificate", "holds no certificate in PEM"
    key_text = _text(tls.key or tls.certificate)
    if "PRIVATE KEY-----" not in key_text:
        return "dicom.tls.key", "holds no private key in PEM; name its file"
    if "ENCRYPTED" in key_text:
        return "dicom.tls.key_password_file", "holds the wrong password, or none, for an encrypted key"
    return "dicom.tls.certificate", f"cannot be used ({reason or type(error).__name__})"


def _text(file: str) -> str:
    return Path(file).read_bytes().decode("latin-1")


def _load_authorities(context: ssl.SSLContext, file: str, key: str) -> None:
    _check_readable(file, key)
    try:
        context.load_verify_locations(file)
    except (ssl.SSLError, ValueError):
        raise TlsUnusable(key, "holds no certificate in PEM") from None


def _check_readable(file: str, key: str) -> None:
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        raise TlsUnusable(key, f"cannot be read: {error.strerror}") from None


def failure_of(error: OSError) -> str:
    """Why a handshake failed, without what a certificate says."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "the connection was closed").replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return "it took too long"
    return error.strerror or "the connection was closed"
