"""The bulk data of a Store Transaction: parts, found by the URI that the metadata has (PS3.18 8.7.3.2.2)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urljoin

from fileroom_storage.storage import Spooled

from .media_types import OCTET_STREAM, MediaType, media_type

_FRAME = re.compile(r"(.+)/frames/(\d{1,9})", re.DOTALL | re.ASCII)


@dataclass(slots=True)
class BulkDataPart:
    """One part; `referenced` once an instance has taken it."""

    media_type: MediaType
    value: Spooled
    referenced: bool = False


class BulkDataParts:
    """All parts by their Content-Location or Content-ID. Those with the same one are the frames of one value."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._parts: dict[str, list[BulkDataPart]] = {}
        self._frames: dict[str, dict[int, BulkDataPart]] = {}
        self._all: list[BulkDataPart] = []

    def add(self, headers: Mapping[str, str], value: Spooled) -> None:
        part = BulkDataPart(media_type(headers.get("content-type")) or MediaType(OCTET_STREAM), value)
        self._all.append(part)
        location, content_id = headers.get("content-location", "").strip(), headers.get("content-id", "").strip()
        uris = [location] if location else []
        uris += [f"cid:{content_id.removeprefix('<').removesuffix('>')}"] if content_id else []
        for uri in {self._absolute(uri) for uri in uris}:
            self._parts.setdefault(uri, []).append(part)
            frame = _FRAME.fullmatch(uri)
            if frame:
                self._frames.setdefault(frame[1], {}).setdefault(int(frame[2]), part)

    def find(self, uri: str) -> list[BulkDataPart]:
        """The parts of one value, in their order; empty where the message has none."""
        absolute = self._absolute(uri.strip())
        frames = self._frames.get(absolute, {})
        found = self._parts.get(absolute) or [frames[number] for number in sorted(frames)]
        for part in found:
            part.referenced = True
        return found

    @property
    def unreferenced(self) -> int:
        return sum(not part.referenced for part in self._all)

    def _absolute(self, uri: str) -> str:
        """RFC 2557 5: relative to the request where there is nothing nearer; RFC 2392: a cid is percent-encoded."""
        if uri[:4].lower() == "cid:":
            return f"cid:{unquote(uri[4:])}"
        try:
            return urljoin(self._base_url, uri)
        except ValueError:
            return uri
