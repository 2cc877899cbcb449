"""The part of the facade that reads: searches, whole objects, headers, frames."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import BinaryIO

from .index.index_version import IndexVersion
from .index.scope import Scope
from .objects import ObjectFile
from .parse.header import Header
from .query import Answer, Query
from .query.locate import StoredInstance
from .query.reader import IndexReader
from .retrieve import FramePieces, Retriever


class Reading:
    """What Storage gives of what is stored; Storage makes its parts."""

    _reader: IndexReader
    _retriever: Retriever
    _version: IndexVersion

    def find(self, query: Query) -> Generator[Answer, None, None]:
        """Answers as DICOM JSON elements by tag, from a cursor: exhaust or close it. Raises InvalidQuery at once."""
        return self._reader.find(query)

    def version(self) -> tuple[int, int] | None:
        """Another value than before once anything has been committed; None where the database cannot tell that."""
        return self._version.read()

    def count(self, query: Query) -> int:
        return self._reader.count(query)

    def locate(self, matches: Mapping[str, str], scope: Scope = None) -> Iterator[StoredInstance]:
        """The instances under these unique keys, by study, series and instance number; those of the scope."""
        return iter(self._reader.locate(matches, scope))

    def open_object(self, instance: StoredInstance) -> BinaryIO:
        """The object as a Part 10 file, to be closed by the caller. Raises ObjectMissing."""
        return self._retriever.open_object(instance)

    def open_stretches(self, instance: StoredInstance) -> ObjectFile:
        """The same for reading stretches of it, once its length is what it should be. Raises ObjectDamaged too."""
        return self._retriever.open_stretches(instance)

    def read_data_set(self, instance: StoredInstance) -> bytes:
        """The encoded data set without preamble and file meta information, as it was received."""
        return self._retriever.read_data_set(instance)

    def header(self, instance: StoredInstance) -> Header:
        return self._retriever.header(instance)

    def header_with_pixels(self, instance: StoredInstance) -> Header:
        """As `header`, of which Pixel Data of what is elsewhere is a mere hint. Raises PixelsUnavailable."""
        return self._retriever.header_with_pixels(instance)

    def bulk_data(self, instance: StoredInstance, path: str) -> bytes:
        """The value at a path that `Header.dicom_json` gave out. Raises InstanceNotFound."""
        return self._retriever.bulk_data(instance, path)

    def frame(self, instance: StoredInstance, number: int) -> bytes:
        """One frame as it is encoded, counted from 1. Raises FrameOutOfRange."""
        return next(self.frames(instance, [number]))

    def frames(self, instance: StoredInstance, numbers: Iterable[int | range]) -> Iterator[bytes]:
        """Frames by number, or by ranges of numbers. Raises FrameOutOfRange before the first is read."""
        return self._retriever.frames(instance, numbers, lambda wanted: self._reader.frame_entries(instance.pk, wanted))

    def frame_pieces(self, instance: StoredInstance, numbers: Iterable[int | range]) -> FramePieces:
        """As `frames`, for whoever sends them without looking at them; to be closed.

        Raises FrameOutOfRange, ObjectMissing, ObjectDamaged at once.
        """
        return self._retriever.frame_pieces(
            instance, numbers, lambda wanted: self._reader.frame_entries(instance.pk, wanted)
        )

    def damaged(self, instances: Iterable[StoredInstance]) -> list[StoredInstance]:
        """Those whose objects the store has lost, or has another length of; nothing is read."""
        return [instance for instance in instances if not self._retriever.is_whole(instance)]
