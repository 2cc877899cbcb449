"""Compressing without loss, by the encoders of pydicom: what could be, and one frame."""

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy.typing as npt
from pydicom.pixels.encoders.base import ENCODING_PROFILES, get_encoder
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from ..errors import CannotDecode, CannotTranscode
from ..parse.header import Header
from .decoding import has_decoder
from .image_pixel import ImagePixel, image_pixel
from .transfer_syntaxes import BIG_ENDIAN_PIXELS, COMPRESSED, UNCOMPRESSED

# an encoder's complaint becomes a CannotTranscode; pydicom logs it with its traceback as well
logging.getLogger("pydicom.pixels.encoders.base").setLevel(logging.CRITICAL)
logging.getLogger("openjpeg.encode").setLevel(logging.CRITICAL)

# never gdcm: it ends the whole process where it meets what it did not expect
_PLUGINS = {JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg", RLELossless: "pylibjpeg"}
_MOST_BITS = {JPEG2000Lossless: 24}  # what OpenJPEG takes, of the 38 that the standard allows
_SMALLEST_SIDE = {JPEG2000Lossless: 32}  # it makes six resolutions, each half of the one before
_GROUP_OF_OVERLAYS, _LAST_GROUP_OF_OVERLAYS = 0x6000, 0x601E
_OVERLAY_ROWS, _OVERLAY_DATA = 0x0010, 0x3000


def targets_of(header: Header) -> tuple[UID, ...]:
    """What an object could be turned into, as far as its header tells: damaged pixel data may still be in the way."""
    stored = UID(header.transfer_syntax_uid)
    if header.pixel_data is None:
        reachable: tuple[UID, ...] = UNCOMPRESSED
    elif not has_decoder(header) or (stored.is_private and stored not in BIG_ENDIAN_PIXELS):
        reachable = ()
    else:
        try:
            reachable = UNCOMPRESSED + tuple(compressions(header))
        except CannotDecode:
            reachable = () if header.pixel_data.encapsulated else UNCOMPRESSED
    return tuple(target for target in reachable if target != stored)


def compressions(header: Header) -> Iterator[UID]:
    """The compressed transfer syntaxes that hold pixels as this header describes them."""
    described = image_pixel(header)
    interpretation = described.photometric_interpretation
    if interpretation in ("YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420"):
        interpretation = "RGB"  # what they come out of the decoder as
    if not _has_overlay_in_pixels(header):
        yield from (target for target in COMPRESSED if holds(target, described, interpretation))


def holds(target: UID, described: ImagePixel, photometric_interpretation: str) -> bool:
    """Whether PS3.5 8.2 has a place for such pixels in this transfer syntax, and its encoder too."""
    bits_stored = described.bits_allocated if target == RLELossless else described.bits_stored
    return (
        not described.is_float
        and min(described.rows, described.columns) >= _SMALLEST_SIDE.get(target, 1)
        and bits_stored <= _MOST_BITS.get(target, bits_stored)
        and any(
            photometric_interpretation == interpretation
            and described.samples_per_pixel == samples
            and described.pixel_representation in representations
            and described.bits_allocated in allocated
            and bits_stored in stored
            for interpretation, samples, representations, allocated, stored in ENCODING_PROFILES[target]
        )
    )


def _has_overlay_in_pixels(header: Header) -> bool:
    """Retired overlays are in bits above Bits Stored, which would be lost (PS3.5 8.1.2)."""
    return any(
        group << 16 | _OVERLAY_ROWS in header and group << 16 | _OVERLAY_DATA not in header
        for group in range(_GROUP_OF_OVERLAYS, _LAST_GROUP_OF_OVERLAYS + 2, 2)
    )


def compressed_interpretation(target: UID, photometric_interpretation: str) -> str:
    """The Photometric Interpretation of what was compressed."""
    # PS3.5 8.2.4: the reversible multiple component transformation, which compresses better and loses nothing
    return (
        "YBR_RCT" if target == JPEG2000Lossless and photometric_interpretation == "RGB" else photometric_interpretation
    )


def compress_frame(
    samples: npt.NDArray[Any], described: ImagePixel, photometric_interpretation: str, target: UID
) -> bytes:
    """One frame's codestream. Raises CannotTranscode for what the transfer syntax, or its encoder, cannot hold."""
    if not holds(target, described, photometric_interpretation):
        raise CannotTranscode(f"{target.name} cannot hold pixels as these are")
    options = described.options() | {
        "photometric_interpretation": compressed_interpretation(target, photometric_interpretation),
        "planar_configuration": 0,
    }
    if target == RLELossless:
        options["bits_stored"] = described.bits_allocated  # its segments are of whole bytes
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encoded = get_encoder(target).encode(samples, encoding_plugin=_PLUGINS[target], **options)
    except Exception as error:  # encoders raise what they like
        raise CannotTranscode(f"the pixels do not fit into {target.name}") from error
    return bytes(encoded)
