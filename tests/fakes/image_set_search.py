"""SearchImageSets of the fake service: which image sets match, how they are sorted and summarised."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from tests.fakes.image_set_metadata import only_series
from tests.fakes.image_sets import ImageSet
from tests.fakes.wire import Parameters, ServiceError

# of a filter or of the summary → where the document has it
_PATIENT = {
    "DICOMPatientId": "PatientID",
    "DICOMPatientName": "PatientName",
    "DICOMPatientBirthDate": "PatientBirthDate",
    "DICOMPatientSex": "PatientSex",
}
_STUDY = {
    "DICOMStudyInstanceUID": "StudyInstanceUID",
    "DICOMStudyId": "StudyID",
    "DICOMStudyDescription": "StudyDescription",
    "DICOMAccessionNumber": "AccessionNumber",
    "DICOMStudyDate": "StudyDate",
    "DICOMStudyTime": "StudyTime",
}
_SERIES = {
    "DICOMSeriesModality": "Modality",
    "DICOMSeriesBodyPart": "BodyPartExamined",
}


def summary(image_set: ImageSet) -> dict[str, Any]:
    """An image set as SearchImageSets tells it."""
    latest = image_set.latest
    told = {
        "imageSetId": image_set.image_set_id,
        "version": latest.number,
        "createdAt": latest.created_at,
        "updatedAt": latest.updated_at,
        "storageTier": image_set.storage_tier,
        "isPrimary": latest.is_primary,
        "DICOMTags": tags(image_set),
    }
    if image_set.last_accessed_at is not None:
        told["lastAccessedAt"] = image_set.last_accessed_at
    return told


def tags(image_set: ImageSet) -> dict[str, Any]:
    """The attributes of an image set that can be searched, as far as it has them."""
    document = image_set.latest.document
    uid, series = only_series(document)
    found: dict[str, Any] = {
        name: str(attributes[keyword])
        for names, attributes in (
            (_PATIENT, document["Patient"]["DICOM"]),
            (_STUDY, document["Study"]["DICOM"]),
            (_SERIES, series["DICOM"]),
        )
        for name, keyword in names.items()
        if attributes.get(keyword) is not None
    }
    number = str(series["DICOM"].get("SeriesNumber") or "").strip()
    if number:
        found["DICOMSeriesNumber"] = int(number)
    return {
        **found,
        "DICOMSeriesInstanceUID": uid,
        "DICOMNumberOfStudyRelatedSeries": 1,
        "DICOMNumberOfStudyRelatedInstances": len(series["Instances"]),
    }


def search(image_sets: Iterable[ImageSet], criteria: Parameters) -> list[ImageSet]:
    """The image sets that are not deleted and match all filters, sorted as asked, the newest update first if not."""
    matches = [_filter(one["operator"], one["values"]) for one in criteria.get("filters", [])]
    found = [one for one in image_sets if one.active and all(matching(one) for matching in matches)]
    sort = criteria.get("sort", {"sortField": "updatedAt", "sortOrder": "DESC"})
    return sorted(found, key=lambda one: _value(one, sort["sortField"]) or "", reverse=sort["sortOrder"] == "DESC")


def _filter(operator: str, values: list[Parameters]) -> Callable[[ImageSet], bool]:
    if any(len(value) != 1 for value in values):
        raise ServiceError("ValidationException", "each value of a filter has one member")
    names = {name for value in values for name in value}
    if len(names) != 1 or len(values) != {"EQUAL": 1, "BETWEEN": 2}[operator]:
        raise ServiceError("ValidationException", f"{operator} does not go with these values")
    [name] = names
    wanted = [_said(value[name]) for value in values]
    if operator == "EQUAL":
        return lambda one: bool(_value(one, name) == wanted[0])
    low, high = wanted
    return lambda one: (value := _value(one, name)) is not None and bool(low <= value <= high)


def _said(value: Any) -> Any:
    """A value of a filter in the form of `_value`."""
    if isinstance(value, dict):  # DICOMStudyDateAndTime
        return value["DICOMStudyDate"] + value.get("DICOMStudyTime", "")
    return value


def _value(image_set: ImageSet, name: str) -> str | bool | datetime | None:
    if name == "createdAt":
        return image_set.latest.created_at
    if name == "updatedAt":
        return image_set.latest.updated_at
    if name == "isPrimary":
        return image_set.latest.is_primary
    found = tags(image_set)
    if name == "DICOMStudyDateAndTime":
        date = found.get("DICOMStudyDate")
        return date and date + found.get("DICOMStudyTime", "")
    value: str | None = found.get(name)
    return value
