"""What storage tells of its work becomes metrics, and spans where anything is traced."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import Context

from fileroom_server.metrics import of_plugins, table
from fileroom_server.metrics.metric import OTHER, Histogram
from fileroom_server.status import InvalidRequest, SopClassNotSupported
from fileroom_server.tracing import Tracer
from fileroom_storage.errors import SchemaNotCurrent, StorageUnavailable, UnusableObject
from fileroom_storage.monitor import Monitor, Stage, StoredAs


class CountingMonitor(Monitor):
    """Counts and measures."""

    def took(self, stage: Stage, source: str, seconds: float) -> None:
        table.STAGE_SECONDS.observe(seconds, source, stage)

    def stored(self, source: str, outcome: StoredAs, size: int) -> None:
        table.STORES.inc(source, outcome)
        table.STORED_BYTES.inc(source, by=size)

    def refused(self, source: str, error: Exception) -> None:
        count_refused(source, error)

    def queued(self, number: int) -> None:
        table.QUEUE.set(number)

    def waited(self, _context: Context, source: str, seconds: float) -> None:
        table.STAGE_SECONDS.observe(seconds, source, Stage.WAIT)

    def committed(self, sources: Sequence[str], seconds: float) -> None:
        for source in sources:
            table.STAGE_SECONDS.observe(seconds, source, Stage.COMMIT)
        table.COMMIT_SECONDS.observe(seconds)
        table.COMMIT_OBJECTS.observe(len(sources))

    def extraction_failed(self, plugin: str) -> None:  # noqa: ARG002  # the table plugin_failure has its name
        table.PLUGIN_FAILURES.inc()

    def counted(self, name: str, labels: Sequence[str], by: float) -> None:
        of_plugins.count(name, labels, by)

    def observed(self, name: str, labels: Sequence[str], value: float) -> None:
        of_plugins.observe(name, labels, value)

    def searched(self, level: str, seconds: float) -> None:
        table.SEARCH_SECONDS.observe(seconds, level)

    def rendering(self) -> AbstractContextManager[object]:
        return _Timed(table.RENDERING_SECONDS)

    def looked_up(self, kept: str, *, found: bool) -> None:
        table.KEPT_ANSWERS.inc(kept, "hit" if found else "miss")


class TracingMonitor(CountingMonitor):
    """The same, with spans."""

    traces_statements = True

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def took(self, stage: Stage, source: str, seconds: float) -> None:
        super().took(stage, source, seconds)
        if stage is not Stage.TOTAL:  # which is the request's span
            self._record(stage, seconds)

    def waited(self, context: Context, source: str, seconds: float) -> None:
        super().waited(context, source, seconds)
        context.run(self._record, Stage.WAIT, seconds)

    def _record(self, stage: Stage, seconds: float) -> None:
        now = time.perf_counter()
        self._tracer.record(stage.value, now - seconds, now)

    @contextmanager
    def transaction(self, contexts: Sequence[Context]) -> Iterator[None]:
        """A span for each object's trace; the statements are in that of the first, to which the others have links."""
        begun = time.perf_counter()
        objects = {"fileroom.objects": len(contexts)}
        others = [self._tracer.current_in(context) for context in contexts[1:]]
        with self._tracer.span(Stage.COMMIT.value, None, objects, others) as span:
            yield
        ended = time.perf_counter()
        link = span.get_span_context()
        for context in contexts[1:]:
            context.run(self._tracer.record, Stage.COMMIT.value, begun, ended, objects, links=(link,))

    def executed(self, sql: str, seconds: float, *, failed: bool) -> None:
        if not self._tracer.is_within_span():
            return
        now = time.perf_counter()
        name = sql.lstrip().partition(" ")[0].upper()
        self._tracer.record(f"SQL {name}", now - seconds, now, {"db.query.text": sql}, failed=failed)

    @contextmanager
    def rendering(self) -> Iterator[None]:
        with self._tracer.span("rendering"), super().rendering():
            yield


class _Timed:
    """Observes how long it took."""

    __slots__ = ("_begun", "_histogram", "_labels")

    def __init__(self, histogram: Histogram, *labels: str) -> None:
        self._histogram = histogram
        self._labels = labels
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._histogram.observe(time.perf_counter() - self._begun, *self._labels)


def count_refused(source: str, error: Exception) -> None:
    """An object that was not taken, and why."""
    table.ERRORS_BY_KIND.inc(source, type(error).__name__)
    if isinstance(error, UnusableObject):
        table.STORES.inc(source, table.REFUSED)
        table.REFUSALS.inc(source, error.reason)
    elif isinstance(error, StorageUnavailable | SchemaNotCurrent):
        table.STORES.inc(source, table.UNAVAILABLE)
    elif isinstance(error, InvalidRequest | SopClassNotSupported):
        table.STORES.inc(source, table.REFUSED)
        table.REFUSALS.inc(source, OTHER)
    else:
        table.STORES.inc(source, table.FAILED)
