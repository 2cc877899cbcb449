"""One frame as a picture: decoded, presented, cut and scaled to the viewport (PS3.18 8.3.5.1.3)."""

from http import HTTPStatus

import numpy as np
from PIL import Image

from fileroom_storage.errors import CannotDecode
from fileroom_storage.parse.header import Header
from fileroom_storage.pixels.decoding import DecodedFrame

from ..problem import Problem
from .annotation import annotated
from .colour import colour_of
from .frame_attributes import FrameAttributes
from .grey import Range, presentation
from .options import MAXIMUM_VIEWPORT, RenderingOptions, Viewport

Box = tuple[float, float, float, float]

_MONOCHROME = frozenset({"MONOCHROME1", "MONOCHROME2"})
# PS3.3 C.7.6.3.1.7 first: it is there only where no spacing is known
_RATIOS = ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_SQUARE = 0.01
_MOST_STRETCHED = 32.0


def picture(
    header: Header, frame_number: int, frame: DecodedFrame, options: RenderingOptions, value_range: Range | None = None
) -> Image.Image:
    """An image of mode L or RGB. Raises CannotDecode, Problem."""
    attributes = FrameAttributes(header, frame_number)
    if is_grey(frame):
        shown = presentation(attributes, frame, options.window, value_range).apply(frame.samples)
    else:
        shown = colour_of(attributes, frame)
    image = Image.fromarray(np.ascontiguousarray(shown))
    if options.viewport is not None:
        image = in_viewport(image, options.viewport, pixel_aspect(attributes))
    return annotated(image, attributes, options) if options.annotation else image


def is_grey(frame: DecodedFrame) -> bool:
    """Raises CannotDecode for grey pixels of several samples."""
    if frame.photometric_interpretation not in _MONOCHROME:
        return False
    if frame.samples.ndim != 2:
        raise CannotDecode("grey pixels have one sample")
    return True


def in_viewport(image: Image.Image, viewport: Viewport, aspect: float = 1.0) -> Image.Image:
    """The region asked for, as large as fits; `aspect` is the height of a pixel by its width. Raises Problem."""
    left, top, right, bottom = _source(image, viewport)
    width, height = right - left, (bottom - top) * aspect
    limits = [viewport.width / width] if viewport.width else []
    limits += [viewport.height / height] if viewport.height else []
    scale = min(*limits, MAXIMUM_VIEWPORT / width, MAXIMUM_VIEWPORT / height) if limits else 1.0
    size = max(1, round(width * scale)), max(1, round(height * scale))
    is_whole = (left, top) == (0, 0) and (right, bottom) == image.size
    if not is_whole or size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC, box=(left, top, right, bottom))
    if viewport.source_width is not None and viewport.source_width < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if viewport.source_height is not None and viewport.source_height < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image


def pixel_aspect(attributes: FrameAttributes) -> float:
    """How high a pixel is by how wide; 1 where nothing tells, or what does cannot be."""
    measures = attributes.functional_group("PixelMeasuresSequence")
    for keyword in _RATIOS:
        numbers = measures.numbers(keyword) or attributes.numbers(keyword)
        if len(numbers) == 2 and min(numbers) > 0:
            aspect = numbers[0] / numbers[1]
            plausible = 1 / _MOST_STRETCHED <= aspect <= _MOST_STRETCHED
            return aspect if plausible and abs(aspect - 1) > _SQUARE else 1.0
    return 1.0


def _source(image: Image.Image, viewport: Viewport) -> Box:
    """The region of the source image, as much of it as there is."""
    columns, rows = image.size
    left, top = viewport.source_x, viewport.source_y
    right = columns if viewport.source_width is None else min(left + abs(viewport.source_width), columns)
    bottom = rows if viewport.source_height is None else min(top + abs(viewport.source_height), rows)
    if right <= left or bottom <= top:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"The region of the query parameter viewport is outside of the image, which is {columns} by {rows} pixels.",
            parameter="viewport",
        )
    return left, top, right, bottom
