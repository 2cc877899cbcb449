"""Small documents, as the service gives them, with what a test is about."""

from typing import Any

import orjson

from fileroom_healthimaging.document import read_document
from fileroom_healthimaging.encoded_instances import EncodedInstance, encoded_instances
from fileroom_storage.parse.header import Header, parse_header
from tests.made import CT_IMAGE_STORAGE, uid

Json = dict[str, Any]

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
STUDY, SERIES, INSTANCE = uid(1), uid(1, 1), uid(1, 1, 1)


def instance(sop_instance_uid: str = INSTANCE, vrs: dict[str, str] | None = None, **attributes: Any) -> Json:
    return {
        "DICOM": {"SOPClassUID": CT_IMAGE_STORAGE, "SOPInstanceUID": sop_instance_uid, **attributes},
        "DICOMVRs": vrs or {},
        "StoredTransferSyntaxUID": "1.2.840.10008.1.2.4.202",
        "ChecksumType": "DECOMPRESSED",
        "ImageFrames": [
            {
                "ID": "5" * 32,
                "PixelDataChecksumFromBaseToFullResolution": [
                    {"Width": 256, "Height": 188, "Checksum": 2598394845},
                    {"Width": 512, "Height": 375, "Checksum": 1227709180},
                ],
                "MinPixelValue": -12,
                "MaxPixelValue": 2025.5,
                "FrameSizeInBytes": 384000,
            }
        ],
    }


def document(
    *instances: Json, patient: Json | None = None, study: Json | None = None, series: Json | None = None
) -> Json:
    return {
        "SchemaVersion": "1.1",
        "DatastoreID": "d" * 32,
        "ImageSetID": "a" * 32,
        "Patient": {"DICOM": {"PatientID": "P1", "PatientName": "Doe^Jane", **(patient or {})}},
        "Study": {
            "DICOM": {"StudyInstanceUID": STUDY, **(study or {})},
            "Series": {
                SERIES: {
                    "DICOM": {"SeriesInstanceUID": SERIES, "Modality": "CT", **(series or {})},
                    "Instances": {one["DICOM"]["SOPInstanceUID"]: one for one in instances or (instance(),)},
                }
            },
        },
    }


def encoded(json: Json) -> list[EncodedInstance]:
    return list(encoded_instances(read_document(orjson.dumps(json))))


def header_of(one: EncodedInstance) -> Header:
    return parse_header(one.data_set, EXPLICIT_VR_LITTLE_ENDIAN)


def json_of(vrs: dict[str, str] | None = None, /, **attributes: Any) -> Json:
    """DICOM JSON of the only instance of a document that says this of it."""
    [one] = encoded(document(instance(vrs=vrs, **attributes)))
    assert one.left_out == ()
    return header_of(one).dicom_json()
