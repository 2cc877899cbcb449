"""Changes of image set metadata documents as the service makes them: merge, subset, update, removal, search keys."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

from tests.fakes.wire import ServiceError

Document = dict[str, Any]

# They change only by force: the identifiers of the hierarchy (API reference of UpdateImageSetMetadata, `force`).
_FORCED = {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "StudyID"}
_PRIVATE_TAG = re.compile(r"[0-9a-fA-F]{3}[13579bdfBDF][0-9a-fA-F]{4}")


class Unacceptable(Exception):
    """Why an update cannot be made; the image set keeps it as its message."""


def levels(document: Document) -> tuple[Document, Document]:
    """The attributes of patient and study, by which an image set belongs to the primary hierarchy or not."""
    return document["Patient"]["DICOM"], document["Study"]["DICOM"]


def only_series(document: Document) -> tuple[str, Document]:
    """The series of an image set: there is one."""
    [(uid, series)] = document["Study"]["Series"].items()
    return uid, series


def study_instance_uid(document: Document) -> str:
    return str(document["Study"]["DICOM"]["StudyInstanceUID"])


def agree(one: Document, other: Document) -> bool:
    """Whether two documents tell the same of patient and study, and, when they share it, of the series."""
    if levels(one) != levels(other):
        return False
    (uid, series), (other_uid, other_series) = only_series(one), only_series(other)
    return uid != other_uid or series["DICOM"] == other_series["DICOM"]


def merged(into: Document, added: Document) -> Document:
    """A document with the instances of another; an instance that both have is the added one's."""
    result = copy.deepcopy(into)
    _, series = only_series(result)
    series["Instances"].update(copy.deepcopy(only_series(added)[1]["Instances"]))
    return result


def subset(document: Document, copiable: str | None) -> Document:
    """A document with the instances alone that `copiableAttributes` names; whole without it."""
    result = copy.deepcopy(document)
    if copiable is None:
        return result
    uid, series = only_series(result)
    try:
        named = set(parsed(copiable)["Study"]["Series"][uid]["Instances"])
    except (KeyError, TypeError) as error:
        raise ServiceError("ValidationException", "copiableAttributes name no instance of the source") from error
    if not named <= set(series["Instances"]):
        raise ServiceError("ValidationException", "copiableAttributes name an instance that the source has not")
    series["Instances"] = {name: value for name, value in series["Instances"].items() if name in named}
    return result


def parsed(text: str | bytes) -> Document:
    """The JSON object of attributes in a request."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ServiceError("ValidationException", "the attributes are no JSON") from error
    if not isinstance(value, dict):
        raise ServiceError("ValidationException", "the attributes are no JSON object")
    return value


def updated(document: Document, removable: bytes | None, updatable: bytes | None, *, force: bool) -> Document:
    """A document without what is to be removed, then with what is to be updated.

    Raises:
        Unacceptable: An attribute that may not change, or not without force, or that is not what was said.
    """
    result = copy.deepcopy(document)
    if removable is not None:
        _remove(result, parsed(removable), force=force)
    if updatable is not None:
        _update(result, parsed(updatable), force=force)
    if not any(series["Instances"] for series in result["Study"]["Series"].values()):
        raise Unacceptable("An image set cannot lose its last instance - delete the image set")
    return result


def touched(attributes: bytes | None) -> set[str]:
    """The levels whose attributes a request names: Patient, Study, Series, Instances."""
    if attributes is None:
        return set()
    said = parsed(attributes)
    found = {name for name in ("Patient", "Study") if said.get(name, {}).get("DICOM")}
    for series in said.get("Study", {}).get("Series", {}).values():
        found |= {name for name, key in (("Series", "DICOM"), ("Instances", "Instances")) if series.get(key)}
    return found


def _entities(document: Document, said: Document) -> Iterator[tuple[Document, Document]]:
    """Each entity that attributes of a request name, with what they say of it."""
    for name in ("Patient", "Study"):
        if "DICOM" in said.get(name, {}):
            yield document[name], said[name]
    for uid, series_said in said.get("Study", {}).get("Series", {}).items():
        series = document["Study"]["Series"].get(uid)
        if series is None:
            raise Unacceptable("The series does not exist in the image set")
        if "DICOM" in series_said:
            yield series, series_said
        for instance_uid, instance_said in series_said.get("Instances", {}).items():
            instance = series["Instances"].get(instance_uid)
            if instance is None:
                raise Unacceptable("The instance does not exist in the image set")
            yield instance, instance_said


def _update(document: Document, said: Document, *, force: bool) -> None:
    for entity, entity_said in _entities(document, said):
        for keyword, value in entity_said.get("DICOM", {}).items():
            _check(keyword, value, force=force)
            entity["DICOM"][keyword] = value
        entity.setdefault("DICOMVRs", {}).update(entity_said.get("DICOMVRs", {}))


def _remove(document: Document, said: Document, *, force: bool) -> None:
    said = copy.deepcopy(said)
    all_series, all_said = document["Study"]["Series"], said.get("Study", {}).get("Series", {})
    for uid, series_said in list(all_said.items()):
        if uid not in all_series:
            raise Unacceptable("The series does not exist in the image set")
        if not series_said:  # an empty object is the whole entity
            del all_series[uid], all_said[uid]
            continue
        instances, instances_said = all_series[uid]["Instances"], series_said.get("Instances", {})
        for instance_uid in [name for name, value in instances_said.items() if not value]:
            if instances.pop(instance_uid, None) is None:
                raise Unacceptable("The instance does not exist in the image set")
            del instances_said[instance_uid]
    for entity, entity_said in _entities(document, said):
        for keyword, value in entity_said.get("DICOM", {}).items():
            _check(keyword, value, force=force)
            if keyword not in entity["DICOM"] or entity["DICOM"][keyword] != value:
                raise Unacceptable("The attribute to remove is not there with this value")
            del entity["DICOM"][keyword]


def _check(keyword: str, value: Any, *, force: bool) -> None:
    """The constraints of the developer guide's page "DICOM metadata constraints"."""
    if force:
        return
    if keyword in _FORCED:
        raise Unacceptable("UIDs and StudyID are updated by force alone")
    if isinstance(value, list):
        raise Unacceptable("Sequences and multi-valued attributes are updated by force alone")
    if _PRIVATE_TAG.fullmatch(keyword):
        raise Unacceptable("Private attributes are updated by force alone")
