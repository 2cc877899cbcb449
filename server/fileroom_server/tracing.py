"""OpenTelemetry spans, where [tracing] switches them on; else there is no tracer, and nothing is imported.

No span holds a value of a data set or of a statement, nor the text of an error: those may be a patient's.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fileroom_server.config import TracingConfiguration

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext

Attributes = Mapping[str, str | int | bool]

_NONE: Attributes = {}
# for the last spans of a process that ends
_FLUSH_SECONDS = 5.0


class TracingNotInstalled(Exception):
    """[tracing] is switched on, and OpenTelemetry is not there."""


def check_installed() -> None:
    """Raises TracingNotInstalled."""
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        raise TracingNotInstalled(
            "tracing.enabled needs OpenTelemetry; install it with: pip install 'fileroom[tracing]'"
        )


class Tracer:
    """Makes spans and sends them to a collector. Times are those of time.perf_counter()."""

    def __init__(self, configuration: TracingConfiguration) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(configuration.sample_ratio)),
            resource=Resource.create({"service.name": configuration.service_name, "service.version": _version()}),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=f"{configuration.endpoint}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("fileroom", _version())

    def start(
        self, name: str, begun: float | None, attributes: Attributes, links: "Sequence[SpanContext]" = ()
    ) -> "Span":
        """A child of what is current."""
        from opentelemetry.trace import Link

        return self._tracer.start_span(
            name, attributes=dict(attributes), links=[Link(one) for one in links], start_time=_nanoseconds(begun)
        )

    @contextmanager
    def span(
        self, name: str, begun: float | None = None, attributes: Attributes = _NONE, links: "Sequence[SpanContext]" = ()
    ) -> "Iterator[Span]":
        """What is done meanwhile in this thread becomes its children."""
        from opentelemetry.trace import Status, StatusCode, use_span

        span = self.start(name, begun, attributes, links)
        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield span
            except Exception as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def record(
        self,
        name: str,
        begun: float,
        ended: float,
        attributes: Attributes = _NONE,
        *,
        links: "Sequence[SpanContext]" = (),
        failed: bool = False,
    ) -> None:
        """What has been done already."""
        from opentelemetry.trace import Status, StatusCode

        span = self.start(name, begun, attributes, links)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(ended))

    @contextmanager
    def caller(self, headers: Mapping[str, str]) -> Iterator[None]:
        """Within the trace of whoever calls, where its headers tell of one (W3C Trace Context)."""
        from opentelemetry import context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        token = context.attach(TraceContextTextMapPropagator().extract(headers))
        try:
            yield
        finally:
            context.detach(token)

    def begin(self, name: str, attributes: Attributes) -> "Span":
        """A span that stays current in this thread, whose only work it is; to be ended."""
        from opentelemetry import context
        from opentelemetry.trace import set_span_in_context

        span = self.start(name, None, attributes)
        context.attach(set_span_in_context(span))
        return span

    def is_within_span(self) -> bool:
        """Whether what is done now is done for anything: the server's own housekeeping has no trace."""
        from opentelemetry.trace import get_current_span

        return get_current_span().get_span_context().is_valid

    def current_in(self, of: Context) -> "SpanContext":
        """The span that is current in a context, which must not be entered."""
        from opentelemetry.trace import get_current_span

        return of.run(get_current_span).get_span_context()

    def stop(self) -> None:
        """Sends what is left, if the collector takes it in time."""
        stopping = threading.Thread(target=self._provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(_FLUSH_SECONDS)


class _Process:
    """What this process traces with."""

    tracer: Tracer | None = None


def start_tracing(configuration: TracingConfiguration) -> None:
    """To be called once in each process, after its fork."""
    if configuration.enabled:
        _Process.tracer = Tracer(configuration)


def stop_tracing() -> None:
    if _Process.tracer is not None:
        _Process.tracer.stop()


def tracer() -> Tracer | None:
    return _Process.tracer


def _nanoseconds(moment: float | None) -> int | None:
    """A time of time.perf_counter() as OpenTelemetry has it."""
    return None if moment is None else time.time_ns() - int((time.perf_counter() - moment) * 1e9)


def _version() -> str:
    return version("fileroom")
