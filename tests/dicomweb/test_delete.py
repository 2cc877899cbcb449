"""DELETE, /reject and /deletions over HTTP."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_storage.index.rejection import KEY_OBJECT_SELECTION_DOCUMENT
from fileroom_storage.storage import Storage
from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import json_of, part10
from tests.made import CT_IMAGE_STORAGE, made, uid

ROOT = "/dicom-web"
STUDY = f"{ROOT}/studies/{uid(1)}"
SERIES = f"{STUDY}/series/{uid(1, 1)}"
INSTANCE = f"{SERIES}/instances/{uid(1, 1, 1)}"


@pytest.fixture
def stored(client: FlaskClient, store: Store) -> FlaskClient:
    """A study of two series with two instances each."""
    objects = [
        part10(StudyInstanceUID=uid(1), SeriesInstanceUID=uid(1, series), SOPInstanceUID=uid(1, series, instance))
        for series in (1, 2)
        for instance in (1, 2)
    ]
    assert store(*objects).status_code == 200
    return client


def instances(client: FlaskClient) -> list[str]:
    answer = client.get(f"{STUDY}/instances")
    return sorted(instance["00080018"]["Value"][0] for instance in json_of(answer)) if answer.data else []


def frames(client: FlaskClient, number: int = 1) -> int:
    path = f"{SERIES}/instances/{uid(1, 1, number)}/frames/1"
    return client.get(path, headers={"Accept": "*/*"}).status_code


@pytest.mark.parametrize(("path", "left"), [(STUDY, 0), (SERIES, 2), (INSTANCE, 3), (f"{STUDY}/", 0)])
def test_delete_and_restore(stored: FlaskClient, path: str, left: int) -> None:
    answer = stored.delete(path, headers={"Accept": "text/plain"})
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    deletion = json_of(answer)
    assert (deletion["reason"], deletion["objects"]) == ("request", 4 - left)
    assert deletion["purge_at"].endswith("Z")
    assert len(instances(stored)) == left
    assert stored.get(path, headers={"Accept": "*/*"}).status_code == 404
    assert frames(stored) == 404
    assert stored.delete(path).status_code == 404

    assert json_of(stored.get(f"{ROOT}/deletions")) == [deletion]
    assert json_of(stored.get(f"{ROOT}/deletions/{deletion['id']}")) == deletion
    restored = json_of(stored.post(deletion["restore"]))
    assert restored == {
        "id": deletion["id"],
        "restored": 4 - left,
        "already_stored": 0,
        "in_conflict": 0,
        "lost": 0,
    }
    assert len(instances(stored)) == 4
    assert frames(stored) == 200
    assert stored.post(deletion["restore"]).status_code == 404
    assert json_of(stored.get(f"{ROOT}/deletions")) == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{ROOT}/studies/{uid(2)}", 404),
        (f"{STUDY}/series/{uid(9)}", 404),
        # an instance of the study, but not of this series
        (f"{STUDY}/series/{uid(1, 2)}/instances/{uid(1, 1, 1)}", 404),
        (f"{ROOT}/studies/no%20UID", 400),
        (f"{ROOT}/studies/*", 400),
        (f"{ROOT}/studies/{uid(1)}%5C{uid(2)}", 400),
        (f"{ROOT}/studies", 405),
        (f"{ROOT}/deletions/1", 405),
    ],
)
def test_what_cannot_be_deleted(stored: FlaskClient, path: str, status: int) -> None:
    answer = stored.delete(path)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert len(instances(stored)) == 4


@pytest.mark.parametrize("identifier", ["4711", "0", "-1", "x", "99999999999999999999"])
def test_a_deletion_that_is_not_there(stored: FlaskClient, identifier: str) -> None:
    for answer in (
        stored.get(f"{ROOT}/deletions/{identifier}"),
        stored.post(f"{ROOT}/deletions/{identifier}/restore"),
    ):
        assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


@pytest.mark.parametrize("code", ["113001^DCM", "113001%5EDCM", "113037^DCM", "113038", "113039^DCM"])
@pytest.mark.parametrize(("path", "left"), [(STUDY, 0), (SERIES, 2), (INSTANCE, 3)])
def test_reject_and_revoke(stored: FlaskClient, path: str, left: int, code: str) -> None:
    answer = stored.post(f"{path}/reject/{code}")
    assert answer.status_code == 200
    deletion = json_of(answer)
    assert (deletion["code"], deletion["objects"]) == (code[:6], 4 - left)
    assert (deletion["purge_at"] is None) is (code[:6] != "113039")
    note = deletion["rejection_note_uid"]
    found = instances(stored)
    assert note in found
    assert len(found) == left + 1
    assert frames(stored) == 404
    [series] = json_of(stored.get(f"{STUDY}/series?Modality=KO"))
    metadata = json_of(stored.get(f"{STUDY}/series/{series['0020000E']['Value'][0]}/metadata"))
    assert metadata[0]["0040A043"]["Value"][0]["00080100"]["Value"] == [code[:6]]
    assert json_of(stored.post(deletion["restore"]))["restored"] == 4 - left
    assert len(instances(stored)) == 4
    assert frames(stored) == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{STUDY}/reject/113002^DCM", 400),
        (f"{STUDY}/reject/113001^99X", 400),
        (f"{STUDY}/reject/", 404),
        (f"{ROOT}/studies/{uid(2)}/reject/113001^DCM", 404),
        (f"{ROOT}/studies/a%20b/reject/113001^DCM", 400),
    ],
)
def test_what_cannot_be_rejected(stored: FlaskClient, path: str, status: int) -> None:
    answer = stored.post(path)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    if path.startswith(f"{STUDY}/reject/1"):
        assert "113039^DCM" in json_of(answer)["detail"]
    assert len(instances(stored)) == 4


def test_a_note_that_is_sent_by_stow_rejects(stored: FlaskClient, store: Store) -> None:
    title = {
        "CodeValue": "113037",
        "CodingSchemeDesignator": "DCM",
        "CodeMeaning": "Rejected for Patient Safety Reasons",
    }
    reference = {"ReferencedSOPClassUID": CT_IMAGE_STORAGE, "ReferencedSOPInstanceUID": uid(1, 1, 1)}
    series = {"SeriesInstanceUID": uid(1, 1), "ReferencedSOPSequence": [reference]}
    note = made(
        SOPClassUID=KEY_OBJECT_SELECTION_DOCUMENT,
        SOPInstanceUID=uid(1, 9, 1),
        SeriesInstanceUID=uid(1, 9),
        Modality="KO",
        ConceptNameCodeSequence=[title],
        CurrentRequestedProcedureEvidenceSequence=[{"StudyInstanceUID": uid(1), "ReferencedSeriesSequence": [series]}],
    )
    assert store(part10(note)).status_code == 200
    assert uid(1, 1, 1) not in instances(stored)
    assert frames(stored) == 404
    assert frames(stored, 2) == 200
    [deletion] = json_of(stored.get(f"{ROOT}/deletions"))
    assert (deletion["code"], deletion["rejection_note_uid"], deletion["objects"]) == ("113037", uid(1, 9, 1), 1)


def test_where_clients_may_not_delete(stored: FlaskClient, storage: Storage) -> None:
    deletion = json_of(stored.delete(INSTANCE))
    closed = create_app(storage, DicomwebSettings(allow_delete=False)).test_client()
    for answer in (
        closed.delete(STUDY),
        closed.post(f"{STUDY}/reject/113001^DCM"),
        closed.post(f"{ROOT}/deletions/{deletion['id']}/restore"),
    ):
        assert (answer.status_code, answer.mimetype) == (403, "application/problem+json")
        assert "fileroom delete" in json_of(answer)["detail"]
    listed: list[dict[str, Any]] = json_of(closed.get(f"{ROOT}/deletions"))
    assert [entry["restore"] for entry in listed] == [None]
    assert len(instances(stored)) == 3
