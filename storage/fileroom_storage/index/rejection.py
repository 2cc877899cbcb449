"""Rejection notes (IHE RAD TF-2 4.66, IOCM): Key Object Selection documents that take instances out of use."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import tag_for_keyword

from ..errors import InvalidQuery
from ..parse.header import Header

KEY_OBJECT_SELECTION_DOCUMENT = "1.2.840.10008.5.1.4.1.1.88.59"
REJECTION_SCHEME = "DCM"
# PS3.16 CID 7011, CID 7012 and CID 7013, as IHE RAD TF-2 4.66.4.1.3 uses them for document titles
REJECTION_MEANINGS = {
    "113001": "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}
# what it rejects is deleted like anything else; other rejected objects are kept out of sight
RETENTION_EXPIRED = "113039"


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a rejection note says: `code` is one of REJECTION_MEANINGS; `instances` are UIDs of instance → study."""

    code: str
    instances: dict[str, str]


def known_rejection_code(code: str) -> str:
    """`113001^DCM` or `113001` as the bare code. Raises InvalidQuery, with all that are known."""
    value, _, scheme = code.partition("^")
    if value not in REJECTION_MEANINGS or scheme not in ("", REJECTION_SCHEME):
        known = ", ".join(f"{value}^{REJECTION_SCHEME} ({name})" for value, name in REJECTION_MEANINGS.items())
        raise InvalidQuery(f"this is no code to reject with; known are {known}")
    return value


def rejection_of(header: Header, sop_class_uid: str) -> Rejection | None:
    """What an object rejects, where it is a rejection note."""
    if sop_class_uid != KEY_OBJECT_SELECTION_DOCUMENT:
        return None
    for title in _items(header.element(_tag("ConceptNameCodeSequence"))):
        code = _text(title, "CodeValue")
        if code in REJECTION_MEANINGS and _text(title, "CodingSchemeDesignator") == REJECTION_SCHEME:
            # PS3.3 C.17.6.2.1: the evidence names all that the content refers to, by study and series
            evidence = header.element(_tag("CurrentRequestedProcedureEvidenceSequence"))
            return Rejection(code, dict(_referenced(evidence)))
    return None


def _referenced(evidence: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    for study in _items(evidence):
        for series in _nested(study, "ReferencedSeriesSequence"):
            for reference in _nested(series, "ReferencedSOPSequence"):
                instance_uid = _text(reference, "ReferencedSOPInstanceUID")
                study_uid = _text(study, "StudyInstanceUID")
                if instance_uid and study_uid:
                    yield instance_uid, study_uid


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


def _items(element: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    for item in (element or {}).get("Value") or ():
        if isinstance(item, dict):
            yield item


def _nested(item: dict[str, Any], keyword: str) -> Iterator[dict[str, Any]]:
    return _items(item.get(f"{_tag(keyword):08X}"))


def _text(item: dict[str, Any], keyword: str) -> str | None:
    values = item.get(f"{_tag(keyword):08X}", {}).get("Value")
    return values[0] if values and isinstance(values[0], str) else None
