"""What is retrieved of instances whose pixels are elsewhere: the same as of objects that are stored here."""

import logging
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from flask.testing import FlaskClient
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless
from werkzeug.test import TestResponse

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_storage.errors import PixelsUnavailable
from fileroom_storage.external_change import ExternalInstance
from fileroom_storage.storage import Provenance, Storage, StorageSettings
from tests.corpus import CORPUS, PYDICOM
from tests.dicomweb.objects import data_set, parts
from tests.external import SOURCE, FramesElsewhere, header, series
from tests.made import encoded, made, part10, uid

ANY_OCTETS = "multipart/related; type=application/octet-stream; transfer-syntax=*"
NATIVE_OCTETS = f"multipart/related; type=application/octet-stream; transfer-syntax={ExplicitVRLittleEndian}"
FILES = {
    "HTJ2K": CORPUS / "files/pydicom_pydicom-data/data_store/data/HTJ2K_08_RGB.dcm",
    "JPEG 2000": PYDICOM / "test_files/examples_jpeg2k.dcm",
    "RLE, 2 frames": PYDICOM / "test_files/SC_rgb_rle_2frame.dcm",
    "native": PYDICOM / "test_files/CT_small.dcm",
    "bits, native": PYDICOM / "test_files/liver_1frame.dcm",
}


class Pair:
    """The same object here and elsewhere."""

    def __init__(self, path: Path, own: Storage, other: Storage) -> None:
        self.dataset = dcmread(path)
        for number, keyword in enumerate(("StudyInstanceUID", "SeriesInstanceUID")):
            if keyword not in self.dataset:  # as in what pydicom compressed for its own tests
                setattr(self.dataset, keyword, uid(8, number))
        file = BytesIO()
        self.dataset.save_as(file)
        self.elsewhere = FramesElsewhere()
        incoming = own.receive()
        incoming.write(file.getvalue())
        incoming.store(Provenance("test"))
        other.register_frame_source(SOURCE, self.elsewhere)
        other.external(SOURCE).replace("store/set", [self.elsewhere.take("store/set", self.dataset)])
        self.own = create_app(own, DicomwebSettings()).test_client()
        self.other = create_app(other, DicomwebSettings()).test_client()
        self.study = f"/dicom-web/studies/{self.dataset.StudyInstanceUID}"
        self.path = f"{self.study}/series/{self.dataset.SeriesInstanceUID}/instances/{self.dataset.SOPInstanceUID}"

    def get(self, path: str, accept: str) -> tuple[TestResponse, TestResponse]:
        own = self.own.get(path, headers={"Accept": accept})
        other = self.other.get(path, headers={"Accept": accept})
        assert (own.status_code, other.status_code) == (200, 200), (own.data[:200], other.data[:200])
        return own, other

    def same_parts(self, path: str, accept: str) -> list[tuple[str, bytes]]:
        own, other = self.get(path, accept)
        expected = parts(own.content_type, own.data)
        assert parts(other.content_type, other.data) == expected
        return expected


@pytest.fixture(scope="module")
def storages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Storage, Storage]]:
    folder = tmp_path_factory.mktemp("external")
    with Storage.open(StorageSettings(folder / "own")) as own, Storage.open(StorageSettings(folder / "other")) as other:
        own.create_schema_if_empty()
        other.create_schema_if_empty()
        yield own, other


@pytest.fixture(scope="module", params=FILES)
def pair(request: pytest.FixtureRequest, storages: tuple[Storage, Storage]) -> Pair:
    path = FILES[request.param]
    if not path.exists():
        pytest.skip(f"the corpus is absent: {path}")
    return Pair(path, *storages)


def test_frames(pair: Pair) -> None:
    number = int(pair.dataset.get("NumberOfFrames") or 1)
    for numbers in ("1", f"1-{number}", f"{number},1"):
        frames = pair.same_parts(f"{pair.path}/frames/{numbers}", ANY_OCTETS)
        assert {content_type for content_type, _ in frames} == {
            f"application/octet-stream; transfer-syntax={pair.dataset.file_meta.TransferSyntaxUID}"
        }
    pair.same_parts(f"{pair.path}/frames/1", NATIVE_OCTETS)
    own, other = pair.get(f"{pair.path}/frames/1", "application/octet-stream; transfer-syntax=*")
    assert own.data == other.data
    assert other.content_length == len(own.data)
    outside = pair.other.get(f"{pair.path}/frames/{number + 1}", headers={"Accept": ANY_OCTETS})
    assert outside.status_code == 404


def test_pictures(pair: Pair) -> None:
    for what in ("rendered", "thumbnail", "frames/1/rendered"):
        own, other = pair.get(f"{pair.path}/{what}", "image/png, image/jpeg")
        assert own.data == other.data


def test_metadata(pair: Pair) -> None:
    own, other = pair.get(f"{pair.path}/metadata", "application/dicom+json")
    assert own.json == other.json
    assert other.json is not None
    assert "BulkDataURI" in other.json[0]["7FE00010"]
    assert other.json[0]["00083002"]["Value"] == [pair.dataset.file_meta.TransferSyntaxUID]
    own, other = pair.get(f"{pair.path}/metadata", "application/dicom+xml")
    assert own.data == other.data


def test_bulk_data(pair: Pair) -> None:
    path = f"{pair.path}/bulkdata/7FE00010"
    pair.same_parts(path, ANY_OCTETS)
    pair.same_parts(f"{pair.path}/bulkdata", "multipart/related; type=application/octet-stream")


def test_whole_objects(pair: Pair) -> None:
    accept = "application/dicom; transfer-syntax=*"
    for path in (pair.path, pair.study):
        multi = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        answer = pair.other.get(path, headers={"Accept": multi})
        assert answer.status_code == 200
        [(_, content)] = parts(answer.content_type, answer.data)
        _assert_same_object(pair, content)
    answer = pair.other.get(pair.path, headers={"Accept": accept})
    _assert_same_object(pair, answer.data)
    archive = pair.other.get(pair.study, headers={"Accept": "application/zip"})
    with ZipFile(BytesIO(archive.data)) as files:
        [name] = files.namelist()
        _assert_same_object(pair, files.read(name))


def _assert_same_object(pair: Pair, content: bytes) -> None:
    # whose key it is is nobody's business
    assert content[:128] == bytes(128)
    assert SOURCE.encode() not in content
    got = dcmread(BytesIO(content))
    assert got.file_meta.TransferSyntaxUID == pair.dataset.file_meta.TransferSyntaxUID
    assert [element.tag for element in got] == [element.tag for element in pair.dataset]
    del got.PixelData
    for element in got:
        assert element.value == pair.dataset[element.tag].value
    whole = dcmread(BytesIO(content))
    assert (whole.pixel_array == pair.dataset.pixel_array).all()


def test_whole_objects_in_another_transfer_syntax(pair: Pair) -> None:
    for syntax in (ExplicitVRLittleEndian, JPEG2000Lossless):
        accept = f"application/dicom; transfer-syntax={syntax}"
        own = pair.own.get(pair.path, headers={"Accept": accept})
        other = pair.other.get(pair.path, headers={"Accept": accept})
        assert other.status_code == own.status_code
        if own.status_code == 200:
            got, expected = dcmread(BytesIO(other.data)), dcmread(BytesIO(own.data))
            assert got.file_meta.TransferSyntaxUID == syntax
            assert (got.pixel_array == expected.pixel_array).all()


# -- a source that does not answer -----------------------------------------------------------------------------

RETRIEVALS = [
    ("/frames/1", ANY_OCTETS),
    ("/frames/1-2", ANY_OCTETS),
    ("/frames/1", NATIVE_OCTETS),
    ("/rendered", "image/png"),
    ("/bulkdata/7FE00010", ANY_OCTETS),
    ("", "application/dicom; transfer-syntax=*"),
    ("", 'multipart/related; type="application/dicom"; transfer-syntax=*'),
    ("", f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"),
    ("", "application/zip"),
]


@pytest.fixture
def failing(storage: Storage) -> FramesElsewhere:
    elsewhere = FramesElsewhere()
    storage.register_frame_source(SOURCE, elsewhere)
    path = FILES["RLE, 2 frames"]
    storage.external(SOURCE).replace("a", [elsewhere.take("a", path)])
    return elsewhere


def path_of(storage: Storage) -> str:
    [instance] = storage.locate({"SOPInstanceUID": dcmread(FILES["RLE, 2 frames"]).SOPInstanceUID})
    return (
        f"/dicom-web/studies/{instance.study_instance_uid}/series/{instance.series_instance_uid}"
        f"/instances/{instance.sop_instance_uid}"
    )


@pytest.mark.parametrize(("what", "accept"), RETRIEVALS)
@pytest.mark.parametrize("failure", [PixelsUnavailable("it is asleep; wake it"), OSError("Doe^Jane")])
def test_a_source_that_fails(
    client: FlaskClient,
    storage: Storage,
    failing: FramesElsewhere,
    caplog: pytest.LogCaptureFixture,
    what: str,
    accept: str,
    failure: Exception,
) -> None:
    failing.failure = failure
    path = path_of(storage)
    with caplog.at_level(logging.WARNING):
        answer = client.get(path + what, headers={"Accept": accept})
    assert answer.status_code == 503, answer.data
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json is not None
    assert ("it is asleep; wake it" if isinstance(failure, PixelsUnavailable) else "try again later") in answer.json[
        "detail"
    ]
    assert path.rpartition("/")[2] in caplog.text
    assert "Doe" not in caplog.text + answer.get_data(as_text=True)
    failing.failure = None
    answer = client.get(path + what, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.data


def test_a_source_that_gives_too_little(client: FlaskClient, storage: Storage, failing: FramesElsewhere) -> None:
    for frames in failing.kept.values():
        frames.pop()
    path = path_of(storage)
    assert client.get(path, headers={"Accept": "application/dicom; transfer-syntax=*"}).status_code == 503
    assert client.get(f"{path}/frames/2", headers={"Accept": ANY_OCTETS}).status_code == 503
    assert client.get(f"{path}/frames/1", headers={"Accept": ANY_OCTETS}).status_code == 200


def test_a_source_that_nobody_has_registered(client: FlaskClient, storage: Storage) -> None:
    storage.external("unplugged").replace("a", [FramesElsewhere().take("a", FILES["RLE, 2 frames"])])
    path = path_of(storage)
    answer = client.get(f"{path}/frames/1", headers={"Accept": ANY_OCTETS})
    assert answer.status_code == 503
    assert answer.json is not None
    assert "unplugged" in answer.json["detail"]
    assert client.get(f"{path}/metadata").status_code == 200


def test_frames_are_asked_for_once_and_in_order(
    client: FlaskClient, storage: Storage, failing: FramesElsewhere
) -> None:
    client.get(f"{path_of(storage)}/frames/2,1", headers={"Accept": ANY_OCTETS})
    assert failing.asked == [[2, 1]]


def test_what_has_no_frames_is_whole(client: FlaskClient, storage: Storage) -> None:
    storage.external(SOURCE).replace("a", [header()])
    path = f"/dicom-web/studies/{uid(1)}/series/{uid(1, 1)}/instances/{uid(1, 1, 1)}"
    answer = client.get(path, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert dcmread(BytesIO(answer.data)).SOPInstanceUID == uid(1, 1, 1)
    assert answer.data[:128] == bytes(128)
    assert client.get(f"{path}/frames/1", headers={"Accept": ANY_OCTETS}).status_code == 404
    assert client.get(f"{path}/bulkdata/7FE00010").status_code == 404


def test_a_study_that_is_here_and_elsewhere(client: FlaskClient, storage: Storage, failing: FramesElsewhere) -> None:
    study = path_of(storage).partition("/series/")[0]
    own = data_set(StudyInstanceUID=study.rpartition("/")[2], SeriesInstanceUID=uid(7), SOPInstanceUID=uid(7, 1))
    incoming = storage.receive()
    incoming.write(part10(own))
    incoming.store(Provenance("test"))
    multi = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    answer = client.get(study, headers={"Accept": multi})
    received = [dcmread(BytesIO(content)) for _, content in parts(answer.content_type, answer.data)]
    assert {one.SOPInstanceUID for one in received} == {uid(7, 1), *(sop for _, sop in failing.kept)}
    assert all(one.pixel_array.size for one in received)
    metadata = client.get(f"{study}/metadata").json
    assert metadata is not None
    assert len(metadata) == 2


def test_a_series_without_rows_is_found_and_counted(client: FlaskClient, storage: Storage) -> None:
    storage.external(SOURCE).replace_series("a", [series([uid(1, 1, 1), uid(1, 1, 2)])])
    [study] = client.get("/dicom-web/studies").get_json()
    assert study["00201208"]["Value"] == [2]
    [found] = client.get(f"/dicom-web/studies/{uid(1)}/series").get_json()
    assert found["00201209"]["Value"] == [2]
    assert client.get(f"/dicom-web/studies/{uid(1)}/instances").json == []
    assert client.get(f"/dicom-web/studies/{uid(1)}/metadata").status_code == 404


def test_a_count_of_frames_that_only_the_source_knows(client: FlaskClient, storage: Storage) -> None:
    storage.external(SOURCE).replace("a", [ExternalInstance(encoded(made()), "1.2.840.10008.1.2.4.202", 7)])
    path = f"/dicom-web/studies/{uid(1)}/series/{uid(1, 1)}/instances/{uid(1, 1, 1)}/metadata"
    [metadata] = client.get(path).get_json()
    assert metadata["00280008"] == {"vr": "IS", "Value": [7]}
    assert metadata["00083002"]["Value"] == ["1.2.840.10008.1.2.4.202"]
    assert metadata["7FE00010"]["vr"] == "OB"
