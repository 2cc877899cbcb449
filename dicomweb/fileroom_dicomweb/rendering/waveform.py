"""Waveforms (PS3.3 C.10.9) as a drawing: each channel over time, one above the other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fileroom_storage.errors import CannotDecode
from fileroom_storage.parse.header import Header

from .frame_attributes import Attributes

_WIDTH = 1600
_LANE = 96
_LEFT = 72
_GROUND, _GRID, _LINE, _TEXT = (255, 255, 255), (244, 200, 200), (24, 24, 32), (70, 70, 80)
_MOST_CHANNELS = 64
_MOST_SAMPLES = 20_000_000
# PS3.3 C.10.9.1.5
_SAMPLE_TYPES = {"SB": "<i1", "UB": "<u1", "SS": "<i2", "US": "<u2", "SL": "<i4", "UL": "<u4"}


@dataclass(frozen=True, slots=True)
class _Group:
    """One multiplex group: samples by channel in the units of the channel, and a label for each."""

    samples: npt.NDArray[np.float64]
    labels: list[str]
    frequency: float


def has_waveform(header: Header) -> bool:
    return next(Attributes(header.data_set).items("WaveformSequence"), None) is not None


def waveform_picture(header: Header) -> Image.Image:
    """The first multiplex group that can be drawn. Raises CannotDecode."""
    for item in Attributes(header.data_set).items("WaveformSequence"):
        group = _group(item)
        if group is not None:
            return _drawn(group)
    raise CannotDecode("no waveform of this instance can be drawn")


def _group(item: Attributes) -> _Group | None:
    channels = int(item.number("NumberOfWaveformChannels") or 0)
    sample_type = _SAMPLE_TYPES.get(item.text("WaveformSampleInterpretation"))
    frequency = item.number("SamplingFrequency") or 0.0
    if sample_type is None or not 0 < channels <= _MOST_CHANNELS or not frequency > 0:
        return None
    data = item.data("WaveformData")
    width = np.dtype(sample_type).itemsize * channels
    count = min(len(data) // width, _MOST_SAMPLES // channels)
    if count < 2:
        return None
    samples = np.frombuffer(data[: count * width], sample_type).reshape(count, channels).T.astype(np.float64)
    labels = []
    for number, channel in enumerate(item.items("ChannelDefinitionSequence")):
        if number >= channels:
            break
        samples[number] *= channel.number("ChannelSensitivity") or 1.0
        labels.append(_label(channel))
    return _Group(samples, labels + [""] * (channels - len(labels)), frequency)


def _label(channel: Attributes) -> str:
    source = channel.first_item("ChannelSourceSequence")
    text = channel.text("ChannelLabel") or (source.text("CodeMeaning") if source else "")
    return text.removeprefix("Lead ").partition(" (")[0][:10]


def _drawn(group: _Group) -> Image.Image:
    channels, count = group.samples.shape
    image = Image.new("RGB", (_WIDTH, channels * _LANE), _GROUND)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(18)
    per_second = (_WIDTH - _LEFT) * group.frequency / count
    seconds = int(count / group.frequency)
    for second in range(0, seconds + 1, max(1, seconds // 40)):
        x = _LEFT + second * per_second
        draw.line((x, 0, x, image.height), _GRID)
    spans = [float(np.ptp(channel)) for channel in group.samples]
    # channels of one kind are drawn to one scale
    span = max(spans) or 1.0
    for number, channel in enumerate(group.samples):
        middle = (number + 0.5) * _LANE
        draw.line((_LEFT, middle, _WIDTH, middle), _GRID)
        centred = channel - (channel.max() + channel.min()) / 2
        draw.line(_points(middle - centred * (_LANE - 8) / span), _LINE, 1)
        draw.text((8, middle), group.labels[number].encode("latin-1", "replace").decode("latin-1"), _TEXT, font, "lm")
    return image


def _points(heights: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    """One or two points for each column: where there are more samples, the lowest and the highest of them."""
    columns = _WIDTH - _LEFT
    if len(heights) <= columns:
        step = columns / (len(heights) - 1)
        return [(_LEFT + index * step, float(height)) for index, height in enumerate(heights)]
    edges = np.linspace(0, len(heights), columns + 1).astype(int)[:-1]
    lows, highs = np.minimum.reduceat(heights, edges), np.maximum.reduceat(heights, edges)
    pairs = zip(lows.tolist(), highs.tolist(), strict=True)
    return [(_LEFT + column, height) for column, pair in enumerate(pairs) for height in pair]
