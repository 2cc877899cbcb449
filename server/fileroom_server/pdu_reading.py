"""PDUs out of a socket (PS3.8 9.3): whatever has come is read at once, and handed on without a copy."""

import logging
import select
import socket
import struct
import time

from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation, AssociationSocket

_log = logging.getLogger(__name__)

PDU_TYPES = range(0x01, 0x08)
PDU_HEAD = struct.Struct(">BBI")
# The negotiated maximum binds P-DATA-TF PDUs only; an A-ASSOCIATE-RQ with 128 presentation contexts needs less.
_LEAST_PDU_LIMIT = 1 << 20
_FIRST_BUFFER = 1 << 14
_LARGEST_BUFFER = 1 << 20
# PS3.8 9.3.8: from the service provider, because of an invalid PDU parameter value
_A_ABORT = b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x06"


class ConnectionEnded(OSError):
    """The peer closed the connection, maybe in the middle of a PDU."""


class PduSocket(AssociationSocket):
    """The socket of an association. Ends what announces too much, or stands still in the middle of a PDU."""

    def __init__(
        self,
        association: Association,
        client_socket: socket.socket | None = None,
        address: AddressInformation | None = None,
    ) -> None:
        super().__init__(association, client_socket=client_socket, address=address)
        self._pdu_limit = max(2 * association.ae.maximum_pdu_size, _LEAST_PDU_LIMIT)
        self._buffer = bytearray()  # made for the first PDU: a connection may never send one
        self._start = self._end = 0

    @property
    def ready(self) -> bool:
        """Whether there is something to read; unlike select(), poll() knows descriptors above 1023."""
        if self._end > self._start:
            return True
        if self.socket is None or not self._is_connected:
            return False
        try:
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False

    def close(self) -> None:
        connection = self.socket
        super().close()
        if connection is not None:
            connection.close()  # pynetdicom leaves it open where the peer was faster
        self._buffer = bytearray()  # the association is in cycles, and stays until they are collected
        self._start = self._end = 0

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
                self.socket.sendall(_A_ABORT)
            raise ConnectionAbortedError("the announced PDU is too long")
        self._require(PDU_HEAD.size + length)
        content = self._start + PDU_HEAD.size
        self._start = content + length
        return kind, memoryview(self._buffer)[content : self._start]

    def _require(self, size: int) -> None:
        """Reads until there are so many bytes. Raises OSError."""
        if self._end - self._start >= size:
            return
        if self.socket is None:
            raise ConnectionEnded("the connection is closed")
        self._make_room(size)
        patience = self.assoc.network_timeout if self.assoc.is_established else self.assoc.acse_timeout
        deadline = None if patience is None else time.monotonic() + patience
        view = memoryview(self._buffer)
        try:
            while self._end - self._start < size:
                if deadline is not None:
                    self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
                count = self.socket.recv_into(view[self._end :])
                if not count:
                    raise ConnectionEnded("the peer closed the connection")
                self._end += count
        finally:
            if deadline is not None and self.socket is not None:
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
