"""Tells a monitor of every statement, those of SQLAlchemy and those that are prepared; only where it wants to know."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from ..monitor import Monitor

Traced = Callable[[str], AbstractContextManager[None]]

# the engine's execution option under which what runs on a driver's own cursor finds whom to tell
TRACED = "fileroom_traced"
_BEGUN = "fileroom_begun"


def trace_statements(engine: Engine, monitor: Monitor) -> None:
    """From now on. Values are never told: they may be a patient's."""

    @contextmanager
    def traced(sql: str) -> Iterator[None]:
        begun = time.perf_counter()
        failed = True
        try:
            yield
            failed = False
        finally:
            monitor.executed(sql, time.perf_counter() - begun, failed=failed)

    engine.update_execution_options(**{TRACED: traced})

    @event.listens_for(engine, "before_cursor_execute")
    def _before(connection: Connection, *_: Any) -> None:
        connection.info[_BEGUN] = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def _after(connection: Connection, _cursor: Any, sql: str, *_: Any) -> None:
        monitor.executed(sql, time.perf_counter() - connection.info.pop(_BEGUN), failed=False)

    @event.listens_for(engine, "handle_error")
    def _failed(context: ExceptionContext) -> None:
        begun = context.connection.info.pop(_BEGUN, None) if context.connection is not None else None
        if begun is not None and context.statement is not None:
            monitor.executed(context.statement, time.perf_counter() - begun, failed=True)
