"""Answers as clients read them. Whatever stands instead of what they expect is told by a fault, not by an error."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import orjson

from .findings import Fault, Severity, Unusable
from .multipart_answer import Part, parts_of
from .prober import Answer

_HTML = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)
_JSON_TYPES = ("application/dicom+json", "application/json")


def value(data_set: Mapping[str, Any], tag: str) -> Any:
    """The first value of an element; None where there is none."""
    element = data_set.get(tag)
    values = element.get("Value") if isinstance(element, Mapping) else None
    return values[0] if isinstance(values, list) and values else None


def require_status(answer: Answer, statuses: Collection[int]) -> None:
    """Raises Unusable for another status, and for pages meant for people."""
    if answer.status in (401, 403) and answer.status not in statuses:
        raise Unusable(
            Fault(
                "credentials",
                f"it answers {answer.status}: who asks is not known or has no right",
                "Give the doctor what the viewer sends: --header 'Authorization: Bearer …' or --user NAME.",
            )
        )
    if answer.status not in statuses:
        raise Unusable(_status_fault(answer, statuses))
    if answer.media_type == "text/html" or _HTML.match(answer.body[:200]):
        raise Unusable(
            Fault(
                "html-instead",
                f"an HTML page came with status {answer.status}, as a login or a wrong path gives it",
                "Check the URL; where a login stands before it, let requests with a token through to DICOMweb.",
            )
        )


def _status_fault(answer: Answer, statuses: Collection[int]) -> Fault:
    wanted = " or ".join(str(status) for status in statuses)
    what = f"status {answer.status} instead of {wanted}"
    if answer.status == 404:
        advice = "The resource is not there, or not at this path: see whether the server supports it, and its prefix."
    elif answer.status == 406:
        advice = "The server refuses the Accept header that the client sends; it has to offer one of its types."
    elif answer.status in (400, 414, 415, 422):
        advice = "The server does not understand the request; see what it says about it in its answer or log."
    elif answer.status in (405, 501):
        advice = "The server does not implement this; choose settings of the viewer that do without."
    elif answer.status >= 500:
        advice = "The server failed; its log should say where."
    else:
        advice = "No client takes this status for a success."
    return Fault(f"status-{answer.status}", what, advice)


def data_sets_of(answer: Answer, statuses: Collection[int]) -> list[Mapping[str, Any]]:
    """The data sets of a DICOM JSON answer (PS3.18 F.2). Raises Unusable."""
    require_status(answer, statuses)
    if answer.status == 204:
        return []
    if not answer.is_whole:
        raise Unusable(
            Fault(
                "too-large",
                f"the list is larger than {len(answer.body) >> 20} MiB",
                "Answer no more than `limit` asks for, and bulk data by BulkDataURI instead of inline.",
                Severity.LIMITED,
                "Browsers take minutes and gigabytes to read it.",
            )
        )
    document = _json(answer)
    if isinstance(document, Mapping):
        raise Unusable(
            Fault(
                "json-shape",
                "one JSON object came instead of an array of data sets",
                "Answer an array, also of one data set or none (PS3.18 F.2.1).",
            )
        )
    if not isinstance(document, list) or not all(isinstance(item, Mapping) for item in document):
        raise Unusable(
            Fault("json-shape", "the JSON is no array of data sets", "Answer an array of objects (PS3.18 F.2.1).")
        )
    for data_set in document:
        for tag, element in data_set.items():
            if not isinstance(element, Mapping) or not re.fullmatch(r"[0-9A-Fa-f]{8}", tag):
                raise Unusable(
                    Fault(
                        "json-shape",
                        f"the attribute {tag[:40]!r} is not in the form of DICOM JSON",
                        'Name attributes by eight hexadecimal digits and write {"vr": …, "Value": […]} (PS3.18 F.2.2).',
                    )
                )
    return document


def data_set_of(answer: Answer, statuses: Collection[int]) -> Mapping[str, Any]:
    """The one data set of a Store Instances response. Raises Unusable."""
    require_status(answer, statuses)
    document = _json(answer) if answer.body else {}
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if not isinstance(document, Mapping):
        raise Unusable(Fault("json-shape", "the answer is no data set", "Answer one JSON object (PS3.18 10.5.3.2)."))
    return document


def _json(answer: Answer) -> Any:
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        of = f" but {answer.media_type}" if answer.media_type and "json" not in answer.media_type else ""
        raise Unusable(
            Fault("not-json", f"the answer is no JSON{of}", "Answer DICOM JSON in UTF-8 (PS3.18 F.2).")
        ) from None


def json_type_fault(answer: Answer) -> Fault | None:
    """A JSON answer that is labelled as something else."""
    if answer.status == 204 or answer.media_type == _JSON_TYPES[0]:
        return None
    if answer.media_type == _JSON_TYPES[1]:
        return Fault(
            "content-type",
            "it is labelled application/json",
            "Label it application/dicom+json (PS3.18 8.7.3.2); these clients read it all the same.",
            Severity.NOTE,
        )
    if "multipart" in answer.media_type:
        return Fault(
            "content-type",
            f"JSON is labelled {answer.media_type}",
            "Label it application/dicom+json: the JavaScript client takes it for a multipart message.",
        )
    return Fault(
        "content-type",
        f"JSON is labelled {answer.media_type or 'as nothing'}",
        "Label it application/dicom+json (PS3.18 8.7.3.2).",
        Severity.LIMITED,
    )


def multipart_of(answer: Answer, statuses: Collection[int]) -> list[Part]:
    """The parts of an answer that has to be multipart/related. Raises Unusable."""
    require_status(answer, statuses)
    if answer.media_type != "multipart/related":
        raise Unusable(
            Fault(
                "not-multipart",
                f"the answer is labelled {answer.media_type or 'as nothing'}, not multipart/related as was asked",
                "Send what Accept asks for: multipart/related with one part for each.",
            )
        )
    return parts_of(answer)


def single_part_of(answer: Answer, statuses: Collection[int]) -> None:
    """Raises Unusable where the body is a multipart message instead of the thing itself."""
    require_status(answer, statuses)
    if answer.media_type.startswith("multipart/"):
        raise Unusable(
            Fault(
                "multipart-instead",
                "a multipart message came where a single part was asked for",
                "Send the bytes alone where Accept names no multipart type (PS3.18 8.7.4).",
            )
        )
    if not answer.body:
        raise Unusable(Fault("empty", "the body is empty", "Look in the server's log why there is nothing."))
