"""Multipart answers (RFC 2046, RFC 2387) in pieces: no part is ever whole in memory."""

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from fileroom_storage.storage import Piece, Stretch

from .answer_stream import slices
from .media_types import MULTIPART_RELATED

_BOUNDARY_LENGTH = 32


@dataclass(frozen=True, slots=True)
class OutgoingPart:
    """A part to be sent. `size` is None where it is known only once the content is made. `headers` follow the type."""

    content_type: str
    content: Callable[[], Generator[Piece, None, None]]
    size: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


def whole_part(content_type: str, data: bytes | memoryview, *headers: tuple[str, str]) -> OutgoingPart:
    """A part whose content is at hand."""
    return OutgoingPart(content_type, partial(slices, memoryview(data)), len(data), headers)


def stored_part(content_type: str, pieces: Sequence[Piece], *headers: tuple[str, str]) -> OutgoingPart:
    """A part whose content is in stretches of an object that is open until it is sent."""
    size = sum(piece.length if isinstance(piece, Stretch) else len(piece) for piece in pieces)
    return OutgoingPart(content_type, partial(_each, pieces), size, headers)


def _each(pieces: Sequence[Piece]) -> Generator[Piece, None, None]:
    yield from pieces


def new_boundary() -> str:
    return os.urandom(_BOUNDARY_LENGTH // 2).hex()


def content_type(part_media_type: str, boundary: str) -> str:
    return f'{MULTIPART_RELATED}; type="{part_media_type}"; boundary={boundary}'


def content_length(parts: Iterable[OutgoingPart]) -> int | None:
    """The length of the message of these parts; None where a part's is unknown."""
    boundary = "0" * _BOUNDARY_LENGTH
    length = len(_closing(boundary))
    for part in parts:
        if part.size is None:
            return None
        length += len(_part_head(part, boundary)) + part.size
    return length


def message(parts: Iterable[OutgoingPart], boundary: str) -> Generator[Piece, None, None]:
    """The message in pieces, content by content."""
    for part in parts:
        yield _part_head(part, boundary)
        content = part.content()
        try:
            yield from content
        finally:
            content.close()
    yield _closing(boundary)


def _part_head(part: OutgoingPart, boundary: str) -> bytes:
    # Content-Type first: there are viewers that look for it there
    headers = "".join(f"{name}: {value}\r\n" for name, value in part.headers)
    return f"\r\n--{boundary}\r\nContent-Type: {part.content_type}\r\n{headers}\r\n".encode()


def _closing(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()
