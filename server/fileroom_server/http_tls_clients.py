"""A client's connection under TLS. What it sends is decrypted as it comes: nobody waits in the middle of a record."""

import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from fileroom_server.http_clients import ClientSocket

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_RECEIVED_AT_ONCE = 1 << 17
_ENCRYPTED_AT_ONCE = 1 << 18


class TlsClientSocket:
    """As much of a socket as gunicorn needs, over `raw`, which does the waiting.

    Raises what ClientSocket raises, and SSLError. An end without the client's close_notify is an end: HTTP says itself
    how much is to come.
    """

    def __init__(self, raw: ClientSocket, context: ssl.SSLContext) -> None:
        self.raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._decrypted = bytearray()  # and not received yet
        self.is_agreed = False  # the handshake is over
        self._is_over = False
        self._failure: ssl.SSLError | None = None

    @property
    def is_idle(self) -> bool:
        """Whether the handshake is over, and nothing has come since."""
        return self.is_agreed and not self._decrypted

    def peek(self, size: int) -> bytes | None:
        """What can be received without waiting; the handshake goes on with what has come of it.

        None where nothing more will come, or TLS has failed, which `recv` tells.
        """
        timeout = self.raw.gettimeout()
        self.raw.setblocking(False)
        try:
            while len(self._decrypted) < size and self._is_advanced(size):
                pass
        except BlockingIOError:
            pass
        except ssl.SSLError as error:
            self._failure = error
        except OSError:
            self._is_over = True
        finally:
            self.raw.settimeout(timeout)
        return None if self._is_over or self._failure else bytes(self._decrypted[:size])

    def recv(self, bufsize: int, _flags: int = 0, /) -> bytes:
        while not self._decrypted and self._is_advanced(bufsize):
            pass
        data = bytes(self._decrypted[:bufsize])
        del self._decrypted[:bufsize]
        return data

    def sendall(self, data: "ReadableBuffer", _flags: int = 0, /) -> None:
        content = memoryview(data).cast("B")
        for start in range(0, len(content), _ENCRYPTED_AT_ONCE):
            self._tls.write(content[start : start + _ENCRYPTED_AT_ONCE])
            self._flush()

    def send(self, data: "ReadableBuffer", flags: int = 0, /) -> int:
        self.sendall(data, flags)
        return memoryview(data).nbytes

    def _is_advanced(self, size: int) -> bool:
        """Does the next step with what has come, or waits for more; False at the end."""
        if self._failure is not None:
            raise self._failure
        if self._is_over:
            return False
        try:
            if self.is_agreed:
                data = self._tls.read(size)
                self._decrypted += data
                self._is_over = not data  # close_notify
            else:
                self._tls.do_handshake()
                self.is_agreed = True
        except ssl.SSLWantReadError:
            self._flush()
            received = self.raw.recv(_RECEIVED_AT_ONCE)
            self._incoming.write(received)
            # OpenSSL is not told: it would send an alert, which the client would read in place of an answer
            self._is_over = not received
        except ssl.SSLError:
            with suppress(OSError):
                self._flush()  # the alert that says why
            raise
        else:
            self._flush()
        return not self._is_over

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.raw.sendall(self._outgoing.read())

    def shutdown(self, how: int, /) -> None:
        """Of our end: with close_notify."""
        if how == socket.SHUT_WR and self.is_agreed:
            with suppress(ssl.SSLError):  # it wants that of the client, which nobody waits for
                self._tls.unwrap()
            self._flush()
        self.raw.shutdown(how)

    def begin_request(self) -> None:
        self.raw.begin_request()

    def fileno(self) -> int:
        return self.raw.fileno()

    def gettimeout(self) -> float | None:
        return self.raw.gettimeout()

    def settimeout(self, value: float | None, /) -> None:
        self.raw.settimeout(value)

    def setblocking(self, flag: bool, /) -> None:
        self.raw.setblocking(flag)

    def close(self) -> None:
        self.raw.close()
