"""The JSON of a document, plain or compressed by gzip, within bounds that are kept before anything large is built."""

import zlib
from typing import Any

import orjson

from .invalid_document import InvalidDocument

MAXIMUM_SIZE = 256 << 20  # bytes of text; an image of 100,000 frames has a quarter
MAXIMUM_VALUES = 10_000_000  # in memory each takes up to a hundred bytes

_GZIP = b"\x1f\x8b"
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_CHUNK = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json(content: bytes, maximum_size: int = MAXIMUM_SIZE) -> Any:
    """Raises InvalidDocument."""
    text = _inflated(content, maximum_size) if content.startswith(_GZIP) else content
    if len(text) > maximum_size:
        raise _too_large(maximum_size)
    text = text.removeprefix(_BYTE_ORDER_MARK)
    # all values but the first of an object or array follow a comma; those in texts make it no more than an upper bound
    if sum(map(text.count, (b",", b"[", b"{"))) > MAXIMUM_VALUES:
        raise InvalidDocument("", f"has more than {MAXIMUM_VALUES} values")
    try:
        return orjson.loads(text)  # which refuses what is nested more than 1024 levels deep
    except orjson.JSONDecodeError as error:
        raise InvalidDocument("", f"is no JSON: {error.msg} at character {error.pos}") from None


def _inflated(content: bytes, maximum_size: int) -> bytes:
    """What all gzip members hold together."""
    pieces: list[bytes] = []
    left = maximum_size
    while content:
        inflater = zlib.decompressobj(_GZIP_FORMAT)
        while not inflater.eof:
            try:
                piece = inflater.decompress(content, _CHUNK)
            except zlib.error:
                raise InvalidDocument("", "is damaged: gzip cannot be read to its end; fetch it again") from None
            content = inflater.unconsumed_tail
            if not (piece or content or inflater.eof):
                raise InvalidDocument("", "is cut off in its gzip; fetch it again")
            left -= len(piece)
            if left < 0:
                raise _too_large(maximum_size)
            pieces.append(piece)
        content = inflater.unused_data.lstrip(b"\0")  # padding, as of tape blocks, is no member
    return b"".join(pieces)


def _too_large(maximum_size: int) -> InvalidDocument:
    return InvalidDocument("", f"has more than {maximum_size >> 20} MiB of JSON")
