"""Connections from their acceptance to their A-ASSOCIATE-RQ, all in one thread: who says nothing costs no other."""

import errno
import logging
import resource
import selectors
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from fileroom_server.association_counts import NoRoom, ReceiverPlace
from fileroom_server.occasional_log import OccasionalLog
from fileroom_server.pdu_reading import A_ABORT_INVALID_VALUE, LEAST_PDU_LIMIT, PDU_HEAD, PDU_TYPES
from fileroom_server.prompt_socket import PromptSocket
from fileroom_server.tls import failure_of
from fileroom_server.tls_files import TlsContext

_log = logging.getLogger(__name__)

_A_ASSOCIATE_RQ = 0x01
_TLS_HANDSHAKE = 0x16  # RFC 8446 5.1: the first byte of a ClientHello's record
# PS3.8 9.3.2: where the calling AE title stands
_CALLING_AE_TITLE = slice(26, 42)
# PS3.8 9.3.8: by the service provider; the reason follows
_A_ABORT = b"\x07\x00\x00\x00\x00\x04\x00\x00\x02"
_UNRECOGNIZED_PDU, _UNEXPECTED_PDU = b"\x01", b"\x02"
# PS3.8 9.3.4: transient, by the presentation service provider, local-limit-exceeded or temporary-congestion
_LIMIT_EXCEEDED = b"\x03\x00\x00\x00\x00\x04\x00\x02\x03\x02"
_CONGESTION = b"\x03\x00\x00\x00\x00\x04\x00\x02\x03\x01"
# PS3.8 9.3.4: permanent, by the service provider (ACSE), no reason given
_WITHOUT_TLS = b"\x03\x00\x00\x00\x00\x04\x00\x01\x02\x01"

_MOST_CONNECTIONS = 1024
_MOST_BYTES = 32 << 20  # of requests that have not come whole
_READ = 1 << 16
_FAREWELL_SECONDS = 2.0
_FAREWELL_BYTES = 1 << 20
_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# what a peer with many connections must not have to wait for
_FEW = 16
_SPARED = 16  # descriptors


class Caller:
    """A connection that has not asked for an association yet."""

    def __init__(self, connection: socket.socket, address: tuple[str, int], deadline: float) -> None:
        self.connection = connection
        self.address = address
        self.deadline = deadline
        self.received = bytearray()
        self.step: Callable[[Caller], None] = lambda _caller: None
        self.refusal: bytes | None = None  # what its request is answered with, whatever it says
        self.discarded = 0

    @property
    def host(self) -> str:
        return self.address[0]


class Refusal(NamedTuple):
    """Somebody who was not let in: with what PS3.8 9.3.4 calls result, source and reason; none where TLS failed."""

    address: str
    calling_ae_title: str
    codes: tuple[int, ...]
    reason: str


# takes over the connection of a caller, with a slot of its place; False where that is not possible
Begin = Callable[[Caller, int], bool]


class Reception:
    """Accepts connections at a socket that other processes may listen at too, and hands on those that ask."""

    def __init__(
        self,
        listener: socket.socket,
        place: ReceiverPlace,
        begin: Begin,
        patience: float | None,
        tls: TlsContext | None = None,
        *,
        tls_is_required: bool = True,
        refused: Callable[[Refusal], None] = lambda _refusal: None,
    ) -> None:
        self._listener = listener
        self._place = place
        self._begin = begin
        self._patience = float("inf") if patience is None else patience
        self._tls = tls
        self._tls_is_required = tls_is_required
        self._refused = refused
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._callers: OrderedDict[Caller, None] = OrderedDict()  # the oldest first
        self._leaving: OrderedDict[Caller, None] = OrderedDict()
        self._buffered = 0
        self._told = OccasionalLog(_log)
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = min(_MOST_CONNECTIONS, max(descriptors // 4, _FEW))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for caller in (*self._callers, *self._leaving):
            self._close(caller)
        self._selector.close()

    def __len__(self) -> int:
        """Connections that wait here."""
        return len(self._callers)

    def turn(self, seconds: float, associations: Callable[[], int]) -> bool:
        """Does what there is to do, waiting for it at most so long; whether there was a new connection, or nothing.

        `associations` tells how many there are, for the work to be shared out.
        """
        ready = self._selector.select(seconds)
        has_called = False
        for key, _ in ready:
            if key.fileobj is self._listener:
                has_called = True
            else:
                self._advance(key.data)
        if has_called:
            self._accept(associations)
        self._let_go_of_late()
        self._told.flush()
        return has_called or not ready

    def _accept(self, associations: Callable[[], int]) -> None:
        count = associations() + len(self._callers)
        if len(self._callers) < _FEW:
            self._place.give_way(count)
        try:
            connection, address = self._listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF_DESCRIPTORS:
                self._spare_descriptors(error)
            return  # else another process was faster
        self._place.publish(count + 1)
        while len(self._callers) + len(self._leaving) >= self._most:
            self._let_go_of_oldest(address[0])
        caller = Caller(PromptSocket.of(connection), address[:2], time.monotonic() + self._patience)
        caller.connection.setblocking(False)
        caller.step = self._look_for_tls
        self._callers[caller] = None
        try:
            self._selector.register(caller.connection, selectors.EVENT_READ, caller)
        except OSError:
            self._forget(caller)

    def _advance(self, caller: Caller) -> None:
        if caller not in self._callers and caller not in self._leaving:
            return  # it had to go for another, in this very turn
        try:
            caller.step(caller)
        except (ssl.SSLWantReadError, BlockingIOError):
            self._selector.modify(caller.connection, selectors.EVENT_READ, caller)
        except ssl.SSLWantWriteError:
            self._selector.modify(caller.connection, selectors.EVENT_WRITE, caller)
        except OSError:
            self._forget(caller)
        except Exception as error:  # noqa: BLE001  # whatever a caller sends, others are still waited for
            _log.warning("connection from %s closed (%s)", caller.host, type(error).__name__)
            self._forget(caller)

    # -- what a caller does, step by step ------------------------------------------------------------------------

    def _look_for_tls(self, caller: Caller) -> None:
        first = caller.connection.recv(1, socket.MSG_PEEK)
        if not first:
            self._forget(caller)
            return
        speaks_tls = first[0] == _TLS_HANDSHAKE
        if speaks_tls and self._tls is not None:
            self._start_tls(caller, self._tls.current())
            return
        if speaks_tls:
            self._told.warning("connection from %s closed: it speaks TLS; see [dicom.tls]", caller.host)
            self._forget(caller)
            return
        if self._tls is not None and self._tls_is_required:
            caller.refusal = _WITHOUT_TLS
        caller.step = self._receive
        self._receive(caller)

    def _start_tls(self, caller: Caller, context: ssl.SSLContext) -> None:
        self._selector.unregister(caller.connection)
        caller.connection = context.wrap_socket(caller.connection, server_side=True, do_handshake_on_connect=False)
        self._selector.register(caller.connection, selectors.EVENT_READ, caller)
        caller.step = self._shake_hands
        self._shake_hands(caller)

    def _shake_hands(self, caller: Caller) -> None:
        connection = caller.connection
        if not isinstance(connection, ssl.SSLSocket):
            return
        try:
            connection.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            reason = failure_of(error)
            self._told.warning("connection from %s closed: no TLS, %s", caller.host, reason, kind=reason)
            self._refused(Refusal(caller.host, "", (), reason))
            self._say_farewell(caller)  # OpenSSL has sent an alert
            return
        caller.step = self._receive
        self._receive(caller)

    def _receive(self, caller: Caller) -> None:
        received = caller.received
        while chunk := caller.connection.recv(_READ):
            received += chunk
            self._buffered += len(chunk)
            if len(received) < PDU_HEAD.size:
                continue
            kind, _, length = PDU_HEAD.unpack_from(received)
            if kind not in PDU_TYPES or length > LEAST_PDU_LIMIT or kind != _A_ASSOCIATE_RQ:
                self._end_garbage(caller, kind, length)
                return
            if len(received) >= PDU_HEAD.size + length:
                self._let_in(caller)
                return
            if self._buffered > _MOST_BYTES:
                self._forget(max(self._callers, key=lambda one: len(one.received)))
                return
        self._forget(caller)

    def _end_garbage(self, caller: Caller, kind: int, length: int) -> None:
        # PS3.8 Table 9-10: AA-1 in Sta2
        if length > LEAST_PDU_LIMIT and kind in PDU_TYPES:
            self._told.warning(
                "association with %s aborted: it announced a PDU of %d bytes, %d are accepted",
                caller.host,
                length,
                LEAST_PDU_LIMIT,
            )
            answer = A_ABORT_INVALID_VALUE
        else:
            answer = _A_ABORT + (_UNEXPECTED_PDU if kind in PDU_TYPES else _UNRECOGNIZED_PDU)
        self._answer(caller, answer)

    def _let_in(self, caller: Caller) -> None:
        if caller.refusal is not None:
            self._refuse(caller, caller.refusal, "it does not speak TLS; see dicom.tls.required")
            return
        slot = self._place.take(caller.host)
        if isinstance(slot, NoRoom):
            self._refuse(caller, _LIMIT_EXCEEDED, self._reason(slot))
            return
        self._selector.unregister(caller.connection)
        self._buffered -= len(caller.received)
        del self._callers[caller]
        try:
            has_begun = self._has_begun(caller, slot)
        except Exception:
            self._place.give_back(slot)
            raise
        if not has_begun:
            self._place.give_back(slot)
            self._callers[caller] = None
            self._buffered += len(caller.received)
            self._selector.register(caller.connection, selectors.EVENT_READ, caller)
            self._refuse(caller, _CONGESTION, "there are too many threads or open files")

    def _has_begun(self, caller: Caller, slot: int) -> bool:
        for _ in range(2):
            try:
                return self._begin(caller, slot)
            except OSError as error:
                if error.errno not in _OUT_OF_DESCRIPTORS:
                    raise
                self._spare_descriptors(error)
        return False

    def _spare_descriptors(self, error: OSError) -> None:
        """From now on fewer connections wait here, so that those who work have what they need."""
        self._told.warning("a connection cannot be accepted: %s; see the limit of open files", error.strerror)
        self._most = max(len(self._callers) + len(self._leaving) - _SPARED, _FEW)
        while len(self._callers) + len(self._leaving) > self._most:
            self._let_go_of_oldest()

    def _reason(self, limit: NoRoom) -> str:
        if limit is NoRoom.OF_ADDRESS:
            maximum = self._place.maximum_per_address
            return f"there are {maximum} associations from there already; see dicom.maximum_associations_per_address"
        return f"there are {self._place.maximum} associations already; see dicom.maximum_associations"

    def _refuse(self, caller: Caller, pdu: bytes, reason: str) -> None:
        title = bytes(caller.received[_CALLING_AE_TITLE]).decode("ascii", "replace").strip(" \0")
        self._told.warning("association with %s at %s rejected: %s", title, caller.host, reason, kind=reason)
        self._refused(Refusal(caller.host, title, tuple(pdu[-3:]), reason))
        self._answer(caller, pdu)

    # -- ends ----------------------------------------------------------------------------------------------------

    def _answer(self, caller: Caller, pdu: bytes) -> None:
        """Sends the last PDU that this caller gets."""
        with suppress(OSError):
            caller.connection.send(pdu)
        self._say_farewell(caller)

    def _say_farewell(self, caller: Caller) -> None:
        """Lets the peer close the connection: to close it on unread bytes would take back what was sent (RFC 1122)."""
        if caller not in self._callers:
            return
        del self._callers[caller]
        self._buffered -= len(caller.received)
        caller.received.clear()
        with suppress(OSError):
            caller.connection.shutdown(socket.SHUT_WR)
        caller.deadline = time.monotonic() + _FAREWELL_SECONDS
        caller.step = self._discard
        self._leaving[caller] = None
        self._selector.modify(caller.connection, selectors.EVENT_READ, caller)

    def _discard(self, caller: Caller) -> None:
        while chunk := caller.connection.recv(_READ):
            caller.discarded += len(chunk)
            if caller.discarded > _FAREWELL_BYTES:
                break
        self._forget(caller)

    def _let_go_of_late(self) -> None:
        now = time.monotonic()
        for waiting in (self._leaving, self._callers):
            while waiting and (oldest := next(iter(waiting))).deadline <= now:
                self._forget(oldest)

    def _let_go_of_oldest(self, host: str | None = None) -> None:
        """The oldest of those that have been answered; else of a host that has too many; else of all."""
        if self._leaving:
            self._forget(next(iter(self._leaving)))
            return
        of_host = [caller for caller in self._callers if caller.host == host] if host is not None else []
        if 2 * len(of_host) > self._most:
            self._forget(of_host[0])
        elif self._callers:
            self._forget(next(iter(self._callers)))
        self._told.warning("a connection that had not asked for an association was closed: there are too many")

    def _forget(self, caller: Caller) -> None:
        if caller in self._callers:
            del self._callers[caller]
            self._buffered -= len(caller.received)
        self._leaving.pop(caller, None)
        self._close(caller)

    def _close(self, caller: Caller) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(caller.connection)
        with suppress(OSError):
            caller.connection.close()
