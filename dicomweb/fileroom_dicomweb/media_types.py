"""Media types: what an Accept or Content-Type header says, and which of our offers it takes (PS3.18 8.7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from typing import cast
from urllib.parse import unquote
from urllib.request import parse_http_list

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
JSON = "application/json"
MULTIPART_RELATED = "multipart/related"
OCTET_STREAM = "application/octet-stream"


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
    except ValueError:
        return None
    # RFC 2231: a value that names its character set and language stands behind these two
    declared = cast("list[tuple[str, str | tuple[str, str, str]]]", parameters)
    values = {key.lower(): (value if isinstance(value, str) else value[2]).strip() for key, value in declared}
    return MediaType(name.strip().lower(), values)


def accept_ranges(header: str | None, query_string: str = "") -> tuple[MediaType, ...]:
    """What the client takes. The `accept` query parameter stands before the header (PS3.18 8.3.3.1)."""
    asked = [
        unquote(value)
        for name, _, value in (parameter.partition("=") for parameter in query_string.split("&"))
        if name == "accept" and value
    ]
    ranges = [media_type(part) for value in asked or [header or ""] for part in parse_http_list(value)]
    return tuple(one for one in ranges if one is not None) or (MediaType("*/*"),)


def choose(ranges: Sequence[MediaType], offers: Sequence[Offer]) -> Offer | None:
    """The offer liked best: by quality, then by how closely it was named, then by our own order."""
    best: tuple[float, int] = (0.0, 0)
    chosen = None
    for offer in offers:
        liking = _liking(ranges, offer)
        if liking[0] > 0 and liking > best:
            best, chosen = liking, offer
    return chosen


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
    if syntax == "*":
        return closeness
    return closeness + 1 if syntax == offer.transfer_syntax_uid else 0


def _type_closeness(wanted: str, offered: str) -> int:
    if wanted == offered:
        return 6
    if wanted == "*/*":
        return 2
    return 4 if wanted.endswith("/*") and offered.startswith(wanted[:-1]) else 0
