"""The upper layer service provider (PS3.8 9) without a thread of its own: whoever waits for the peer does its work.

pynetdicom's has a thread for each connection and one for each association, which look every millisecond whether there
is something to do. Here both wait, in one thread, for the socket.
"""

import logging
import os
import queue
import select
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import TRANSITION_TABLE, StateMachine
from pynetdicom.pdu_primitives import P_DATA

from fileroom_server.pdu_reading import PDU_HEAD, PDU_TYPES, ConnectionEnded, PduSocket
from fileroom_server.pdu_writing import P_DATA_TF, Encoded, send_encoded

if TYPE_CHECKING:
    from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE, A_P_ABORT, A_RELEASE

    Primitive = A_ASSOCIATE | A_RELEASE | A_ABORT | A_P_ABORT | P_DATA

_log = logging.getLogger(__name__)

# PS3.8 9.2.1: the events that come of a primitive in the queue of the service provider
_PRIMITIVE_EVENTS = frozenset({"Evt1", "Evt7", "Evt8", "Evt9", "Evt11", "Evt14", "Evt15"})
_DATA_TRANSFER = "Sta6"
_CLOSING = "Sta13"
_IDLE = "Sta1"
_PRESENTATION_DATA_VALUE_HEAD = struct.Struct(">IBB")
_LONGEST_WAIT = 10.0
_OTHER_THREAD_SECONDS = 0.2


class FragmentReceiver(Protocol):
    """What takes the fragments of messages."""

    @property
    def is_receiving(self) -> bool: ...

    def receive_fragment(self, context_id: int, control_header: int, fragment: memoryview) -> None: ...


class TolerantStateMachine(StateMachine):
    """The state machine of PS3.8 9.2, for peers that leave it: what cannot happen ends the connection, not a thread."""

    def do_action(self, event: str) -> None:
        if event in _PRIMITIVE_EVENTS and (event, self.current_state) not in TRANSITION_TABLE:
            # what was to be sent when the peer went away
            with suppress(queue.Empty):
                self.dul.to_provider_queue.get(block=False)
            return
        try:
            super().do_action(event)
        except Exception as error:  # noqa: BLE001  # see above
            _log.warning(
                "connection with %s closed: %s in state %s (%s)",
                self.dul.assoc.remote["address"],
                event,
                self.current_state,
                type(error).__name__,
            )
            if self.dul.socket is not None:
                self.dul.socket.close()
            self.dul.kill_dul()


class UpperLayer(DULServiceProvider):
    """Any thread may do the provider's work, one at a time: the association's own in `work`, others as they send."""

    def __init__(self, association: Association) -> None:
        super().__init__(association)
        self.state_machine = TolerantStateMachine(self)
        self._running = False
        self._working = threading.RLock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._wake)
        self._poll: select.poll | None = None
        self._polled: socket.socket | None = None  # what it looks at
        self._is_readable = False

    def start(self) -> None:
        self._idle_timer.start()
        self._running = True
        self.assoc._dul_ready.set()

    def is_alive(self) -> bool:
        return self._running and not self._kill_thread

    def work(self, done: Callable[[], object], timeout: float | None = None) -> bool:
        """Sends and receives until `done` holds; False when the time (in seconds) or the connection is over before."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._working:
            while True:
                if done():
                    return True
                if self._kill_thread:
                    return False
                if self._step():
                    continue
                remaining = _LONGEST_WAIT if deadline is None else deadline - time.monotonic()
                if remaining <= 0:
                    return False
                self._wait(remaining)

    def wake(self) -> None:
        """Has whoever is in `work` look at what it waits for; for any thread."""
        os.eventfd_write(self._wake, 1)

    def send_pdu(self, primitive: "Primitive") -> None:
        super().send_pdu(primitive)
        self._send_queued()

    def send_data(self, pdus: Sequence[Encoded], *, more: bool = False) -> None:
        """P-DATA-TF PDUs as they are encoded; with `more`, others follow at once. Raises ConnectionError."""
        with self._working:
            self._send_queued()
            connection = self.socket
            if self.state_machine.current_state != _DATA_TRANSFER or connection is None or connection.socket is None:
                raise ConnectionError("the association ended")
            try:
                send_encoded(connection.socket, pdus, cast("PduSocket", connection).sending_pace, more=more)
            except OSError as error:
                if isinstance(error, TimeoutError):
                    _log.warning("association with %s ended: it takes too slowly", self.assoc.remote["address"])
                self.event_queue.put("Evt17")
                raise ConnectionError("the connection ended while a message was sent") from error

    def receive_pdu(
        self, wait: bool = False, timeout: float | None = None
    ) -> "A_ASSOCIATE | A_RELEASE | A_ABORT | A_P_ABORT | None":
        if wait:
            self.work(self.to_user_queue.qsize, timeout)
        return super().receive_pdu(wait=False)

    def peek_next_pdu(self) -> "A_ASSOCIATE | A_RELEASE | A_ABORT | A_P_ABORT | None":
        if self.is_alive():
            self.work(self.to_user_queue.qsize, 0)
        return super().peek_next_pdu()

    def stop_dul(self) -> bool:
        self.work(self._is_idle, 0)
        if not self._is_idle():
            return False
        self._kill_thread = True
        return True

    def _is_idle(self) -> bool:
        return bool(self.state_machine.current_state == _IDLE)

    def _send_queued(self) -> None:
        """Sends what has queued, or has it sent by the thread that is just at work."""
        is_free = self._working.acquire(blocking=False)
        if not is_free:
            self.wake()
            is_free = self._working.acquire(timeout=_OTHER_THREAD_SECONDS)
        if is_free:
            try:
                while not self._kill_thread and (self.to_provider_queue.queue or not self.event_queue.empty()):
                    self._step(receive=False)
            finally:
                self._working.release()

    def _step(self, *, receive: bool = True) -> bool:
        """One primitive sent or one PDU received, and what follows from it; False where there is nothing to do."""
        if self.artim_timer.expired:
            self.event_queue.put("Evt18")
        if self.event_queue.empty() and not self._process_recv_primitive() and receive and self._is_transport_event():
            self._idle_timer.restart()
            if self.event_queue.empty():
                return True
        try:
            event = self.event_queue.get(block=False)
        except queue.Empty:
            return False
        self.state_machine.do_action(event)
        return True

    def _wait(self, seconds: float) -> None:
        """Until there is something to receive or to send."""
        connection = self.socket
        watched = connection.socket if connection is not None and connection._is_connected else None
        if watched is not self._polled or self._poll is None:
            self._poll, self._polled = select.poll(), watched
            self._poll.register(self._wake, select.POLLIN)
            if watched is not None:
                self._poll.register(watched, select.POLLIN)
        if self.artim_timer._start_time is not None and self.artim_timer.timeout is not None:
            seconds = min(seconds, max(self.artim_timer.remaining, 0) + 0.001)
        begun = time.monotonic()
        ready = self._poll.poll(1000 * min(seconds, _LONGEST_WAIT))
        if isinstance(connection, PduSocket):
            if cast("FragmentReceiver", cast("object", self.assoc.dimse)).is_receiving:
                self._count_waiting(connection, time.monotonic() - begun)
            else:
                connection.pace.rest()
            if not ready:
                connection.let_go_of_buffer()
        for descriptor, _ in ready:
            if descriptor == self._wake:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            else:
                self._is_readable = True

    def _count_waiting(self, connection: PduSocket, seconds: float) -> None:
        """For the rest of a message that has begun: fragments that come one by one are no way to stay for ever."""
        connection.pace.waited(seconds, 0)
        if connection.pace.is_over:
            _log.warning("association with %s aborted: it sends too slowly", self.assoc.remote["address"])
            connection.pace.rest()
            self.event_queue.put("Evt19")

    def _is_transport_event(self) -> bool:
        connection = self.socket
        if connection is None:
            return False
        is_polled, self._is_readable = self._is_readable, False
        if cast("PduSocket", connection).is_readable(is_polled=is_polled):
            self._read_pdu_data()
            return True
        if self.state_machine.current_state == _CLOSING:
            # nothing more comes, so the connection need not stay open for it
            connection.close()
            return True
        return False

    def _read_pdu_data(self) -> None:
        """One PDU from the peer (PS3.8 9.3); what it brings becomes an event."""
        connection = self.socket
        if connection is None:
            return
        try:
            kind, content = cast("PduSocket", connection).read_pdu()
        except OSError as error:
            if isinstance(error, ConnectionEnded) and connection._is_connected:
                connection.close()  # puts Evt17; nothing else would close our end of it
            else:
                self.event_queue.put("Evt17")
            return
        if kind not in PDU_TYPES:
            self.event_queue.put("Evt19")
        elif kind == P_DATA_TF and self.state_machine.current_state == _DATA_TRANSFER:
            # PS3.8 9.2: DT-2 leaves the state as it is
            self._receive_data(content)
        else:
            self._decode(bytearray(PDU_HEAD.pack(kind, 0, len(content)) + content))

    def _decode(self, pdu: bytearray) -> None:
        try:
            decoded, event = self._decode_pdu(pdu)
        except Exception as error:  # noqa: BLE001  # whatever a peer sends
            _log.warning(
                "connection with %s: a PDU cannot be read (%s)", self.assoc.remote["address"], type(error).__name__
            )
            self.event_queue.put("Evt19")
            return
        self._recv_pdu.put(decoded)
        self.event_queue.put(event)

    def _receive_data(self, items: memoryview) -> None:
        """The presentation data values of a P-DATA-TF PDU (PS3.8 9.3.5.1); nobody may keep their views."""
        receiver = cast("FragmentReceiver", cast("object", self.assoc.dimse))
        offset, end = 0, len(items)
        while offset < end:
            if offset + 6 > end:
                self.event_queue.put("Evt19")
                return
            length, context_id, control_header = _PRESENTATION_DATA_VALUE_HEAD.unpack_from(items, offset)
            following = offset + 4 + length
            if length < 2 or following > end:
                self.event_queue.put("Evt19")
                return
            receiver.receive_fragment(context_id, control_header, items[offset + 6 : following])
            offset = following
