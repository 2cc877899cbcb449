"""What is asked of stored objects: the bytes, the header, frames, bulk data. Reads no more of them than it must."""

import mmap
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from .assembly import Assembler
from .errors import FrameOutOfRange, ObjectDamaged, ObjectMissing, UnusableObject
from .frame_source import FrameSources
from .objects import ObjectFile, ObjectStore
from .parse.frames import FrameLayout, frame_layout, frame_stretches, read_frame
from .parse.header import Header, parse_header
from .parse.likeness import Models
from .parse.mapped_pages import STRETCH, let_go_of_pages
from .query.locate import FramePlace, StoredInstance


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of an open object, as they are stored: whoever sends them need not read them."""

    file: ObjectFile
    offset: int
    length: int


Piece = bytes | memoryview | Stretch
FrameEntries = Callable[[Sequence[int]], Mapping[int, bytes]]

_ENTRIES_AT_A_TIME = 1000


class Retriever:
    """Reads objects of one object store, with the frames of `sources` where those are elsewhere."""

    def __init__(self, objects: ObjectStore, sources: FrameSources, scratch: Path) -> None:
        self._objects = objects
        self._sources = sources
        self._assembler = Assembler(objects, sources, scratch)
        self._models = Models()

    def is_whole(self, instance: StoredInstance) -> bool:
        """Whether the object is there, as long as the index says; it is not read."""
        try:
            return self._objects.size(instance.location) == instance.size
        except ObjectMissing:
            return False

    def open_object(self, instance: StoredInstance) -> BinaryIO:
        if instance.origin is not None:
            return self._assembler.open_binary(instance)
        return self._objects.open(instance.location)

    def read_data_set(self, instance: StoredInstance) -> bytes:
        offset = instance.data_set_offset
        if instance.origin is not None:
            with self._assembler.open(instance) as file:
                return file.read_at(offset, file.size - offset)
        return self._objects.read_at(instance.location, offset, instance.size - offset)

    def header(self, instance: StoredInstance) -> Header:
        if instance.origin is not None:
            with _damage(instance):
                return self._assembler.header(instance)
        data_set = self._data_set(instance)
        with _damage(instance):
            return parse_header(data_set, instance.transfer_syntax_uid, models=self._models)

    def header_with_pixels(self, instance: StoredInstance) -> Header:
        return self.header(instance) if instance.origin is None else self._assembler.whole(instance)

    def bulk_data(self, instance: StoredInstance, path: str) -> bytes:
        return bytes(self.header_with_pixels(instance).bulk_data(path))

    def open_stretches(self, instance: StoredInstance) -> ObjectFile:
        if instance.origin is not None:
            return self._assembler.open(instance)
        file = self._objects.open_stretches(instance.location)
        if file.size != instance.size:
            file.close()
            raise _cut(instance)
        return file

    def frames(
        self, instance: StoredInstance, numbers: Iterable[int | range], entries_of: FrameEntries
    ) -> Iterator[bytes]:
        """The frames with these numbers, counted from 1. Raises FrameOutOfRange before the first is read."""
        wanted = _ranges(numbers)
        if instance.origin is not None:
            yield from self._frames_elsewhere(instance, wanted)
            return
        if instance.frames is None:
            yield from self._frames_of_whole(instance, wanted)
            return
        _check_range(wanted, instance.frames.number_of_frames)
        self._check_size(instance)

        def read_at(offset: int, length: int) -> bytes:
            return self._objects.read_at(instance.location, instance.data_set_offset + offset, length)

        for layout, number in _each(instance.frames, wanted, entries_of):
            with _damage(instance):
                frame = read_frame(read_at, layout, number)
            yield frame

    def frame_pieces(
        self, instance: StoredInstance, numbers: Iterable[int | range], entries_of: FrameEntries
    ) -> "FramePieces":
        """As `frames`, each as the pieces that it is made of. Raises FrameOutOfRange, ObjectMissing, ObjectDamaged."""
        wanted = _ranges(numbers)
        if instance.origin is not None:
            return FramePieces(None, ([frame] for frame in self._frames_elsewhere(instance, wanted)))
        if instance.frames is None:
            return FramePieces(None, ([frame] for frame in self._frames_of_whole(instance, wanted)))
        _check_range(wanted, instance.frames.number_of_frames)
        file = self.open_stretches(instance)
        return FramePieces(file, _pieces(instance, file, _each(instance.frames, wanted, entries_of)))

    def _frames_elsewhere(self, instance: StoredInstance, wanted: Sequence[range]) -> Generator[bytes, None, None]:
        _check_range(wanted, instance.number_of_frames)
        return self._sources.frames(instance, list(chain.from_iterable(wanted)))

    def _frames_of_whole(self, instance: StoredInstance, wanted: Sequence[range]) -> Iterator[bytes]:
        """A deflated data set gives its frames only once it is inflated."""
        header = self.header(instance)
        with _damage(instance):
            layout = frame_layout(header.buffer, header)
        if layout is None:
            raise FrameOutOfRange("the instance has no pixel data")
        _check_range(wanted, layout.number_of_frames)

        def read_at(offset: int, length: int) -> bytes:
            return bytes(header.buffer[offset : offset + length])

        seen = 0
        for number in chain.from_iterable(wanted):
            frame = read_frame(read_at, layout, number)
            seen += len(frame)
            if seen > STRETCH:
                let_go_of_pages(header.buffer)
                seen = 0
            yield frame

    def _data_set(self, instance: StoredInstance) -> memoryview:
        self._check_size(instance)
        with self._objects.open(instance.location) as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(mapped)[instance.data_set_offset :]

    def _check_size(self, instance: StoredInstance) -> None:
        if self._objects.size(instance.location) != instance.size:
            raise _cut(instance)


class FramePieces:
    """Frames of one object, one after the other, each as its pieces; to be closed when they are no longer needed."""

    def __init__(self, file: ObjectFile | None, frames: Generator[list[Piece], None, None]) -> None:
        self._file = file
        self._frames = frames

    def __iter__(self) -> Iterator[list[Piece]]:
        return self._frames

    def close(self) -> None:
        self._frames.close()
        if self._file is not None:
            self._file.close()


def _pieces(
    instance: StoredInstance, file: ObjectFile, frames: Iterable[tuple[FrameLayout, int]]
) -> Generator[list[Piece], None, None]:
    start = instance.data_set_offset

    def read_at(offset: int, length: int) -> bytes:
        return file.read_at(start + offset, length)

    for layout, number in frames:
        with _damage(instance):
            stretches = frame_stretches(read_at, layout, number)
            pieces: list[Piece] = (
                [read_frame(read_at, layout, number)]
                if stretches is None
                else [Stretch(file, start + offset, length) for offset, length in stretches]
            )
        yield pieces


def _cut(instance: StoredInstance) -> ObjectDamaged:
    return ObjectDamaged(
        f"The object store has only a part of {instance.sop_instance_uid}, or another object; run `fileroom check`."
    )


@contextmanager
def _damage(instance: StoredInstance) -> Iterator[None]:
    """What cannot be read was read once, when it came in: no request can be blamed for it."""
    try:
        yield
    except UnusableObject as error:
        raise ObjectDamaged(
            f"What is stored of {instance.sop_instance_uid} cannot be read: {error}. Run `fileroom check --verify`."
        ) from error


def _each(
    place: FramePlace, wanted: Iterable[range], entries_of: FrameEntries
) -> Generator[tuple[FrameLayout, int], None, None]:
    """For each frame, a layout that has it, and its number there."""
    whole = FrameLayout(place.number_of_frames, place.offset, place.length, place.frame_length, None)
    remaining = chain.from_iterable(wanted)
    while batch := list(islice(remaining, _ENTRIES_AT_A_TIME)):
        entries = entries_of(batch) if place.frame_length is None else {}
        for number in batch:
            if place.frame_length is not None:
                yield whole, number
                continue
            entry = entries.get(number)
            if entry is None:
                raise ObjectDamaged(f"The index has lost where frame {number} is; run `fileroom check`.")
            # a table of just this frame
            yield FrameLayout(1, whole.offset, whole.length, None, entry), 1


def _ranges(numbers: Iterable[int | range]) -> list[range]:
    return [number if isinstance(number, range) else range(number, number + 1) for number in numbers]


def _check_range(wanted: Sequence[range], number_of_frames: int) -> None:
    for numbers in wanted:
        if numbers and not 1 <= numbers[0] <= numbers[-1] <= number_of_frames:
            outside = numbers[0] if not 1 <= numbers[0] <= number_of_frames else numbers[-1]
            raise FrameOutOfRange(f"there is no frame {outside}; the instance has {number_of_frames}")
