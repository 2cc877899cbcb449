"""A neutral picture for what has nothing to show, so that lists of thumbnails have no holes."""

from PIL import Image, ImageDraw, ImageFont

_SIZE = 256
_GROUND, _FRAME, _TEXT = 48, 96, 208
_MARGIN = 12
_LETTER = 72


def icon(kind: str) -> Image.Image:
    """A dark square with a word of at most eight letters: the modality, or the kind of document."""
    image = Image.new("L", (_SIZE, _SIZE), _GROUND)
    draw = ImageDraw.Draw(image)
    corners = (_MARGIN, _MARGIN, _SIZE - _MARGIN, _SIZE - _MARGIN)
    draw.rounded_rectangle(corners, radius=_MARGIN, outline=_FRAME, width=3)
    word = kind[:8] or "?"
    font = ImageFont.load_default(_LETTER if len(word) <= 4 else _LETTER // 2)
    draw.text((_SIZE // 2, _SIZE // 2), word, _TEXT, font, "mm")
    return image
