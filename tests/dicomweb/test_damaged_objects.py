"""Objects that the store has lost, or has only a part of: said before anything is sent, never half an answer."""

import logging

import pytest
from flask.testing import FlaskClient
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, JPEGLSLossless, generate_uid

from fileroom_storage.storage import Storage
from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import data_set, encapsulated, json_of, part10

CUTS = ["lost", "cut", "emptied", "longer"]


@pytest.fixture
def study(store: Store) -> list[Dataset]:
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    objects = [data_set(**uids, InstanceNumber=number) for number in range(1, 4)]
    assert store(*map(part10, objects)).status_code == 200
    return objects


def damage(storage: Storage, sop_instance_uid: str, how: str) -> None:
    (instance,) = storage.locate({"SOPInstanceUID": sop_instance_uid})
    path = storage.settings.data / "objects" / instance.location
    content = path.read_bytes()
    path.unlink()
    if how != "lost":
        path.write_bytes({"cut": content[:-40], "emptied": b"", "longer": content + b"\0\0"}[how])


def path_of(ds: Dataset) -> str:
    return f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


@pytest.mark.parametrize("how", CUTS)
def test_a_study_is_given_whole_or_not_at_all(
    client: FlaskClient, storage: Storage, study: list[Dataset], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(storage, study[1].SOPInstanceUID, how)
    path = f"/dicom-web/studies/{study[0].StudyInstanceUID}"
    for resource, accept in (
        (path, 'multipart/related; type="application/dicom"'),
        (path, "application/zip"),
        (f"{path}/series/{study[0].SeriesInstanceUID}", "*/*"),
        (f"{path}/metadata", "application/dicom+json"),
        (path_of(study[1]), "application/dicom"),
        (path_of(study[1]), "application/dicom; transfer-syntax=1.2.840.10008.1.2"),
    ):
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            answer = client.get(resource, headers={"Accept": accept})
        assert answer.status_code == 500
        assert "fileroom check" in json_of(answer)["detail"]
        assert json_of(answer)["damaged"] == [study[1].SOPInstanceUID]
        assert study[1].SOPInstanceUID in caplog.text
    for whole in (study[0], study[2]):
        assert client.get(path_of(whole)).status_code == 200


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("encapsulation", [False, True])
def test_frames_and_bulk_data(
    client: FlaskClient, storage: Storage, store: Store, how: str, encapsulation: bool
) -> None:
    ds = data_set(NumberOfFrames=2, Rows=4)
    uids = {key: ds[key].value for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
    store(encapsulated([b"\1" * 60, b"\2" * 60], JPEGLSLossless, **uids) if encapsulation else part10(ds))
    damage(storage, ds.SOPInstanceUID, how)
    for name in ("frames/1", "frames/2", "frames/1,2", "bulkdata/7FE00010", "bulkdata/00100010"):
        answer = client.get(f"{path_of(ds)}/{name}")
        assert answer.status_code == 500, name
        assert "fileroom check" in json_of(answer)["detail"]


def test_other_bytes_of_the_same_length(client: FlaskClient, storage: Storage, store: Store) -> None:
    ds = data_set()
    for syntax in (None, ExplicitVRBigEndian):
        ds = data_set()
        store(part10(ds, *([syntax] if syntax else [])))
        (instance,) = storage.locate({"SOPInstanceUID": ds.SOPInstanceUID})
        path = storage.settings.data / "objects" / instance.location
        path.chmod(0o600)
        path.write_bytes(
            path.read_bytes()[: instance.data_set_offset] + b"\xff" * (instance.size - instance.data_set_offset)
        )
        for name in ("/metadata", "/bulkdata/7FE00010", "?accept=application/dicom;transfer-syntax=1.2.840.10008.1.2"):
            answer = client.get(f"{path_of(ds)}{name}")
            assert answer.status_code == 500, (name, answer.data)
            assert "fileroom check" in json_of(answer)["detail"]
