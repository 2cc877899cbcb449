"""The Image Pixel Module (PS3.3 C.7.6.3) of an object: what has to be known to decode one of its frames."""

from dataclasses import dataclass
from typing import Any, Literal

from ..errors import CannotDecode
from ..parse.encoding import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA, PIXEL_REPRESENTATION
from ..parse.header import Header

PixelKeyword = Literal["PixelData", "FloatPixelData", "DoubleFloatPixelData"]

# 100 million samples take 1.6 GB on their way to the screen; no detector has as many, and tiles of a slide are small
MAXIMUM_SAMPLES = 100_000_000

_SAMPLES_PER_PIXEL = 0x00280002
_PHOTOMETRIC_INTERPRETATION = 0x00280004
_PLANAR_CONFIGURATION = 0x00280006
_ROWS = 0x00280010
_COLUMNS = 0x00280011
_BITS_ALLOCATED = 0x00280100
_BITS_STORED = 0x00280101


@dataclass(frozen=True, slots=True)
class ImagePixel:
    """The attributes by their keywords. `bits_stored` of floating point pixels is `bits_allocated`."""

    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    planar_configuration: int
    bits_allocated: int
    bits_stored: int
    pixel_representation: int
    pixel_keyword: PixelKeyword

    @property
    def is_float(self) -> bool:
        return self.pixel_keyword != "PixelData"

    def options(self) -> dict[str, Any]:
        """As the coders of pydicom want it, for one frame."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "samples_per_pixel": self.samples_per_pixel,
            "photometric_interpretation": self.photometric_interpretation,
            "planar_configuration": self.planar_configuration,
            "bits_allocated": self.bits_allocated,
            "bits_stored": self.bits_stored,
            "pixel_representation": self.pixel_representation,
            "pixel_keyword": self.pixel_keyword,
            "number_of_frames": 1,
        }


def image_pixel(header: Header) -> ImagePixel:
    """What the header says of its pixels; what many devices leave out is what it can only be. Raises CannotDecode."""
    if header.pixel_data is None:
        raise CannotDecode("the instance has no pixel data")
    keyword, bits = _kind(header.pixel_data.tag)
    samples_per_pixel = header.data_set.number(_SAMPLES_PER_PIXEL) or 1
    bits_allocated = bits or header.data_set.number(_BITS_ALLOCATED) or 0
    described = ImagePixel(
        rows=header.data_set.number(_ROWS) or 0,
        columns=header.data_set.number(_COLUMNS) or 0,
        samples_per_pixel=samples_per_pixel,
        photometric_interpretation=header.text(_PHOTOMETRIC_INTERPRETATION)
        or ("MONOCHROME2" if samples_per_pixel == 1 else "RGB"),
        planar_configuration=header.data_set.number(_PLANAR_CONFIGURATION) or 0,
        bits_allocated=bits_allocated,
        bits_stored=bits or header.data_set.number(_BITS_STORED) or bits_allocated,
        pixel_representation=header.data_set.number(PIXEL_REPRESENTATION) or 0,
        pixel_keyword=keyword,
    )
    _check(described)
    return described


def _kind(tag: int) -> tuple[PixelKeyword, int]:
    if tag == FLOAT_PIXEL_DATA:
        return "FloatPixelData", 32
    if tag == DOUBLE_FLOAT_PIXEL_DATA:
        return "DoubleFloatPixelData", 64
    return "PixelData", 0


def _check(described: ImagePixel) -> None:
    allowed = {
        "Rows": 0 < described.rows <= 0xFFFF,
        "Columns": 0 < described.columns <= 0xFFFF,
        "Samples per Pixel": described.samples_per_pixel in (1, 3),
        "Planar Configuration": described.planar_configuration in (0, 1),
        "Bits Allocated": described.bits_allocated in (1, 8, 16, 32, 64),
        "Bits Stored": 0 < described.bits_stored <= described.bits_allocated,
        "Pixel Representation": described.pixel_representation in (0, 1),
    }
    wrong = [name for name, is_allowed in allowed.items() if not is_allowed]
    if wrong:
        raise CannotDecode(f"the pixels cannot be decoded: {', '.join(wrong)} absent, or not as PS3.3 C.7.6.3 has it")
    if described.rows * described.columns * described.samples_per_pixel > MAXIMUM_SAMPLES:
        raise CannotDecode(f"the image is too large to be decoded here: more than {MAXIMUM_SAMPLES} samples")
