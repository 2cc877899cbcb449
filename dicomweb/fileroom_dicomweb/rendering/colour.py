"""From stored values to red, green and blue: palettes and the YBR colour spaces (PS3.3 C.7.6.3.1.2)."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from fileroom_storage.errors import CannotDecode
from fileroom_storage.pixels.decoding import DecodedFrame

from .frame_attributes import FrameAttributes
from .lookup_table import palette

Colour = npt.NDArray[np.uint8]

_FULL = frozenset({"YBR_FULL", "YBR_FULL_422"})
# these are what JPEG 2000 codecs have undone
_RED_GREEN_BLUE = frozenset({"RGB", "YBR_RCT", "YBR_ICT"})
# ITU-R BT.601: luminance of 16 to 235, chrominance of 16 to 240
_PARTIAL_TO_RGB = np.array(
    [[1.1644, 1.1644, 1.1644], [0.0, -0.3918, 2.0172], [1.5960, -0.8130, 0.0]],
)


def colour_of(attributes: FrameAttributes, frame: DecodedFrame) -> Colour:
    """Red, green and blue of 8 bits, by rows and columns. Raises CannotDecode."""
    interpretation = frame.photometric_interpretation
    if interpretation == "PALETTE COLOR":
        return _of_palette(attributes, frame)
    if frame.samples.ndim != 3:
        raise CannotDecode(f"pixels of one sample cannot be {interpretation or 'without a photometric interpretation'}")
    samples = _of_8_bits(frame)
    if interpretation in _RED_GREEN_BLUE:
        return samples
    if interpretation in _FULL:
        converted: Colour = np.asarray(Image.fromarray(samples, "YCbCr").convert("RGB"), np.uint8)
        return converted
    if interpretation == "YBR_PARTIAL_422":
        shifted = samples.astype(np.float32) - np.array([16.0, 128.0, 128.0], np.float32)
        partial: Colour = np.rint(np.clip(shifted @ _PARTIAL_TO_RGB, 0, 255)).astype(np.uint8)
        return partial
    raise CannotDecode(f"nothing is known of the photometric interpretation {interpretation[:16]}")


def _of_palette(attributes: FrameAttributes, frame: DecodedFrame) -> Colour:
    if frame.samples.ndim != 2 or frame.samples.dtype.kind not in "iu":
        raise CannotDecode("pixels of a palette have one sample, a whole number")
    first, colours = palette(attributes, signed=bool(frame.image_pixel.pixel_representation))
    looked_up: Colour = colours[np.clip(frame.samples.astype(np.int64) - first, 0, len(colours) - 1)]
    return looked_up


def _of_8_bits(frame: DecodedFrame) -> Colour:
    described, samples = frame.image_pixel, frame.samples
    if samples.dtype.kind not in "iu":
        raise CannotDecode("colours are whole numbers")
    if samples.dtype == np.uint8 and described.bits_stored == 8:
        return samples
    low = -(1 << described.bits_stored - 1) if described.pixel_representation else 0
    most = (1 << described.bits_stored) - 1
    scaled: Colour = np.rint((samples.astype(np.float32) - low) * (255.0 / most)).clip(0, 255).astype(np.uint8)
    return scaled
