"""ICC profiles: the object's own, and those that a client may ask for by name (PS3.18 8.3.5.1.5)."""

import io
import struct
from functools import cache

from PIL import Image, ImageCms

from .frame_attributes import FrameAttributes
from .options import IccProfile

_D50 = (0.9642, 1.0, 0.8249)
# gamma, and red, green and blue as XYZ under D50: Adobe RGB (1998) 4.3, ISO 22028-2 for ROMM RGB
_NAMED = {
    IccProfile.ADOBE_RGB: (
        "Adobe RGB (1998)",
        2.19921875,
        ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
    ),
    IccProfile.ROMM_RGB: (
        "ROMM RGB",
        1.8,
        ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00008, 0.82491)),
    ),
}


def in_profile(image: Image.Image, attributes: FrameAttributes, wanted: IccProfile) -> tuple[Image.Image, bytes | None]:
    """The picture in the colours asked for, and the profile to put into it; grey becomes colour where one is."""
    if wanted is IccProfile.NO:
        return image, None
    colours = image.convert("RGB")
    own = own_profile(attributes)
    if wanted is IccProfile.YES:
        return colours, own or named_profile(IccProfile.SRGB)
    profile = named_profile(wanted)
    if image.mode == "L":
        return colours, profile
    return _converted(colours, own or named_profile(IccProfile.SRGB), profile), profile


def own_profile(attributes: FrameAttributes) -> bytes | None:
    """That of the object, or of its optical path; None where it has none that can be used for red, green and blue."""
    places = (attributes, attributes.first_item("OpticalPathSequence"))
    for place in places:
        profile = place.data("ICCProfile") if place is not None else b""
        # ICC.1 7.2: the signature of a profile, and of its colour space
        if profile[36:40] == b"acsp" and profile[16:20] == b"RGB ":
            return profile
    return None


@cache
def named_profile(name: IccProfile) -> bytes:
    if name not in _NAMED:
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    description, gamma, primaries = _NAMED[name]
    return _matrix_profile(description, gamma, primaries)


def _converted(image: Image.Image, source: bytes, target: bytes) -> Image.Image:
    if source == target:
        return image
    try:
        result = ImageCms.profileToProfile(image, io.BytesIO(source), io.BytesIO(target))
    except ImageCms.PyCMSError:
        # a damaged profile of the object: taken as sRGB, which its absence would mean
        result = ImageCms.profileToProfile(image, io.BytesIO(named_profile(IccProfile.SRGB)), io.BytesIO(target))
    return image if result is None else result


def _matrix_profile(description: str, gamma: float, primaries: tuple[tuple[float, float, float], ...]) -> bytes:
    """A display profile of three primaries and one gamma (ICC.1:2001-04 6.3.2)."""
    text = description.encode("ascii") + b"\0"
    curve = struct.pack(">4s4xIH2x", b"curv", 1, round(gamma * 256))
    tags = [
        (b"desc", struct.pack(">4s4xI", b"desc", len(text)) + text + bytes(78)),
        (b"cprt", b"text\0\0\0\0No copyright, use freely\0"),
        (b"wtpt", _xyz(_D50)),
        *((name, _xyz(value)) for name, value in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)),
        *((name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags:
        table += struct.pack(">4sII", name, start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12x4s4x16xI", start + len(data), bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp", 0
    )
    return (head + _xyz(_D50)[8:]).ljust(128, b"\0") + table + data


def _xyz(values: tuple[float, float, float]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65536) for value in values))
