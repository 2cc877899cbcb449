"""DICOM objects as image set metadata, the way AWS HealthImaging makes it of them on import.

Known from the developer guide and from documents that the service has made: keywords, and private tags with DICOMVRs;
decimal and integer strings with their padding, other texts without; arrays where the dictionary allows several values;
null for what is empty; bulk data in base64; file meta information among the attributes of the instance, and Pixel Data
as null.
"""

import hashlib
import json
import zlib
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydicom.datadict import dictionary_VM, keyword_for_tag, tag_for_keyword

from fileroom_storage.parse.data_set import DataSet
from fileroom_storage.parse.encoding import NATIVE_TRANSFER_SYNTAXES, PIXEL_DATA_TAGS
from fileroom_storage.parse.frames import frame_layout, read_frame
from fileroom_storage.parse.header import Header, parse_header
from fileroom_storage.parse.part10 import read_file_meta
from fileroom_storage.parse.values import BINARY_WORD, DECODERS, little_endian
from tests.fakes.image_set_levels import PATIENT, SERIES, STUDY

Document = dict[str, Any]
Frames = Mapping[str, bytes]  # by image frame id
FramesOf = Callable[[bytes], tuple[str, list[bytes]]]  # a Part 10 object → transfer syntax of its frames, the frames

DATASTORE_ID = "5" * 32
_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_LEVELS = {
    **dict.fromkeys(PATIENT, "Patient"),
    **dict.fromkeys(STUDY, "Study"),
    **dict.fromkeys(SERIES, "Series"),
}
_SINGLE_TEXTS = frozenset({"LT", "ST", "UR", "UT"})
_KEPT_PADDING = frozenset({"DS", "IS"})
_PADDING = " \0"


def image_set_document(contents: Sequence[bytes], frames_of: FramesOf | None = None) -> tuple[Document, Frames]:
    """The document of Part 10 objects that agree on patient, study and series, and their frames."""
    [image_set] = image_set_documents(contents, frames_of)
    return image_set


def image_set_documents(contents: Sequence[bytes], frames_of: FramesOf | None = None) -> list[tuple[Document, Frames]]:
    """One document for each series, and for each way in which its objects tell of patient, study and series.

    Of objects with one SOP Instance UID the last is taken.
    """
    groups: dict[str, list[tuple[dict[str, Document], Document, Frames]]] = defaultdict(list)
    for content in contents:
        levels, instance, frames = _instance(content, frames_of or stored_frames)
        groups[json.dumps(levels, sort_keys=True)].append((levels, instance, frames))
    return [_image_set(members) for members in groups.values()]


def stored_frames(content: bytes) -> tuple[str, list[bytes]]:
    """The frames as the object has them."""
    header = _header(content)
    layout = frame_layout(header.buffer, header)
    syntax = header.transfer_syntax_uid
    if layout is None:
        return syntax, []
    buffer = header.buffer
    frames = [
        read_frame(lambda offset, length: bytes(buffer[offset : offset + length]), layout, number)
        for number in range(1, layout.number_of_frames + 1)
    ]
    return _EXPLICIT_VR_LITTLE_ENDIAN if syntax in NATIVE_TRANSFER_SYNTAXES else syntax, frames


def attributes_of(content: bytes) -> tuple[Document, dict[str, str]]:
    """All attributes of an object's data set, and the VRs of those that are not in the dictionary.

    There is one VR for a tag, wherever it is: that of the data set itself, or of the first item that has it.
    """
    own_vrs: dict[str, str] = {}
    vrs: dict[str, str] = {}
    attributes = _attributes(_header(content).data_set, own_vrs, vrs)
    return attributes, vrs | own_vrs


def _image_set(members: Sequence[tuple[dict[str, Document], Document, Frames]]) -> tuple[Document, Frames]:
    levels = members[0][0]
    frames: dict[str, bytes] = {}
    instances: dict[str, Document] = {}
    for _, instance, its_frames in members:
        instances[instance["DICOM"]["SOPInstanceUID"]] = instance
        frames |= its_frames
    study_uid, series_uid = levels["Study"]["StudyInstanceUID"], levels["Series"]["SeriesInstanceUID"]
    named = json.dumps([study_uid, series_uid, levels], sort_keys=True)
    document = {
        "SchemaVersion": "1.1",
        "DatastoreID": DATASTORE_ID,
        "ImageSetID": _identifier(named),
        "Patient": {"DICOM": levels["Patient"]},
        "Study": {
            "DICOM": levels["Study"],
            "Series": {series_uid: {"DICOM": levels["Series"], "Instances": instances}},
        },
    }
    return document, frames


def _instance(content: bytes, frames_of: FramesOf) -> tuple[dict[str, Document], Document, Frames]:
    attributes, vrs = attributes_of(content)
    levels: dict[str, Document] = {"Patient": {}, "Study": {}, "Series": {}, "Instance": _file_meta(content)}
    for key, value in attributes.items():
        levels[_LEVELS.get(key, "Instance")][key] = value
    own = levels.pop("Instance")
    syntax, frames = frames_of(content)
    ids = [_identifier(f"{own['SOPInstanceUID']} {number}") for number in range(len(frames))]
    size = attributes.get("Columns"), attributes.get("Rows")
    instance = {
        "DICOM": own,
        "DICOMVRs": vrs,
        "StoredTransferSyntaxUID": syntax,
        "ImageFrames": [_frame(*one, *size) for one in zip(ids, frames, strict=True)],
    }
    return levels, instance, dict(zip(ids, frames, strict=True))


def _frame(frame_id: str, frame: bytes, width: Any, height: Any) -> Document:
    # developer guide, "Pixel data verification": what is kept as it came has checksum and size of its own bytes
    checksum = {"Width": width or 0, "Height": height or 0, "Checksum": zlib.crc32(frame)}
    return {
        "ID": frame_id,
        "PixelDataChecksumFromBaseToFullResolution": [checksum],
        "MinPixelValue": None,
        "MaxPixelValue": None,
        "FrameSizeInBytes": len(frame),
    }


def _identifier(named: str) -> str:
    return hashlib.sha256(named.encode()).hexdigest()[:32]


def _header(content: bytes) -> Header:
    meta = read_file_meta(content)
    return parse_header(content, meta.transfer_syntax_uid, meta.data_set_offset)


def _file_meta(content: bytes) -> Document:
    meta = read_file_meta(content)
    return {
        "FileMetaInformationVersion": "AAE=",
        "MediaStorageSOPClassUID": meta.media_storage_sop_class_uid,
        "MediaStorageSOPInstanceUID": meta.media_storage_sop_instance_uid,
        "TransferSyntaxUID": meta.transfer_syntax_uid,
        "SourceApplicationEntityTitle": meta.source_application_entity_title,
    }


def _attributes(data_set: DataSet, vrs: dict[str, str], vrs_of_items: dict[str, str]) -> Document:
    result: Document = {}
    for tag, element in sorted(data_set.elements.items()):
        keyword = keyword_for_tag(tag)
        is_known = bool(keyword) and tag_for_keyword(keyword) == tag  # not those of repeating groups
        vr = data_set.vr(tag, element)
        key = keyword if is_known else f"{tag:08X}"
        if not is_known and tag & 0xFFFF:
            vrs.setdefault(key, vr)
        if vr == "SQ":
            result[key] = [_attributes(item, vrs_of_items, vrs_of_items) for item in data_set.items(tag)] or None
        elif tag in PIXEL_DATA_TAGS:
            result[key] = None
        elif vr in BINARY_WORD:
            value = little_endian(data_set.value(element), vr, data_set.is_big_endian(element))
            result[key] = b64encode(value).decode("ascii") or None
        else:
            result[key] = _value(data_set, tag, vr, data_set.value(element))
    return result


def _value(data_set: DataSet, tag: int, vr: str, value: bytes) -> Any:
    character_set = data_set.character_set
    values: list[Any]
    if vr in _KEPT_PADDING:
        values = character_set.decode(value, vr).rstrip("\0").split("\\") if value.strip(b"\0 ") else []
    elif vr == "PN":
        text = character_set.decode(value, vr).rstrip(_PADDING)
        values = [name or None for name in text.split("\\")] if text else []
    else:
        values = DECODERS[vr](value, character_set, data_set.is_big_endian(data_set.elements[tag]))
    if not values:
        return None
    return values if len(values) > 1 or _may_have_several(tag, vr) else values[0]


def _may_have_several(tag: int, vr: str) -> bool:
    try:
        return dictionary_VM(tag) != "1" and vr not in _SINGLE_TEXTS
    except KeyError:
        return False
