"""TCP connections that do not wait for acknowledgements, nor make their peers wait for them."""

import socket
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class PromptSocket(socket.socket):
    """Acknowledges at once what it receives, and sends without waiting for acknowledgements.

    dcmtk writes the head of a PDU and its rest apart, with Nagle's algorithm on: where the acknowledgement of the head
    is delayed, every message costs 40 ms.
    """

    @classmethod
    def of(cls, connection: socket.socket) -> Self:
        """Takes over an open connection."""
        timeout = connection.gettimeout()
        prompt = cls(fileno=connection.detach())
        prompt.settimeout(timeout)
        prompt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return prompt

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        received = super().recv(bufsize, flags)
        self._acknowledge()
        return received

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0, /) -> int:
        count = super().recv_into(buffer, nbytes, flags)
        self._acknowledge()
        return count

    def _acknowledge(self) -> None:
        # Linux forgets this option
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
