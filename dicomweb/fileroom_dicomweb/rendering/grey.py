"""From stored values to grey values for a screen: Modality LUT, VOI LUT, Presentation LUT (PS3.3 C.11, PS3.4 N.2)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fileroom_storage.pixels.decoding import DecodedFrame
from fileroom_storage.pixels.image_pixel import ImagePixel

from .frame_attributes import Attributes, FrameAttributes
from .lookup_table import LookupTable, Values, lookup_table
from .options import Window, WindowFunction

Grey = npt.NDArray[np.uint8]
Range = tuple[float, float]

_BLOCK = 1 << 20  # values at a time: the steps between are of 8 bytes each


@dataclass(frozen=True, slots=True)
class Modality:
    """Stored values to the modality's own units, such as HU or Gy."""

    slope: float = 1.0
    intercept: float = 0.0
    table: LookupTable | None = None

    def apply(self, values: npt.NDArray[np.number]) -> Values:
        as_float = values.astype(np.float64)
        if self.table is not None:
            return self.table.apply(as_float).astype(np.float64)
        return as_float * self.slope + self.intercept


@dataclass(frozen=True, slots=True)
class Presentation:
    """What makes grey values of one frame's stored values. `padding` is the range of stored values that are none."""

    modality: Modality
    voi: Callable[[Values], Values]
    inverse: bool
    padding: Range | None

    def apply(self, samples: npt.NDArray[np.number]) -> Grey:
        if samples.dtype.kind in "iu" and samples.dtype.itemsize <= 2:
            # each of the at most 65536 values once
            low, high = int(samples.min()), int(samples.max())
            table = self._apply(np.arange(low, high + 1, dtype=np.int32))
            looked_up: Grey = table[samples.astype(np.intp) - low]
            return looked_up
        flat = samples.reshape(-1)
        grey = np.empty(flat.shape, np.uint8)
        for start in range(0, flat.size, _BLOCK):
            grey[start : start + _BLOCK] = self._apply(flat[start : start + _BLOCK])
        return grey.reshape(samples.shape)

    def _apply(self, stored: npt.NDArray[np.number]) -> Grey:
        # from 0, black, to 1, white
        shown = self.voi(self.modality.apply(stored))
        if self.inverse:
            shown = 1.0 - shown
        shown = np.nan_to_num(shown, nan=0.0)
        if self.padding is not None:
            # PS3.3 C.7.5.1.1.2: no part of the image, so never brighter than it
            shown[_within(stored, self.padding)] = 0.0
        return np.rint(np.clip(shown, 0.0, 1.0) * 255.0).astype(np.uint8)


def presentation(
    attributes: FrameAttributes, frame: DecodedFrame, window: Window | None, value_range: Range | None = None
) -> Presentation:
    """How to show a grey frame; a `window` given stands before the object's own, as does a `value_range`."""
    described = frame.image_pixel
    modality = _modality(attributes, signed=bool(described.pixel_representation))
    padding = _padding(attributes, described)
    inverse = (
        frame.photometric_interpretation == "MONOCHROME1"
        or attributes.text("PresentationLUTShape").upper() == "INVERSE"
    )
    if window is not None:
        voi = _windowing(window)
    else:
        voi = _own_voi(attributes, signed=bool(described.pixel_representation)) or _spread(
            value_range or _shown_range(attributes, frame, modality, padding)
        )
    return Presentation(modality, voi, inverse, padding)


def needs_range(attributes: FrameAttributes, frame: DecodedFrame, window: Window | None) -> bool:
    """Whether it is the frame's own values that say what is black and what is white."""
    if window is not None or _own_voi(attributes, signed=bool(frame.image_pixel.pixel_representation)) is not None:
        return False
    return _full_range(attributes, frame.image_pixel) is None


def value_range(attributes: FrameAttributes, frame: DecodedFrame) -> Range:
    """The least and the greatest value of a frame in the modality's units, without padding."""
    modality = _modality(attributes, signed=bool(frame.image_pixel.pixel_representation))
    return _extremes(frame, modality, _padding(attributes, frame.image_pixel))


def window_values(values: Values, window: Window) -> Values:
    """From 0 to 1, by the functions of PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2."""
    center, width = window.center, window.width
    if window.function is WindowFunction.SIGMOID:
        with np.errstate(over="ignore"):
            return 1.0 / (1.0 + np.exp(-4.0 * (values - center) / width))
    # a linear window of less than 1 has no form in the standard; those that send it mean the exact one
    if window.function is WindowFunction.LINEAR and width >= 1.0:
        center, width = center - 0.5, width - 1.0
    if width == 0.0:
        return np.where(values > center, 1.0, 0.0)
    with np.errstate(over="ignore"):  # a width may be the least of all numbers
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _windowing(window: Window) -> Callable[[Values], Values]:
    return lambda values: window_values(values, window)


def _spread(between: Range) -> Callable[[Values], Values]:
    low, high = between
    span = high - low
    return lambda values: (values - low) / span if span > 0 else np.where(values < low, 0.0, np.zeros_like(values))


def _own_voi(attributes: FrameAttributes, *, signed: bool) -> Callable[[Values], Values] | None:
    """The object's first VOI LUT, or else its first window; None where it has neither.

    PS3.3 C.11.2.1: with several, any may be used; the LUT is what its maker thought worth more than a window.
    """
    group = attributes.functional_group("FrameVOILUTSequence")
    for item in group.items("VOILUTSequence"):
        table = lookup_table(item, signed=signed)
        if table is not None:
            return _table(table)
    center, width = group.number("WindowCenter"), group.number("WindowWidth")
    if center is None or width is None or not width > 0 or not np.isfinite((center, width)).all():
        return None
    named = group.text("VOILUTFunction").upper()
    function = WindowFunction(named) if named in list(WindowFunction) else WindowFunction.LINEAR
    return _windowing(Window(center, width, function))


def _table(table: LookupTable) -> Callable[[Values], Values]:
    white = float((1 << table.bits) - 1)
    return lambda values: table.apply(values) / white


def _modality(attributes: FrameAttributes, *, signed: bool) -> Modality:
    for item in attributes.items("ModalityLUTSequence"):
        table = lookup_table(item, signed=signed)
        if table is not None:
            return Modality(table=table)
    group = attributes.functional_group("PixelValueTransformationSequence")
    slope, intercept = group.number("RescaleSlope"), group.number("RescaleIntercept")
    if slope is None and intercept is None:
        # PS3.3 C.8.8.3.4.4: the dose
        slope = attributes.number("DoseGridScaling")
    return Modality(_usable(slope, 1.0) or 1.0, _usable(intercept, 0.0))


def _usable(number: float | None, otherwise: float) -> float:
    return number if number is not None and np.isfinite(number) else otherwise


def _padding(attributes: Attributes, described: ImagePixel) -> Range | None:
    # PS3.3 C.7.5.1.1.2
    if described.is_float:
        value = attributes.number("FloatPixelPaddingValue") or attributes.number("DoubleFloatPixelPaddingValue")
        return None if value is None else (value, value)
    value, limit = attributes.number("PixelPaddingValue"), attributes.number("PixelPaddingRangeLimit")
    if value is None:
        return None
    ends = [_stored(end, described) for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _stored(value: float, described: ImagePixel) -> float:
    """As a stored value: some write the padding signed where the pixels are not, or the other way round."""
    span = 1 << described.bits_allocated
    wrapped = int(value) % span
    return wrapped - span if described.pixel_representation and wrapped >= span // 2 else wrapped


def _within(values: npt.NDArray[np.number], between: Range) -> npt.NDArray[np.bool_]:
    return (values >= between[0]) & (values <= between[1])


def _shown_range(attributes: FrameAttributes, frame: DecodedFrame, modality: Modality, padding: Range | None) -> Range:
    """What is black and what is white, where the object does not say."""
    full = _full_range(attributes, frame.image_pixel)
    if full is None:
        return _extremes(frame, modality, padding)
    return _ordered(modality.apply(np.array(full)))


def _full_range(attributes: Attributes, described: ImagePixel) -> Range | None:
    """Stored values from black to white for pixels that were made for a screen; None for all others.

    Eight bits are values for a screen nearly always. With more, what is possible is far more than what is there.
    """
    segmentation = attributes.text("SegmentationType")
    if segmentation == "LABELMAP" or described.is_float or described.bits_stored > 8:
        return None
    if segmentation == "FRACTIONAL":
        return 0.0, attributes.number("MaximumFractionalValue") or 255.0
    most = 1 << described.bits_stored
    return (-most / 2, most / 2 - 1.0) if described.pixel_representation else (0.0, most - 1.0)


def _extremes(frame: DecodedFrame, modality: Modality, padding: Range | None) -> Range:
    samples = frame.samples
    if padding is not None:
        samples = samples[~_within(samples, padding)]
    if samples.dtype.kind == "f":
        samples = samples[np.isfinite(samples)]
    if not samples.size:
        return 0.0, 1.0
    if modality.table is not None:
        return _ordered(modality.apply(np.unique(samples)))
    return _ordered(modality.apply(np.array([samples.min(), samples.max()])))


def _ordered(values: Iterable[float]) -> Range:
    known = [float(value) for value in values]
    return min(known), max(known)
