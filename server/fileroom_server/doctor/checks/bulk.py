"""Bulk data: where metadata point, and what comes from there."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from ..exchange import Check, Exchange
from ..findings import Fault, Severity
from ..links import is_absolute
from ..prober import origin

_WORTH_A_LINK = 1 << 20


def uri_is_absolute(exchange: Exchange) -> Iterator[Fault]:
    """dicomweb-client asks for a BulkDataURI as it stands."""
    uri = exchange.subject.values["bulk_data_as_told_url"]
    if not is_absolute(uri):
        yield Fault(
            "bulk-data-relative",
            "the metadata have a relative BulkDataURI",
            "Scripts have to join it with the URL of the metadata, or let the server write absolute ones.",
            Severity.NOTE,
            "retrieve_bulkdata(uri) refuses a URL without a host.",
        )


def uri_stays_on_the_server(exchange: Exchange) -> Iterator[Fault]:
    """Browsers do not load http from an https page, and need CORS from another origin."""
    uri = exchange.subject.values["bulk_data_url"]
    if origin(uri) == origin(exchange.base_url):
        return
    told = f"{urlsplit(uri).scheme}://{urlsplit(uri).netloc.rpartition('@')[2]}"
    if urlsplit(uri).scheme == "http" and urlsplit(exchange.base_url).scheme == "https":
        yield Fault(
            "bulk-data-mixed-content",
            f"BulkDataURIs point at {told}, without TLS",
            "Let the server know the URL that clients use: the X-Forwarded-Proto header of the proxy, or its base URL "
            "setting.",
            effect="Browsers refuse to load it: waveforms, PDF, video and palettes stay blank.",
        )
    else:
        yield Fault(
            "bulk-data-elsewhere",
            f"BulkDataURIs point at {told}, not at the server that was asked",
            "Let the server know the URL that clients use: the X-Forwarded-Host header of the proxy, or its base URL "
            "setting.",
            Severity.NOTE,
            "Viewers have to reach that address too, and be allowed by its CORS headers.",
        )


def not_empty(exchange: Exchange) -> Iterator[Fault]:
    if not exchange.content:
        yield Fault("empty", "the bulk data are empty", "See whether the object in the store is whole.")


def begins_with(magic: bytes, tag: str, wanted: str) -> Check:
    """Where the metadata say that a document is of this type, it begins as one."""

    def check(exchange: Exchange) -> Iterator[Fault]:
        values = exchange.subject.metadata.get(tag, {}).get("Value") or [None]
        if values[0] == wanted and not exchange.content.startswith(magic):
            yield Fault(
                "bulk-data-damaged",
                f"the document is labelled {wanted} and is none",
                "Send the value of Encapsulated Document (0042,0011) alone, without part headers or padding before it.",
            )

    return check
