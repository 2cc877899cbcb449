"""Answers that are sent while they are made, in chunks, with flat memory."""

import errno
from collections.abc import Generator, Iterable, Iterator

from .problem import log_unexpected

CHUNK_SIZE = 256 * 1024


class AnswerStream:
    """Makes the first chunk before the status is sent, so that most errors still become one.

    One that comes later can only break the connection off, which tells the client that the answer is not whole.
    """

    def __init__(self, chunks: Generator[bytes, None, None]) -> None:
        self._chunks = chunks
        self._first: bytes | None = next(chunks, b"")

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it was, the client has to be told
            log_unexpected(error)
            # what gunicorn takes for a connection that is gone; anything else it would log with the URL in it
            raise ConnectionResetError(errno.ECONNRESET, "the answer broke off") from None

    def close(self) -> None:
        self._chunks.close()


def slices(view: memoryview) -> Generator[bytes, None, None]:
    """The bytes of a view, without a copy of the whole."""
    for start in range(0, len(view), CHUNK_SIZE):
        yield bytes(view[start : start + CHUNK_SIZE])


def json_array(items: Iterable[bytes]) -> Generator[bytes, None, None]:
    """A JSON array of encoded items, in chunks of some size; `items` is closed with it."""
    iterator = iter(items)
    try:
        chunk = bytearray(b"[")
        separator = b""
        for item in iterator:
            chunk += separator
            chunk += item
            separator = b","
            if len(chunk) >= CHUNK_SIZE:
                yield bytes(chunk)
                chunk.clear()
        yield bytes(chunk + b"]")
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
