"""What is asked of stored objects: the bytes, the header, frames, bulk data. Reads no more of them than it must."""

import mmap
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from .errors import FrameOutOfRange
from .objects import ObjectStore
from .parse.frames import FrameLayout, frame_layout, read_frame
from .parse.header import Header, parse_header
from .query.locate import FramePlace, StoredInstance

FrameEntry = Callable[[int], bytes | None]


class Retriever:
    """Reads objects of one object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def open_object(self, instance: StoredInstance) -> BinaryIO:
        return self._objects.open(instance.location)

    def read_data_set(self, instance: StoredInstance) -> bytes:
        offset = instance.data_set_offset
        return self._objects.read_at(instance.location, offset, instance.size - offset)

    def header(self, instance: StoredInstance) -> Header:
        return parse_header(self._data_set(instance), instance.transfer_syntax_uid)

    def bulk_data(self, instance: StoredInstance, path: str) -> bytes:
        return bytes(self.header(instance).bulk_data(path))

    def frames(
        self, instance: StoredInstance, numbers: Iterable[int], place: FramePlace | None, entry_of: FrameEntry
    ) -> Iterator[bytes]:
        """The frames with these numbers, counted from 1. Raises FrameOutOfRange before the first is read."""
        wanted = list(numbers)
        if place is None:
            yield from self._frames_of_whole(instance, wanted)
            return
        _check_range(wanted, place.number_of_frames)

        def read_at(offset: int, length: int) -> bytes:
            return self._objects.read_at(instance.location, instance.data_set_offset + offset, length)

        for number in wanted:
            layout = FrameLayout(
                number_of_frames=place.number_of_frames,
                offset=place.offset,
                length=place.length,
                frame_length=place.frame_length,
                table=None,
            )
            entry = entry_of(number) if place.frame_length is None else None
            if entry is not None:
                # a table of just this frame
                layout = FrameLayout(1, place.offset, place.length, None, entry)
                yield read_frame(read_at, layout, 1)
            else:
                yield read_frame(read_at, layout, number)

    def _frames_of_whole(self, instance: StoredInstance, wanted: list[int]) -> Iterator[bytes]:
        """A deflated data set gives its frames only once it is inflated."""
        header = self.header(instance)
        layout = frame_layout(header.buffer, header)
        if layout is None:
            raise FrameOutOfRange("the instance has no pixel data")
        _check_range(wanted, layout.number_of_frames)

        def read_at(offset: int, length: int) -> bytes:
            return bytes(header.buffer[offset : offset + length])

        for number in wanted:
            yield read_frame(read_at, layout, number)

    def _data_set(self, instance: StoredInstance) -> memoryview:
        with self._objects.open(instance.location) as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(mapped)[instance.data_set_offset :]


def _check_range(numbers: list[int], number_of_frames: int) -> None:
    for number in numbers:
        if not 1 <= number <= number_of_frames:
            raise FrameOutOfRange(f"there is no frame {number}; the instance has {number_of_frames}")
