"""Documents of the service → typed values; what is wrong with others, and where."""

import gzip
import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from fileroom_healthimaging import json_text
from fileroom_healthimaging.document import FrameChecksum, ImageFrame, read_document
from fileroom_healthimaging.encoded_instances import encoded_instances
from fileroom_healthimaging.invalid_document import InvalidDocument
from tests.plugins.healthimaging.documents import INSTANCE, SERIES, STUDY, Json, document, instance

IN_SERIES = f"Study/Series/{SERIES}"
IN_INSTANCE = f"{IN_SERIES}/Instances/{INSTANCE}"


def test_what_a_document_says() -> None:
    found = read_document(orjson.dumps(document(instance(vrs={"00191001": "DS"}, InstanceNumber="1 "))))
    assert (found.schema_version, found.datastore_id, found.image_set_id) == ("1.1", "d" * 32, "a" * 32)
    assert found.study_instance_uid == STUDY
    assert found.patient_attributes == {"PatientID": "P1", "PatientName": "Doe^Jane"}
    [(series, one)] = found.instances()
    assert (series.series_instance_uid, series.attributes["Modality"]) == (SERIES, "CT")
    assert (one.sop_instance_uid, one.attributes["InstanceNumber"]) == (INSTANCE, "1 ")
    assert one.vrs == {"00191001": "DS"}
    assert one.frames_transfer_syntax_uid == "1.2.840.10008.1.2.4.202"
    checksums = (FrameChecksum(256, 188, 2598394845), FrameChecksum(512, 375, 1227709180))
    assert one.frames == (ImageFrame("5" * 32, -12, 2025.5, 384000, checksums),)


@pytest.mark.parametrize(
    "compress",
    [
        bytes,
        gzip.compress,
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: gzip.compress(text[:100]) + gzip.compress(text[100:]),
        lambda text: gzip.compress(text) + bytes(512),
    ],
    ids=["plain", "gzip", "byte order mark", "gzip in two members", "gzip with padding"],
)
def test_how_a_document_may_come(compress: Callable[[bytes], bytes]) -> None:
    text = orjson.dumps(document())
    assert read_document(compress(text)) == read_document(text)


def test_what_is_not_there_is_not_needed() -> None:
    bare = document()
    del bare["Patient"]
    one = bare["Study"]["Series"][SERIES]["Instances"][INSTANCE]
    for name in ("DICOM", "DICOMVRs", "StoredTransferSyntaxUID", "ChecksumType"):
        del one[name]
    one["ImageFrames"] = [{"ID": "5" * 32, "MinPixelValue": None}]
    bare["Study"]["Series"][SERIES]["DICOM"] = None
    bare |= {"SchemaVersion": 1.1, "New": [{"things": None}]}
    found = read_document(orjson.dumps(bare))
    [(_, read)] = found.instances()
    assert read.frames == (ImageFrame("5" * 32),)
    assert read.frames_transfer_syntax_uid == "1.2.840.10008.1.2.4.202"
    assert found.patient_attributes == {}


def _set(path: str, value: Any) -> Callable[[Json], None]:
    """Puts a value at a path; `...` takes away what is there."""
    *steps, last = path.split(" ")

    def change(json: Json) -> None:
        holder: Any = json
        for step in steps:
            holder = holder[int(step) if isinstance(holder, list) else step]
        if value is ...:
            del holder[last]
        else:
            holder[int(last) if isinstance(holder, list) else last] = value

    return change


_ONE = f"Study Series {SERIES} Instances {INSTANCE}"
_FRAME = f"{_ONE} ImageFrames 0"
_CHECKSUM = "PixelDataChecksumFromBaseToFullResolution"

WRONG = [
    (_set("SchemaVersion", ...), "SchemaVersion"),
    (_set("SchemaVersion", "2.0"), "SchemaVersion"),
    (_set("SchemaVersion", ["1.1"]), "SchemaVersion"),
    (_set("DatastoreID", ...), "DatastoreID"),
    (_set("DatastoreID", "../x"), "DatastoreID"),
    (_set("ImageSetID", 5), "ImageSetID"),
    (_set("ImageSetID", ""), "ImageSetID"),
    (_set("Patient", ["Doe^Jane"]), "Patient"),
    (_set("Patient DICOM", "Doe^Jane"), "Patient/DICOM"),
    (_set("Study", ...), "Study"),
    (_set("Study", None), "Study"),
    (_set("Study DICOM StudyInstanceUID", ...), "Study/DICOM/StudyInstanceUID"),
    (_set("Study DICOM StudyInstanceUID", None), "Study/DICOM/StudyInstanceUID"),
    (_set("Study DICOM StudyInstanceUID", "Doe^Jane"), "Study/DICOM/StudyInstanceUID"),
    (_set("Study DICOM StudyInstanceUID", ".."), "Study/DICOM/StudyInstanceUID"),
    (_set("Study DICOM StudyInstanceUID", [STUDY]), "Study/DICOM/StudyInstanceUID"),
    (_set("Study Series", ...), "Study/Series"),
    (_set("Study Series", []), "Study/Series"),
    (_set("Study Series", {}), "Study/Series"),
    (_set("Study Series", {"Doe Jane": {}}), "Study/Series/0/Instances"),
    (_set("Study Series", {"Doe Jane": {"Instances": {"1.2": {}}}}), "Study/Series/0"),
    (_set(f"Study Series {SERIES}", 1), IN_SERIES),
    (_set(f"Study Series {SERIES} DICOM SeriesInstanceUID", "1.2.3"), f"{IN_SERIES}/DICOM/SeriesInstanceUID"),
    (_set(f"Study Series {SERIES} Instances", ...), f"{IN_SERIES}/Instances"),
    (_set(f"Study Series {SERIES} Instances", {}), f"{IN_SERIES}/Instances"),
    (_set(_ONE, None), IN_INSTANCE),
    (_set(f"{_ONE} DICOM SOPInstanceUID", "1.2.3"), f"{IN_INSTANCE}/DICOM/SOPInstanceUID"),
    (_set(f"{_ONE} DICOMVRs", ["DS"]), f"{IN_INSTANCE}/DICOMVRs"),
    (_set(f"{_ONE} DICOMVRs 00191001", 5), f"{IN_INSTANCE}/DICOMVRs"),
    (_set(f"{_ONE} StoredTransferSyntaxUID", 5), f"{IN_INSTANCE}/StoredTransferSyntaxUID"),
    (_set(f"{_ONE} ImageFrames", {"ID": "x"}), f"{IN_INSTANCE}/ImageFrames"),
    (_set(_FRAME, "x"), f"{IN_INSTANCE}/ImageFrames/0"),
    (_set(f"{_FRAME} ID", ...), f"{IN_INSTANCE}/ImageFrames/0/ID"),
    (_set(f"{_FRAME} ID", "a/b"), f"{IN_INSTANCE}/ImageFrames/0/ID"),
    (_set(f"{_FRAME} MinPixelValue", "0"), f"{IN_INSTANCE}/ImageFrames/0/MinPixelValue"),
    (_set(f"{_FRAME} MaxPixelValue", True), f"{IN_INSTANCE}/ImageFrames/0/MaxPixelValue"),
    (_set(f"{_FRAME} FrameSizeInBytes", -1), f"{IN_INSTANCE}/ImageFrames/0/FrameSizeInBytes"),
    (_set(f"{_FRAME} FrameSizeInBytes", 1.5), f"{IN_INSTANCE}/ImageFrames/0/FrameSizeInBytes"),
    (_set(f"{_FRAME} FrameSizeInBytes", 1e300), f"{IN_INSTANCE}/ImageFrames/0/FrameSizeInBytes"),
    (_set(f"{_FRAME} {_CHECKSUM}", {}), f"{IN_INSTANCE}/ImageFrames/0/{_CHECKSUM}"),
    (_set(f"{_FRAME} {_CHECKSUM} 1", 7), f"{IN_INSTANCE}/ImageFrames/0/{_CHECKSUM}/1"),
    (_set(f"{_FRAME} {_CHECKSUM} 1 Checksum", ...), f"{IN_INSTANCE}/ImageFrames/0/{_CHECKSUM}/1"),
    (_set(f"{_FRAME} {_CHECKSUM} 1 Width", "512"), f"{IN_INSTANCE}/ImageFrames/0/{_CHECKSUM}/1/Width"),
]


@pytest.mark.parametrize(("change", "path"), WRONG, ids=[f"{number} {path}" for number, (_, path) in enumerate(WRONG)])
def test_what_is_wrong_and_where(change: Callable[[Json], None], path: str) -> None:
    wrong = document()
    change(wrong)
    with pytest.raises(InvalidDocument) as caught:
        read_document(orjson.dumps(wrong))
    assert caught.value.path == path
    assert str(caught.value) == f"{path}: {caught.value.what}"
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is no JSON"),
        (b"no JSON", "is no JSON"),
        (b"[]", "is no object"),
        (b"null", "is no object"),
        (orjson.dumps(document())[:-1], "is no JSON"),
        (b'{"SchemaVersion": "\\ud800"}', "is no JSON"),  # half of a surrogate pair is no character
        (b'{"SchemaVersion": NaN}', "is no JSON"),
        (b'{"a": "\xff"}', "is no JSON"),
        (b"[" * 5000 + b"]" * 5000, "is no JSON"),
        (gzip.compress(orjson.dumps(document()))[:-20], "is cut off"),
        (b"\x1f\x8b", "is cut off"),
        (gzip.compress(b"{}") + b"more", "is damaged"),
        (gzip.compress(orjson.dumps(document()))[:40] + b"\xff" * 40, "is damaged"),
    ],
    ids=[
        *("empty", "text", "array", "null", "cut off", "surrogate", "NaN", "Latin-1", "deep"),
        *("gzip cut off", "start of gzip", "more behind gzip", "damaged gzip"),
    ],
)
def test_what_is_no_document(content: bytes, what: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_document(content)
    assert caught.value.path == ""
    assert str(caught.value).startswith(f"the document {what}")


def test_a_wrong_checksum_of_gzip_is_found() -> None:
    content = gzip.compress(orjson.dumps(document()))
    assert struct.unpack("<I", content[-8:-4])[0] == zlib.crc32(orjson.dumps(document()))
    with pytest.raises(InvalidDocument, match="is damaged"):
        read_document(content[:-8] + bytes(4) + content[-4:])


def test_an_error_says_nothing_of_the_patient() -> None:
    content = json.dumps(document(patient={"PatientName": "Secret^Name"})).replace('"Secret', 'Secret"')
    with pytest.raises(InvalidDocument) as caught:
        read_document(content.encode())
    assert "Secret" not in str(caught.value)


def test_what_inflates_beyond_the_limit_is_not_inflated() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    for content in (bomb, bomb + bomb):
        with pytest.raises(InvalidDocument, match="more than 1 MiB of JSON"):
            read_document(content, maximum_size=1 << 20)
    with pytest.raises(InvalidDocument, match="more than 1 MiB of JSON"):
        read_document(b" " * ((1 << 20) + 1), maximum_size=1 << 20)


def test_small_text_of_many_values_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MAXIMUM_VALUES", 1000)
    for content in (b"[" + b"[]," * 1000 + b"0]", b"[" + b"0," * 1001 + b"0]", b"[" + b"{}," * 600 + b"0]"):
        with pytest.raises(InvalidDocument, match="more than 1000 values"):
            read_document(content)


def test_sequences_that_are_nested_beyond_reason() -> None:
    nested: Any = None
    for _ in range(80):
        nested = [{"ContentSequence": nested}]
    fits = read_document(orjson.dumps(document(instance(ContentSequence=nested[0]["ContentSequence"]))))
    assert [one.left_out for one in encoded_instances(fits)] == [()]
    deeper = read_document(orjson.dumps(document(instance(ContentSequence=nested))))
    with pytest.raises(InvalidDocument, match="is nested in more than 80 sequences") as caught:
        list(encoded_instances(deeper))
    assert caught.value.path == f"{IN_INSTANCE}/DICOM/ContentSequence"


_ODD: list[Any] = [
    None,
    True,
    -1,
    1e300,
    2**63,
    "",
    "\0",
    "x\\y",
    [],
    {},
    [[]],
    [None],
    {"": None},
    [{"": []}],
    "1.2.3",
    "AQI=",
]


def test_whatever_is_damaged_is_read_or_refused() -> None:
    """Values are put in the wrong places, and bytes changed: nothing else than InvalidDocument comes of it."""
    chance = random.Random(6)
    refused: list[str] = []
    for _ in range(3000):
        json: Any = document(
            instance(vrs={"00191001": "DS", "00191002": "SQ"}, SourceImageSequence=[{"Rows": 1}], Rows=5, KVP="1 ")
        )
        holder = json
        while isinstance(holder, dict | list) and holder:
            key = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            if not isinstance(holder[key], dict | list) or chance.random() < 0.2:
                if isinstance(holder, dict) and chance.random() < 0.3:
                    key = chance.choice(["", "Rows", "00191001", "00191002", "é", "SourceImageSequence", "DICOM"])
                holder[key] = chance.choice(_ODD)
                break
            holder = holder[key]
        text = bytearray(orjson.dumps(json))
        if chance.random() < 0.3:
            text[chance.randrange(len(text))] = chance.randrange(256)
        try:
            assert list(encoded_instances(read_document(bytes(text))))
        except InvalidDocument as error:
            refused.append(str(error))
    assert 300 < len(refused) < 2700
    assert not any("Doe" in text for text in refused)
