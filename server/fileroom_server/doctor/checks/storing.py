"""The answer to a trial of storing (PS3.18 10.5.3)."""

from collections.abc import Iterator

from ..exchange import Exchange
from ..findings import Fault, Severity
from ..reading import value

_FAILED, _REFERENCED = "00081198", "00081199"


def stored(exchange: Exchange) -> Iterator[Fault]:
    response = exchange.data_sets[0] if exchange.data_sets else {}
    failed = value(response, _FAILED)
    if failed is not None:
        reason = value(failed, "00081197")
        yield Fault(
            "not-stored",
            f"it answers success and lists the instance as failed (reason {reason})",
            "See Failure Reason (0008,1197) in PS3.18 Table 10.5.3-1 and the server's log.",
        )
    elif not response.get(_REFERENCED, {}).get("Value"):
        yield Fault(
            "store-response",
            "the answer does not list what was stored (00081199)",
            "Answer Referenced SOP Sequence (PS3.18 10.5.3).",
            Severity.LIMITED,
            "Scripts cannot tell what became of their objects.",
        )


def response_type_is_plain(exchange: Exchange) -> Iterator[Fault]:
    """dicomweb-client compares the whole Content-Type."""
    content_type = exchange.answer.content_type
    if content_type not in ("application/dicom+json", "application/json") and exchange.answer.body:
        yield Fault(
            "content-type",
            f"the answer is labelled `{content_type}`",
            "Label it exactly application/dicom+json, without parameters.",
            Severity.LIMITED,
            "store_instances returns an empty data set: the caller cannot tell whether it worked.",
        )
