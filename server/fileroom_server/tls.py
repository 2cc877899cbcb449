"""TLS contexts for the DICOM port and for peers, made of PEM files and made anew when these change (PS3.15 B.12)."""

import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from fileroom_server.config import Configuration, Peer
from fileroom_server.config_errors import Problem
from fileroom_server.config_tls import DicomTlsConfiguration
from fileroom_server.http_tls import http_tls
from fileroom_server.tls_files import TlsContext, TlsUnusable, check_readable, load_authorities, load_certificate

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_log = logging.getLogger(__name__)

# RFC 9325 4.2, which PS3.15 B.12 refers to; those of TLS 1.3 are OpenSSL's
CIPHER_SUITES = tuple(
    f"ECDHE-{signature}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for signature in ("ECDSA", "RSA")
)
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class PromptTlsSocket(ssl.SSLSocket):
    """Acknowledges at once what it receives, and counts bytes, as PromptSocket does: those within TLS."""

    received = 0
    sent = 0

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        count = super().send(data, flags)
        self.sent += count
        return count

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        count = super().recv_into(buffer, nbytes, flags)
        self.received += count
        with suppress(OSError):
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return count


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
    made: list[Callable[[], object]] = [lambda: server_tls(own), lambda: http_tls(configuration.http.tls)]
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
        load_authorities(context, tls.client_ca, "dicom.tls.client_ca")
        context.verify_mode = ssl.CERT_REQUIRED if tls.require_client_certificate else ssl.CERT_OPTIONAL
    return context


def _client_context(peer: Peer, own: DicomTlsConfiguration) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_CLIENT, own)
    context.check_hostname = peer.tls_check_host
    if peer.tls_ca:
        load_authorities(context, peer.tls_ca, "peers.tls_ca")
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def _context(protocol: int, tls: DicomTlsConfiguration) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.sslsocket_class = PromptTlsSocket
    context.minimum_version = _VERSIONS[tls.minimum_version]
    context.set_ciphers(":".join(CIPHER_SUITES))
    if tls.certificate:
        load_certificate(context, "dicom.tls", tls.certificate, tls.key, _password(tls))
    return context


def _password(tls: DicomTlsConfiguration) -> str:
    if not tls.key_password_file:
        return ""
    check_readable(tls.key_password_file, "dicom.tls.key_password_file")
    return Path(tls.key_password_file).read_text(encoding="utf-8", errors="replace").rstrip("\r\n")


def failure_of(error: OSError) -> str:
    """Why a handshake failed, without what a certificate says."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "the connection was closed").replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return "it took too long"
    return error.strerror or "the connection was closed"
