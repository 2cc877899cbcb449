"""DIMSE requests and responses: from a request to its handler, from the handler's responses to the peer."""

import logging
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_ECHO, C_FIND, C_GET, C_MOVE, C_STORE, N_ACTION, N_EVENT_REPORT
from pynetdicom.presentation import PresentationContext

from fileroom_server.access import check_allowed
from fileroom_server.command_set import DATA_SET_PRESENT, NO_DATA_SET, encode_command_set
from fileroom_server.dimse_record import RecordedRequest, count_error
from fileroom_server.received_messages import BoundedReceiver
from fileroom_server.sent_messages import fragment_length, fragments_of, is_over, send_message
from fileroom_server.status import PROCESSING_FAILURE, SUCCESS, InvalidRequest, Service, Status, status_of

_log = logging.getLogger(__name__)

Message = C_STORE | C_FIND | C_MOVE | C_GET | N_ACTION

# between two looks at whether there is still somebody who wants to be answered
_LOOK_SECONDS = 0.005

_SERVICES: dict[type[Message], Service] = {
    C_STORE: Service.C_STORE,
    C_FIND: Service.C_FIND,
    C_MOVE: Service.C_MOVE,
    C_GET: Service.C_GET,
    N_ACTION: Service.N_ACTION,
}
# PS3.7 E.1
_RESPONSE_FIELDS: dict[type[Message], int] = {
    C_STORE: 0x8001,
    C_GET: 0x8010,
    C_FIND: 0x8020,
    C_MOVE: 0x8021,
    N_ACTION: 0x8130,
}


@dataclass(frozen=True, slots=True)
class SubOperations:
    """What a C-MOVE or C-GET tells of its C-STORE sub-operations (PS3.7 9.3.4.2)."""

    remaining: int | None
    completed: int
    failed: int
    warning: int


@dataclass(frozen=True, slots=True)
class Response:
    """One response of a handler: `identifier` is encoded in the transfer syntax of the request.

    With `more`, something else follows over the same association at once, and may go out with it.
    """

    status: Status
    identifier: bytes | None = None
    sub_operations: SubOperations | None = None
    more: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A DIMSE request as its handler sees it."""

    association: Association
    message: Message
    context: PresentationContext

    @property
    def context_id(self) -> int:
        return cast("int", self.context.context_id)

    @property
    def sop_class_uid(self) -> UID:
        message = self.message
        return cast(
            "UID", message.RequestedSOPClassUID if isinstance(message, N_ACTION) else message.AffectedSOPClassUID
        )

    @property
    def sop_instance_uid(self) -> UID | None:
        """Of a request that is about one instance."""
        if isinstance(self.message, N_ACTION):
            return self.message.RequestedSOPInstanceUID
        return self.message.AffectedSOPInstanceUID if isinstance(self.message, C_STORE) else None

    @property
    def abstract_syntax(self) -> UID:
        return cast("UID", self.context.abstract_syntax)

    @property
    def transfer_syntax(self) -> UID:
        return self.context.transfer_syntax[0]

    @property
    def data_set(self) -> memoryview:
        """The data set, identifier or Action Information as it is encoded."""
        message = self.message
        if isinstance(message, N_ACTION):
            received = message.ActionInformation
        else:
            received = message.DataSet if isinstance(message, C_STORE) else message.Identifier
        return received.getbuffer() if received is not None else memoryview(b"")

    @property
    def calling_ae_title(self) -> str:
        return str(self.association.requestor.ae_title).strip(" ")

    def is_cancelled(self) -> bool:
        return self.message.MessageID in self.association.dimse.cancel_req

    def is_over(self) -> bool:
        """Whether there is nobody left to answer."""
        return is_over(self.association)


Handler = Callable[[Request], Iterable[Response]]
Handlers = Mapping[type[Message], Handler]


def checked(handler: Handler) -> Handler:
    """The same handler, for requests that are whole and that this peer may make; all others are errors."""
    return partial(_checked, handler)


def _checked(handler: Handler, request: Request) -> Iterator[Response]:
    if not request.message.is_valid_request:
        raise InvalidRequest(f"{_missing(request.message)} is missing or too long")
    check_allowed(request.association, request.message)
    yield from handler(request)


def take_over(association: Association, handlers: Handlers) -> None:
    """Has `handlers` serve the requests of this association; pynetdicom goes on to serve all others."""
    # pynetdicom's own services decode every data set, and send objects only after encoding them anew
    vars(association)["_serve_request"] = partial(_serve, handlers, association)


def is_serving(association: Association) -> bool:
    """Whether a request is being served or received."""
    receiver = association.dimse
    receiving = receiver.is_receiving if isinstance(receiver, BoundedReceiver) else receiver.message is not None
    return bool(vars(association).get("fileroom_serving")) or receiving


def _serve(handlers: Handlers, association: Association, message: Any, context_id: int) -> None:
    if isinstance(message, N_EVENT_REPORT) and message.MessageIDBeingRespondedTo is not None:
        reports = vars(association).get("event_reports")
        if reports is not None:
            reports.receive(message)
        return
    handler = handlers.get(type(message))
    context = association._accepted_cx.get(context_id)
    if handler is None or context is None:
        with RecordedRequest(association, message) as recorded:
            Association._serve_request(association, message, context_id)
            if isinstance(message, C_ECHO):
                recorded.answered(SUCCESS.code)
        return
    if message.MessageID is None or association._sent_release:
        _log.warning("association with %s: an unexpected message is ignored", association.remote["address"])
        return
    request = Request(association, message, context)
    association.dimse.cancel_req = {}
    association._is_paused = True  # as pynetdicom does while one of its services is running
    vars(association)["fileroom_serving"] = True
    try:
        with RecordedRequest(association, message) as recorded:
            _answer(request, handler, recorded)
    finally:
        vars(association)["fileroom_serving"] = False
        association._is_paused = False
        association.dimse.cancel_req = {}


def _answer(request: Request, handler: Handler, recorded: RecordedRequest) -> None:
    # that of a C-STORE, of which there are most, finds out by itself
    next_look = math.inf if isinstance(request.message, C_STORE) else 0.0
    with closing(_responses(request, handler)) as responses:
        for response in responses:
            if (now := time.monotonic()) >= next_look:
                # this also takes in a C-CANCEL
                if request.is_over():
                    return
                next_look = now + _LOOK_SECONDS
            send_response(request, response)
            if not response.status.pending:
                recorded.answered(response.status.code)
                return


def _responses(request: Request, handler: Handler) -> Generator[Response, None, None]:
    """The responses of the handler; an error that it raises becomes the last of them."""
    try:
        yield from handler(request)
    except GeneratorExit:
        raise
    except Exception as error:  # noqa: BLE001  # every request is answered
        service = _SERVICES[type(request.message)]
        status = status_of(error, service)
        count_error(service, error)
        _log.log(
            logging.ERROR if status.code == PROCESSING_FAILURE else logging.WARNING,
            "%s %s from %s answered with 0x%04X: %s",
            service,
            request.sop_instance_uid or "request",
            request.calling_ae_title,
            status.code,
            status.comment,
            exc_info=error if status.code == PROCESSING_FAILURE else None,
        )
        yield Response(status)


def _missing(message: Message) -> str:
    return next(keyword for keyword in message.REQUEST_KEYWORDS if getattr(message, keyword) is None)


def send_response(request: Request, response: Response) -> None:
    """For a handler that has something to tell while it waits; what it yields is sent for it."""
    data_set = None
    if response.identifier is not None:
        data_set = fragments_of(response.identifier, fragment_length(request.association))
    try:
        command = _response_command(request, response)
        send_message(request.association, request.context_id, command, data_set, more=response.more)
    except ConnectionError:
        _log.info("association with %s ended before it was answered", request.association.remote["address"])


def _response_command(request: Request, response: Response) -> bytes:
    """PS3.7 9.3, 10.3.5.2: the command set of a response, by tag in ascending order."""
    message, status = request.message, response.status
    counts = response.sub_operations
    elements: dict[int, int | str | tuple[int, ...] | None] = {
        0x0002: str(request.sop_class_uid) if request.sop_class_uid else None,
        0x0100: _RESPONSE_FIELDS[type(message)],
        0x0120: message.MessageID,
        0x0800: NO_DATA_SET if response.identifier is None else DATA_SET_PRESENT,
        0x0900: status.code,
        0x0901: None if status.offending_element is None else (status.offending_element,),
        0x0902: status.comment or None,
        0x1000: str(request.sop_instance_uid) if request.sop_instance_uid else None,
        0x1020: counts.remaining if counts else None,
        0x1021: counts.completed if counts else None,
        0x1022: counts.failed if counts else None,
        0x1023: counts.warning if counts else None,
    }
    return encode_command_set({tag: value for tag, value in elements.items() if value is not None})
