"""Metadata (PS3.18 10.4.1.1.2, F.2): what viewers build images from."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..exchange import Exchange
from ..findings import Fault, Severity
from ..links import PIXEL_DATA
from ..reading import value
from ..subjects import INSTANCE, SERIES, STUDY

_IDENTITY = {
    "00080016": "SOP Class UID",
    INSTANCE: "SOP Instance UID",
    STUDY: "Study Instance UID",
    SERIES: "Series Instance UID",
}
# PS3.3 C.7.6.3: without these no pixel can be drawn
_PIXELS = {
    "00280002": "Samples per Pixel",
    "00280004": "Photometric Interpretation",
    "00280010": "Rows",
    "00280011": "Columns",
    "00280100": "Bits Allocated",
    "00280101": "Bits Stored",
    "00280103": "Pixel Representation",
}
_BINARY_NUMBERS = frozenset({"FD", "FL", "SL", "SS", "UL", "US"})
_INLINE_LIMIT = 64 << 10
_WORTH_COMPRESSING = 200_000


def identifies_instances(exchange: Exchange) -> Iterator[Fault]:
    missing = {tag for item in exchange.data_sets for tag in _IDENTITY if not isinstance(value(item, tag), str)}
    if missing:
        names = ", ".join(f"{_IDENTITY[tag]} ({tag})" for tag in sorted(missing))
        yield Fault(
            "metadata-identity",
            f"an instance is without {names}",
            "Answer every attribute of the object (PS3.18 10.4.1.1.2).",
            effect="OHIF cannot tell what the object is, and leaves it out.",
        )


def has_the_instance(exchange: Exchange) -> Iterator[Fault]:
    wanted = exchange.subject.values["instance"]
    if wanted not in {value(item, INSTANCE) for item in exchange.data_sets}:
        yield Fault(
            "metadata-incomplete",
            f"the instance {wanted} is not among the {len(exchange.data_sets)} in the metadata",
            "Answer the metadata of every instance.",
        )


def as_many_as_counted(exchange: Exchange) -> Iterator[Fault]:
    """The series list told a number; the metadata have to have as many."""
    listed = exchange.earlier.get("series of a study")
    series = exchange.subject.values["series"]
    item = next((item for item in listed.data_sets if value(item, SERIES) == series), {}) if listed else {}
    counted = value(item, "00201209")
    if str(counted).isdigit() and int(str(counted)) != len(exchange.data_sets):
        yield Fault(
            "metadata-incomplete",
            f"the metadata have {len(exchange.data_sets)} instances, the list of series says {counted}",
            "Let counts and metadata agree; there may be a limit on answers, or an index to be repaired.",
            Severity.LIMITED,
            "Images are missing in the viewer, and nobody is told.",
        )


def describes_pixels(exchange: Exchange) -> Iterator[Fault]:
    for item in _images(exchange):
        missing = [tag for tag in _PIXELS if value(item, tag) is None]
        if missing:
            names = ", ".join(f"{_PIXELS[tag]} ({tag})" for tag in missing)
            yield Fault(
                "pixel-description",
                f"an image is without {names}",
                "Answer the whole Image Pixel module (PS3.3 C.7.6.3).",
                effect="cornerstone cannot draw the image.",
            )
            return


def _images(exchange: Exchange) -> Iterator[Mapping[str, Any]]:
    for item in exchange.data_sets:
        if any(tag in item for tag in (*PIXEL_DATA, "00280010", "00280011")):
            yield item


def numbers_are_numbers(exchange: Exchange) -> Iterator[Fault]:
    """PS3.18 Table F.2.3-1."""
    for item in exchange.data_sets:
        for tag, element in item.items():
            values = element.get("Value")
            if element.get("vr") not in _BINARY_NUMBERS or not isinstance(values, list):
                continue
            if any(isinstance(number, str) for number in values):
                yield Fault(
                    "number-as-text",
                    f"the value of {tag} ({element['vr']}) is a string",
                    "Write binary numbers as JSON numbers (PS3.18 Table F.2.3-1).",
                    Severity.LIMITED,
                    "Viewers calculate with text: windows, spacing or sizes are wrong.",
                )
                return


def pixel_data_not_inline(exchange: Exchange) -> Iterator[Fault]:
    for item in exchange.data_sets:
        size = max((len(item.get(tag, {}).get("InlineBinary") or "") for tag in PIXEL_DATA), default=0)
        if size > _INLINE_LIMIT:
            yield Fault(
                "pixels-inline",
                f"pixel data stand in the metadata ({size * 3 // 4 >> 10} KiB of one instance)",
                "Answer a BulkDataURI for pixel data, or leave them out.",
                Severity.SLOW,
                "Opening a study loads all its pixels twice.",
            )
            return


def compressed_on_the_way(exchange: Exchange) -> Iterator[Fault]:
    size = len(exchange.answer.body)
    if size > _WORTH_COMPRESSING and not exchange.answer.headers.get("Content-Encoding"):
        yield Fault(
            "not-compressed",
            f"{size >> 10} KiB of JSON came uncompressed, though gzip was offered",
            "Let the server or the proxy before it compress application/dicom+json; it takes a tenth.",
            Severity.NOTE,
            "Opening a study over a slow line takes longer than it has to.",
        )
