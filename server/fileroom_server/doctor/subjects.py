"""The instances that the requests are made with: what a server must have for them, and how they are found by QIDO."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from .findings import Unusable
from .links import bulk_data_url, first_bulk_data_uri
from .prober import Prober
from .reading import data_sets_of, value

DataSet = Mapping[str, Any]

_DICOM_JSON = {"Accept": "application/dicom+json"}
_MIB = 1 << 20
_MOST_SERIES_LISTS = 24
_MOST_INSTANCES = 24
_STUDY_PAGE = 101
_UID = re.compile(r"[0-9.]{1,64}")
_WORD = re.compile(r"[^\W_]{2,}")

STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"
MODALITY, MODALITIES_IN_STUDY, NUMBER_OF_FRAMES, RETRIEVE_URL = "00080060", "00080061", "00280008", "00081190"


class Kind(StrEnum):
    """What an instance has to be for a request about it; ANY where only its study or nothing of it matters."""

    ANY = "study"
    IMAGE = "image"
    MULTI_FRAME = "multi-frame image"
    WAVEFORM = "waveform"
    DOCUMENT = "PDF or other document"
    SEGMENTATION = "segmentation"
    REPORT = "structured report"
    BULK_DATA = "object with bulk data"
    STORED = "object stored for trial"


_MODALITIES = {
    Kind.IMAGE: ("CT", "MR", "PT", "DX", "CR", "MG", "US", "XA", "NM", "RF", "OT", "SC", "XC", "SM", "OP"),
    Kind.MULTI_FRAME: ("US", "XA", "RF", "MG", "NM", "OPT", "SM", "XC", "ES", "OT", "MR", "CT", "PT", "SC", "OP"),
    Kind.WAVEFORM: ("ECG", "HD", "EPS", "RESP", "AU", "EEG"),
    Kind.DOCUMENT: ("DOC", "PDF", "OT"),
    Kind.SEGMENTATION: ("SEG",),
    Kind.REPORT: ("SR",),
}
_WITH_BULK_DATA = (Kind.IMAGE, Kind.WAVEFORM, Kind.DOCUMENT)


@dataclass(frozen=True, slots=True)
class Subject:
    """An instance, what of it fills the placeholders of requests, and its metadata as far as the server gave them.

    Of Kind.ANY: a study, and every attribute that any of the chosen instances has.
    """

    kind: Kind
    values: Mapping[str, str]
    metadata: DataSet = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The subjects that were found. `faults` of requests on the way are found again by the clients that make them."""

    subjects: Mapping[Kind, Subject]
    number_of_studies: int
    has_more_studies: bool


def uid(data_set: DataSet, tag: str) -> str | None:
    """The value, where it is a UID: it becomes part of URLs."""
    text = value(data_set, tag)
    return text if isinstance(text, str) and _UID.fullmatch(text) else None


class Chooser:
    """Looks for one subject of each kind, in a bounded number of requests."""

    def __init__(
        self, prober: Prober, base_url: str, kinds: Collection[Kind], study_instance_uid: str | None = None
    ) -> None:
        self._prober = prober
        self._base_url = base_url
        self._study_instance_uid = study_instance_uid
        wanted = {*kinds, *(_WITH_BULK_DATA if Kind.BULK_DATA in kinds else ())}
        self._modalities = {kind: modalities for kind, modalities in _MODALITIES.items() if kind in wanted}
        self._series: dict[str, list[DataSet]] = {}
        self._instances: dict[str, tuple[DataSet, DataSet] | None] = {}
        self._found: dict[Kind, Subject] = {}

    def choose(self) -> Chosen:
        """Raises Unusable where not even the list of studies can be had."""
        query = f"StudyInstanceUID={self._study_instance_uid}" if self._study_instance_uid else f"limit={_STUDY_PAGE}"
        studies = [study for study in self._list(f"/studies?{query}") if uid(study, STUDY)]
        if self._study_instance_uid:
            studies = [study for study in studies if uid(study, STUDY) == self._study_instance_uid] or [
                {STUDY: {"vr": "UI", "Value": [self._study_instance_uid]}}
            ]
        for kind in self._modalities:
            self._look_for(kind, studies)
        if Kind.MULTI_FRAME not in self._found and Kind.SEGMENTATION in self._found:
            # the last resort: viewers take a segmentation as a whole
            segmentation = self._found[Kind.SEGMENTATION]
            if _is(Kind.MULTI_FRAME, segmentation.metadata):
                self._found[Kind.MULTI_FRAME] = Subject(Kind.MULTI_FRAME, segmentation.values, segmentation.metadata)
        if not self._study_instance_uid:
            self._look_elsewhere()
        if studies:
            self._found[Kind.ANY] = self._of_studies(studies)
        return Chosen(self._found, len(studies), len(studies) >= _STUDY_PAGE)

    def _list(self, path: str) -> list[DataSet]:
        answer = self._prober.send("GET", self._base_url + path, _DICOM_JSON, limit=32 * _MIB)
        return data_sets_of(answer, (200, 204))

    def _look_for(self, kind: Kind, studies: list[DataSet]) -> None:
        if kind in self._found:
            return
        for study in studies:
            told = study.get(MODALITIES_IN_STUDY, {}).get("Value") or ()
            if told and not set(_MODALITIES[kind]) & {str(modality) for modality in told}:
                continue
            if len(self._series) >= _MOST_SERIES_LISTS and str(uid(study, STUDY)) not in self._series:
                return
            for series in self._series_of(str(uid(study, STUDY))):
                if value(series, MODALITY) in _MODALITIES[kind] and self._take(kind, study, series):
                    return

    def _look_elsewhere(self) -> None:
        """Beyond the first page, by modality; a server that ignores the filter only costs a request."""
        for kind, modalities in self._modalities.items():
            if kind in self._found:
                continue
            try:
                studies = self._list(f"/studies?ModalitiesInStudy={quote(modalities[0])}&limit=2")
            except Unusable:
                return
            self._look_for(kind, [study for study in studies if uid(study, STUDY)])

    def _series_of(self, study: str) -> list[DataSet]:
        if study not in self._series:
            try:
                found = self._list(f"/studies/{study}/series")
            except Unusable:
                found = []
            self._series[study] = [series for series in found if uid(series, SERIES)]
        return self._series[study]

    def _take(self, kind: Kind, study: DataSet, series: DataSet) -> bool:
        """Whether the first instance of the series will do."""
        found = self._instance_of(str(uid(study, STUDY)), str(uid(series, SERIES)))
        if found is None:
            return False
        instance, metadata = found
        subject = self._subject(kind, study, series, instance, metadata)
        if first_bulk_data_uri(metadata) is not None:
            self._found.setdefault(Kind.BULK_DATA, self._subject(Kind.BULK_DATA, study, series, instance, metadata))
        if not _is(kind, metadata):
            return False
        self._found[kind] = subject
        return True

    def _instance_of(self, study: str, series: str) -> tuple[DataSet, DataSet] | None:
        """One instance of a series as QIDO lists it, that of most frames among the first, and its metadata."""
        if series not in self._instances:
            if len(self._instances) >= _MOST_INSTANCES:
                return None
            path = f"/studies/{study}/series/{series}"
            self._instances[series] = None
            try:
                listed = self._list(f"{path}/instances?limit=5&includefield={NUMBER_OF_FRAMES}")
                instances = [instance for instance in listed if uid(instance, INSTANCE)]
                instances.sort(key=lambda instance: -int(value(instance, NUMBER_OF_FRAMES) or 0))
                if not instances:
                    return None
                self._instances[series] = (instances[0], {})
                metadata = self._list(f"{path}/instances/{uid(instances[0], INSTANCE)}/metadata")
                self._instances[series] = (instances[0], metadata[0] if metadata else {})
            except (Unusable, TypeError, ValueError):
                pass  # the clients will make these requests again, and tell
        return self._instances[series]

    def _subject(self, kind: Kind, study: DataSet, series: DataSet, instance: DataSet, metadata: DataSet) -> Subject:
        study_uid, series_uid, instance_uid = str(uid(study, STUDY)), str(uid(series, SERIES)), uid(instance, INSTANCE)
        series_url = value(series, RETRIEVE_URL) or f"{self._base_url}/studies/{study_uid}/series/{series_uid}"
        values = dict(_study_values(study)) | {
            "series": series_uid,
            "instance": str(instance_uid),
            "modality": str(value(series, MODALITY) or ""),
            "frames": str(value(metadata, NUMBER_OF_FRAMES) or 1),
            "series_url": str(series_url),
            "instance_url": str(value(instance, RETRIEVE_URL) or f"{series_url}/instances/{instance_uid}"),
        }
        uri = first_bulk_data_uri(metadata)
        if uri is not None:
            values["bulk_data_url"] = bulk_data_url(uri, self._base_url, study_uid, series_uid)
            values["bulk_data_as_told_url"] = uri
        return Subject(kind, values, metadata)

    def _of_studies(self, studies: list[DataSet]) -> Subject:
        """The study that filters are tried with: the one with the most to filter by, and an image if may be."""
        image = self._found.get(Kind.IMAGE)
        wanted = image.values["study"] if image else None

        def usefulness(study: DataSet) -> tuple[int, bool]:
            return len(dict(_study_values(study))), uid(study, STUDY) == wanted

        study = max(studies, key=usefulness)
        values = dict(_study_values(study))
        others = [other for other in studies if uid(other, STUDY) != uid(study, STUDY)]
        if others:
            values["other_study"] = str(uid(others[0], STUDY))
        modalities = study.get(MODALITIES_IN_STUDY, {}).get("Value") or [value(study, MODALITY)]
        values["modality"] = str(modalities[0] or "")
        known: dict[str, Any] = {}
        for subject in self._found.values():
            for tag, element in subject.metadata.items():
                if value(subject.metadata, tag) is not None:
                    known.setdefault(tag, element)
        return Subject(Kind.ANY, values, known)


def _study_values(study: DataSet) -> Iterator[tuple[str, str]]:
    yield "study", str(uid(study, STUDY))
    name = value(study, "00100010")
    words = _WORD.findall(str(name.get("Alphabetic") or "")) if isinstance(name, Mapping) else []
    if words:
        yield "patient_name", words[0]
        if words[0] != str(name["Alphabetic"]).rstrip("^"):
            yield "part_of_name", words[0]
    for key, tag in (("patient_id", "00100020"), ("accession_number", "00080050"), ("study_description", "00081030")):
        text = str(value(study, tag) or "")
        if text and not set(text) & set("*?\\"):  # these would be taken for wildcards and lists
            yield key, text
    date = str(value(study, "00080020") or "")
    if re.fullmatch(r"\d{8}", date):
        yield "study_date", date


def _is(kind: Kind, metadata: DataSet) -> bool:
    if not metadata:
        return kind in (Kind.IMAGE, Kind.SEGMENTATION, Kind.REPORT)  # as its modality says; more cannot be known
    has_pixels = value(metadata, "00280010") is not None
    if kind is Kind.IMAGE:
        return has_pixels
    if kind is Kind.MULTI_FRAME:
        return (
            has_pixels
            and str(value(metadata, NUMBER_OF_FRAMES) or 1).isdigit()
            and int(value(metadata, NUMBER_OF_FRAMES) or 1) > 1
        )
    if kind is Kind.WAVEFORM:
        return "54000100" in metadata
    if kind is Kind.DOCUMENT:
        return "00420011" in metadata
    return True
