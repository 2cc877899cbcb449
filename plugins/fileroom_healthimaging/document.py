"""Image set metadata, as AWS HealthImaging gives it, as typed values.

The form is that of the service's developer guide, "Understanding image sets" and "Metadata normalization": attributes
by keyword, private and unknown ones by tag with their VR in DICOMVRs; those of patient, study and series once.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .invalid_document import InvalidDocument
from .json_text import MAXIMUM_SIZE, read_json

Attributes = Mapping[str, Any]  # values as JSON has them, by keyword or tag

HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"

_KNOWN_VERSION = re.compile(r"1(\.\d{1,4})?")
IDENTIFIER = re.compile(r"[0-9A-Za-z_-]{1,64}")
_FRAME_IDENTIFIER = re.compile(r"[0-9A-Za-z_-]{1,256}")
# The index says of each instance what is wrong with longer ones than PS3.5 9.1 has; the service takes these.
_UID = re.compile(r"(?=.*[^.])[0-9A-Za-z._-]{1,256}")
_PADDING = " \0"


@dataclass(frozen=True, slots=True)
class FrameChecksum:
    """CRC-32 of one resolution of a frame: of its pixels, or of its bytes where the service kept these as they came."""

    width: int
    height: int
    checksum: int


@dataclass(frozen=True, slots=True)
class ImageFrame:
    """A frame that the service has; sizes in bytes are of its pixels where these were transcoded."""

    image_frame_id: str
    minimum_pixel_value: float | None = None
    maximum_pixel_value: float | None = None
    frame_size: int | None = None
    checksums: tuple[FrameChecksum, ...] = ()  # from the smallest resolution to the full one


@dataclass(frozen=True, slots=True)
class Instance:
    sop_instance_uid: str
    attributes: Attributes
    vrs: Mapping[str, str]
    stored_transfer_syntax_uid: str | None
    frames: tuple[ImageFrame, ...]

    @property
    def frames_transfer_syntax_uid(self) -> str:
        # developer guide, "Supported transfer syntaxes": what is not said is HTJ2K Lossless RPCL
        return self.stored_transfer_syntax_uid or HTJ2K_LOSSLESS_RPCL


@dataclass(frozen=True, slots=True)
class Series:
    series_instance_uid: str
    attributes: Attributes
    vrs: Mapping[str, str]
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class ImageSetDocument:
    """What one version of an image set says; `vrs` are of patient and study."""

    schema_version: str
    datastore_id: str
    image_set_id: str
    study_instance_uid: str
    patient_attributes: Attributes
    study_attributes: Attributes
    vrs: Mapping[str, str]
    series: tuple[Series, ...]

    def instances(self) -> Iterator[tuple[Series, Instance]]:
        return ((series, instance) for series in self.series for instance in series.instances)


def read_document(content: bytes, maximum_size: int = MAXIMUM_SIZE) -> ImageSetDocument:
    """Reads image set metadata: JSON, or JSON compressed by gzip, of at most `maximum_size` bytes.

    What is not known beside the attributes is passed over. Raises InvalidDocument, which says where.
    """
    root = _object(read_json(content, maximum_size), "")
    version = root.get("SchemaVersion")
    version = str(version) if isinstance(version, str | int | float) else ""
    if not _KNOWN_VERSION.fullmatch(version):
        raise InvalidDocument("SchemaVersion", "is none of the 1.x that are known")
    patient = _object(root.get("Patient") or {}, "Patient")
    study = _object(root.get("Study"), "Study")
    study_attributes = _attributes(study, "Study")
    all_series = _object(study.get("Series"), "Study/Series")
    if not all_series:
        raise InvalidDocument("Study/Series", "has no series")
    return ImageSetDocument(
        version,
        _identifier(root, "DatastoreID"),
        _identifier(root, "ImageSetID"),
        _uid(study_attributes.get("StudyInstanceUID"), "Study/DICOM/StudyInstanceUID"),
        _attributes(patient, "Patient"),
        study_attributes,
        _vrs(patient, "Patient") | _vrs(study, "Study"),
        tuple(
            _series(key, value, _step("Study/Series", number, key))
            for number, (key, value) in enumerate(all_series.items())
        ),
    )


def _series(key: str, value: Any, path: str) -> Series:
    series = _object(value, path)
    attributes = _attributes(series, path)
    instances = _object(series.get("Instances"), f"{path}/Instances")
    if not instances:
        raise InvalidDocument(f"{path}/Instances", "has no instance")
    return Series(
        _agreed_uid(key, attributes, "SeriesInstanceUID", path),
        attributes,
        _vrs(series, path),
        tuple(
            _instance(uid, instance, _step(f"{path}/Instances", number, uid))
            for number, (uid, instance) in enumerate(instances.items())
        ),
    )


def _instance(key: str, value: Any, path: str) -> Instance:
    instance = _object(value, path)
    attributes = _attributes(instance, path)
    frames = instance.get("ImageFrames")
    if not isinstance(frames, list | None):
        raise InvalidDocument(f"{path}/ImageFrames", "is no array")
    syntax = instance.get("StoredTransferSyntaxUID")
    return Instance(
        _agreed_uid(key, attributes, "SOPInstanceUID", path),
        attributes,
        _vrs(instance, path),
        None if syntax is None else _uid(syntax, f"{path}/StoredTransferSyntaxUID"),
        tuple(_frame(frame, f"{path}/ImageFrames/{number}") for number, frame in enumerate(frames or ())),
    )


def _frame(value: Any, path: str) -> ImageFrame:
    frame = _object(value, path)
    identifier = frame.get("ID")
    if not isinstance(identifier, str) or not _FRAME_IDENTIFIER.fullmatch(identifier):
        raise InvalidDocument(f"{path}/ID", "is no identifier of a frame")
    name = "PixelDataChecksumFromBaseToFullResolution"
    checksums = frame.get(name)
    if not isinstance(checksums, list | None):
        raise InvalidDocument(f"{path}/{name}", "is no array")
    return ImageFrame(
        identifier,
        _number(frame, "MinPixelValue", path),
        _number(frame, "MaxPixelValue", path),
        _whole_number(frame, "FrameSizeInBytes", path),
        tuple(_checksum(one, f"{path}/{name}/{number}") for number, one in enumerate(checksums or ())),
    )


def _checksum(value: Any, path: str) -> FrameChecksum:
    checksum = _object(value, path)
    width, height, number = (_whole_number(checksum, name, path) for name in ("Width", "Height", "Checksum"))
    if width is None or height is None or number is None:
        raise InvalidDocument(path, "needs Width, Height and Checksum")
    return FrameChecksum(width, height, number)


def _step(path: str, number: int, key: str) -> str:
    """One step down, by the UID where it is one."""
    return f"{path}/{key if _UID.fullmatch(key) else number}"


def _object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidDocument(path, "is missing" if value is None and path else "is no object")
    return value


def _attributes(entity: Mapping[str, Any], path: str) -> dict[str, Any]:
    return _object(entity.get("DICOM") or {}, f"{path}/DICOM")


def _vrs(entity: Mapping[str, Any], path: str) -> dict[str, str]:
    vrs = _object(entity.get("DICOMVRs") or {}, f"{path}/DICOMVRs")
    if not all(isinstance(vr, str) for vr in vrs.values()):
        raise InvalidDocument(f"{path}/DICOMVRs", "has a VR that is no text")
    return vrs


def _identifier(root: Mapping[str, Any], name: str) -> str:
    value = root.get(name)
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise InvalidDocument(name, "is missing" if value is None else "is no identifier of the service")
    return value


def _uid(value: Any, path: str) -> str:
    if value is None:
        raise InvalidDocument(path, "is missing")
    uid = value.strip(_PADDING) if isinstance(value, str) else ""
    if not _UID.fullmatch(uid):
        raise InvalidDocument(path, "is no UID (PS3.5 9.1)")
    return uid


def _agreed_uid(key: str, attributes: Attributes, keyword: str, path: str) -> str:
    """The UID that an entity is found by, which its attribute, where it is there, has to be."""
    uid = _uid(key, path)
    value = attributes.get(keyword)
    if value is not None and _uid(value, f"{path}/DICOM/{keyword}") != uid:
        raise InvalidDocument(f"{path}/DICOM/{keyword}", "is another UID than the one it is found by")
    return uid


def _number(holder: Mapping[str, Any], name: str, path: str) -> float | None:
    value = holder.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise InvalidDocument(f"{path}/{name}", "is no number")
    return value


def _whole_number(holder: Mapping[str, Any], name: str, path: str) -> int | None:
    value = _number(holder, name, path)
    if value is None:
        return None
    if value != int(value) or not 0 <= value < 2**63:
        raise InvalidDocument(f"{path}/{name}", "is no whole number of 0 or more")
    return int(value)
