"""Small DICOM objects made to order."""

from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from werkzeug.test import TestResponse

from tests.made import CT_IMAGE_STORAGE, made

_IMAGE: dict[str, Any] = {
    "Rows": 8,
    "Columns": 8,
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 0,
    "InstanceNumber": 1,
    "PixelData": bytes(range(128)),
}


def data_set(**attributes: Any) -> Dataset:
    """An 8 × 8 image of 16 bits, of a study of its own unless `attributes` name one; None leaves out."""
    uids = {keyword: generate_uid() for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
    return made(**{**uids, **_IMAGE, **attributes})


def part10(ds: Dataset | None = None, transfer_syntax_uid: UID = ExplicitVRLittleEndian, **attributes: Any) -> bytes:
    """An object as a file; by default that of `data_set(**attributes)`."""
    ds = ds if ds is not None else data_set(**attributes)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax_uid
    meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", CT_IMAGE_STORAGE)
    meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2.3")
    ds.file_meta = meta
    buffer = BytesIO()
    implicit, big_endian = transfer_syntax_uid == ImplicitVRLittleEndian, transfer_syntax_uid == ExplicitVRBigEndian
    ds.save_as(buffer, implicit_vr=implicit, little_endian=not big_endian, enforce_file_format=True)
    return buffer.getvalue()


def encapsulated(frames: list[bytes], transfer_syntax_uid: UID, **attributes: Any) -> bytes:
    """An object whose frames are these bytes, whatever they are, each in a fragment of its own."""
    ds = data_set(NumberOfFrames=len(frames), **attributes)
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR = "OB"
    return part10(ds, transfer_syntax_uid)


def multipart(*objects: bytes, boundary: str = "a-boundary", content_type: str = "application/dicom") -> bytes:
    parts = b"".join(
        b"\r\n--" + boundary.encode() + b"\r\nContent-Type: " + content_type.encode() + b"\r\n\r\n" + content
        for content in objects
    )
    return parts + b"\r\n--" + boundary.encode() + b"--\r\n"


def json_of(answer: TestResponse) -> Any:
    """The answer's body, which has to be JSON."""
    assert answer.json is not None, answer.data
    return answer.json


def parts(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """The parts of a multipart answer, each with its Content-Type, which has to come first; strict about both."""
    boundary = content_type.partition("boundary=")[2].partition(";")[0].strip('"')
    assert content_type.startswith("multipart/related; type=")
    assert boundary
    *pieces, end = body.split(b"\r\n--" + boundary.encode())
    assert end == b"--\r\n"
    assert pieces.pop(0) == b""
    split = [piece.partition(b"\r\n\r\n") for piece in pieces]
    assert all(head.startswith(b"\r\nContent-Type: ") for head, _, _ in split)
    types = [head.decode().removeprefix("\r\nContent-Type: ").partition("\r\n")[0] for head, _, _ in split]
    return list(zip(types, (content for _, _, content in split), strict=True))
