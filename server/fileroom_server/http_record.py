"""What is counted, logged and traced of an HTTP request, and the identifier that it and its answer have."""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Self

from fileroom_dicomweb.request_facts import ERROR, OPERATION, RECEIVED
from fileroom_server.correlation import REQUEST_ID_HEADER, CorrelationId, correlate, sane_request_id
from fileroom_server.metrics import table
from fileroom_server.metrics.metric import OTHER
from fileroom_server.metrics.shared_numbers import NUMBERS
from fileroom_server.tracing import Tracer, tracer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from opentelemetry.trace import Span

# a request is answered alike whatever these say, so they must not keep it from being answered from memory
_ABOUT_THE_REQUEST = ("HTTP_X_REQUEST_ID", "HTTP_TRACEPARENT", "HTTP_TRACESTATE")
_TRACE_CONTEXT = ("TRACEPARENT", "TRACESTATE")
_REQUEST_ID = REQUEST_ID_HEADER.upper()
_FIRST_ERROR = "4"

_LEVELS = {"search_for_studies": "STUDY", "search_for_series": "SERIES", "search_for_instances": "IMAGE"}
_RETRIEVALS = {
    **dict.fromkeys(
        ("retrieve", "metadata", "frames", "all_bulk_data", "bulk_data", "rendered", "thumbnail"), "WADO-RS"
    ),
    "wado_uri.retrieve": "WADO-URI",
}


class RecordedRequest:
    """Around the answering of a request that gunicorn has parsed, in the thread that does it."""

    __slots__ = ("_request", "_spans", "_token", "begun", "identifier", "is_named", "span")

    def __init__(self, request: Any) -> None:
        self._request = request
        self._spans: ExitStack | None = None
        self.begun = time.perf_counter()
        given = next((sane_request_id(value) for name, value in request.headers if name == _REQUEST_ID), None)
        self.is_named = given is not None  # by the client
        self.identifier = CorrelationId(given)
        self.span: Span | None = None

    def __enter__(self) -> Self:
        correlate(self.identifier)
        self._token: Token[RecordedRequest | None] = _current.set(self)
        if (active := tracer()) is not None:
            self._trace(active)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._spans is not None:
            self._spans.__exit__(*error)
        _current.reset(self._token)
        correlate(None)

    def _trace(self, active: Tracer) -> None:
        method = str(self._request.method)
        headers = {name.lower(): value for name, value in self._request.headers if name in _TRACE_CONTEXT}
        attributes = {"http.request.method": method, "fileroom.request_id": str(self.identifier)}
        self._spans = ExitStack()
        self._spans.enter_context(active.caller(headers))
        self.span = self._spans.enter_context(active.span(method, self.begun, attributes))


_current: ContextVar[RecordedRequest | None] = ContextVar("fileroom_http_record", default=None)


def request_is_answered(_worker: object, _request: object, environ: "WSGIEnvironment", response: Any) -> None:
    """gunicorn's hook after a request."""
    record = _current.get()
    if record is None or response is None or response.status is None:
        return
    operation, status = environ.get(OPERATION, OTHER), str(response.status_code)
    AnswerCounts(operation, status, response.sent).count(time.perf_counter() - record.begun)
    if received := environ.get(RECEIVED, 0):
        table.HTTP_BYTES.inc("received", by=received)
    if (kind := environ.get(ERROR)) is not None:
        table.ERRORS_BY_KIND.inc("HTTP", kind)
    if record.span is not None:
        record.span.update_name(f"{environ.get('REQUEST_METHOD')} {operation}")
        record.span.set_attribute("http.response.status_code", response.status_code)
        record.span.set_attribute("http.route", operation)


class AnswerCounts:
    """What an answer of so many bytes adds to the metrics, each time that it is given."""

    __slots__ = ("_bytes", "_counters", "_histograms", "_sent")

    def __init__(self, operation: str, status: str, sent: int, *also: int) -> None:
        """`also` are the places of other counters."""
        self._sent = sent
        self._counters = (table.HTTP_REQUESTS.place(operation, status), *also)
        self._bytes = [table.HTTP_BYTES.place("sent")]
        self._histograms = [table.HTTP_SECONDS.place(operation)]
        if (level := _LEVELS.get(operation)) is not None:
            self._histograms.append(table.QUERY_SECONDS.place("QIDO-RS", level))
        elif (service := _RETRIEVALS.get(operation)) is not None:
            self._bytes.append(table.RETRIEVED_BYTES.place(service))

    def count(self, seconds: float) -> None:
        bucket, end = bisect_left(table.ANSWER_SECONDS, seconds), len(table.ANSWER_SECONDS) + 1
        with NUMBERS.lock:
            values = NUMBERS.values
            for place in self._counters:
                values[place] += 1.0
            for place in self._bytes:
                values[place] += self._sent
            for place in self._histograms:
                values[place + bucket] += 1.0
                values[place + end] += seconds


class RequestIds:
    """WSGI middleware: an answer names its request where the client did, and where it is an error to be asked about."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        for name in _ABOUT_THE_REQUEST:
            environ.pop(name, None)
        record = _current.get()
        if record is None:
            return self._application(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *problem: Any) -> Callable[[bytes], object]:
            if record.is_named or status >= _FIRST_ERROR:
                headers = [*headers, (REQUEST_ID_HEADER, str(record.identifier))]
            return start_response(status, headers, *problem)

        return self._application(environ, start)
