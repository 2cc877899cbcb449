"""What a client may ask of a rendered answer (PS3.18 8.3.5.1), and reading it from a URL's query."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import NoReturn

from ..problem import Problem

DEFAULT_QUALITY = 90
# larger than any screen, and still no more than 200 MB of colour
MAXIMUM_VIEWPORT = 8192

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class WindowFunction(StrEnum):
    """VOI LUT Function (0028,1056)."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


class IccProfile(StrEnum):
    """PS3.18 8.3.5.1.5."""

    NO = "no"
    YES = "yes"
    SRGB = "srgb"
    ADOBE_RGB = "adobergb"
    ROMM_RGB = "rommrgb"


class Annotation(StrEnum):
    """PS3.18 8.3.5.1.1."""

    PATIENT = "patient"
    TECHNIQUE = "technique"


@dataclass(frozen=True, slots=True)
class Window:
    """In the units that the values have after the Modality LUT; the width is above 0."""

    center: float
    width: float
    function: WindowFunction = WindowFunction.LINEAR


@dataclass(frozen=True, slots=True)
class Viewport:
    """The size to fit into, and which region of the source image, in its pixels; None is the image's own.

    A negative `source_width` or `source_height` flips the image.
    """

    width: int | None = None
    height: int | None = None
    source_x: float = 0.0
    source_y: float = 0.0
    source_width: float | None = None
    source_height: float | None = None


@dataclass(frozen=True, slots=True)
class RenderingOptions:
    """All that a client may choose. `quality` is 1 to 100, for lossy media types."""

    viewport: Viewport | None = None
    window: Window | None = None
    quality: int = DEFAULT_QUALITY
    icc_profile: IccProfile = IccProfile.NO
    annotation: frozenset[Annotation] = frozenset()


Reader = Callable[[str], object]


def rendering_options(parameters: Mapping[str, str]) -> RenderingOptions:
    """From the query parameters of a rendered resource; others are not looked at. Raises Problem."""
    return RenderingOptions(**_read(parameters, _READERS))  # type: ignore[arg-type]  # the table says what each is


def thumbnail_options(parameters: Mapping[str, str]) -> RenderingOptions:
    """PS3.18 10.4.1.1.4: of a thumbnail only the size can be chosen. Raises Problem."""
    return RenderingOptions(**_read(parameters, {"viewport": ("viewport", _thumbnail_viewport)}))  # type: ignore[arg-type]  # as above


def _read(parameters: Mapping[str, str], readers: Mapping[str, tuple[str, Reader]]) -> dict[str, object]:
    return {
        field: reader(parameters[name].strip())
        for name, (field, reader) in readers.items()
        if parameters.get(name, "").strip()
    }


def _window(text: str) -> Window:
    form = "window=center,width,function: two numbers, the width above 0, and LINEAR, LINEAR_EXACT or SIGMOID"
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 3):
        _refuse("window", form)
    center, width = (_number(part) for part in parts[:2])
    function = parts[2].upper().replace("-", "_") if len(parts) == 3 and parts[2] else WindowFunction.LINEAR
    if center is None or width is None or width <= 0 or function not in list(WindowFunction):
        _refuse("window", form)
    return Window(center, width, WindowFunction(function))


def _viewport(text: str) -> Viewport:
    form = (
        "viewport=vw,vh or viewport=vw,vh,sx,sy,sw,sh: the size in pixels, "
        f"1 to {MAXIMUM_VIEWPORT}, and the region of the image; any of them may be empty"
    )
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 6) or any(part and _number(part) is None for part in parts):
        _refuse("viewport", form)
    numbers = [_number(part) for part in parts] + [None] * (6 - len(parts))
    width, height, x, y, source_width, source_height = numbers
    if any(side is not None and not 1 <= side <= MAXIMUM_VIEWPORT for side in (width, height)):
        _refuse("viewport", form)
    if 0 in (source_width, source_height):
        _refuse("viewport", form)
    # PS3.18 8.3.5.1.3: of the corner, the absolute value counts
    return Viewport(
        None if width is None else round(width),
        None if height is None else round(height),
        abs(x or 0.0),
        abs(y or 0.0),
        source_width,
        source_height,
    )


def _thumbnail_viewport(text: str) -> Viewport:
    if text.count(",") != 1:
        _refuse("viewport", "viewport=vw,vh: a thumbnail is of the whole image, only its size can be chosen")
    return _viewport(text)


def _quality(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= 100):
        _refuse("quality", "quality=q: a whole number from 1 to 100")
    return int(text)


def _icc_profile(text: str) -> IccProfile:
    if text.lower() not in list(IccProfile):
        _refuse("iccprofile", f"iccprofile= one of {', '.join(IccProfile)}")
    return IccProfile(text.lower())


def _annotation(text: str) -> frozenset[Annotation]:
    named = [part.strip().lower() for part in text.split(",")]
    if any(part not in list(Annotation) for part in named):
        _refuse("annotation", "annotation=patient, annotation=technique, or both parted by a comma")
    return frozenset(map(Annotation, named))


def _number(text: str) -> float | None:
    if len(text) > 32 or not _DECIMAL.fullmatch(text) or not text.isascii():
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _refuse(parameter: str, form: str) -> NoReturn:
    raise Problem(HTTPStatus.BAD_REQUEST, f"The query parameter {parameter} is written as {form}.", parameter=parameter)


_READERS: dict[str, tuple[str, Reader]] = {
    "viewport": ("viewport", _viewport),
    "window": ("window", _window),
    "quality": ("quality", _quality),
    "iccprofile": ("icc_profile", _icc_profile),
    "annotation": ("annotation", _annotation),
}
