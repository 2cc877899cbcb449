"""Objects made for tests: small, valid, with just the attributes a test is about."""

from io import BytesIO
from typing import Any

from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ROOT = "1.2.826.0.1.3680043.10.1"


def uid(*parts: int | str) -> str:
    """A UID of the tests' own: `uid(1, 2)`."""
    return ".".join([ROOT, *map(str, parts)])


def made(**attributes: Any) -> Dataset:
    """A CT instance; keywords replace, None leaves out. Items of a sequence are dicts."""
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": CT_IMAGE_STORAGE,
        "SOPInstanceUID": uid(1, 1, 1),
        "StudyInstanceUID": uid(1),
        "SeriesInstanceUID": uid(1, 1),
        "PatientID": "P1",
        "PatientName": "Doe^Jane",
        "Modality": "CT",
    }
    values |= attributes
    return _dataset({keyword: value for keyword, value in values.items() if value is not None})


def _dataset(values: dict[str, Any]) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise KeyError(keyword)
        of_items = isinstance(value, list) and value and isinstance(value[0], dict)
        plain = [_dataset(item) for item in value] if of_items else value
        # what devices send is not always valid, and neither is what tests send
        dataset[tag] = DataElement(tag, dictionary_VR(tag), plain, validation_mode=IGNORE)
    return dataset


def encoded(dataset: Dataset, *, implicit: bool = False) -> bytes:
    """The bare data set, little endian."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    return buffer.getvalue()


def part10(dataset: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    """A whole Part 10 file."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CT_IMAGE_STORAGE)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", uid(9))
    dataset.file_meta = meta
    buffer = BytesIO()
    implicit = transfer_syntax_uid == ImplicitVRLittleEndian
    dcmwrite(buffer, dataset, implicit_vr=implicit, little_endian=True, enforce_file_format=True)
    return buffer.getvalue()
