"""The documents that tests make of DICOM objects are like those of the service."""

import zlib

import numpy as np
import orjson
import pytest
from pydicom.encaps import encapsulate

from fileroom_healthimaging.document import read_document
from tests.fakes.image_set_documents import image_set_document, image_set_documents
from tests.fakes.image_set_levels import PATIENT, SERIES, STUDY
from tests.made import made, part10, uid


def _slice(number: int, **attributes: object) -> bytes:
    attributes = {"SOPInstanceUID": uid(1, 1, number), "InstanceNumber": number, **attributes}
    return part10(made(**attributes))


def test_what_is_kept_at_which_level() -> None:
    document, frames = image_set_document(
        [_slice(number, StudyDate="20240102", SeriesNumber="1", PatientSex="") for number in (1, 2)]
    )
    assert frames == {}
    assert document["SchemaVersion"] == "1.1"
    assert document["Patient"]["DICOM"] == {"PatientName": "Doe^Jane", "PatientID": "P1", "PatientSex": None}
    assert document["Study"]["DICOM"] == {"StudyInstanceUID": uid(1), "StudyDate": "20240102"}
    [series] = document["Study"]["Series"].values()
    # PS3.5 6.2: padding of numbers in text is theirs
    assert series["DICOM"] == {"SeriesInstanceUID": uid(1, 1), "Modality": "CT", "SeriesNumber": "1 "}
    assert list(series["Instances"]) == [uid(1, 1, 1), uid(1, 1, 2)]
    instance = series["Instances"][uid(1, 1, 1)]["DICOM"]
    assert (instance["InstanceNumber"], instance["TransferSyntaxUID"]) == ("1 ", "1.2.840.10008.1.2.1")
    assert read_document(orjson.dumps(document)).study_instance_uid == uid(1)


def test_the_form_of_values() -> None:
    data_set = made(
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller=a=b",
        WindowCenter="40",
        ImagePositionPatient=["1.50", "2", "-3"],
        ImageType=["ORIGINAL", "", "AXIAL"],
        ICCProfile=b"\1\2",
        SourceImageSequence=[{"Rows": 5}],
        ReferencedImageSequence=[],
    )
    block = data_set.private_block(0x0019, "ACME", create=True)
    block.add_new(0x01, "DS", ["9", "7.5"])
    block.add_new(0x02, "SQ", [made(SpecificCharacterSet=None)])
    data_set.add_new(0x60000010, "US", 4)
    document, _ = image_set_document([part10(data_set)])
    assert document["Patient"]["DICOM"]["PatientName"] == "Müller=a=b"
    [series] = document["Study"]["Series"].values()
    [instance] = series["Instances"].values()
    own = instance["DICOM"]
    assert own["SpecificCharacterSet"] == ["ISO_IR 100"]
    assert own["WindowCenter"] == ["40"]
    assert own["ImagePositionPatient"] == ["1.50", "2", "-3 "]
    assert own["ImageType"] == ["ORIGINAL", None, "AXIAL"]
    assert own["ICCProfile"] == "AQI="
    assert own["SourceImageSequence"] == [{"Rows": 5}]
    assert own["ReferencedImageSequence"] is None
    assert own["00190010"] == "ACME"
    assert own["00191001"] == ["9", "7.5 "]
    assert own["60000010"] == 4
    assert instance["DICOMVRs"] == {"00190010": "LO", "00191001": "DS", "00191002": "SQ", "60000010": "US"}


def test_objects_that_disagree_are_in_image_sets_of_their_own() -> None:
    contents = [_slice(1), _slice(2, PatientSex="F"), _slice(3), _slice(4, SeriesInstanceUID=uid(1, 2))]
    documents = [document for document, _ in image_set_documents(contents)]
    assert [
        [len(series["Instances"]) for series in document["Study"]["Series"].values()] for document in documents
    ] == [[2], [1], [1]]
    assert len({document["ImageSetID"] for document in documents}) == 3
    with pytest.raises(ValueError, match="too many"):
        image_set_document(contents)


def test_the_frames_of_native_pixels() -> None:
    pixels = np.arange(12, dtype="<u2").reshape(2, 2, 3)
    image = {"Rows": 2, "Columns": 3, "NumberOfFrames": 2, "SamplesPerPixel": 1, "BitsAllocated": 16}
    document, frames = image_set_document([_slice(1, PixelData=pixels.tobytes(), **image)])
    [(_, instance)] = read_document(orjson.dumps(document)).instances()
    assert instance.frames_transfer_syntax_uid == "1.2.840.10008.1.2.1"
    assert [frames[frame.image_frame_id] for frame in instance.frames] == [one.tobytes() for one in pixels]
    for frame, one in zip(instance.frames, pixels, strict=True):
        [checksum] = frame.checksums
        assert (checksum.width, checksum.height, checksum.checksum) == (3, 2, zlib.crc32(one.tobytes()))
        assert frame.frame_size == 12


def test_the_frames_of_compressed_pixels() -> None:
    compressed = [b"\xff\xd8one\xff\xd9\0", b"\xff\xd8three\xff\xd9\0"]
    data_set = made(NumberOfFrames=2, PixelData=encapsulate(compressed))
    data_set["PixelData"].is_undefined_length = True
    document, frames = image_set_document([part10(data_set, "1.2.840.10008.1.2.4.50")])
    [(_, instance)] = read_document(orjson.dumps(document)).instances()
    assert instance.frames_transfer_syntax_uid == "1.2.840.10008.1.2.4.50"
    assert instance.attributes["PixelData"] is None
    assert [frames[frame.image_frame_id] for frame in instance.frames] == compressed
    others = image_set_document([part10(data_set, "1.2.840.10008.1.2.4.50")], lambda _: ("1.2.3", [b"x"]))
    assert list(others[1].values()) == [b"x"]


def test_an_attribute_is_of_one_level() -> None:
    assert len(PATIENT) + len(STUDY) + len(SERIES) == len(PATIENT | STUDY | SERIES)
