"""DIMSE requests and responses: from a request to its handler, from the handler's responses to the peer."""

import logging
import select
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, cast

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE, C_STORE
from pynetdicom.pdu_primitives import A_ABORT, A_P_ABORT, A_RELEASE
from pynetdicom.presentation import PresentationContext

from fileroom_server.status import PROCESSING_FAILURE, InvalidRequest, Service, Status, status_of

_log = logging.getLogger(__name__)

Message = C_STORE | C_FIND | C_MOVE | C_GET

_SERVICES: dict[type[Message], Service] = {
    C_STORE: Service.C_STORE,
    C_FIND: Service.C_FIND,
    C_MOVE: Service.C_MOVE,
    C_GET: Service.C_GET,
}
# How many responses may be on their way before the peer is listened to: a C-CANCEL has to get through.
_RESPONSES_AT_A_TIME = 20
_PAUSE = 0.0005


@dataclass(frozen=True, slots=True)
class SubOperations:
    """What a C-MOVE or C-GET tells of its C-STORE sub-operations (PS3.7 9.3.4.2)."""

    remaining: int | None
    completed: int
    failed: int
    warning: int


@dataclass(frozen=True, slots=True)
class Response:
    """One response of a handler: `identifier` is encoded in the transfer syntax of the request."""

    status: Status
    identifier: bytes | None = None
    sub_operations: SubOperations | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A DIMSE request as its handler sees it."""

    association: Association
    message: Message
    context: PresentationContext

    @property
    def sop_class_uid(self) -> UID:
        return cast("UID", self.message.AffectedSOPClassUID)

    @property
    def abstract_syntax(self) -> UID:
        return cast("UID", self.context.abstract_syntax)

    @property
    def transfer_syntax(self) -> UID:
        return self.context.transfer_syntax[0]

    @property
    def data_set(self) -> memoryview:
        """The data set or identifier as it is encoded."""
        received = self.message.DataSet if isinstance(self.message, C_STORE) else self.message.Identifier
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


def take_over(association: Association, handlers: Handlers) -> None:
    """Has `handlers` serve the requests of this association; pynetdicom goes on to serve all others."""
    # pynetdicom's own services decode every data set, and send objects only after encoding them anew
    vars(association)["_serve_request"] = partial(_serve, handlers, association)


def is_over(association: Association) -> bool:
    """Whether an association has been aborted, released or lost; leaves that for pynetdicom to act upon."""
    if not association.is_established or not association.dul.is_alive():
        return True
    return isinstance(association.dul.peek_next_pdu(), A_ABORT | A_P_ABORT | A_RELEASE)


def is_serving(association: Association) -> bool:
    """Whether a request is being served or received."""
    return bool(vars(association).get("fileroom_serving")) or association.dimse.message is not None


def wait_until_sent(association: Association) -> None:
    """Returns when all that was queued is sent and all that the peer had sent by then is read."""
    while not is_over(association):
        # pynetdicom reads only when it has nothing to send
        if not association.dul.to_provider_queue.queue and not _readable(association):
            return
        time.sleep(_PAUSE)


def _readable(association: Association) -> bool:
    connection = association.dul.socket
    if connection is None or connection.socket is None:
        return False
    try:
        poll = select.poll()
        poll.register(connection.socket, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return False


def _serve(handlers: Handlers, association: Association, message: Any, context_id: int) -> None:
    handler = handlers.get(type(message))
    context = association._accepted_cx.get(context_id)
    if handler is None or context is None:
        Association._serve_request(association, message, context_id)
        return
    if message.MessageID is None or association._sent_release:
        _log.warning("association with %s: an unexpected message is ignored", association.remote["address"])
        return
    request = Request(association, message, context)
    association.dimse.cancel_req = {}
    association._is_paused = True  # as pynetdicom does while one of its services is running
    vars(association)["fileroom_serving"] = True
    try:
        _answer(request, context_id, handler)
    finally:
        vars(association)["fileroom_serving"] = False
        association._is_paused = False
        association.dimse.cancel_req = {}


def _answer(request: Request, context_id: int, handler: Handler) -> None:
    with closing(_responses(request, handler)) as responses:
        for number, response in enumerate(responses, 1):
            if request.is_over():
                return
            request.association.dimse.send_msg(_primitive(request, response), context_id)
            if not response.status.pending:
                return
            if number % _RESPONSES_AT_A_TIME == 0:
                wait_until_sent(request.association)


def _responses(request: Request, handler: Handler) -> Generator[Response, None, None]:
    """The responses of the handler; an error that it raises becomes the last of them."""
    try:
        if not request.message.is_valid_request:
            raise InvalidRequest(f"{_missing(request.message)} is missing or too long")
        yield from handler(request)
    except GeneratorExit:
        raise
    except Exception as error:  # noqa: BLE001  # every request is answered
        service = _SERVICES[type(request.message)]
        status = status_of(error, service)
        _log.log(
            logging.ERROR if status.code == PROCESSING_FAILURE else logging.WARNING,
            "%s %s from %s answered with 0x%04X: %s",
            service,
            getattr(request.message, "AffectedSOPInstanceUID", None) or "request",
            request.calling_ae_title,
            status.code,
            status.comment,
            exc_info=error if status.code == PROCESSING_FAILURE else None,
        )
        yield Response(status)


def _missing(message: Message) -> str:
    return next(keyword for keyword in message.REQUEST_KEYWORDS if getattr(message, keyword) is None)


def _primitive(request: Request, response: Response) -> Message:
    message, status = request.message, response.status
    primitive: Any = type(message)()
    primitive.MessageIDBeingRespondedTo = message.MessageID
    primitive.AffectedSOPClassUID = message.AffectedSOPClassUID
    primitive.Status = status.code
    primitive.ErrorComment = status.comment or None
    if status.offending_element is not None:
        primitive.OffendingElement = [status.offending_element]
    if isinstance(message, C_STORE):
        primitive.AffectedSOPInstanceUID = message.AffectedSOPInstanceUID
    elif response.identifier is not None:
        primitive.Identifier = BytesIO(response.identifier)
    if response.sub_operations is not None:
        counts = response.sub_operations
        primitive.NumberOfRemainingSuboperations = counts.remaining
        primitive.NumberOfCompletedSuboperations = counts.completed
        primitive.NumberOfFailedSuboperations = counts.failed
        primitive.NumberOfWarningSuboperations = counts.warning
    return cast("Message", primitive)
