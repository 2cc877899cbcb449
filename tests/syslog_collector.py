"""A collector of syslog messages over TCP or TLS, in a process of its own.

Each message (RFC 6587 3.4.1, RFC 5425 4.3) is a line of the file, its own line breaks left out.
"""

import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from tests.certificates import Certificate


class SyslogCollector:
    """May be killed and started again; what it has written stays."""

    def __init__(self, port: int, file: Path, certificate: Certificate | None = None) -> None:
        self.file = file
        command = [sys.executable, "-m", "tests.syslog_collector", str(port), str(file)]
        command += [str(certificate.certificate), str(certificate.key)] if certificate else []
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"listening\n"

    @staticmethod
    def messages(file: Path) -> list[bytes]:
        return file.read_bytes().splitlines() if file.exists() else []

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _take(connection: socket.socket, file: BinaryIO) -> None:
    with connection, connection.makefile("rb") as stream:
        while True:
            length = b""
            while (digit := stream.read(1)) != b" ":
                if not digit:
                    return
                length += digit
            message = stream.read(int(length))
            if len(message) < int(length):
                return
            file.write(message.replace(b"\n", b"") + b"\n")
            file.flush()


def main() -> None:
    port, path, *certificate = sys.argv[1:]
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", int(port))) as listener, Path(path).open("ab") as file:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            if context is not None:
                try:
                    connection = context.wrap_socket(connection, server_side=True)
                except OSError:
                    continue
            threading.Thread(target=_take, args=(connection, file), daemon=True).start()


if __name__ == "__main__":
    main()
