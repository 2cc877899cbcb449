"""From fragments to DIMSE messages (PS3.8 E.2, PS3.7 6.3): bounded in number and size, and C-STORE without detours."""

import logging
import math
import mmap
import queue
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import IO, Any, Protocol, cast

from pydicom.config import IGNORE
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_FIND, C_STORE, N_EVENT_REPORT
from pynetdicom.pdu_primitives import P_DATA

from fileroom_server import command_set
from fileroom_server.upper_layer import UpperLayer
from fileroom_storage.errors import UnusableObject, UnusableReason

_log = logging.getLogger(__name__)

_COMMAND_SET_LIMIT = 1 << 16
_IDENTIFIER_LIMIT = 4 << 20
_IN_MEMORY = 16 << 20
_BEFORE_STORING = 1 << 16
_WAITING_MESSAGES = 16
_TOO_LONG = "the identifier is too long"
_UID_LENGTH = 64
_UID_KEYWORDS = (
    "AffectedSOPClassUID",
    "AffectedSOPInstanceUID",
    "RequestedSOPClassUID",
    "RequestedSOPInstanceUID",
)
# PS3.8 E.2: the bits of a message control header
_IS_COMMAND = 0x01
_IS_LAST = 0x02
_C_STORE_RSP = 0x8001


class Incoming(Protocol):
    """An object on its way into storage."""

    def write(self, fragment: bytes | memoryview) -> None: ...

    def discard(self) -> None: ...


BeginObject = Callable[[C_STORE, int], Incoming | None]


class ReceivedDataSet(BytesIO):
    """A data set that is being received: a small one in memory, a larger one in storage or in a temporary file.

    `begin` begins to store it, or returns None where that cannot be done before all of it is here. Of what is longer
    than `limit` nothing is kept.
    """

    def __init__(self, begin: Callable[[], Incoming | None] | None = None, limit: float = math.inf) -> None:
        super().__init__()
        self.incoming: Incoming | None = None
        self._begin = begin
        self._limit = limit
        self._failure: Exception | None = None
        self._file: IO[bytes] | None = None
        self._size = 0

    @property
    def size(self) -> int:
        return self._size

    def write(self, fragment: bytes | memoryview) -> int:  # type: ignore[override]  # what is received has no other type
        if self._begin is not None and self._size + len(fragment) > _BEFORE_STORING:
            self._start_storing()
        self._size += len(fragment)
        if self._size > self._limit:
            self._give_up()
        if self.incoming is not None or self._failure is not None:
            self._store(fragment)
            return len(fragment)
        if self._file is None and self._size > _IN_MEMORY:
            self._file = tempfile.TemporaryFile(prefix="fileroom-")  # noqa: SIM115  # as long as the data set lives
            weakref.finalize(self, self._file.close)
            self._file.write(super().getbuffer())
            super().seek(0)
            super().truncate()
        return super().write(fragment) if self._file is None else self._file.write(fragment)

    def end(self) -> None:
        """Nothing more comes."""
        self._begin = None  # it knows the request, and that knows this: it would all stay until cycles are collected

    def check(self) -> None:
        """Raises what went wrong while it was received; the peer has to send it to its end before it can be told."""
        if self._failure is not None:
            raise self._failure

    def discard(self) -> None:
        self.end()
        if self.incoming is not None:
            self.incoming.discard()

    def getbuffer(self) -> memoryview:
        """The data set without a copy of it."""
        if self._file is None:
            return super().getbuffer()
        self._file.flush()
        return memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))

    def _start_storing(self) -> None:
        begin, self._begin = self._begin, None
        try:
            self.incoming = begin() if begin is not None else None
        except Exception as error:  # noqa: BLE001  # told to the peer once all has come
            self._failure = error
        if self.incoming is not None and self._size:
            self._store(super().getbuffer())

    def _give_up(self) -> None:
        self.discard()
        self.incoming, self._limit = None, math.inf
        self._failure = UnusableObject(
            UnusableReason.TOO_LARGE, "larger than dicom.maximum_object_size, so nothing is kept"
        )

    def _store(self, fragment: bytes | memoryview) -> None:
        if self.incoming is None:
            return  # what is left of an object that could not be stored
        try:
            self.incoming.write(fragment)
        except Exception as error:  # noqa: BLE001  # as above
            self.incoming.discard()
            self.incoming, self._failure = None, error


_NOTHING = ReceivedDataSet()


class BoundedReceiver(DIMSEServiceProvider):
    """Puts fragments together to messages, as pynetdicom does, within bounds; a peer that leaves them is aborted."""

    def __init__(self, association: Any) -> None:
        super().__init__(association)
        self._command = bytearray()
        self._context_id = 0
        self._request: C_STORE | C_FIND | None = None  # whose data set is being received
        self._data_set = _NOTHING
        self.begin_object: BeginObject = _in_memory

    @property
    def is_receiving(self) -> bool:
        """Whether a message has begun and has not ended."""
        return bool(self._command) or self._request is not None or self.message is not None

    @property
    def is_busy(self) -> bool:
        """Whether there is a message, or a part of one, that has not been served."""
        return self.is_receiving or bool(self.msg_queue.qsize())

    def get_msg(self, block: bool = False) -> tuple[Any, Any]:
        if block:
            cast("UpperLayer", self.dul).work(self.msg_queue.qsize, self.dimse_timeout)
        return super().get_msg(block=False)

    def receive_fragment(self, context_id: int, control_header: int, fragment: memoryview) -> None:
        """One presentation data value."""
        try:
            if control_header & _IS_COMMAND:
                self._receive_command(context_id, control_header, fragment)
            elif self._request is not None:
                self._receive_data_set(control_header, fragment)
            else:
                self._receive(_p_data(context_id, control_header, fragment))
        except Exception as error:  # noqa: BLE001  # whatever a peer sends must not end the thread that reads from it
            self._give_up(error)

    def receive_primitive(self, primitive: P_DATA) -> None:
        try:
            self._receive(primitive)
        except Exception as error:  # noqa: BLE001  # as above
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        _log.warning(
            "association with %s aborted: it sent an unusable message (%s)",
            self.assoc.remote["address"],
            error if isinstance(error, _Unbounded) else type(error).__name__,
        )
        self.forget()
        self.dul.event_queue.put("Evt19")

    def forget(self) -> None:
        """Gives up what has come of a message, and what nobody has answered yet."""
        given_up: list[Any] = [self._request]
        self.message = self._request = None
        self._command.clear()
        with suppress(queue.Empty):
            while True:
                given_up.append(self.msg_queue.get(block=False)[1])
        for request in given_up:
            data_set = getattr(request, "DataSet", None)
            if isinstance(data_set, ReceivedDataSet):
                data_set.discard()

    def _receive_command(self, context_id: int, control_header: int, fragment: memoryview) -> None:
        self._command += fragment
        if len(self._command) > _COMMAND_SET_LIMIT:
            raise _Unbounded("the command set is too long")
        if not control_header & _IS_LAST:
            return
        command = bytes(self._command)
        self._command.clear()
        if self.message is None and self._request is None:
            elements = command_set.decode_command_set(command)
            field = command_set.number(elements, command_set.COMMAND_FIELD)
            if field == command_set.C_STORE_RQ:
                store = _store_request(elements)
                self._begin(context_id, store, elements, partial(self.begin_object, store, context_id))
                return
            if field == command_set.C_FIND_RQ:
                self._begin(context_id, _find_request(elements), elements)
                return
            if field == _C_STORE_RSP:
                self._deliver(context_id, _store_response(elements))
                return
            if field == command_set.N_EVENT_REPORT_RSP and not _has_data_set(elements):
                self._deliver(context_id, _event_report_response(elements))
                return
        self._receive(_p_data(context_id, control_header, memoryview(command)))

    def _begin(
        self,
        context_id: int,
        request: C_STORE | C_FIND,
        elements: dict[int, bytes],
        begin: Callable[[], Incoming | None] | None = None,
    ) -> None:
        if not _has_data_set(elements):
            self._deliver(context_id, request)
            return
        limit = getattr(self.assoc.ae, "maximum_object_size", 0) or math.inf
        self._context_id, self._request, self._data_set = context_id, request, ReceivedDataSet(begin, limit)
        if isinstance(request, C_STORE):
            request.DataSet = self._data_set
        else:
            request.Identifier = self._data_set

    def _receive_data_set(self, control_header: int, fragment: memoryview) -> None:
        request, data_set = self._request, self._data_set
        data_set.write(fragment)
        if data_set.size > _IDENTIFIER_LIMIT and not isinstance(request, C_STORE):
            raise _Unbounded(_TOO_LONG)
        if control_header & _IS_LAST:
            data_set.end()
            self._request, self._data_set = None, _NOTHING
            self._deliver(self._context_id, request)

    def _receive(self, primitive: P_DATA) -> None:
        if self.message is None:
            self.message = DIMSEMessage()
            self.message.data_set = ReceivedDataSet()
        message = self.message
        if not message.decode_msg(primitive, self.assoc):
            _check_size(message)
            return
        _check_size(message)
        self.message = None
        evt.trigger(self.assoc, evt.EVT_DIMSE_RECV, {"message": message})
        _drop_unusable_uids(message)
        request = message.message_to_primitive()
        if isinstance(request, C_CANCEL):
            if request.MessageIDBeingRespondedTo is not None and len(self.cancel_req) < _WAITING_MESSAGES:
                self.cancel_req[request.MessageIDBeingRespondedTo] = request
            return
        self._deliver(cast("int", message.context_id), request)

    def _deliver(self, context_id: int, message: Any) -> None:
        # PS3.7 D.3.3.3: one operation at a time, since no asynchronous operations window is negotiated
        if self.msg_queue.qsize() >= _WAITING_MESSAGES:
            raise _Unbounded("too many requests at a time")
        self.msg_queue.put((context_id, message))


class _Unbounded(Exception):
    """A message that leaves its bounds."""


def _in_memory(_request: C_STORE, _context_id: int) -> Incoming | None:
    return None


def _p_data(context_id: int, control_header: int, fragment: memoryview) -> P_DATA:
    primitive = P_DATA()
    primitive.presentation_data_value_list.append((context_id, bytes((control_header,)) + fragment))
    return primitive


def _store_request(elements: dict[int, bytes]) -> C_STORE:
    """PS3.7 9.3.1.1; what is missing or cannot be a value stays None, and is answered."""
    request = C_STORE()
    # past pynetdicom's setters, which check UIDs thrice
    request._message_id = command_set.number(elements, command_set.MESSAGE_ID)
    request._priority = command_set.number(elements, 0x0700) or 0
    request._affected_sop_class_uid = _uid(elements, 0x0002)
    request._affected_sop_instance_uid = _uid(elements, 0x1000)
    return request


def _find_request(elements: dict[int, bytes]) -> C_FIND:
    """PS3.7 9.3.2.1; as above."""
    request = C_FIND()
    request._message_id = command_set.number(elements, command_set.MESSAGE_ID)
    request._priority = command_set.number(elements, 0x0700) or 0
    request._affected_sop_class_uid = _uid(elements, 0x0002)
    return request


def _store_response(elements: dict[int, bytes]) -> C_STORE:
    """PS3.7 9.3.1.2"""
    response = C_STORE()
    response.MessageIDBeingRespondedTo = command_set.number(elements, 0x0120)
    response.Status = command_set.number(elements, 0x0900)
    return response


def _event_report_response(elements: dict[int, bytes]) -> N_EVENT_REPORT:
    """PS3.7 10.1.1.1; an Event Reply, which storage commitment has none of, makes it pynetdicom's to decode."""
    response = N_EVENT_REPORT()
    response.MessageIDBeingRespondedTo = command_set.number(elements, 0x0120)
    response.Status = command_set.number(elements, 0x0900)
    return response


def _has_data_set(elements: dict[int, bytes]) -> bool:
    return command_set.number(elements, command_set.DATA_SET_TYPE) != command_set.NO_DATA_SET


def _uid(elements: dict[int, bytes], tag: int) -> UID | None:
    text = command_set.text(elements, tag)
    # a UID that is none is kept as it came
    return UID(text, IGNORE) if text is not None and len(text) <= _UID_LENGTH else None


def _check_size(message: DIMSEMessage) -> None:
    if message.encoded_command_set.tell() > _COMMAND_SET_LIMIT:
        raise _Unbounded("the command set is too long")
    data_set = message.data_set
    # only an object may be large; before the command set is complete, nobody knows what is coming
    if isinstance(data_set, ReceivedDataSet) and data_set.size > _IDENTIFIER_LIMIT and type(message) is not C_STORE_RQ:
        raise _Unbounded(_TOO_LONG)


def _drop_unusable_uids(message: DIMSEMessage) -> None:
    """Takes out UIDs that pynetdicom would raise for, so that the request is answered with what it lacks."""
    for keyword in _UID_KEYWORDS:
        if keyword in message.command_set and len(str(message.command_set[keyword].value or "")) > _UID_LENGTH:
            del message.command_set[keyword]
