"""Multipart messages that come in (RFC 2046, RFC 2387), part by part: none is ever whole in memory."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

MAXIMUM_PARTS = 100_000
_PREAMBLE_LIMIT = 64 * 1024
_HEADER_COUNT_LIMIT = 32
_HEADER_SIZE_LIMIT = 16 * 1024
_BOUNDARY_LENGTH_LIMIT = 70  # RFC 2046 5.1.1 has 70; some take a few more
_PADDING_LIMIT = 64

# RFC 9110 5.6.2
_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FOLDED = re.compile(rb"\r?\n[ \t]+")
_END_OF_HEADERS = re.compile(rb"(?:^|\n)\r?\n")
_LINE_END = re.compile(rb"\r?\n")


class BrokenMultipart(Exception):
    """A body that is no multipart message with this boundary, or ends before its closing boundary."""


class TooManyParts(BrokenMultipart):
    """More parts than an answer could tell about: each is remembered, however small it is."""


@dataclass(frozen=True, slots=True)
class IncomingPart:
    """A part being received: its headers, names in lower case, and its content, to be read before the next part."""

    headers: Mapping[str, str]
    content: Iterator[bytes]


class MultipartReader:
    """The parts of a message that comes in chunks. Raises BrokenMultipart as soon as it is clear.

    A message whose first boundary ends with a bare LF has bare LFs everywhere; many programs write such.
    """

    def __init__(self, chunks: Iterable[bytes], boundary: str) -> None:
        if not 0 < len(boundary) <= 2 * _BOUNDARY_LENGTH_LIMIT:
            raise BrokenMultipart(f"the boundary cannot be used: it may have {_BOUNDARY_LENGTH_LIMIT} characters")
        self._chunks = iter(chunks)
        self._boundary = b"--" + boundary.encode("latin-1", "replace")
        self._delimiter = self._boundary
        self._pending = b""

    def __iter__(self) -> Iterator[IncomingPart]:
        self._pass_preamble()
        count = 0
        while not self._is_closed():
            count += 1
            if count > MAXIMUM_PARTS:
                raise TooManyParts(f"the body has more than {MAXIMUM_PARTS} parts; send fewer at a time")
            part = IncomingPart(self._headers(), self._content())
            yield part
            for _ in part.content:
                pass  # what the caller left unread

    def _more(self) -> None:
        chunk = next(self._chunks, b"")
        if not chunk:
            raise BrokenMultipart("the body ended before its closing boundary; send it again, whole")
        self._pending += chunk

    def _pass_preamble(self) -> None:
        """RFC 2046 5.1.1: what stands before the first boundary is to be ignored."""
        position = 0
        while True:
            start = self._pending.find(self._boundary, position)
            if start == 0 or (start > 0 and self._pending[start - 1 : start] == b"\n"):
                after = start + len(self._boundary)
                line_end = self._delimiter_line(after)
                if line_end is not None:
                    self._delimiter = line_end + self._boundary
                    self._pending = self._pending[after:]
                    return
            if start >= 0:
                position = start + 1
                continue
            position = max(0, len(self._pending) - len(self._boundary))
            if len(self._pending) > _PREAMBLE_LIMIT:
                raise BrokenMultipart(_NO_BOUNDARY)
            try:
                self._more()
            except BrokenMultipart:
                raise BrokenMultipart(_NO_BOUNDARY) from None

    def _delimiter_line(self, position: int) -> bytes | None:
        """What ends the line of a boundary, which has nothing else on it; None where it is no boundary's."""
        while True:
            rest = self._pending[position : position + _PADDING_LIMIT]
            if rest.startswith(b"--"):
                return b"\r\n"
            text = rest.lstrip(b" \t")
            if text.startswith(b"\n"):
                return b"\n"
            if text.startswith(b"\r\n"):
                return b"\r\n"
            if rest != b"-" and text not in (b"", b"\r"):
                return None
            if len(rest) == _PADDING_LIMIT:
                return None
            self._more()

    def _is_closed(self) -> bool:
        """Passes what is left of a boundary's line; true for the last."""
        while len(self._pending) < 2:
            self._more()
        if self._pending.startswith(b"--"):
            return True
        while (end := self._pending.find(b"\n")) < 0:
            self._more()
        self._pending = self._pending[end + 1 :]
        return False

    def _headers(self) -> dict[str, str]:
        position = 0
        while (end := _END_OF_HEADERS.search(self._pending, position)) is None or end.start() > _HEADER_SIZE_LIMIT:
            if len(self._pending) > _HEADER_SIZE_LIMIT:
                raise BrokenMultipart(f"a part has more than {_HEADER_SIZE_LIMIT} bytes of headers")
            position = max(0, len(self._pending) - 2)
            self._more()
        head, self._pending = self._pending[: end.start()], self._pending[end.end() :]
        lines = [line for line in _LINE_END.split(_FOLDED.sub(b" ", head.rstrip(b"\r"))) if line]
        if len(lines) > _HEADER_COUNT_LIMIT:
            raise BrokenMultipart(f"a part has more than {_HEADER_COUNT_LIMIT} headers")
        return dict(_header(line) for line in lines)

    def _content(self) -> Iterator[bytes]:
        """Up to the next boundary, and behind it."""
        keep = len(self._delimiter) + _PADDING_LIMIT
        position = 0
        # an empty part's boundary may follow its headers at once
        if not self._content_starts_with_boundary():
            while True:
                start = self._pending.find(self._delimiter, position)
                if start < 0:
                    given = max(0, len(self._pending) - keep)
                    if given:
                        yield self._pending[:given]
                        self._pending = self._pending[given:]
                    position = max(0, len(self._pending) - len(self._delimiter))
                    self._more()
                elif self._delimiter_line(start + len(self._delimiter)) is None:
                    position = start + 1  # RFC 2046 5.1.1: a longer line is content
                else:
                    break
            if start:
                yield self._pending[:start]
            self._pending = self._pending[start + len(self._delimiter) :]

    def _content_starts_with_boundary(self) -> bool:
        while len(self._pending) < len(self._boundary) and self._boundary.startswith(self._pending):
            self._more()
        if not self._pending.startswith(self._boundary) or self._delimiter_line(len(self._boundary)) is None:
            return False
        self._pending = self._pending[len(self._boundary) :]
        return True


_NO_BOUNDARY = "the body does not begin with the boundary that its Content-Type names"


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    name = name.rstrip(b" \t")
    if not colon or not _HEADER_NAME.fullmatch(name):
        raise BrokenMultipart("a part has a header without a name and a colon")
    return name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")
