"""What is counted, logged and traced of an association from its request to its end."""

from typing import TYPE_CHECKING, Any

from pynetdicom.association import Association

from fileroom_server.correlation import CorrelationId, correlate
from fileroom_server.metrics import table
from fileroom_server.metrics.metric import OTHER
from fileroom_server.tracing import tracer

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_KEY = "fileroom_record"
# PS3.8 9.3.4: result, source and reason
_REJECTIONS: dict[tuple[int | None, ...], str] = {
    (1, 1, 1): "malformed proposal",
    (1, 1, 3): "calling AE title",
    (1, 1, 7): "called AE title",
    (2, 3, 1): "too many associations",
    (2, 3, 2): "too many associations",
}


class AssociationRecord:
    """To be made in the association's own thread: from then on, all that is logged in it is its."""

    def __init__(self, association: Association) -> None:
        identifier = CorrelationId()
        self.identifier = str(identifier)
        self._association = association
        self._received = self._sent = 0
        self._is_open = False
        correlate(identifier)
        self._span: Span | None = None
        if (active := tracer()) is not None:
            request = association.requestor.primitive
            attributes = {
                "fileroom.association": self.identifier,
                "fileroom.calling_ae_title": str(request.calling_ae_title).strip(" ") if request else "",
                "client.address": str(association.requestor.address),
            }
            self._span = active.begin("association", attributes)

    def established(self) -> None:
        self._is_open = True
        table.ASSOCIATIONS_ACCEPTED.inc()

    def rejected(self, codes: tuple[int | None, ...]) -> None:
        table.ASSOCIATIONS_REJECTED.inc(_REJECTIONS.get(codes, OTHER))
        self._end("rejected")

    def ended(self, how: str) -> None:
        """Released or aborted; the first counts."""
        if self._is_open:
            self._is_open = False
            self.count_bytes()
            table.ASSOCIATIONS_ENDED.inc(how)
            self._end(how)

    def count_bytes(self) -> None:
        """Those that have come and gone since the last time."""
        connection: Any = self._association.dul.socket
        counted = connection.socket if connection is not None else None
        received, sent = getattr(counted, "received", 0), getattr(counted, "sent", 0)
        if received > self._received:
            table.DIMSE_BYTES.inc("received", by=received - self._received)
            self._received = received
        if sent > self._sent:
            table.DIMSE_BYTES.inc("sent", by=sent - self._sent)
            self._sent = sent

    def _end(self, how: str) -> None:
        span, self._span = self._span, None
        if span is not None:
            span.set_attribute("fileroom.end", how)
            span.end()


def count_refusal(codes: tuple[int | None, ...]) -> None:
    """Somebody who was turned away before there was an association; without codes where TLS failed."""
    table.ASSOCIATIONS_REJECTED.inc(_REJECTIONS.get(codes, OTHER) if codes else table.TLS_FAILED)


def begin_record(association: Association) -> None:
    vars(association)[_KEY] = AssociationRecord(association)


def record_of(association: Association) -> AssociationRecord | None:
    """None for an association of somebody else's making."""
    record: AssociationRecord | None = vars(association).get(_KEY)
    return record
