"""What is counted and traced of a DIMSE request."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pynetdicom.association import Association

from fileroom_server.association_record import record_of
from fileroom_server.metrics import table
from fileroom_server.received_messages import ReceivedDataSet
from fileroom_server.status import Service
from fileroom_server.storage_monitor import count_refused
from fileroom_server.tracing import span


class RecordedRequest:
    """A request that is being served."""

    __slots__ = ("status",)

    def __init__(self) -> None:
        self.status: int | None = None

    def answered(self, status: int) -> None:
        """With this as the last status."""
        self.status = status


@contextmanager
def recorded_request(association: Association, message: Any) -> Iterator[RecordedRequest]:
    """Around the serving of a request; it began with the first byte of its data set."""
    service = type(message).__name__.replace("_", "-")  # pynetdicom names its primitives for the services
    data_set = getattr(message, "DataSet", None) or getattr(message, "Identifier", None)
    begun = data_set.begun if isinstance(data_set, ReceivedDataSet) else time.perf_counter()
    recorded = RecordedRequest()
    with span(service, begun) as traced:
        try:
            yield recorded
        finally:
            status = table.UNANSWERED if recorded.status is None else f"0x{recorded.status:04X}"
            table.DIMSE_REQUESTS.inc(service, status)
            table.DIMSE_SECONDS.observe(time.perf_counter() - begun, service)
            if record := record_of(association):
                record.count_bytes()
            if traced is not None:
                traced.set_attribute("fileroom.status", status)


def count_error(service: Service, error: Exception) -> None:
    """What a request is answered with an error for."""
    if service is Service.C_STORE:
        count_refused(service, error)
    else:
        table.ERRORS_BY_KIND.inc(service, type(error).__name__)
