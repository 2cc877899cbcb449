"""Whole objects of instances whose frames are elsewhere: the header that is here, with the frames that a source gives.

They are put together in a file that is gone when it is closed: a source that fails half-way becomes a status then, and
is no object that breaks off, and whoever sends it sends a stored one.
"""

import math
import mmap
import os
import struct
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from .errors import CannotTranscode, ObjectDamaged
from .frame_source import FrameSources
from .header_object import PREAMBLE_LENGTH
from .objects import ObjectFile, ObjectStore
from .objects.failures import Failures
from .objects.filesystem import FilesystemObjectFile
from .parse.encoding import LONG_VRS, NATIVE_TRANSFER_SYNTAXES
from .parse.header import Header, parse_header
from .parse.likeness import Models
from .query.locate import StoredInstance

_PIXEL_DATA = 0x7FE00010
_BITS_ALLOCATED = 0x00280100
_FRAME_SIZE = (0x00280002, 0x00280010, 0x00280011, _BITS_ALLOCATED)  # samples per pixel, rows, columns
_LONGEST_VALUE = 0xFFFFFFFE
_PIXEL_DATA_HEADER = struct.Struct("<HH2s2xL")
_VALUE_LENGTH = struct.Struct("<L")
_ITEM = struct.Struct("<HHL")
# PS3.5 A.4: without a Basic Offset Table
_EMPTY_TABLE = _ITEM.pack(0xFFFE, 0xE000, 0)
_DELIMITER = _ITEM.pack(0xFFFE, 0xE0DD, 0)
_WITH_LONG_HEADERS = frozenset(LONG_VRS.values())


class Assembler:
    """`scratch` is the folder of the files that objects are put together in."""

    def __init__(self, objects: ObjectStore, sources: FrameSources, scratch: Path) -> None:
        self._objects = objects
        self._sources = sources
        self._scratch = scratch
        self._failures = Failures(scratch)
        self._models = Models()

    def header(self, instance: StoredInstance) -> Header:
        """With a Pixel Data that has no frames in it, but tells that there are some, and how they are encoded."""
        data_set, header, place = self._data_set(instance)
        if not instance.number_of_frames:
            return header
        pixel_data = _pixel_data_header(header, instance)
        if not _is_native(instance):
            pixel_data += _EMPTY_TABLE + _DELIMITER
        whole = data_set[:place] + pixel_data + data_set[place:]
        return parse_header(whole, instance.transfer_syntax_uid, models=self._models)

    def whole(self, instance: StoredInstance) -> Header:
        """With all of its Pixel Data. Raises PixelsUnavailable."""
        with self.open(instance) as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return parse_header(memoryview(mapped)[instance.data_set_offset :], instance.transfer_syntax_uid)

    def open(self, instance: StoredInstance) -> ObjectFile:
        """The Part 10 file, its data set where that of the header is; to be closed.

        Raises PixelsUnavailable, CannotTranscode, StorageUnavailable.
        """
        with self.open_binary(instance) as file, self._failures:
            return FilesystemObjectFile(self._failures, os.dup(file.fileno()))

    def open_binary(self, instance: StoredInstance) -> BinaryIO:
        """The same as a file to be read from its start."""
        with self._failures:
            file = cast("BinaryIO", TemporaryFile(dir=self._scratch))  # noqa: SIM115  # closed by who asked for it
        try:
            self._write(file, instance)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def _write(self, file: BinaryIO, instance: StoredInstance) -> None:
        data_set, header, place = self._data_set(instance)
        if _is_native(instance) and instance.number_of_frames > 1 and _frame_bits(header) % 8:
            raise CannotTranscode("uncompressed, its frames end within a byte and cannot be put together (PS3.5 8.1.1)")
        # the preamble is between us and the object store
        head = self._objects.read_at(instance.location, PREAMBLE_LENGTH, instance.data_set_offset - PREAMBLE_LENGTH)
        self._append(file, bytes(PREAMBLE_LENGTH), head, data_set[:place])
        if instance.number_of_frames:
            frames = self._sources.frames(instance, range(1, instance.number_of_frames + 1))
            with closing(frames):
                self._append(file, _pixel_data_header(header, instance))
                if _is_native(instance):
                    self._write_native(file, frames)
                else:
                    self._write_encapsulated(file, frames)
        self._append(file, data_set[place:])
        with self._failures:
            file.flush()

    def _write_encapsulated(self, file: BinaryIO, frames: Iterable[bytes]) -> None:
        self._append(file, _EMPTY_TABLE)
        for frame in frames:
            padding = len(frame) % 2
            if len(frame) + padding > _LONGEST_VALUE:
                raise CannotTranscode("a frame is too long for one fragment (PS3.5 7.1.1)")
            # one fragment a frame tells where each begins (PS3.5 A.4)
            self._append(file, _ITEM.pack(0xFFFE, 0xE000, len(frame) + padding), frame, bytes(padding))
        self._append(file, _DELIMITER)

    def _write_native(self, file: BinaryIO, frames: Iterable[bytes]) -> None:
        start = file.tell()
        for frame in frames:
            self._append(file, frame)
        length = file.tell() - start
        self._append(file, bytes(length % 2))
        length += length % 2
        if length > _LONGEST_VALUE:
            raise CannotTranscode("uncompressed, the pixels are too long for one value (PS3.5 7.1.1)")
        with self._failures:
            file.seek(start - _VALUE_LENGTH.size)
            file.write(_VALUE_LENGTH.pack(length))
            file.seek(0, os.SEEK_END)

    def _append(self, file: BinaryIO, *pieces: bytes) -> None:
        with self._failures:
            for piece in pieces:
                file.write(piece)

    def _data_set(self, instance: StoredInstance) -> tuple[bytes, Header, int]:
        """The data set that is here, what it says, and where in it Pixel Data belongs."""
        offset = instance.data_set_offset
        if self._objects.size(instance.location) != instance.size:
            raise ObjectDamaged(
                f"The object store has only a part of the header of {instance.sop_instance_uid}; run `fileroom check`."
            )
        data_set = self._objects.read_at(instance.location, offset, instance.size - offset)
        header = parse_header(data_set, instance.transfer_syntax_uid, models=self._models)
        behind = [
            value - (12 if vr in _WITH_LONG_HEADERS else 8)
            for tag, (vr, value, _, _) in header.data_set.elements.items()
            if tag > _PIXEL_DATA
        ]
        return data_set, header, min(behind, default=len(data_set))


def _pixel_data_header(header: Header, instance: StoredInstance) -> bytes:
    # PS3.5 A.4: OB where it is encapsulated; PS3.5 A.2: OB or OW for up to 8 bits, else OW
    if not _is_native(instance):
        return _PIXEL_DATA_HEADER.pack(0x7FE0, 0x0010, b"OB", 0xFFFFFFFF)
    bits = header.data_set.number(_BITS_ALLOCATED) or 0
    return _PIXEL_DATA_HEADER.pack(0x7FE0, 0x0010, b"OW" if bits > 8 else b"OB", 0)


def _frame_bits(header: Header) -> int:
    return math.prod(header.data_set.number(tag) or 1 for tag in _FRAME_SIZE)


def _is_native(instance: StoredInstance) -> bool:
    return instance.transfer_syntax_uid in NATIVE_TRANSFER_SYNTAXES
