"""Multipart messages (RFC 2046, RFC 2387), both ways in pieces: no part is ever whole in memory."""

import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from .answer_stream import slices
from .media_types import MULTIPART_RELATED

_PREAMBLE_LIMIT = 64 * 1024
_HEADER_COUNT_LIMIT = 32


class BrokenMultipart(Exception):
    """A body that is no multipart message with this boundary, or ends before its closing boundary."""


@dataclass(frozen=True, slots=True)
class OutgoingPart:
    """A part to be sent. `size` is None where it is known only once the content is made."""

    content_type: str
    content: Callable[[], Generator[bytes, None, None]]
    size: int | None = None


def whole_part(content_type: str, data: bytes | memoryview) -> OutgoingPart:
    """A part whose content is at hand."""
    return OutgoingPart(content_type, partial(slices, memoryview(data)), len(data))


def new_boundary() -> str:
    return uuid.uuid4().hex


def content_type(part_media_type: str, boundary: str) -> str:
    return f'{MULTIPART_RELATED}; type="{part_media_type}"; boundary={boundary}'


def content_length(parts: Iterable[OutgoingPart]) -> int | None:
    """The length of the message of these parts; None where a part's is unknown."""
    boundary = new_boundary()  # all are of one length
    length = len(_closing(boundary))
    for part in parts:
        if part.size is None:
            return None
        length += len(_part_head(part, boundary)) + part.size
    return length


def message(parts: Iterable[OutgoingPart], boundary: str) -> Generator[bytes, None, None]:
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
    return f"\r\n--{boundary}\r\nContent-Type: {part.content_type}\r\n\r\n".encode()


def _closing(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()


@dataclass(frozen=True, slots=True)
class IncomingPart:
    """A part being received: its headers, names in lower case, and its content, to be read before the next part."""

    headers: Mapping[str, str]
    content: Iterator[bytes]


class MultipartReader:
    """The parts of a message that comes in chunks. Raises BrokenMultipart as soon as it is clear."""

    def __init__(self, chunks: Iterable[bytes], boundary: str) -> None:
        self._chunks = chunks
        self._boundary = boundary.encode("latin-1", "replace")
        self._events: deque[Mapping[str, str] | bytes | None] = deque()
        self._headers: dict[str, str] = {}
        self._name = bytearray()
        self._value = bytearray()
        self._ended = False
        try:
            self._parser = MultipartParser(
                self._boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
                max_header_count=_HEADER_COUNT_LIMIT,
            )
        except FormParserError as error:
            raise BrokenMultipart(f"the boundary cannot be used: {error}") from None

    def __iter__(self) -> Iterator[IncomingPart]:
        events = self._read()
        for event in events:
            if isinstance(event, Mapping):
                content = _content(events)
                yield IncomingPart(event, content)
                for _ in content:
                    pass  # what the caller left unread

    def _read(self) -> Iterator[Mapping[str, str] | bytes | None]:
        """Headers, then pieces of content, then None; and again."""
        for chunk in self._without_preamble():
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise BrokenMultipart(f"the body is no multipart message: {error}") from None
            while self._events:
                yield self._events.popleft()
            if self._ended:
                return
        raise BrokenMultipart("the body ended before its closing boundary; send it again, whole")

    def _without_preamble(self) -> Iterator[bytes]:
        """RFC 2046 5.1.1: what stands before the first boundary is to be ignored."""
        delimiter = b"--" + self._boundary
        head = b""
        chunks = iter(self._chunks)
        for chunk in chunks:
            head += chunk
            start = 0 if head.startswith(delimiter) else head.find(b"\n" + delimiter) + 1
            if start or head.startswith(delimiter):
                yield head[start:]
                yield from chunks
                return
            if len(head) > _PREAMBLE_LIMIT:
                break
        raise BrokenMultipart("the body does not begin with the boundary that its Content-Type names")

    def _on_part_begin(self) -> None:
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1").strip()
        self._name.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        self._events.append(self._headers)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _on_part_end(self) -> None:
        self._events.append(None)

    def _on_end(self) -> None:
        self._ended = True


def _content(events: Iterator[Mapping[str, str] | bytes | None]) -> Iterator[bytes]:
    for event in events:
        if event is None:
            return
        if isinstance(event, bytes):
            yield event
