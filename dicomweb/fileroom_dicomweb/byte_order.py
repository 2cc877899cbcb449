"""Pixels of big-endian objects as DICOMweb hands them out: little-endian (PS3.18 8.7.3.3.2)."""

from collections.abc import Iterator, Sequence

import numpy as np

from fileroom_storage.parse.header import Header
from fileroom_storage.storage import Storage, StoredInstance

# Explicit VR Big Endian, and GE's private Implicit VR Little Endian with big-endian pixel data.
_BIG_ENDIAN = frozenset({"1.2.840.10008.1.2.2", "1.2.840.113619.5.2"})

_BITS_ALLOCATED = 0x00280100
_PIXEL_DATA = "7FE00010"


def stored_big_endian(transfer_syntax_uid: str) -> bool:
    return transfer_syntax_uid in _BIG_ENDIAN


def little_endian_frames(storage: Storage, instance: StoredInstance, numbers: Sequence[int]) -> Iterator[bytes]:
    header = storage.header(instance)
    word_length = _word_length(header)
    for number, frame in zip(numbers, storage.frames(instance, numbers), strict=True):
        if len(frame) % word_length == 0:
            yield _swapped(frame, word_length)
        else:
            # the frame begins or ends in the middle of a word
            yield bytes(header.bulk_data(_PIXEL_DATA)[(number - 1) * len(frame) : number * len(frame)])


def little_endian_pixel_data(storage: Storage, instance: StoredInstance) -> memoryview:
    header = storage.header(instance)
    if _word_length(header) <= 2:
        return header.bulk_data(_PIXEL_DATA)
    return memoryview(b"".join(little_endian_frames(storage, instance, range(1, instance.number_of_frames + 1))))


def _word_length(header: Header) -> int:
    """The bytes that change places with each other."""
    element = header.element(_BITS_ALLOCATED)
    bits_allocated = int(element["Value"][0]) if element and element.get("Value") else 16
    # PS3.5 8.2: OW is words of 16 bits, even where a sample has fewer; where it has more, writers swap the whole of it
    return max(bits_allocated // 8, 2 if header.pixel_data is None or header.pixel_data.vr == "OW" else 1)


def _swapped(frame: bytes, word_length: int) -> bytes:
    return frame if word_length == 1 else np.frombuffer(frame, np.dtype(f"u{word_length}")).byteswap().tobytes()
