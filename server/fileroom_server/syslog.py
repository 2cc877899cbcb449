"""Syslog messages (RFC 5424) over TLS (RFC 5425), TCP (RFC 6587) and UDP (RFC 5426)."""

import fcntl
import socket
import ssl
import struct
import termios
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Self

_CONNECT_SECONDS = 10.0
_SEND_SECONDS = 30.0
_NOTICE, _WARNING = 5, 4
_INT = struct.Struct("i")

Transport = Literal["tls", "tcp", "udp"]


@dataclass(frozen=True, slots=True)
class Collector:
    """Where messages go, and how. Files are in PEM; without a `ca` file the system's certificates are trusted."""

    host: str
    port: int
    transport: Transport
    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    facility: int = 10


def syslog_message(
    collector: Collector, content: bytes, *, at: datetime, host: str, process: str, message_id: str, is_failure: bool
) -> bytes:
    """RFC 5424 6; `content` is UTF-8, `at` UTC."""
    priority = 8 * collector.facility + (_WARNING if is_failure else _NOTICE)
    head = f"<{priority}>1 {at.isoformat(timespec='microseconds')}Z {_name(host, 255)} fileroom"
    head += f" {_name(process, 128)} {message_id} - "
    return head.encode("ascii") + b"\xef\xbb\xbf" + content


class SyslogConnection:
    """One connection to a collector. Everything raises OSError where it is lost."""

    def __init__(self, connection: socket.socket, transport: Transport) -> None:
        self._socket = connection
        self._transport = transport

    @classmethod
    def open(cls, collector: Collector) -> Self:
        if collector.transport == "udp":
            family, kind, protocol, _, address = socket.getaddrinfo(
                collector.host, collector.port, type=socket.SOCK_DGRAM
            )[0]
            datagrams = socket.socket(family, kind, protocol)
            datagrams.connect(address)
            return cls(datagrams, "udp")
        connection = socket.create_connection((collector.host, collector.port), _CONNECT_SECONDS)
        try:
            if collector.transport == "tls":
                connection = _tls_context(collector).wrap_socket(connection, server_hostname=collector.host)
            connection.settimeout(_SEND_SECONDS)
        except BaseException:
            connection.close()
            raise
        return cls(connection, collector.transport)

    def send(self, message: bytes) -> None:
        if self._transport == "udp":
            self._socket.send(message)
        else:
            # octet counting: RFC 6587 3.4.1, RFC 5425 4.3
            self._socket.sendall(b"%d %s" % (len(message), message))

    def check(self) -> None:
        """Raises OSError where the collector has closed the connection, or is gone."""
        if self._transport == "udp":
            return
        self._socket.setblocking(False)
        try:
            if not self._socket.recv(1024):
                raise ConnectionResetError("the collector has closed the connection")
        except (BlockingIOError, ssl.SSLWantReadError):
            pass  # it has nothing to say, as it should
        finally:
            self._socket.settimeout(_SEND_SECONDS)

    def is_acknowledged(self) -> bool:
        """Whether the collector's system has all that was sent."""
        if self._transport == "udp":
            return True
        (waiting,) = _INT.unpack(fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(_INT.size)))
        return bool(waiting == 0)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()


def _tls_context(collector: Collector) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=collector.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if collector.certificate is not None:
        context.load_cert_chain(collector.certificate, collector.private_key)
    return context


def _name(text: str, length: int) -> str:
    """PRINTUSASCII, at least one character."""
    return "".join(character for character in text if "!" <= character <= "~")[:length] or "-"
