"""One identifier for all that is logged for an association or an HTTP request, from its first line to the commit.

That of an association is kept in the index with every instance it brought; that of a request is the client's own, in
X-Request-ID, where it has a sane one.
"""

import logging
import re
import uuid
from contextvars import ContextVar

REQUEST_ID_HEADER = "X-Request-ID"

# whatever tools make of it: a UUID, hexadecimal digits, base64, a trace and a span; nothing that a log could mistake
_SANE = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")

_current: ContextVar[str] = ContextVar("fileroom_correlation", default="")


def new_correlation_id() -> str:
    return str(uuid.uuid4())


def sane_request_id(given: str | None) -> str | None:
    """The client's identifier for its request; None where it is none that can be written down."""
    return given if given and _SANE.fullmatch(given) else None


def correlate(identifier: str) -> None:
    """From now on, what this thread (or who writes to the index for it) logs has this identifier."""
    _current.set(identifier)


def correlation_id() -> str:
    return _current.get()


class WithCorrelation(logging.Filter):
    """Gives each record the identifier of what it is logged for."""

    def filter(self, record: logging.LogRecord) -> bool:
        if identifier := _current.get():
            record.correlation_id = identifier
        return True
