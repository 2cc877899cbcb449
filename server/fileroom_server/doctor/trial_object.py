"""The tiny synthetic instance that is stored for trial, in the message that the clients send it in."""

from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from .subjects import Kind, Subject

_BOUNDARY = "fileroom-doctor-0f3cf5c0"
_NAME = "Doctor^Fileroom"


def trial_subject(study_instance_uid: str | None = None) -> Subject:
    """New UIDs under 2.25; nothing of a patient."""
    study, series, instance = study_instance_uid or generate_uid(None), generate_uid(None), generate_uid(None)
    return Subject(Kind.STORED, {"study": str(study), "series": str(series), "instance": str(instance)})


def quoted_multipart_type() -> str:
    """Both dicomweb-clients quote both parameters."""
    return f'multipart/related; type="application/dicom"; boundary="{_BOUNDARY}"'


def quoted_multipart(subject: Subject) -> bytes:
    """The message as multipartEncode of the JavaScript client writes it; the Python client's is the same."""
    head = f"\r\n--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return head + _part10(subject) + f"\r\n--{_BOUNDARY}--".encode()


def _part10(subject: Subject) -> bytes:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = subject.values["instance"]
    dataset.StudyInstanceUID = subject.values["study"]
    dataset.SeriesInstanceUID = subject.values["series"]
    dataset.PatientName, dataset.PatientID = _NAME, "FILEROOM-DOCTOR"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyDate, dataset.StudyTime = "20000101", "000000"
    dataset.StudyID, dataset.StudyDescription = "1", "Stored for trial by fileroom doctor"
    dataset.Modality, dataset.ConversionType = "OT", "SYN"
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.Rows = dataset.Columns = 2
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = b"\x00\x55\xaa\xff"
    dataset["PixelData"].VR = "OB"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
