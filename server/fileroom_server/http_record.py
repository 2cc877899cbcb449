"""What is counted, logged and traced of an HTTP request, and the identifier that it and its answer have."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from fileroom_dicomweb.request_facts import ERROR, OPERATION, RECEIVED
from fileroom_server.correlation import (
    REQUEST_ID_HEADER,
    correlate,
    correlation_id,
    new_correlation_id,
    sane_request_id,
)
from fileroom_server.metrics import table
from fileroom_server.metrics.metric import OTHER
from fileroom_server.tracing import tracer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from opentelemetry.trace import Span

# a request answers alike whatever these say, so that they must not keep it from being answered from memory
_ABOUT_THE_REQUEST = ("HTTP_X_REQUEST_ID", "HTTP_TRACEPARENT", "HTTP_TRACESTATE")
_TRACE_CONTEXT = ("TRACEPARENT", "TRACESTATE")
_FIRST_ERROR = "4"

_LEVELS = {"search_for_studies": "STUDY", "search_for_series": "SERIES", "search_for_instances": "IMAGE"}
_RETRIEVALS = {
    **dict.fromkeys(
        ("retrieve", "metadata", "frames", "all_bulk_data", "bulk_data", "rendered", "thumbnail"), "WADO-RS"
    ),
    "wado_uri.retrieve": "WADO-URI",
}


class _Record:
    """The request that this thread answers."""

    __slots__ = ("begun", "is_named", "span")

    def __init__(self, *, is_named: bool) -> None:
        self.begun = time.perf_counter()
        self.is_named = is_named  # by the client
        self.span: Span | None = None


_current: ContextVar[_Record | None] = ContextVar("fileroom_http_record", default=None)


@contextmanager
def recorded_request(request: Any) -> Iterator[None]:
    """Around the answering of a request that gunicorn has parsed."""
    headers = dict(request.headers)
    given = sane_request_id(headers.get(REQUEST_ID_HEADER.upper()))
    correlate(given or new_correlation_id())
    record = _Record(is_named=given is not None)
    token = _current.set(record)
    try:
        with ExitStack() as spans:
            if (active := tracer()) is not None:
                context = {name.lower(): headers[name] for name in _TRACE_CONTEXT if name in headers}
                spans.enter_context(active.caller(context))
                attributes = {"http.request.method": str(request.method), "fileroom.request_id": correlation_id()}
                record.span = spans.enter_context(active.span(str(request.method), record.begun, attributes))
            yield
    finally:
        _current.reset(token)
        correlate("")


def request_is_answered(_worker: object, _request: object, environ: "WSGIEnvironment", response: Any) -> None:
    """gunicorn's hook after a request."""
    record = _current.get()
    if record is None or response is None or response.status is None:
        return
    operation, status = environ.get(OPERATION, OTHER), str(response.status_code)
    count_answer(operation, status, time.perf_counter() - record.begun, response.sent)
    if received := environ.get(RECEIVED, 0):
        table.HTTP_BYTES.inc("received", by=received)
    if (kind := environ.get(ERROR)) is not None:
        table.ERRORS_BY_KIND.inc("HTTP", kind)
    if record.span is not None:
        record.span.update_name(f"{environ.get('REQUEST_METHOD')} {operation}")
        record.span.set_attribute("http.response.status_code", response.status_code)
        record.span.set_attribute("http.route", operation)


def count_answer(operation: str, status: str, seconds: float, sent: int) -> None:
    table.HTTP_REQUESTS.inc(operation, status)
    table.HTTP_SECONDS.observe(seconds, operation)
    table.HTTP_BYTES.inc("sent", by=sent)
    if (level := _LEVELS.get(operation)) is not None:
        table.QUERY_SECONDS.observe(seconds, "QIDO-RS", level)
    elif (service := _RETRIEVALS.get(operation)) is not None:
        table.RETRIEVED_BYTES.inc(service, by=sent)


class RequestIds:
    """WSGI middleware: an answer names its request where the client did, and where it is an error to be asked about."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        for name in _ABOUT_THE_REQUEST:
            environ.pop(name, None)
        record = _current.get()
        is_named = record is not None and record.is_named

        def start(status: str, headers: list[tuple[str, str]], *problem: Any) -> Callable[[bytes], object]:
            if is_named or status >= _FIRST_ERROR:
                headers = [*headers, (REQUEST_ID_HEADER, correlation_id())]
            return start_response(status, headers, *problem)

        return self._application(environ, start)
