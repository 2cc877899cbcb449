"""Which frames of a multi-frame instance are shown, and how fast (PS3.3 C.7.6.5)."""

from .frame_attributes import Attributes

DEFAULT_FRAME_MS = 100.0
# a moving picture is for a look at it: no more pixels than half a minute of video of 1024 by 768 has
MAXIMUM_ANIMATED_PIXELS = 300_000_000
MAXIMUM_ANIMATED_FRAMES = 600


def frame_ms(attributes: Attributes) -> float:
    """How long one frame is shown."""
    for keyword in ("RecommendedDisplayFrameRate", "CineRate"):
        rate = attributes.number(keyword)
        if rate is not None and rate > 0:
            return 1000.0 / rate
    time = attributes.number("FrameTime")
    if time is not None and time > 0:
        return time
    # the first of the vector is always 0
    steps = [step for step in attributes.numbers("FrameTimeVector")[1:] if step > 0]
    return sum(steps) / len(steps) if steps else DEFAULT_FRAME_MS


def representative_frame(attributes: Attributes, number_of_frames: int, *, otherwise: int = 1) -> int:
    """Representative Frame Number (0028,6010)."""
    number = attributes.number("RepresentativeFrameNumber")
    return int(number) if number is not None and 1 <= number <= number_of_frames else otherwise


def animation_step(frames: int, pixels: int) -> int:
    """Every how many-th frame is taken, so that the picture is not too large; its play time stays."""
    most = max(1, min(MAXIMUM_ANIMATED_FRAMES, MAXIMUM_ANIMATED_PIXELS // max(pixels, 1)))
    return -(-frames // most)
