"""WADO-RS: objects come back byte by byte, metadata element by element."""

import json
from io import BytesIO

import pydicom
import pytest
from flask.testing import FlaskClient
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from fileroom_storage.storage import Storage
from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import data_set, json_of, part10, parts

DICOM_PARTS = 'multipart/related; type="application/dicom"'


@pytest.fixture
def study(store: Store) -> dict[str, bytes]:
    """Five objects in two series, by their paths."""
    study, objects = generate_uid(), {}
    for count in (3, 2):
        series = generate_uid()
        for number in range(count):
            ds = data_set(StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number + 1)
            syntax = ImplicitVRLittleEndian if number % 2 else ExplicitVRLittleEndian
            objects[f"/dicom-web/studies/{study}/series/{series}/instances/{ds.SOPInstanceUID}"] = part10(ds, syntax)
    assert store(*objects.values()).status_code == 200
    return objects


def above(path: str, steps: int) -> str:
    return path.rsplit("/", 2 * steps)[0]


@pytest.mark.parametrize("steps", [0, 1, 2], ids=["instance", "series", "study"])
def test_objects_come_back_as_they_were(client: FlaskClient, study: dict[str, bytes], steps: int) -> None:
    path = above(next(iter(study)), steps)
    answer = client.get(path, headers={"Accept": DICOM_PARTS})
    assert answer.status_code == 200
    assert answer.content_length == len(answer.data)
    received = parts(answer.content_type, answer.data)
    assert [content for _, content in received] == [content for name, content in study.items() if name.startswith(path)]
    for content_type, content in received:
        syntax = pydicom.dcmread(BytesIO(content)).file_meta.TransferSyntaxUID
        assert content_type == f"application/dicom; transfer-syntax={syntax}"


@pytest.mark.parametrize("accept", ["application/dicom", "application/dicom; transfer-syntax=*"])
def test_single_part(client: FlaskClient, study: dict[str, bytes], accept: str) -> None:
    path, content = next(iter(study.items()))
    answer = client.get(path, headers={"Accept": accept})
    assert answer.content_type == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    assert answer.content_length == len(content)
    assert answer.data == content
    assert client.get(above(path, 2), headers={"Accept": accept}).status_code == 406


def test_transfer_syntaxes(client: FlaskClient, study: dict[str, bytes]) -> None:
    path = next(iter(study))

    def status(path: str, syntax: str) -> int:
        return client.get(path, headers={"Accept": f"{DICOM_PARTS}; transfer-syntax={syntax}"}).status_code

    assert status(path, "*") == status(path, ExplicitVRLittleEndian) == 200
    assert status(path, "1.2.840.10008.1.2.4.81") == 406
    # the study is stored in two
    assert status(above(path, 2), "*") == status(above(path, 2), ExplicitVRLittleEndian) == 200
    refused = client.get(above(path, 2), headers={"Accept": f"{DICOM_PARTS}; transfer-syntax=1.2.840.10008.1.2.4.81"})
    assert refused.status_code == 406
    acceptable = json_of(refused)["acceptable"]
    assert f"{DICOM_PARTS}; transfer-syntax=*" in acceptable
    assert f"{DICOM_PARTS}; transfer-syntax={ExplicitVRLittleEndian}" in acceptable
    assert all(client.get(above(path, 2), headers={"Accept": accept}).status_code == 200 for accept in acceptable)


def test_not_acceptable_tells_what_would_be(client: FlaskClient, study: dict[str, bytes]) -> None:
    path = next(iter(study))
    answer = client.get(path, headers={"Accept": "image/tiff"})
    assert answer.status_code == 406
    assert answer.content_type == "application/problem+json"
    for accept in json_of(answer)["acceptable"]:
        assert client.get(path, headers={"Accept": accept}).status_code == 200
    for name in ("metadata", "frames/1", "bulkdata/7FE00010"):
        refused = client.get(f"{path}/{name}", headers={"Accept": "image/tiff"})
        assert refused.status_code == 406
        assert all(
            client.get(f"{path}/{name}", headers={"Accept": accept}).status_code == 200
            for accept in json_of(refused)["acceptable"]
        )


def test_head(client: FlaskClient, study: dict[str, bytes]) -> None:
    path, content = next(iter(study.items()))
    answer = client.head(path, headers={"Accept": "application/dicom"})
    assert (answer.status_code, answer.content_length, answer.data) == (200, len(content), b"")
    assert client.head(f"{path}/metadata").status_code == 200
    assert client.head(f"{path}/frames/1").status_code == 200
    assert client.head("/dicom-web/studies/1.2.3").status_code == 404


@pytest.mark.parametrize("steps", [0, 1, 2], ids=["instance", "series", "study"])
def test_metadata(client: FlaskClient, study: dict[str, bytes], steps: int) -> None:
    path = above(next(iter(study)), steps)
    answer = client.get(f"{path}/metadata", headers={"Accept": "application/dicom+json"})
    assert answer.status_code == 200
    assert answer.content_type == "application/dicom+json"
    originals = [pydicom.dcmread(BytesIO(content)) for name, content in study.items() if name.startswith(path)]
    for metadata, original in zip(json_of(answer), originals, strict=True):
        assert metadata.pop("00083002") == {"vr": "UI", "Value": [original.file_meta.TransferSyntaxUID]}
        pixel_data = metadata.pop("7FE00010")
        assert client.get(pixel_data["BulkDataURI"]).data == original.PixelData
        received = Dataset.from_json(metadata)
        received.SpecificCharacterSet = original.SpecificCharacterSet
        del original.PixelData
        assert received == original


def test_metadata_of_sequences_and_private_elements(client: FlaskClient, store: Store) -> None:
    ds = data_set(RequestAttributesSequence=[{"RequestedProcedureID": "RP1"}])
    block = ds.private_block(0x0099, "FILEROOM TEST", create=True)
    block.add_new(1, "OB", bytes(5000))
    item = Dataset()
    item.add_new(0x00281201, "OW", bytes(range(250)) * 10)
    block.add_new(2, "SQ", [item])
    store(part10(ds))
    (metadata,) = json_of(client.get(f"/dicom-web/studies/{ds.StudyInstanceUID}/metadata"))
    assert metadata["00400275"]["Value"][0]["00401001"]["Value"] == ["RP1"]
    assert metadata["00990010"]["Value"] == ["FILEROOM TEST"]
    assert client.get(metadata["00991001"]["BulkDataURI"]).data == bytes(5000)
    nested = metadata["00991002"]["Value"][0]["00281201"]["BulkDataURI"]
    assert nested.endswith("/bulkdata/00991002/0/00281201")
    assert client.get(nested).data == bytes(range(250)) * 10


@pytest.mark.parametrize("name", ["", "/metadata", "/frames/1", "/bulkdata/7FE00010"])
@pytest.mark.parametrize("unknown", ["instances", "series", "studies"])
def test_unknown_uids(client: FlaskClient, study: dict[str, bytes], unknown: str, name: str) -> None:
    steps = next(iter(study)).split("/")
    steps[steps.index(unknown) + 1] = "1.2.3"
    answer = client.get("/".join(steps) + name)
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"


def test_uids_of_another_study_do_not_mix(client: FlaskClient, study: dict[str, bytes], store: Store) -> None:
    other = data_set()
    store(part10(other))
    path = next(iter(study)).split("/")
    path[3] = other.StudyInstanceUID
    assert client.get("/".join(path)).status_code == 404


@pytest.mark.parametrize("uid", ["1" * 65, "..", "1.2*", "%", "1.2%2f3", "%2e%2e", "1%0a2", "1\\2", "*", "1,2"])
@pytest.mark.parametrize("path", ["studies/{}", "studies/{}/series", "studies/1.2/series/{}/metadata"])
def test_impossible_uids(client: FlaskClient, path: str, uid: str) -> None:
    answer = client.get(f"/dicom-web/{path.format(uid)}")
    assert answer.status_code in (400, 404)
    assert answer.content_type == "application/problem+json"


def test_lost_objects_are_told_before_the_answer_begins(
    client: FlaskClient, study: dict[str, bytes], storage: Storage, tmp_path: object
) -> None:
    path = next(iter(study))
    (instance,) = storage.locate({"SOPInstanceUID": path.rpartition("/")[2]})
    storage._objects.delete(instance.location)
    answer = client.get(path, headers={"Accept": "application/dicom"})
    assert answer.status_code == 500
    assert json.loads(answer.data)["title"] == "Internal Server Error"
    assert "fileroom check" in json_of(answer)["detail"]
