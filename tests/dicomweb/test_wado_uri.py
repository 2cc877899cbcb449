"""WADO-URI (PS3.18 9): every parameter, defaults by kind of object, and what is refused."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless
from werkzeug.test import TestResponse

from tests.corpus import PYDICOM, corpus_files, parameters
from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import data_set, json_of, part10

CT = PYDICOM / "test_files" / "CT_small.dcm"
REPORT = PYDICOM / "test_files" / "reportsi.dcm"
MULTI_FRAME = PYDICOM / "test_files" / "SC_rgb_rle_2frame.dcm"


@pytest.fixture
def ct(store: Store) -> Dataset:
    return stored(store, CT)


def stored(store: Store, path: Path) -> Dataset:
    assert store(path.read_bytes()).status_code in (200, 202)
    return dcmread(path)


def asked(
    client: FlaskClient, ds: Dataset, *, path: str = "/wado", accept: str = "*/*", **parameters: str
) -> TestResponse:
    uids = {"studyUID": ds.StudyInstanceUID, "seriesUID": ds.SeriesInstanceUID, "objectUID": ds.SOPInstanceUID}
    query = {"requestType": "WADO", **uids, **parameters}
    return client.get(
        path, query_string={name: value for name, value in query.items() if value}, headers={"Accept": accept}
    )


def picture(answer: TestResponse) -> Image.Image:
    assert answer.status_code == 200, answer.data
    return Image.open(BytesIO(answer.data))


def test_an_image_is_a_jpeg_by_default(client: FlaskClient, ct: Dataset) -> None:
    answer = asked(client, ct)
    assert answer.content_type == "image/jpeg"
    assert picture(answer).size == (ct.Columns, ct.Rows)


def test_the_object_itself(client: FlaskClient, ct: Dataset) -> None:
    answer = asked(client, ct, contentType="application/dicom")
    assert answer.content_type == f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"
    assert answer.data == CT.read_bytes()
    for syntax in (JPEGLSLossless, JPEG2000Lossless):
        made = dcmread(BytesIO(asked(client, ct, contentType="application/dicom", transferSyntax=syntax).data))
        assert made.file_meta.TransferSyntaxUID == syntax
        assert np.array_equal(made.pixel_array, ct.pixel_array)
    assert asked(client, ct, contentType="application/dicom", transferSyntax="*").data == CT.read_bytes()
    refused = asked(client, ct, contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.4.50")
    assert refused.status_code == 406
    assert json_of(refused)["acceptable"]


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("image/png", "image/png"),
        ("image/jpeg,image/png;q=0.5", "image/jpeg"),
        ("image/jpeg;q=0.2,image/png;q=0.5", "image/png"),
        ("image/jp2,image/png", "image/png"),
        ("image/tiff,application/dicom", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
        ("*/*", "image/jpeg"),
    ],
)
def test_lists_of_content_types(client: FlaskClient, ct: Dataset, content_type: str, expected: str) -> None:
    assert asked(client, ct, contentType=content_type).content_type == expected


def test_rows_columns_and_region(client: FlaskClient, ct: Dataset) -> None:
    whole = np.asarray(picture(asked(client, ct, contentType="image/png")))
    assert picture(asked(client, ct, rows="64")).size == (64, 64)
    assert picture(asked(client, ct, rows="64", columns="32")).size == (32, 32)
    upper_right = asked(client, ct, contentType="image/png", region="0.5,0,1,0.5")
    assert np.array_equal(np.asarray(picture(upper_right)), whole[:64, 64:])
    assert picture(asked(client, ct, region="0.5,0,1,0.5", rows="16", columns="16")).size == (16, 16)


def test_window_and_quality(client: FlaskClient, ct: Dataset) -> None:
    png = {"contentType": "image/png"}
    bright = np.asarray(picture(asked(client, ct, **png, windowCenter="-1000", windowWidth="10")))
    dark = np.asarray(picture(asked(client, ct, **png, windowCenter="3000", windowWidth="10")))
    assert bright.mean() > dark.mean() + 50
    assert len(asked(client, ct, imageQuality="5").data) < len(asked(client, ct, imageQuality="100").data)
    plain = asked(client, ct, **png).data
    assert asked(client, ct, **png, annotation="patient,technique").data != plain


def test_frames(client: FlaskClient, store: Store) -> None:
    ds = stored(store, MULTI_FRAME)
    for number in (1, 2):
        shown = picture(asked(client, ds, contentType="image/png", frameNumber=str(number)))
        assert np.array_equal(np.asarray(shown.convert("RGB")), ds.pixel_array[number - 1])
    # of several frames there is no default picture
    assert asked(client, ds).content_type.startswith("application/dicom;")
    assert asked(client, ds, frameNumber="2").content_type == "image/jpeg"
    assert asked(client, ds, frameNumber="3").status_code == 404


def test_a_report_is_a_page(client: FlaskClient, store: Store) -> None:
    ds = stored(store, REPORT)
    answer = asked(client, ds)
    assert answer.content_type == "text/html; charset=utf-8"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert asked(client, ds, contentType="text/plain").content_type == "text/plain; charset=utf-8"
    assert asked(client, ds, contentType="image/jpeg").status_code == 406
    assert asked(client, ds, region="0,0,1,1").status_code == 400


@pytest.mark.parametrize(
    "parameters",
    [
        {"requestType": ""},
        {"requestType": "wado"},
        {"requestType": "WADO-RS"},
        {"studyUID": ""},
        {"seriesUID": ""},
        {"objectUID": ""},
        {"objectUID": "../x"},
        {"contentType": "jpeg"},
        {"frameNumber": "0"},
        {"frameNumber": "x"},
        {"frameNumber": "1,2"},
        {"rows": "-1"},
        {"rows": "99999"},
        {"columns": "1e3"},
        {"region": "0,0,1"},
        {"region": "0.5,0,0.4,1"},
        {"region": "0,0,2,1"},
        {"region": "nan,0,1,1"},
        {"windowCenter": "40"},
        {"windowWidth": "40"},
        {"windowCenter": "40", "windowWidth": "0"},
        {"imageQuality": "0"},
        {"imageQuality": "101"},
        {"annotation": "name"},
        {"anonymize": "yes"},
        {"anonymize": "yes", "contentType": "application/dicom"},
        {"anonymize": "YES"},
        {"presentationUID": "1.2.3", "presentationSeriesUID": "1.2"},
    ],
    ids=str,
)
def test_refused(client: FlaskClient, ct: Dataset, parameters: dict[str, str]) -> None:
    answer = asked(client, ct, **parameters)
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert ct.PatientID.encode() not in answer.data


def test_unknown_uids(client: FlaskClient, ct: Dataset) -> None:
    for name in ("studyUID", "seriesUID", "objectUID"):
        assert asked(client, ct, **{name: "1.2.3"}).status_code == 404


def test_a_trailing_slash_and_head(client: FlaskClient, ct: Dataset) -> None:
    assert asked(client, ct, path="/wado/").status_code == 200
    uids = f"studyUID={ct.StudyInstanceUID}&seriesUID={ct.SeriesInstanceUID}&objectUID={ct.SOPInstanceUID}"
    head = client.head(f"/wado?requestType=WADO&{uids}&contentType=application%2Fdicom")
    assert (head.status_code, head.content_length) == (200, CT.stat().st_size)


def test_without_pixel_data(client: FlaskClient, store: Store) -> None:
    ds = data_set(PixelData=None)
    store(part10(ds))
    assert asked(client, ds).content_type.startswith("application/dicom;")
    assert asked(client, ds, contentType="image/jpeg").status_code == 406


@pytest.mark.parametrize("path", parameters(corpus_files()[::40]))
def test_real_objects_never_fail(client: FlaskClient, store: Store, path: Path) -> None:
    if store(path.read_bytes()).status_code != 200:
        return
    ds = dcmread(path, force=True)
    for content_type in ("", "application/dicom", "image/jpeg"):
        assert asked(client, ds, contentType=content_type).status_code in (200, 406)
