"""Bodies with a Content-Encoding (RFC 9110 8.4): inflated as they come, and never without bound."""

import zlib
from collections.abc import Iterable, Iterator
from http import HTTPStatus

from werkzeug.exceptions import RequestEntityTooLarge

from .answer_stream import CHUNK_SIZE
from .problem import Problem
from .request_body import BrokenBody

# What is smaller may be as dense as it likes; images of nothing but black are a thousand times smaller than they say.
_UNSUSPECTED = 1 << 30
_MOST_DENSE = 100


def decoded(chunks: Iterable[bytes], coding: str, maximum_size: int | None) -> Iterable[bytes]:
    """The body as it was before gzip. Raises Problem for other codings, RequestEntityTooLarge, BrokenBody."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return chunks
    if coding not in ("gzip", "x-gzip"):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The only Content-Encoding that is read is gzip; send the body with it or without any.",
            supported=["gzip", "identity"],
        )
    return _inflated(chunks, maximum_size)


def _inflated(chunks: Iterable[bytes], maximum_size: int | None) -> Iterator[bytes]:
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    taken = given = 0
    for chunk in chunks:
        taken += len(chunk)
        rest = chunk
        while rest:
            if inflater.eof:
                inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)  # RFC 1952 2.2: members follow each other
            try:
                piece = inflater.decompress(rest, CHUNK_SIZE)
            except zlib.error:
                raise BrokenBody(why="the body is not the gzip that its Content-Encoding says") from None
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            given += len(piece)
            if maximum_size is not None and given > maximum_size:
                raise RequestEntityTooLarge
            if given > _UNSUSPECTED and given > taken * _MOST_DENSE:
                raise RequestEntityTooLarge
            if piece:
                yield piece
    if not inflater.eof:
        raise BrokenBody
