"""From the transfer syntax of an object to another: encoded anew, decompressed, or compressed without loss."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian

from ..errors import CannotDecode, CannotTranscode, StorageError
from ..parse.data_set_writing import DataSetWriter, NewElement, swapped, whole_element
from ..parse.encoding import NUMBER_OF_FRAMES
from ..parse.frames import frame_layout, read_frame
from ..parse.header import Header, PixelData
from .byte_order import little_endian_frame, native_pixels, stored_big_endian
from .compression import compress_frame, compressed_interpretation, compressions
from .decoding import decode_frame
from .image_pixel import ImagePixel
from .transfer_syntaxes import ALWAYS_LOSSY, BIG_ENDIAN_PIXELS, TARGETS, UNCOMPRESSED

_IN_MEMORY = 16 << 20
_LONGEST_VALUE = 0xFFFFFFFE
_PHOTOMETRIC_INTERPRETATION = 0x00280004
_PLANAR_CONFIGURATION = 0x00280006
_LOSSY_IMAGE_COMPRESSION = 0x00282110
_YBR = ("YBR_FULL", "YBR_FULL_422")


def transcode(header: Header, target: str, prefix: bytes = b"") -> IO[bytes]:
    """The encoded data set of an object in another transfer syntax, as a file to be closed; a large one is on disk.

    `prefix` is written before it: the File Meta Information, where a Part 10 file is wanted.

    Pixels are worked on frame by frame. The SOP Instance UID stays, because the pixels are those that it stands for;
    so do texts and private elements, byte for byte. Raises CannotTranscode.
    """
    if target not in TARGETS:
        raise CannotTranscode(f"nothing here encodes {UID(target).name}; {_LIST}")
    file = _Scratch(_IN_MEMORY)
    try:
        file.write(prefix)
        with _failures(header.transfer_syntax_uid, target):
            pieces = DataSetWriter(target).data_set(header.data_set, _new_elements(header, UID(target)))
            for piece in _deflated(pieces) if target == DeflatedExplicitVRLittleEndian else pieces:
                file.write(piece)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def transcode_frame(header: Header, frame: bytes, number: int, target: str) -> bytes:
    """One frame as `parse.frames` reads it, in another transfer syntax; uncompressed ones little endian.

    `number`, counted from 1, is that of the frame. Raises CannotTranscode.
    """
    if target != ExplicitVRLittleEndian and target not in TARGETS[len(UNCOMPRESSED) :]:
        raise CannotTranscode(f"nothing here encodes frames as {UID(target).name}; {_LIST}")
    native = header.pixel_data is not None and not header.pixel_data.encapsulated
    if native and stored_big_endian(header.transfer_syntax_uid):
        frame = little_endian_frame(header, frame, number)
    if native and target == ExplicitVRLittleEndian:
        return frame
    with _failures(header.transfer_syntax_uid, target):
        samples, described, interpretation = _samples(header, frame)
        if target == ExplicitVRLittleEndian:
            return _native_bytes(samples, described)
        return compress_frame(samples, described, interpretation, UID(target))


class _Scratch(SpooledTemporaryFile[bytes]):
    def __del__(self) -> None:
        # an answer that nobody reads has nobody to close it
        self.close()


_LIST = f"ask for {', '.join(f'{target} ({target.name})' for target in TARGETS)}"


@contextmanager
def _failures(stored: str, target: str) -> Iterator[None]:
    try:
        yield
    except CannotTranscode:
        raise
    except CannotDecode as error:
        raise CannotTranscode(str(error)) from error
    except StorageError:
        raise
    except Exception as error:  # decoders raise what they like
        raise CannotTranscode(f"{type(error).__name__} on the way from {stored} to {target}") from error


def _new_elements(header: Header, target: UID) -> dict[int, NewElement]:
    pixel_data = header.pixel_data
    if pixel_data is None:
        if target not in UNCOMPRESSED:
            raise CannotTranscode("the instance has no pixel data that could be compressed")
        return {}
    stored = header.transfer_syntax_uid
    if UID(stored).is_private and stored not in BIG_ENDIAN_PIXELS:
        raise CannotTranscode("the stored transfer syntax is private")
    if not pixel_data.encapsulated and target in UNCOMPRESSED:
        pixels = native_pixels(header, big_endian=target == ExplicitVRBigEndian)
        return {pixel_data.tag: NewElement(pixel_data.vr, pixel_data.length, pixels)}
    return _new_image(header, pixel_data, target)


def _new_image(header: Header, pixel_data: PixelData, target: UID) -> dict[int, NewElement]:
    """The elements of the Image Pixel Module that change with the pixels (PS3.5 8.2)."""
    if target not in UNCOMPRESSED and target not in compressions(header):
        raise CannotTranscode(f"{target.name} cannot hold pixels as these are")
    number_of_frames, frames = _frames(header)
    decoded = (_samples(header, frame) for frame in frames)
    first = next(decoded)
    samples, described, interpretation = first
    everything = chain([first], decoded)
    new: dict[int, NewElement] = {}
    if target in UNCOMPRESSED:
        new[pixel_data.tag] = _native_element(everything, described, number_of_frames, target)
    else:
        new[pixel_data.tag] = NewElement("OB", None, _items(everything, target))
        interpretation = compressed_interpretation(target, interpretation)
    new[_PHOTOMETRIC_INTERPRETATION] = whole_element("CS", interpretation.encode("ascii").ljust(_even(interpretation)))
    if samples.ndim == 3:
        new[_PLANAR_CONFIGURATION] = whole_element("US", struct.pack(_order(target) + "H", 0))
    if header.transfer_syntax_uid in ALWAYS_LOSSY and header.text(_LOSSY_IMAGE_COMPRESSION) is None:
        # PS3.3 C.7.6.1.1.5: what was lost stays lost
        new[_LOSSY_IMAGE_COMPRESSION] = whole_element("CS", b"01")
    return new


def _even(text: str) -> int:
    return len(text) + len(text) % 2


def _order(target: UID) -> str:
    return ">" if target == ExplicitVRBigEndian else "<"


def _frames(header: Header) -> tuple[int, Iterator[bytes]]:
    layout = frame_layout(header.buffer, header)
    if layout is None or not layout.number_of_frames:
        raise CannotTranscode("the pixel data is empty, or does not tell which frame its fragments belong to")
    declared = max(header.data_set.number(NUMBER_OF_FRAMES) or 1, 1)
    if layout.number_of_frames != declared:
        raise CannotTranscode(f"the header declares {declared} frames, the pixel data holds {layout.number_of_frames}")

    def read_at(offset: int, length: int) -> bytes:
        return bytes(header.buffer[offset : offset + length])

    native = header.pixel_data is not None and not header.pixel_data.encapsulated
    swap = native and stored_big_endian(header.transfer_syntax_uid)
    numbers = range(1, layout.number_of_frames + 1)
    frames = ((number, read_frame(read_at, layout, number)) for number in numbers)
    return declared, (little_endian_frame(header, frame, number) if swap else frame for number, frame in frames)


def _samples(header: Header, frame: bytes) -> tuple[npt.NDArray[Any], ImagePixel, str]:
    """A frame's samples with what they are; colour that a lossy codec had turned into YBR comes out as RGB."""
    decoded = decode_frame(header, frame)
    samples, interpretation = decoded.samples, decoded.photometric_interpretation
    if interpretation in _YBR and header.transfer_syntax_uid in ALWAYS_LOSSY:
        samples, interpretation = convert_color_space(samples, interpretation, "RGB"), "RGB"
    return samples, decoded.image_pixel, interpretation


def _native_bytes(samples: npt.NDArray[Any], described: ImagePixel) -> bytes:
    if described.bits_allocated == 1:
        # PS3.5 8.1.1
        return np.packbits(samples.reshape(-1), bitorder="little").tobytes()
    return samples.tobytes()


def _native_element(
    frames: Iterable[tuple[npt.NDArray[Any], ImagePixel, str]],
    described: ImagePixel,
    number_of_frames: int,
    target: UID,
) -> NewElement:
    bits = described.rows * described.columns * described.samples_per_pixel * described.bits_allocated
    length = (bits * number_of_frames + 7) // 8
    if length > _LONGEST_VALUE:
        raise CannotTranscode("uncompressed, the pixels are too long for one value (PS3.5 7.1.1)")
    word = described.bits_allocated // 8 if target == ExplicitVRBigEndian else 1
    # PS3.5 8.2: OB in explicit VR for up to 8 bits
    vr = "OB" if described.bits_allocated <= 8 else "OW"
    if described.bits_allocated == 1:
        return NewElement(vr, length, _packed(samples for samples, _, _ in frames))
    return NewElement(vr, length, (swapped(samples.tobytes(), word) for samples, _, _ in frames))


def _packed(frames: Iterable[npt.NDArray[Any]]) -> Iterator[bytes]:
    """PS3.5 8.1.1: frames of single bits follow each other without a gap, the first in the lowest bit."""
    rest = np.zeros(0, np.uint8)
    for samples in frames:
        bits = np.concatenate([rest, samples.reshape(-1)])
        whole = len(bits) // 8 * 8
        yield np.packbits(bits[:whole], bitorder="little").tobytes()
        rest = bits[whole:]
    yield np.packbits(rest, bitorder="little").tobytes()


def _items(frames: Iterable[tuple[npt.NDArray[Any], ImagePixel, str]], target: UID) -> Iterator[bytes]:
    """PS3.5 A.4: an empty Basic Offset Table, then one fragment a frame."""
    yield struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    for samples, described, interpretation in frames:
        encoded = compress_frame(samples, described, interpretation, target)
        padding = b"\x00" * (len(encoded) % 2)
        yield struct.pack("<HHI", 0xFFFE, 0xE000, len(encoded) + len(padding)) + encoded + padding


def _deflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    # PS3.5 A.5
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    length = 0
    for piece in pieces:
        compressed = compressor.compress(piece)
        length += len(compressed)
        yield compressed
    rest = compressor.flush()
    yield rest + b"\x00" if (length + len(rest)) % 2 else rest
