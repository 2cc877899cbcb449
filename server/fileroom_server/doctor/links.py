"""URLs in answers: where a client finds the bulk data that metadata point at."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

PIXEL_DATA = ("7FE00010", "7FE00008", "7FE00009")


def bulk_data_uris(data_set: Mapping[str, Any]) -> Iterator[str]:
    """Every BulkDataURI but those of pixel data, which viewers get as frames."""
    for tag, element in data_set.items():
        if tag in PIXEL_DATA or not isinstance(element, Mapping):
            continue
        uri = element.get("BulkDataURI")
        if isinstance(uri, str) and uri:
            yield uri
        items = element.get("Value")
        if element.get("vr") == "SQ" and isinstance(items, list):
            for item in items:
                if isinstance(item, Mapping):
                    yield from bulk_data_uris(item)


def first_bulk_data_uri(data_set: Mapping[str, Any]) -> str | None:
    return next(bulk_data_uris(data_set), None)


def is_absolute(uri: str) -> bool:
    return urlsplit(uri).scheme in {"http", "https"}


def bulk_data_url(uri: str, base_url: str, study: str, series: str) -> str:
    """Where OHIF asks for it (fixBulkDataURI of its DICOMweb data source)."""
    if is_absolute(uri):
        return uri
    if uri.startswith("/"):
        return urljoin(base_url, uri)
    if uri.startswith(("series/", "bulkdata/")):
        return f"{base_url}/studies/{study}/{uri}"
    return urljoin(f"{base_url}/studies/{study}/series/{series}/", uri)
