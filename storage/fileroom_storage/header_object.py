"""An object that is only the header of an instance, and says so in its preamble: its frames are elsewhere.

The preamble is for whoever writes the file to use (PS3.10 7.1). It tells an orphan, or what is restored, from an object
that came without pixels; it never leaves the object store, and does not come in.
"""

import struct
from dataclasses import dataclass

from .index.arrival import Origin
from .index.external_tables import KEY_LENGTH, SOURCE_LENGTH

PREAMBLE_LENGTH = 128
_MARK = b"fileroom\0header\0"
_FACTS = struct.Struct("<LBB")  # number of frames, lengths of source and key


@dataclass(frozen=True, slots=True)
class HeaderObject:
    """What the preamble says."""

    origin: Origin
    number_of_frames: int


def checked_origin(source: str, key: str) -> Origin:
    """Raises ValueError for what there is no room for."""
    for what, text, most in (("source", source, SOURCE_LENGTH), ("key", key, KEY_LENGTH)):
        if not 0 < len(text) <= most or not text.isascii() or not text.isprintable():
            raise ValueError(f"the {what} of something external has 1 to {most} characters of ASCII")
    return Origin(source, key)


def encode_preamble(header: HeaderObject) -> bytes:
    source, key = header.origin.source.encode("ascii"), header.origin.key.encode("ascii")
    facts = _FACTS.pack(header.number_of_frames, len(source), len(key))
    return (_MARK + facts + source + key).ljust(PREAMBLE_LENGTH, b"\0")


def is_marked(start: bytes | memoryview) -> bool:
    """Whether the first bytes of an object claim that it is only a header, as nothing that comes from outside may."""
    return start[: len(_MARK)] == _MARK


def read_preamble(start: bytes) -> HeaderObject | None:
    """What the first bytes of an object say; None where it is an object as it came."""
    if not is_marked(start) or len(start) < PREAMBLE_LENGTH:
        return None
    number_of_frames, length_of_source, length_of_key = _FACTS.unpack_from(start, len(_MARK))
    text = start[len(_MARK) + _FACTS.size :]
    key_end = length_of_source + length_of_key
    origin = Origin(text[:length_of_source].decode("ascii"), text[length_of_source:key_end].decode("ascii"))
    return HeaderObject(origin, number_of_frames)
