"""Makes the Key Object Selection document that rejects instances (PS3.16 TID 2010, IHE RAD TF-2 4.66)."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from io import BytesIO
from itertools import groupby

from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, generate_uid

from .index.rejection import KEY_OBJECT_SELECTION_DOCUMENT, REJECTION_MEANINGS, REJECTION_SCHEME
from .parse.header import Header
from .query.locate import StoredInstance

_INHERITED = (
    # PS3.3 C.7.1.1 and C.7.2.1, type 2 each but for the issuer
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"),
)


def rejection_note(header: Header, instances: Sequence[StoredInstance], code: str) -> tuple[bytes, str]:
    """The encoded data set, explicit little endian, and its SOP Instance UID. `header` is that of an instance."""
    note = Dataset()
    now = datetime.now().astimezone()
    uid = str(generate_uid(prefix=None))
    _set(note, "SpecificCharacterSet", "ISO_IR 192")
    for keyword in _INHERITED:
        _set(note, keyword, header.text(keyword))
    _set(note, "SOPClassUID", KEY_OBJECT_SELECTION_DOCUMENT)
    _set(note, "SOPInstanceUID", uid)
    _set(note, "StudyInstanceUID", instances[0].study_instance_uid)
    # PS3.3 C.17.6.1: in a series of its own, of modality KO
    _set(note, "SeriesInstanceUID", str(generate_uid(prefix=None)))
    _set(note, "Modality", "KO")
    _set(note, "SeriesNumber", "1")
    _set(note, "SeriesDescription", REJECTION_MEANINGS[code])
    _set(note, "Manufacturer", "fileroom")
    _set(note, "InstanceNumber", "1")
    for name in ("Series", "Content"):
        _set(note, f"{name}Date", f"{now:%Y%m%d}")
        _set(note, f"{name}Time", f"{now:%H%M%S}")
    _set(note, "TimezoneOffsetFromUTC", f"{now:%z}")
    note.ReferencedPerformedProcedureStepSequence = []
    note.CurrentRequestedProcedureEvidenceSequence = _evidence(instances)
    # PS3.16 TID 2010
    note.ValueType = "CONTAINER"
    note.ContinuityOfContent = "SEPARATE"
    note.ConceptNameCodeSequence = [
        _item(CodeValue=code, CodingSchemeDesignator=REJECTION_SCHEME, CodeMeaning=REJECTION_MEANINGS[code])
    ]
    note.ContentTemplateSequence = [_item(MappingResource="DCMR", TemplateIdentifier="2010")]
    note.ContentSequence = [_content(instance) for instance in instances]
    buffer = BytesIO()
    dcmwrite(buffer, note, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return buffer.getvalue(), uid


def _evidence(instances: Iterable[StoredInstance]) -> list[Dataset]:
    """PS3.3 C.17.2.3: all that is referred to, by study and series."""
    studies = []
    for study_uid, of_study in _by(instances, lambda instance: instance.study_instance_uid):
        study = _item(StudyInstanceUID=study_uid)
        study.ReferencedSeriesSequence = []
        for series_uid, of_series in _by(of_study, lambda instance: instance.series_instance_uid):
            series = _item(SeriesInstanceUID=series_uid)
            series.ReferencedSOPSequence = [_reference(instance) for instance in of_series]
            study.ReferencedSeriesSequence.append(series)
        studies.append(study)
    return studies


def _by(
    instances: Iterable[StoredInstance], key: Callable[[StoredInstance], str]
) -> Iterable[tuple[str, list[StoredInstance]]]:
    return ((uid, list(group)) for uid, group in groupby(sorted(instances, key=key), key))


def _content(instance: StoredInstance) -> Dataset:
    item = _item(RelationshipType="CONTAINS", ValueType=_value_type(instance.sop_class_uid))
    item.ReferencedSOPSequence = [_reference(instance)]
    return item


def _value_type(sop_class_uid: str) -> str:
    """PS3.16 TID 2010 refers to images and waveforms as what they are, to all else as COMPOSITE."""
    name = UID(sop_class_uid).name
    return "IMAGE" if "Image Storage" in name else "WAVEFORM" if "Waveform Storage" in name else "COMPOSITE"


def _reference(instance: StoredInstance) -> Dataset:
    return _item(ReferencedSOPClassUID=instance.sop_class_uid, ReferencedSOPInstanceUID=instance.sop_instance_uid)


def _item(**values: str) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        _set(item, keyword, value)
    return item


def _set(data_set: Dataset, keyword: str, value: str | None) -> None:
    # what stored objects say is not always valid, and is repeated as it is
    data_set[keyword] = DataElement(keyword, dictionary_VR(keyword), value, validation_mode=IGNORE)
