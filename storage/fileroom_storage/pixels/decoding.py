"""Decoding one frame, by the decoders of pydicom; never the whole object."""

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from ..errors import CannotDecode
from ..parse.header import Header
from .codestream import codestream_size, has_adobe_marker
from .decoder_process import request_facts
from .image_pixel import ImagePixel, image_pixel
from .isolated_decoder import ISOLATED_DECODER

DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"
ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"

# The plugins of pydicom for each, tried in turn: strict and fast ones first. gdcm reads JPEG-LS that others refuse.
_PLUGINS: dict[UID, tuple[str, ...]] = {
    JPEGBaseline8Bit: ("pillow", "gdcm"),
    JPEGExtended12Bit: ("pillow", "gdcm"),
    JPEGLossless: ("gdcm",),
    JPEGLosslessSV1: ("gdcm",),
    JPEGLSLossless: ("pyjpegls", "gdcm"),
    JPEGLSNearLossless: ("pyjpegls", "gdcm"),
    JPEG2000Lossless: ("pylibjpeg",),
    JPEG2000: ("pylibjpeg",),
    HTJ2KLossless: ("pylibjpeg",),
    HTJ2KLosslessRPCL: ("pylibjpeg",),
    HTJ2K: ("pylibjpeg",),
    RLELossless: ("pylibjpeg",),
}

_BITS_STORED = 0x00280101
_MOST_COLUMNS = 0xFFFF


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """Stored values of one frame.

    `samples` has the shape (rows, columns) or (rows, columns, 3), and as many bits as Bits Allocated, signed where
    Pixel Representation is 1; bits above Bits Stored are cleared, or the sign. No colour was converted, except that
    JPEG 2000 undoes its own: `photometric_interpretation` says what the samples are now.
    """

    samples: npt.NDArray[Any]
    photometric_interpretation: str
    image_pixel: ImagePixel


def decode_frame(header: Header, frame: bytes) -> DecodedFrame:
    """One frame as Storage.frames gives it, native ones little endian. Raises CannotDecode."""
    described = image_pixel(header)
    if header.pixel_data is None or not header.pixel_data.encapsulated:
        return _decode_native(described, frame)
    transfer_syntax_uid = UID(header.transfer_syntax_uid)
    if transfer_syntax_uid == ENCAPSULATED_UNCOMPRESSED:
        return _decode_native(described, frame)
    if transfer_syntax_uid == DEFLATED_IMAGE_FRAME:
        return _decode_native(described, _inflated(described, frame))
    if transfer_syntax_uid not in _PLUGINS:
        raise CannotDecode(f"there is no decoder here for the transfer syntax {transfer_syntax_uid}")
    if transfer_syntax_uid == JPEGExtended12Bit and described.bits_stored != 8:
        raise CannotDecode("there is no decoder here for JPEG Extended of 12 bits")
    _check_size(described, frame)
    if transfer_syntax_uid == RLELossless and described.bits_allocated == 1:
        return _decode_rle_bits(described, frame)
    return _decode_compressed(described, transfer_syntax_uid, frame)


def has_decoder(header: Header) -> bool:
    """Whether frames of this kind can be decoded at all; a single one may still be damaged."""
    if header.pixel_data is None or not header.pixel_data.encapsulated:
        return header.pixel_data is not None
    stored = UID(header.transfer_syntax_uid)
    if stored == JPEGExtended12Bit:
        return header.data_set.number(_BITS_STORED) in (None, 8)
    return stored in _PLUGINS or stored in (ENCAPSULATED_UNCOMPRESSED, DEFLATED_IMAGE_FRAME)


def _decode_native(described: ImagePixel, frame: bytes) -> DecodedFrame:
    if described.photometric_interpretation == "YBR_PARTIAL_422":
        # retired, and laid out as YBR_FULL_422 is; only its range is another
        alike = replace(described, photometric_interpretation="YBR_FULL_422")
        return replace(
            _decode_native(alike, frame), photometric_interpretation="YBR_PARTIAL_422", image_pixel=described
        )
    length = _native_length(described)
    if len(frame) < length:
        raise CannotDecode(f"the frame is cut off: {len(frame)} of {length} bytes are there")
    try:
        samples, properties = get_decoder(ExplicitVRLittleEndian).as_array(
            frame[:length] + b"\0" * (length % 2), index=0, raw=True, **described.options()
        )
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise CannotDecode(f"the pixels are not as their header says: {error}") from error
    return DecodedFrame(samples, str(properties["photometric_interpretation"]), described)


def _native_length(described: ImagePixel) -> int:
    samples = described.rows * described.columns * described.samples_per_pixel
    if described.photometric_interpretation == "YBR_FULL_422":
        # PS3.3 C.7.6.3.1.2: two pixels share their colour
        samples = samples // 3 * 2
    return (samples * described.bits_allocated + 7) // 8


def _inflated(described: ImagePixel, frame: bytes) -> bytes:
    # PS3.5 A.4.13
    length = _native_length(described)
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, length)
    except zlib.error as error:
        raise CannotDecode("the deflated frame is damaged") from error


def _check_size(described: ImagePixel, frame: bytes) -> None:
    size = codestream_size(frame)
    if size is not None and size != (described.rows, described.columns):
        raise CannotDecode(
            f"the compressed frame has {size[0]} rows of {size[1]} pixels, "
            f"the header says {described.rows} of {described.columns}"
        )


def _decode_compressed(described: ImagePixel, transfer_syntax_uid: UID, frame: bytes) -> DecodedFrame:
    plugins = _PLUGINS[transfer_syntax_uid]
    request = request_facts(transfer_syntax_uid, plugins, described.options())
    samples, answer = ISOLATED_DECODER.decode(request, frame)
    interpretation = answer["photometric_interpretation"]
    if answer["plugin"] == "pillow" and described.samples_per_pixel == 3 and has_adobe_marker(frame):
        # this one obeys the marker, whatever it is asked for
        interpretation = "RGB"
    return DecodedFrame(samples, interpretation, described)


def _decode_rle_bits(described: ImagePixel, frame: bytes) -> DecodedFrame:
    """Pixels of one bit, eight in a byte, are encoded as if those bytes were the pixels."""
    count = described.rows * described.columns
    rows = described.rows if described.columns % 8 == 0 else 1
    columns = (count + 7) // 8 // rows
    if columns > _MOST_COLUMNS:
        raise CannotDecode("there is no decoder here for so many pixels of one bit in RLE")
    octets = replace(described, rows=rows, columns=columns, bits_allocated=8, bits_stored=8)
    packed = _decode_compressed(octets, RLELossless, frame).samples
    samples = np.unpackbits(packed.reshape(-1), count=count, bitorder="little")
    return DecodedFrame(
        samples.reshape(described.rows, described.columns), described.photometric_interpretation, described
    )
