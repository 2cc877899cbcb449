"""The body of a request in chunks, however it is framed: never whole in memory."""

import time
from collections.abc import Iterator
from contextlib import suppress

from flask import Request
from werkzeug.exceptions import HTTPException

from .answer_stream import CHUNK_SIZE
from .request_facts import RECEIVED

_DISCARD_SECONDS = 2.0
_DISCARD_CHUNKS = 256


class BrokenBody(Exception):
    """The body ended before it was whole, or `why` else it is none; `timed_out` where the client fell silent."""

    def __init__(
        self, *, timed_out: bool = False, why: str = "the body ended before it was whole; send it again"
    ) -> None:
        super().__init__("the client fell silent" if timed_out else why)
        self.timed_out = timed_out


def body_chunks(request: Request, maximum_size: int | None) -> Iterator[bytes]:
    """Raises BrokenBody, and RequestEntityTooLarge where there is more than `maximum_size`."""
    request.max_content_length = maximum_size
    stream = request.stream
    received = 0
    while True:
        try:
            chunk = stream.read(CHUNK_SIZE)
        except TimeoutError as error:
            raise BrokenBody(timed_out=True) from error
        except HTTPException as error:
            if error.code == 413:
                raise
            # Werkzeug, which counts the bytes, takes silence for a connection that is gone
            raise BrokenBody(timed_out=isinstance(error.__context__, TimeoutError)) from error
        except Exception as error:  # every WSGI server has errors of its own for a body that breaks off
            raise BrokenBody from error
        if not chunk:
            break
        received += len(chunk)
        request.environ[RECEIVED] = received
        yield chunk
    if request.content_length is not None and received < request.content_length:
        raise BrokenBody


def discard_rest(request: Request) -> None:
    """Takes some of what is still being sent: a client that is cut off while it sends never reads the answer."""
    if not request.environ.get("wsgi.input_terminated"):
        return
    limit_silence(request, _DISCARD_SECONDS)
    stream = request.environ["wsgi.input"]
    deadline = time.monotonic() + _DISCARD_SECONDS
    with suppress(Exception):
        for _ in range(_DISCARD_CHUNKS):
            if time.monotonic() > deadline or not stream.read(CHUNK_SIZE):
                break


def limit_silence(request: Request, seconds: float | None) -> None:
    """A client that stops in the middle of a request holds a thread no longer than this (gunicorn)."""
    connection = request.environ.get("gunicorn.socket")
    if connection is not None and seconds is not None:
        connection.settimeout(seconds)
