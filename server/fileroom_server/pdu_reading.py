"""PDUs out of a socket (PS3.8 9.3): whatever has come is read at once, and handed on without a copy."""

import logging
import select
import socket
import ssl
import struct
import time
from contextlib import suppress

from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation, AssociationSocket

from fileroom_server.pace import Pace

_log = logging.getLogger(__name__)

PDU_TYPES = range(0x01, 0x08)
PDU_HEAD = struct.Struct(">BBI")
# The negotiated maximum binds P-DATA-TF PDUs only; an A-ASSOCIATE-RQ with 128 presentation contexts needs less.
LEAST_PDU_LIMIT = 1 << 20
_FIRST_BUFFER = 1 << 14
_LARGEST_BUFFER = 1 << 20
_LEAST_RATE = 1024.0
# PS3.8 9.3.8: from the service provider, because of an invalid PDU parameter value
A_ABORT_INVALID_VALUE = b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x06"


class ConnectionEnded(OSError):
    """The peer closed the connection, maybe in the middle of a PDU."""


class PduSocket(AssociationSocket):
    """The socket of an association. Ends what announces too much, or stands still in the middle of a PDU.

    `received` is what came before there was an association.
    """

    def __init__(
        self,
        association: Association,
        client_socket: socket.socket | None = None,
        address: AddressInformation | None = None,
        received: bytes | bytearray = b"",
    ) -> None:
        super().__init__(association, client_socket=client_socket, address=address)
        self._pdu_limit = max(2 * association.ae.maximum_pdu_size, LEAST_PDU_LIMIT)
        self._buffer = bytearray(received)  # made for the first PDU: a connection may never send one
        self._start, self._end = 0, len(received)
        self._has_ended = False
        timeout = association.network_timeout
        rate = getattr(association.ae, "minimum_rate", _LEAST_RATE)
        self.pace = Pace(float("inf") if timeout is None else timeout, rate)
        self.sending_pace = Pace(float("inf") if timeout is None else timeout, rate)

    @property
    def ready(self) -> bool:
        """Whether there is something to read; unlike select(), poll() knows descriptors above 1023."""
        if self._end > self._start or self._has_ended:
            return True
        if self.socket is None or not self._is_connected:
            return False
        try:
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            has_come = bool(poll.poll(0))
            if isinstance(self.socket, ssl.SSLSocket):
                return (has_come or self.socket.pending() > 0) and self._has_decrypted()
            return has_come
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False

    def is_readable(self, *, is_polled: bool) -> bool:
        """The same, where it may be known that something has come; with TLS that need not be data."""
        return (is_polled and not isinstance(self.socket, ssl.SSLSocket)) or self.ready

    def _has_decrypted(self) -> bool:
        """Takes in what TLS has for us, without waiting."""
        connection = self.socket
        if connection is None:
            return False
        self._make_room(PDU_HEAD.size)
        connection.settimeout(0)
        try:
            count = connection.recv_into(memoryview(self._buffer)[self._end :])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return False
        except OSError:
            count = 0
        finally:
            connection.settimeout(self.assoc.network_timeout)
        self._end += count
        self._has_ended = not count
        return True

    def close(self) -> None:
        super().close()
        self._buffer = bytearray()  # the association is in cycles, and stays until they are collected
        self._start = self._end = 0

    def _shutdown_socket(self) -> None:
        """As pynetdicom's, but that one leaves a socket open whose peer has reset the connection."""
        connection = self.socket
        if connection is None:
            return
        with suppress(OSError, ValueError):
            if isinstance(connection, ssl.SSLSocket):
                connection.settimeout(0)
                connection.unwrap()  # tells the peer that this is the end; nobody waits for its answer
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def let_go_of_buffer(self) -> None:
        """To be called when nothing has come for a while; the next PDU gets a new one."""
        if self._start == self._end:
            self._buffer = bytearray()
            self._start = self._end = 0

    def read_pdu(self) -> tuple[int, memoryview]:
        """Type and content of the next PDU, in a view that holds until the next call. Raises OSError for its end."""
        self._require(PDU_HEAD.size)
        kind, _, length = PDU_HEAD.unpack_from(self._buffer, self._start)
        if kind not in PDU_TYPES:
            self._start = self._end = 0  # what follows has no meaning, and must not be read again and again
            return kind, memoryview(b"")
        if length > self._pdu_limit:
            _log.warning(
                "association with %s aborted: it announced a PDU of %d bytes, %d are accepted",
                self.assoc.remote["address"],
                length,
                self._pdu_limit,
            )
            if self.socket is not None:
                self.socket.sendall(A_ABORT_INVALID_VALUE)
            raise ConnectionAbortedError("the announced PDU is too long")
        self._require(PDU_HEAD.size + length)
        content = self._start + PDU_HEAD.size
        self._start = content + length
        return kind, memoryview(self._buffer)[content : self._start]

    def _require(self, size: int) -> None:
        """Reads until there are so many bytes. Raises OSError."""
        if self._end - self._start >= size:
            return
        if self.socket is None or self._has_ended:
            raise ConnectionEnded("the connection is closed")
        self._make_room(size)
        pace = self.pace
        if not self.assoc.is_established and self.assoc.acse_timeout is not None:
            pace = Pace(self.assoc.acse_timeout, float("inf"))
        view = memoryview(self._buffer)
        now = time.monotonic()
        try:
            while self._end - self._start < size:
                self.socket.settimeout(max(pace.left, 0.001) if pace.left < float("inf") else None)
                count = self.socket.recv_into(view[self._end :])
                if not count:
                    raise ConnectionEnded("the peer closed the connection")
                self._end += count
                before, now = now, time.monotonic()
                pace.waited(now - before, count)
        except TimeoutError:
            _log.warning("association with %s ended: it sends too slowly", self.assoc.remote["address"])
            raise
        finally:
            if self.socket is not None:
                self.socket.settimeout(self.assoc.network_timeout)

    def _make_room(self, size: int) -> None:
        held = self._end - self._start
        if len(self._buffer) < size:
            # room for two such PDUs, so that one read brings the next one's head too
            larger = bytearray(max(size, min(2 * size, _LARGEST_BUFFER), _FIRST_BUFFER))
            larger[:held] = memoryview(self._buffer)[self._start : self._end]
            self._buffer = larger
        elif held == 0 or self._start + size > len(self._buffer):
            self._buffer[:held] = self._buffer[self._start : self._end]
        else:
            return
        self._start, self._end = 0, held
