"""What is counted and traced of a DIMSE request."""

import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Self

from pynetdicom.association import Association

from fileroom_server.association_record import record_of
from fileroom_server.metrics import table
from fileroom_server.received_messages import ReceivedDataSet
from fileroom_server.status import Service
from fileroom_server.storage_monitor import count_refused
from fileroom_server.tracing import tracer

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class RecordedRequest:
    """Around the serving of a request; it began with the first byte of its data set."""

    __slots__ = ("_association", "_begun", "_service", "_span", "_spans", "_status")

    def __init__(self, association: Association, message: Any) -> None:
        self._association = association
        self._service = type(message).__name__.replace("_", "-")  # pynetdicom names its primitives for the services
        data_set = getattr(message, "DataSet", None) or getattr(message, "Identifier", None)
        self._begun = data_set.begun if isinstance(data_set, ReceivedDataSet) else time.perf_counter()
        self._status = table.UNANSWERED
        self._spans: AbstractContextManager[Span] | None = None
        self._span: Span | None = None

    def answered(self, status: int) -> None:
        """With this as the last status."""
        self._status = f"0x{status:04X}"

    def __enter__(self) -> Self:
        if (active := tracer()) is not None:
            self._spans = active.span(self._service, self._begun)
            self._span = self._spans.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        table.DIMSE_REQUESTS.inc(self._service, self._status)
        table.DIMSE_SECONDS.observe(time.perf_counter() - self._begun, self._service)
        if record := record_of(self._association):
            record.count_bytes()
        if self._spans is not None and self._span is not None:
            self._span.set_attribute("fileroom.status", self._status)
            self._spans.__exit__(*error)


def count_error(service: Service, error: Exception) -> None:
    """What a request is answered with an error for."""
    if service is Service.C_STORE:
        count_refused(service, error)
    else:
        table.ERRORS_BY_KIND.inc(service, type(error).__name__)
