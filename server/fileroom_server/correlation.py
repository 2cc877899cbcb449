"""One identifier for all that is logged for an association or an HTTP request, from its first line to the commit.

That of an association is kept in the index with every instance it brought; that of a request is the client's own, in
X-Request-ID, where it has a sane one.
"""

import logging
import re
import threading
import uuid
from contextvars import ContextVar

REQUEST_ID_HEADER = "X-Request-ID"

# whatever tools make of it: a UUID, hexadecimal digits, base64, a trace and a span; nothing that a log could mistake
_SANE = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")

_making = threading.Lock()


class CorrelationId:
    """Of most requests nothing is logged, so one that is not given is made when it is asked for."""

    __slots__ = ("_text",)

    def __init__(self, given: str | None = None) -> None:
        self._text = given

    def __str__(self) -> str:
        return self._text or self._made()

    def _made(self) -> str:
        with _making:  # the request's thread and the index writer's may both ask
            if self._text is None:
                self._text = str(uuid.uuid4())
            return self._text


_current: ContextVar[CorrelationId | None] = ContextVar("fileroom_correlation", default=None)


def sane_request_id(given: str) -> str | None:
    """The client's identifier for its request; None where it is none that can be written down."""
    return given if _SANE.fullmatch(given) else None


def correlate(identifier: CorrelationId | None) -> None:
    """From now on, what this thread (or who writes to the index for it) logs has this identifier."""
    _current.set(identifier)


class WithCorrelation(logging.Filter):
    """Gives each record the identifier of what it is logged for."""

    def filter(self, record: logging.LogRecord) -> bool:
        if (identifier := _current.get()) is not None:
            record.correlation_id = str(identifier)
        return True
