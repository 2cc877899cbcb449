"""Answers made of bytes at hand and of stretches of stored objects, which a server may send without reading them."""

import errno
from collections.abc import Generator, Iterator
from itertools import chain
from typing import Protocol

from fileroom_storage.errors import ObjectMissing
from fileroom_storage.storage import Piece, Stretch

from .answer_stream import CHUNK_SIZE, slices
from .problem import log_unexpected


class Opened(Protocol):
    """What an answer needs until it is sent."""

    def close(self) -> None: ...


class StoredAnswer:
    """The body of a response, piece by piece. Any WSGI server can iterate over its bytes; ours takes the pieces.

    The first piece is made before the status is sent, so that most errors still become one. What goes wrong later can
    only break the connection off, which tells the client that the answer is not whole. `opened` is closed with it.
    """

    def __init__(self, pieces: Generator[Piece, None, None], opened: Opened | None = None) -> None:
        self._pieces = pieces
        self._opened = opened
        self._first = list(next(zip(pieces), ()))

    def pieces(self) -> Generator[Piece, None, None]:
        """Each is to be sent before the next is asked for: its object may be closed then."""
        try:
            yield from chain(self._first, self._pieces)
        except Exception as error:  # noqa: BLE001  # whatever it was, the client has to be told
            log_unexpected(error)
            raise broken_off() from None

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces():
            if isinstance(piece, Stretch):
                yield from _read(piece)
            else:
                yield from slices(memoryview(piece))

    def close(self) -> None:
        self._pieces.close()
        if self._opened is not None:
            self._opened.close()


def broken_off() -> ConnectionResetError:
    """What gunicorn takes for a connection that is gone; anything else it would log with the URL in it."""
    return ConnectionResetError(errno.ECONNRESET, "the answer broke off")


def _read(stretch: Stretch) -> Generator[bytes, None, None]:
    done = 0
    while done < stretch.length:
        try:
            chunk = stretch.file.read_at(stretch.offset + done, min(CHUNK_SIZE, stretch.length - done))
            if not chunk:
                raise ObjectMissing("an object has become shorter while it was sent")
        except Exception as error:  # noqa: BLE001  # as above
            log_unexpected(error)
            raise broken_off() from None
        yield chunk
        done += len(chunk)
