"""Where the metadata of an image set have the attribute of a tag, and whether it is as the tag asks for."""

from collections.abc import Iterator, Mapping
from typing import Any

from .tags import TagLevel, TagRequest, attribute_value

_PADDING = " \0"  # PS3.5 6.2


def has_value(document: Any, request: TagRequest) -> bool:
    """Whether the attribute has the value that is asked for, but for padding."""
    found = _attributes(document, request)
    if found is None or request.keyword not in found:
        return False
    return _plain(found[request.keyword]) == _plain(attribute_value(request.keyword, request.value))


def misplaced(document: Any, request: TagRequest) -> str | None:
    """Why these metadata cannot take the attribute at its level; None where they can."""
    if _within(document, "Study", "Series", request.series_instance_uid) is None:
        return "the image set does not have the series"
    if _attributes(document, request) is None:
        return f"the image set does not have the {request.level.value}"
    for level, attributes in _levels(document, request.series_instance_uid):
        if level is not request.level and request.keyword in attributes:
            return f"the image set has {request.keyword} at the level {level.value}; ask with --level {level.value}"
    return None


def _attributes(document: Any, request: TagRequest) -> Mapping[str, Any] | None:
    """Those of the entity that the request names; None where it is not there."""
    if request.level is TagLevel.PATIENT:
        return _within(document, "Patient", "DICOM")
    if request.level is TagLevel.STUDY:
        return _within(document, "Study", "DICOM")
    series = _within(document, "Study", "Series", request.series_instance_uid)
    if request.level is TagLevel.SERIES or series is None:
        return _within(series, "DICOM")
    return _within(series, "Instances", request.sop_instance_uid or "", "DICOM")


def _levels(document: Any, series_instance_uid: str) -> Iterator[tuple[TagLevel, Mapping[str, Any]]]:
    series = _within(document, "Study", "Series", series_instance_uid)
    yield TagLevel.PATIENT, _within(document, "Patient", "DICOM") or {}
    yield TagLevel.STUDY, _within(document, "Study", "DICOM") or {}
    yield TagLevel.SERIES, _within(series, "DICOM") or {}
    for instance in (_within(series, "Instances") or {}).values():
        yield TagLevel.INSTANCE, _within(instance, "DICOM") or {}


def _within(value: Any, *names: str) -> Mapping[str, Any] | None:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else None


def _plain(value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    return [one.strip(_PADDING) if isinstance(one, str) else one for one in values]
