"""What is right, for inputs to be made of: objects, messages, metadata, in all the forms that are read."""

import gzip
import io
import zipfile
from pathlib import Path

import orjson
from pydicom.data import get_testdata_file
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from fileroom_storage.parse.native_model import native_model
from tests.dicomweb.objects import data_set, encapsulated, multipart, part10
from tests.made import encoded, made, uid
from tests.server.dimse.pdus import nested

EXPLICIT, IMPLICIT = str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)
UIDS = {"StudyInstanceUID": uid(8), "SeriesInstanceUID": uid(8, 1), "SOPInstanceUID": uid(8, 1, 1)}
SEQUENCES = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "RequestAttributesSequence": [{"ScheduledProcedureStepID": "A"}, {"RequestedProcedureID": "B"}],
    "ReferencedStudySequence": [{"ReferencedSOPInstanceUID": "1.2"}],
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "ImagePositionPatient": ["1.5", "-2", "1e3"],
    "StudyDate": "20260131",
    "StudyTime": "101530.5",
    "PatientName": "Yamada^Tarou",
}
# without the file meta information
DATA_SETS = {
    EXPLICIT: (encoded(data_set(**UIDS)), encoded(made(**SEQUENCES)), encoded(made())[:60]),
    IMPLICIT: (encoded(made(**SEQUENCES), implicit=True), encoded(made(), implicit=True)[:40] + nested(3)),
}
_NAMES = ("SC_rgb_jpeg_gdcm.dcm", "JPEG2000.dcm", "SC_rgb_rle_2frame.dcm", "reportsi.dcm", "waveform_ecg.dcm")
FILES = (
    part10(data_set(**UIDS)),
    *(
        part10(data_set(**UIDS, **SEQUENCES), syntax)
        for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
    ),
    encapsulated([b"\0" * 64, b"\xff\xd8" * 30], RLELossless, **UIDS),
    part10(data_set(**UIDS, NumberOfFrames=3, PixelData=bytes(384)))[132:],
)
SMALL_SAMPLES = tuple(
    content for name in _NAMES if len(content := Path(str(get_testdata_file(name))).read_bytes()) < 200_000
)
JSON = (
    orjson.dumps(
        {
            "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
            "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
            "00080018": {"vr": "UI", "Value": [uid(8, 1, 1)]},
            "0020000D": {"vr": "UI", "Value": [uid(8)]},
            "0020000E": {"vr": "UI", "Value": [uid(8, 1)]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B", "Ideographic": "山"}]},
            "00081110": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}, {}]},
            "00200032": {"vr": "DS", "Value": [1.5, "2", None]},
            "00280010": {"vr": "US", "Value": [8]},
            "00189073": {"vr": "FD", "Value": [1e-300, "NaN"]},
            "00091001": {"vr": "UN", "InlineBinary": "AAEC"},
            "00280009": {"vr": "AT", "Value": ["00181063"]},
            "7FE00010": {"vr": "OW", "BulkDataURI": "frames"},
        }
    ),
    b'[{"00080018":{"vr":"UI","Value":["1.2"]}},{"00080018":{"vr":"IS","Value":[123456789012345678901234567890]}}]',
    b'[{"00080018": {"vr": "DS", "Value": [NaN, 1e400, -0.0, 1E-999]}}]',
    b'{"00100010":{"vr":"PN","Value":[{"Alphabetic":"\\ud800"}]}}',
)
_PRIVATE = '<DicomAttribute tag="00091010" vr="LO" privateCreator="X"><Value number="3">a</Value></DicomAttribute>'
XML = (
    native_model(orjson.loads(JSON[0])),
    f"<NativeDicomModel>{_PRIVATE}</NativeDicomModel>".encode(),
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><NativeDicomModel>&b;</NativeDicomModel>',
)
BOUNDARY = "a-boundary"
MULTIPART = (
    multipart(FILES[0][:300], b"", b"\r\n--a-bound"),
    b"preamble\n--a-boundary \nContent-Type: application/dicom\nX: a\n b\n\ncontent\n--a-boundary--\nepilogue",
    b"--a-boundary\r\n\r\n\r\n--a-boundaryx\r\n--a-boundary\r\nContent-Location: x\r\n\r\ny\r\n--a-boundary--",
)
GZIP = (gzip.compress(FILES[0]), gzip.compress(b"a") + gzip.compress(bytes(5000)))


def _zip(compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name in ("a.dcm", "../../etc/passwd", "/absolute", "folder/", "b\\c"):
            archive.writestr(name, FILES[0] if not name.endswith("/") else b"")
    return file.getvalue()


ZIPS = (_zip(zipfile.ZIP_DEFLATED), _zip(zipfile.ZIP_STORED), _zip(zipfile.ZIP_LZMA))
QUERIES = (
    b"PatientName=Doe*&StudyDate=20200101-20261231&limit=5&offset=0&includefield=all&fuzzymatching=true",
    b"00100020=A%25B_C%5C&ModalitiesInStudy=CT,MR&StudyTime=-1030&includefield=00081030,StudyDescription",
    b"RequestAttributesSequence.00401001=x&NumberOfStudyRelatedInstances=1&StudyInstanceUID=1.2,1.3&%28000D%2C=1",
    b"PatientBirthDate=19000101&(0010,0010)=?&accept=application/dicom%2Bjson&PatientName=%E5%B1%B1",
)
WADO_URIS = (
    b"requestType=WADO&studyUID=%s&seriesUID=%s&objectUID=%s" % tuple(value.encode() for value in UIDS.values()),
    b"requestType=WADO&studyUID=%s&seriesUID=%s&objectUID=%s&contentType=image/png,image/jpeg&rows=20&columns=20"
    b"&region=0,0,.5,1&windowCenter=40&windowWidth=400&frameNumber=1&imageQuality=50&annotation=patient"
    % tuple(value.encode() for value in UIDS.values()),
)
ACCEPTS = (
    b'multipart/related; type="application/dicom"; transfer-syntax=*, image/jpeg;q=0.5, */*;q=0',
    b"application/dicom+json",
    b"multipart/related; type=\"image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50\"; boundary*0*=utf-8''a",
    b'a/b; "; c="\\"; d=e',
)
