"""P-DATA-TF PDUs on their way into a socket (PS3.8 9.3.5): stored bytes are read into the places they are sent from."""

import socket
import ssl
import struct
import time
from collections.abc import Generator, Iterator, Sequence

from fileroom_server.pace import Pace
from fileroom_storage.errors import ObjectMissing
from fileroom_storage.storage import ObjectFile

Encoded = bytes | memoryview

P_DATA_TF = 0x04
# PS3.8 E.2: the bits of a message control header
COMMAND = 0x01
LAST = 0x02
# type and length of the PDU; length, presentation context and message control header of its one value
_HEAD = struct.Struct(">BxIIBB")
_WINDOW = 1 << 20
_RECORD = 1 << 14  # the most that a record of TLS holds


def pdu_head(context_id: int, control_header: int, length: int) -> bytes:
    """What stands before a fragment of so many bytes in a PDU of its own."""
    return _HEAD.pack(P_DATA_TF, length + 6, length + 2, context_id, control_header)


def send_encoded(connection: socket.socket, encoded: Sequence[Encoded], pace: Pace, *, more: bool = False) -> None:
    """Sends all of it. Raises OSError. With `more` the kernel may wait a little for what is sent next."""
    if isinstance(connection, ssl.SSLSocket):
        _send_encrypted(connection, encoded, pace)
        return
    flags = socket.MSG_MORE if more else 0
    remaining = [memoryview(one) for one in encoded]
    begun = time.monotonic()
    while remaining:
        sent = connection.sendmsg(remaining, (), flags)
        begun = _count(pace, begun, sent)
        while remaining and sent >= len(remaining[0]):
            sent -= len(remaining.pop(0))
        if sent:
            remaining[0] = remaining[0][sent:]


def _send_encrypted(connection: ssl.SSLSocket, encoded: Sequence[Encoded], pace: Pace) -> None:
    begun = time.monotonic()
    for part in _records(encoded):
        remaining = memoryview(part)
        while remaining:
            sent = connection.send(remaining)
            begun = _count(pace, begun, sent)
            remaining = remaining[sent:]


def _records(encoded: Sequence[Encoded]) -> Iterator[Encoded]:
    """Short pieces together: each that is sent becomes a record of TLS at least."""
    held = bytearray()
    for one in encoded:
        if len(one) >= _RECORD:
            if held:
                yield bytes(held)
                held.clear()
            yield one
        else:
            held += one
    if held:
        yield bytes(held)


def _count(pace: Pace, begun: float, sent: int) -> float:
    now = time.monotonic()
    pace.waited(now - begun, sent)
    if pace.is_over:
        raise TimeoutError("the peer takes too slowly")
    return now


class PduWindow:
    """Room for the PDUs of a stretch of a data set: heads at fixed places, and between them room for fragments."""

    def __init__(self, fragment_length: int) -> None:
        self._fragment_length = fragment_length
        self._pdu_length = _HEAD.size + fragment_length
        count = max(_WINDOW // self._pdu_length, 1)
        self._pdus = memoryview(bytearray(count * self._pdu_length))
        starts = range(0, len(self._pdus), self._pdu_length)
        self._fragments = [self._pdus[start + _HEAD.size : start + self._pdu_length] for start in starts]
        self._capacity = count * fragment_length
        self._context_id: int | None = None
        self._last: Sequence[int] = ()  # whose head says that its fragment is the last

    def pdus_of(self, file: ObjectFile, offset: int, context_id: int) -> Generator[memoryview, None, None]:
        """The PDUs of what stands in a file from `offset` on, a window at a time; the file is closed.

        Each is to be sent before the next is asked for. Raises ObjectMissing where the file becomes shorter.
        """
        with file:
            remaining = file.size - offset
            while remaining > self._capacity:
                yield self._filled(file, offset, self._capacity, context_id, is_last=False)
                offset += self._capacity
                remaining -= self._capacity
            last = self._filled(file, offset, remaining, context_id, is_last=True)
        yield last

    def _filled(self, file: ObjectFile, offset: int, length: int, context_id: int, *, is_last: bool) -> memoryview:
        whole, rest = divmod(length, self._fragment_length)
        buffers = self._fragments[:whole]
        if rest:
            buffers.append(self._fragments[whole][:rest])
        if file.read_into(buffers, offset) < length:
            raise ObjectMissing("the stored object is shorter than the index says; run `fileroom check`")
        for index in range(len(self._fragments)) if self._context_id != context_id else self._last:
            self._write_head(index, context_id, 0, self._fragment_length)
        self._context_id, self._last = context_id, ()
        if not is_last:
            return self._pdus
        index = max(len(buffers) - 1, 0)
        length_of_last = len(buffers[-1]) if buffers else 0
        self._write_head(index, context_id, LAST, length_of_last)
        self._last = (index,)
        return self._pdus[: index * self._pdu_length + _HEAD.size + length_of_last]

    def _write_head(self, index: int, context_id: int, control_header: int, length: int) -> None:
        _HEAD.pack_into(
            self._pdus, index * self._pdu_length, P_DATA_TF, length + 6, length + 2, context_id, control_header
        )
