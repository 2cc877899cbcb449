"""N-EVENT-REPORT (PS3.7 10.1.1): over an association that the peer asked for, between its requests, or over our own."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.presentation import PresentationContext

from fileroom_server.command_set import DATA_SET_PRESENT, N_EVENT_REPORT_RQ, encode_command_set
from fileroom_server.received_messages import BoundedReceiver
from fileroom_server.sent_messages import fragment_length, fragments_of, is_over, send_message

# Who asked may be about to ask for more, or to release: many take whatever comes next for the response to that.
_QUIET_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Event:
    """What is reported; `information` is the Event Information as it is encoded."""

    sop_class_uid: str
    sop_instance_uid: str
    event_type_id: int
    information: bytes


@dataclass(eq=False, slots=True)
class EventReport:
    """An event to be reported in a presentation context; `settled` gets the peer's status, None where there is none.

    `settled` is called once, in the thread of the association.
    """

    event: Event
    context_id: int
    settled: Callable[[int | None], None] = lambda _status: None


class AssociationReports:
    """What is to be reported over an association that its peer uses for requests of its own: these come first.

    `offer` and `withdraw` are for any thread, the rest is for the association's own.
    """

    def __init__(self, association: Association, wake: Callable[[], None]) -> None:
        self._association = association
        self._wake = wake
        self._lock = threading.Lock()
        self._offered: deque[EventReport] = deque()
        self._sent: tuple[int, EventReport] | None = None  # by Message ID; PS3.7 D.3.3.3: one at a time
        self._message_id = 0
        self._quiet_since = time.monotonic()
        self._is_noticed = True
        self._has_ended = False

    def offer(self, report: EventReport) -> bool:
        """Has it sent once the peer is quiet; False where the association has ended."""
        with self._lock:
            if self._has_ended:
                return False
            self._offered.append(report)
            self._is_noticed = False
        self._wake()
        return True

    def withdraw(self, report: EventReport) -> bool:
        """Takes back what has not been sent; False where it has."""
        with self._lock:
            if report not in self._offered:
                return False
            self._offered.remove(report)
            return True

    def calls(self) -> bool:
        """Whether the association has to look here."""
        return bool(self._offered) and (not self._is_noticed or self.seconds() == 0)

    def seconds(self) -> float | None:
        """How long nothing is to be done here; None: until something is offered or comes from the peer."""
        if not self._offered or self._sent is not None:
            return None
        return max(self._quiet_since + _QUIET_SECONDS - time.monotonic(), 0)

    def proceed(self, *, served: bool) -> None:
        """To be called between the requests of the peer; `served`: one has just been answered."""
        self._is_noticed = True
        is_gone = bool(self._offered) and is_over(self._association)  # takes in what has come meanwhile
        receiver = self._association.dimse
        if served or (isinstance(receiver, BoundedReceiver) and receiver.is_busy):
            self._quiet_since = time.monotonic()
        if is_gone or self.seconds() != 0:
            return
        with self._lock:
            if not self._offered:
                return
            report = self._offered.popleft()
        self._message_id = self._message_id % 0xFFFF + 1
        self._sent = (self._message_id, report)
        try:
            _send(self._association, report.context_id, self._message_id, report.event)
        except ConnectionError:
            self._sent = None
            report.settled(None)

    def receive(self, response: N_EVENT_REPORT) -> None:
        """A response of the peer; one to what nobody asked is ignored."""
        if self._sent is not None and self._sent[0] == response.MessageIDBeingRespondedTo:
            (_, report), self._sent = self._sent, None
            report.settled(response.Status)

    def end(self) -> None:
        """The association has ended: what waits has to go another way."""
        with self._lock:
            self._has_ended = True
            unsettled = [*([self._sent[1]] if self._sent else []), *self._offered]
            self._offered.clear()
        self._sent = None
        for report in unsettled:
            report.settled(None)


class NotReported(Exception):
    """A report that the peer did not take; the text says why."""


def report_event(association: Association, context: PresentationContext, message_id: int, event: Event) -> int:
    """Reports over an association of our own, and waits for the peer's status. Raises NotReported."""
    try:
        _send(association, cast("int", context.context_id), message_id, event)
    except ConnectionError as error:
        raise NotReported("the association ended while the report was sent") from error
    _, response = association.dimse.get_msg(block=True)
    if (
        isinstance(response, N_EVENT_REPORT)
        and response.MessageIDBeingRespondedTo == message_id
        and response.Status is not None
    ):
        return response.Status
    if not is_over(association):
        # whatever comes now cannot be told from a late answer
        association.abort(block=False)
    raise NotReported("there was no response to the report")


def _send(association: Association, context_id: int, message_id: int, event: Event) -> None:
    # PS3.7 10.3.1.1
    command = encode_command_set(
        {
            0x0002: event.sop_class_uid,
            0x0100: N_EVENT_REPORT_RQ,
            0x0110: message_id,
            0x0800: DATA_SET_PRESENT,
            0x1000: event.sop_instance_uid,
            0x1002: event.event_type_id,
        }
    )
    send_message(association, context_id, command, fragments_of(event.information, fragment_length(association)))
