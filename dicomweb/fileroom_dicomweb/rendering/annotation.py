"""Text burnt into a picture: whose it is, and how it was made (PS3.18 8.3.5.1.1)."""

from anyascii import anyascii
from PIL import Image, ImageDraw, ImageFont

from .frame_attributes import Attributes
from .options import Annotation, RenderingOptions

_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_TECHNIQUE = (
    ("Modality", "", ""),
    ("StudyDate", "", ""),
    ("SeriesDescription", "", ""),
    ("SliceThickness", "", " mm"),
    ("SliceLocation", "at ", " mm"),
    ("KVP", "", " kV"),
    ("XRayTubeCurrent", "", " mA"),
    ("RepetitionTime", "TR ", " ms"),
    ("EchoTime", "TE ", " ms"),
)
_SMALLEST, _LARGEST = 10, 40
_LINES_A_PICTURE = 32


def annotated(image: Image.Image, attributes: Attributes, options: RenderingOptions) -> Image.Image:
    """The picture with the patient in its upper left corner, the technique in the lower left one."""
    image = image.copy()
    draw = ImageDraw.Draw(image)
    size = min(max(image.height // _LINES_A_PICTURE, _SMALLEST), _LARGEST)
    font = ImageFont.load_default(size)
    outline = max(1, size // 10)
    white, black = (255, 0) if image.mode == "L" else ((255, 255, 255), (0, 0, 0))
    for annotation, lines, at_bottom in (
        (Annotation.PATIENT, _patient(attributes), False),
        (Annotation.TECHNIQUE, _technique(attributes), True),
    ):
        if annotation in options.annotation and lines:
            text = "\n".join(lines)
            place = (size // 2, image.height - size // 2) if at_bottom else (size // 2, size // 2)
            draw.multiline_text(
                place, text, white, font, "ld" if at_bottom else "la", stroke_width=outline, stroke_fill=black
            )
    return image


def _patient(attributes: Attributes) -> list[str]:
    return [_shown(text) for keyword in _PATIENT if (text := _text(attributes, keyword))]


def _technique(attributes: Attributes) -> list[str]:
    return [
        _shown(f"{before}{text}{behind}")
        for keyword, before, behind in _TECHNIQUE
        if (text := _text(attributes, keyword))
    ]


def _text(attributes: Attributes, keyword: str) -> str:
    text = attributes.text(keyword)
    return " ".join(text.replace("^", " ").split()) if keyword == "PatientName" else text


def _shown(text: str) -> str:
    # the font that comes with the library has no more than Latin letters
    return anyascii(text)[:64]
