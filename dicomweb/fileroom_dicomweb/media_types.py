"""Media types: what an Accept or Content-Type header says, and which of our offers it takes (PS3.18 8.7)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from itertools import islice
from typing import cast
from urllib.parse import unquote
from urllib.request import parse_http_list

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"
HTML = "text/html"
JSON = "application/json"
MULTIPART_RELATED = "multipart/related"
OCTET_STREAM = "application/octet-stream"
OPENAPI_JSON = "application/vnd.oai.openapi+json"
PDF = "application/pdf"
PROBLEM_JSON = "application/problem+json"
ZIP = "application/zip"


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or range with its parameters, names in lower case."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def quality(self) -> float:
        try:
            return min(max(float(self.parameters.get("q", "1")), 0.0), 1.0)
        except ValueError:
            return 1.0


@dataclass(frozen=True, slots=True)
class Offer:
    """One form in which an answer could be given; `media_type` is that of each part where it is multipart."""

    media_type: str
    multipart: bool = False
    transfer_syntax_uid: str | None = None

    def __str__(self) -> str:
        syntax = f"; transfer-syntax={self.transfer_syntax_uid}" if self.transfer_syntax_uid else ""
        return f'{MULTIPART_RELATED}; type="{self.media_type}"{syntax}' if self.multipart else self.media_type + syntax

    @property
    def part_content_type(self) -> str:
        syntax = f"; transfer-syntax={self.transfer_syntax_uid}" if self.transfer_syntax_uid else ""
        return self.media_type + syntax


# Names that PS3.18 once had, or never, and clients still have, for what is offered by its present name.
_OLD_NAMES: dict[str, tuple[str, ...]] = {
    "image/dicom+jpeg": ("image/jpeg",),
    "image/dicom+jpeg-ls": ("image/jls",),
    "image/dicom+jls": ("image/jls",),
    "image/dicom+jp2": ("image/jp2",),
    "image/dicom+jpx": ("image/jpx", "image/jp2"),
    "image/jpx": ("image/jp2",),
    "image/dicom+rle": ("image/dicom-rle",),
    "image/x-dicom+rle": ("image/dicom-rle",),
    "image/jph": ("image/jphc",),
    "application/x-dicom": (DICOM,),
}
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
# Of what a client says that it takes; each is compared with each offer. Browsers send ten, PS3.18 knows some thirty.
_LONGEST_ACCEPT = 16_384
_MOST_RANGES = 256

JSON_OFFERS = (Offer(DICOM_JSON), Offer(JSON))


def media_type(header: str | None) -> MediaType | None:
    """A Content-Type header, parameters quoted or not; None where there is none."""
    if not header or "/" not in header:
        return None
    # an unquoted type=application/dicom is no token (RFC 9110 5.6.2), yet many send it; this reader takes it
    message = Message()
    message["content-type"] = header.replace("\r", " ").replace("\n", " ")
    try:
        (name, _), *parameters = message.get_params(failobj=[("", "")])
    except (TypeError, ValueError):  # of `type*=a; type*0=b`, whose pieces it cannot put in order
        return None
    # RFC 2231: a value that names its character set and language stands behind these two
    declared = cast("list[tuple[str, str | tuple[str, str, str]]]", parameters)
    values = {key.lower(): (value if isinstance(value, str) else value[2]).strip() for key, value in declared}
    return MediaType(name.strip().lower(), values)


def accept_ranges(header: str | None, query_string: str = "") -> tuple[MediaType, ...]:
    """What the client takes. The `accept` query parameter stands before the header (PS3.18 8.3.3.1)."""
    asked = [
        _without_quotes(unquote(value))
        for name, _, value in (parameter.partition("=") for parameter in query_string.split("&"))
        if name == "accept" and value
    ]
    listed = (part for value in asked or [header or ""] for part in parse_http_list(value[:_LONGEST_ACCEPT]))
    ranges = [media_type(part) for part in islice(listed, _MOST_RANGES)]
    return tuple(_unnested(one) for one in ranges if one is not None) or (MediaType("*/*"),)


def _without_quotes(value: str) -> str:
    """A parameter's value, which some write in quotes as a whole."""
    inside = value.strip()[1:-1]
    return inside if value.strip() == f'"{inside}"' and '"' not in inside else value


def _unnested(accepted: MediaType) -> MediaType:
    """Takes parameters out of a type that was written whole: `type="application/dicom; transfer-syntax=*"`."""
    inner = media_type(accepted.parameters.get("type"))
    if inner is None or not inner.parameters:
        return accepted
    return MediaType(accepted.name, {**inner.parameters, **accepted.parameters, "type": inner.name})


def choose(ranges: Sequence[MediaType], offers: Sequence[Offer]) -> Offer | None:
    """The offer liked best: by quality, then by how closely it was named, then by our own order."""
    best: tuple[float, int] = (0.0, 0)
    chosen = None
    for offer in offers:
        liking = _liking(ranges, offer)
        if liking[0] > 0 and liking > best:
            best, chosen = liking, offer
    return chosen


def preferred(ranges: Sequence[MediaType], stored: Sequence[Offer], made: Sequence[Offer]) -> Offer | None:
    """As `choose`, but what has to be made only where it is liked better than all that is stored."""
    as_stored, other = choose(ranges, stored), choose(ranges, made)
    if as_stored is None or other is None:
        return as_stored or other
    return as_stored if _liking(ranges, as_stored)[0] >= _liking(ranges, other)[0] else other


def _liking(ranges: Sequence[MediaType], offer: Offer) -> tuple[float, int]:
    """Quality and closeness, by the closest range (RFC 9110 12.5.1)."""
    closest: tuple[int, float] = (0, 0.0)
    for accepted in ranges:
        closeness = _closeness(accepted, offer)
        closest = max(closest, (closeness, accepted.quality)) if closeness else closest
    return closest[1], closest[0]


def _closeness(accepted: MediaType, offer: Offer) -> int:
    """0 where the range does not take the offer."""
    if accepted.name in ("*/*", "*"):
        return 1
    if offer.multipart:
        if accepted.name not in (MULTIPART_RELATED, "multipart/*"):
            return 0
        wanted = accepted.parameters.get("type", "*/*").lower()
    else:
        wanted = accepted.name
    closeness = _type_closeness(wanted, offer.media_type)
    if not closeness or offer.transfer_syntax_uid is None:
        return closeness
    syntax = accepted.parameters.get("transfer-syntax", "*").strip('"')
    if not _UID.fullmatch(syntax):
        # any of them; or a media type, which some viewers put there
        return closeness
    return closeness + 1 if syntax == offer.transfer_syntax_uid else 0


def _type_closeness(wanted: str, offered: str) -> int:
    if wanted == offered:
        return 6
    if offered in _OLD_NAMES.get(wanted, ()):
        return 5
    if wanted == "*/*":
        return 2
    return 4 if wanted.endswith("/*") and offered.startswith(wanted[:-1]) else 0
