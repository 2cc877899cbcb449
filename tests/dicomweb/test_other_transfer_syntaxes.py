"""Objects and frames in another transfer syntax than the stored one, read by pydicom and dcmtk."""

import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from fileroom_storage.pixels.transfer_syntaxes import TARGETS
from tests.corpus import PYDICOM
from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import data_set, encapsulated, json_of, part10, parts

MULTIPART = "multipart/related; type=application/dicom"
OCTETS = "application/octet-stream"
DCMTK_READS = (JPEGLSLossless, RLELossless)


def image(**attributes: object) -> Dataset:
    pixels = np.arange(3 * 48 * 64, dtype="<u2") % 4096
    sizes = {"Rows": 48, "Columns": 64, "NumberOfFrames": 3, "BitsStored": 12, "HighBit": 11}
    return data_set(PixelData=pixels.tobytes(), **{**sizes, **attributes})


def path_of(ds: Dataset) -> str:
    return f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


def stored_file(client: FlaskClient, store: Store, name: str) -> tuple[str, FileDataset]:
    file = (PYDICOM / "test_files" / name).read_bytes()
    assert store(file).status_code == 200
    ds = dcmread(BytesIO(file))
    return path_of(ds), ds


@pytest.mark.parametrize("target", TARGETS, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("form", [MULTIPART, "application/dicom", 'multipart/related; type="application/dicom"'])
def test_an_instance(client: FlaskClient, store: Store, form: str, target: UID, tmp_path: Path) -> None:
    original = image()
    assert store(part10(original)).status_code == 200
    syntax = f'"{target}"' if '"' in form else target
    answer = client.get(path_of(original), headers={"Accept": f"{form}; transfer-syntax={syntax}"})
    assert answer.status_code == 200
    content_type, content = answer.content_type, answer.data
    if form.startswith("multipart"):
        [(content_type, content)] = parts(content_type, content)
    assert content_type == f"application/dicom; transfer-syntax={target}"
    read = dcmread(BytesIO(content))
    assert read.file_meta.TransferSyntaxUID == target
    assert read.SOPInstanceUID == original.SOPInstanceUID == read.file_meta.MediaStorageSOPInstanceUID
    assert np.array_equal(read.pixel_array, original.pixel_array)
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    if target in (*DCMTK_READS, *TARGETS[:4]):
        tool = {JPEGLSLossless: "dcmdjpls", RLELossless: "dcmdrle"}.get(target, "dcmconv")
        subprocess.run([tool, path, tmp_path / "y.dcm"], check=True)
        assert np.array_equal(dcmread(tmp_path / "y.dcm").pixel_array, original.pixel_array)
    subprocess.run(["dcmdump", "-q", path], check=True, stdout=subprocess.DEVNULL)


def test_what_is_stored_is_preferred(client: FlaskClient, store: Store) -> None:
    original = image()
    file = part10(original)
    store(file)
    for accept in (
        f"{MULTIPART}; transfer-syntax={JPEGLSLossless}, {MULTIPART}; transfer-syntax=*",
        f"{MULTIPART}; transfer-syntax={JPEGLSLossless}; q=0.5, {MULTIPART}; transfer-syntax={ExplicitVRLittleEndian}",
        MULTIPART,
    ):
        answer = client.get(path_of(original), headers={"Accept": accept})
        assert parts(answer.content_type, answer.data)[0][1] == file
    liked = f"{MULTIPART}; transfer-syntax={JPEGLSLossless}, {MULTIPART}; transfer-syntax=*; q=0.5"
    answer = client.get(path_of(original), headers={"Accept": liked})
    assert parts(answer.content_type, answer.data)[0][0].endswith(JPEGLSLossless)


def test_by_query_parameter(client: FlaskClient, store: Store) -> None:
    original = image()
    store(part10(original))
    accept = f"application/dicom;transfer-syntax={RLELossless}".replace(";", "%3B").replace("/", "%2F")
    answer = client.get(f"{path_of(original)}?accept={accept}")
    assert dcmread(BytesIO(answer.data)).file_meta.TransferSyntaxUID == RLELossless


def test_lossy_is_never_made_but_given_as_it_is(client: FlaskClient, store: Store) -> None:
    original = image()
    store(part10(original))
    accept = f"application/dicom; transfer-syntax={JPEG2000}"
    refused = client.get(path_of(original), headers={"Accept": accept})
    assert refused.status_code == 406
    acceptable = json_of(refused)["acceptable"]
    assert not any(str(syntax) in offer.split("=") for syntax in (JPEG2000, JPEGBaseline8Bit) for offer in acceptable)
    for offer in acceptable:
        assert client.get(path_of(original), headers={"Accept": offer}).status_code == 200
    path, lossy = stored_file(client, store, "JPEG2000.dcm")
    assert client.get(path, headers={"Accept": accept}).status_code == 200
    made = client.get(path, headers={"Accept": f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"})
    decompressed = dcmread(BytesIO(made.data))
    assert np.array_equal(decompressed.pixel_array, lossy.pixel_array)
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        assert decompressed.get(keyword) == lossy.get(keyword)


def test_what_jpeg_lost_is_told_where_the_object_did_not(client: FlaskClient, store: Store) -> None:
    path, lossy = stored_file(client, store, "SC_rgb_jpeg_dcmtk.dcm")
    assert lossy.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    made = client.get(path, headers={"Accept": f"application/dicom; transfer-syntax={RLELossless}"})
    assert dcmread(BytesIO(made.data)).LossyImageCompression == "01"


@pytest.fixture
def mixed(store: Store) -> tuple[str, list[Dataset]]:
    """A study of an image, a structured report, and a video that nothing decodes."""
    study, series = generate_uid(), generate_uid()
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    objects = [image(**uids, InstanceNumber=1), data_set(**uids, InstanceNumber=2, PixelData=None, Rows=None)]
    video = encapsulated([b"\0\0\1\xb3" * 20], MPEG2MPML, **uids, InstanceNumber=3)
    assert store(*map(part10, objects), video).status_code == 200
    return f"/dicom-web/studies/{study}", [*objects, dcmread(BytesIO(video))]


def test_a_study_of_which_only_some_can_be_had(client: FlaskClient, mixed: tuple[str, list[Dataset]]) -> None:
    path, (first, report, _) = mixed

    def answered(*syntaxes: str) -> tuple[int, list[str]]:
        accept = ", ".join(f"{MULTIPART}; transfer-syntax={syntax}" for syntax in syntaxes)
        answer = client.get(path, headers={"Accept": accept})
        if answer.status_code == 406:
            return 406, []
        assert ("Warning" in answer.headers) == (answer.status_code == 206)
        return answer.status_code, [
            dcmread(BytesIO(part)).SOPInstanceUID for _, part in parts(answer.content_type, answer.data)
        ]

    assert answered("*")[0] == 200
    assert answered(JPEG2000Lossless) == (206, [first.SOPInstanceUID])
    assert answered(ImplicitVRLittleEndian) == (206, [first.SOPInstanceUID, report.SOPInstanceUID])
    assert answered(JPEG2000) == (406, [])
    assert answered(JPEG2000Lossless, MPEG2MPML, ExplicitVRLittleEndian)[0] == 200


def test_pixels_that_cannot_be_decoded(client: FlaskClient, store: Store) -> None:
    file = encapsulated([b"\xff\xd8\xff\xc0 no JPEG at all"], JPEGLSLossless)
    store(file)
    path = path_of(dcmread(BytesIO(file)))
    for resource in (path, f"{path}/frames/1"):
        media_type = OCTETS if "frames" in resource else "application/dicom"
        refused = client.get(resource, headers={"Accept": f"{media_type}; transfer-syntax={ExplicitVRLittleEndian}"})
        assert refused.status_code == 406
        for offer in json_of(refused)["acceptable"]:
            assert client.get(resource, headers={"Accept": offer}).status_code == 200


COMPRESSED_FILES = [
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
]


@pytest.mark.parametrize("name", COMPRESSED_FILES)
def test_frames_are_uncompressed_where_no_transfer_syntax_is_asked_for(
    client: FlaskClient, store: Store, name: str
) -> None:
    path, ds = stored_file(client, store, name)
    count = int(ds.get("NumberOfFrames", 1))
    expected = ds.pixel_array.reshape(count, -1)
    for accept in (
        f"multipart/related; type={OCTETS}",
        f'multipart/related; type="{OCTETS}"; transfer-syntax="1.2.840.10008.1.2.1"',
    ):
        answer = client.get(f"{path}/frames/1-{count}", headers={"Accept": accept})
        assert answer.status_code == 200
        received = parts(answer.content_type, answer.data)
        assert [content for _, content in received] == [frame.tobytes() for frame in expected]
        assert {content_type for content_type, _ in received} == {f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.1"}
    single = client.get(f"{path}/frames/{count}", headers={"Accept": OCTETS})
    assert single.data == expected[-1].tobytes()
    as_stored = client.get(f"{path}/frames/{count}", headers={"Accept": f"{OCTETS}; transfer-syntax=*"})
    assert as_stored.content_type == f"{OCTETS}; transfer-syntax={ds.file_meta.TransferSyntaxUID}"


@pytest.mark.parametrize(
    ("media_type", "syntax"),
    [("image/jls", JPEGLSLossless), ("image/jp2", JPEG2000Lossless), ("image/dicom-rle", RLELossless)],
)
def test_frames_compressed_on_the_way(client: FlaskClient, store: Store, media_type: str, syntax: UID) -> None:
    original = image()
    store(part10(original))
    answer = client.get(f"{path_of(original)}/frames/3,1", headers={"Accept": f"multipart/related; type={media_type}"})
    assert answer.status_code == 200
    received = parts(answer.content_type, answer.data)
    assert {content_type for content_type, _ in received} == {f"{media_type}; transfer-syntax={syntax}"}
    read = image(NumberOfFrames=2)
    read.PixelData = encapsulate([content for _, content in received])
    read["PixelData"].VR = "OB"
    assert np.array_equal(dcmread(BytesIO(part10(read, syntax))).pixel_array, original.pixel_array[[2, 0]])


def test_video_as_octets_is_what_is_stored(client: FlaskClient, store: Store) -> None:
    file = encapsulated([b"\0\0\1\xb3" * 20], MPEG2MPML)
    store(file)
    answer = client.get(f"{path_of(dcmread(BytesIO(file)))}/frames/1", headers={"Accept": OCTETS})
    assert answer.data == b"\0\0\1\xb3" * 20
    assert answer.content_type == f"{OCTETS}; transfer-syntax={MPEG2MPML}"
