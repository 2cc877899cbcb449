"""Pictures as image files: JPEG, PNG and GIF, moving where there are several."""

import io
from collections.abc import Iterable

from PIL import Image

JPEG = "image/jpeg"
PNG = "image/png"
GIF = "image/gif"
IMAGE_MEDIA_TYPES = (JPEG, PNG, GIF)

# below, browsers play at a tenth of the speed
_SHORTEST_MS = 20


def encoded(image: Image.Image, media_type: str, quality: int, icc_profile: bytes | None = None) -> bytes:
    """A picture of mode L or RGB. A GIF has no place for a profile."""
    buffer = io.BytesIO()
    if media_type == JPEG:
        # all colour at full resolution where it is good anyway: edges of red letters in ultrasound
        subsampling = "4:4:4" if quality >= 90 else "4:2:0"
        image.save(buffer, "JPEG", quality=quality, subsampling=subsampling, icc_profile=icc_profile)
    elif media_type == PNG:
        # the least compression takes a third of the time for a tenth more bytes
        image.save(buffer, "PNG", compress_level=1, icc_profile=icc_profile)
    else:
        image.save(buffer, "GIF")
    return buffer.getvalue()


def animated(images: Iterable[Image.Image], frame_ms: float) -> bytes:
    """A GIF that repeats for ever; at least one picture."""
    pictures = iter(images)
    first = next(pictures)
    buffer = io.BytesIO()
    duration = max(round(frame_ms / 10) * 10, _SHORTEST_MS)
    first.save(buffer, "GIF", save_all=True, append_images=pictures, duration=duration, loop=0, optimize=False)
    return buffer.getvalue()
