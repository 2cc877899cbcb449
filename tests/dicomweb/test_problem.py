"""Every error is a problem body; none tells more than it should."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from fileroom_storage.errors import ObjectMissing, SchemaNotCurrent, StorageNotWritable, StorageUnavailable
from fileroom_storage.storage import Storage
from tests.dicomweb.objects import json_of


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/dicom-web/nothing", 404),
        ("PATCH", "/dicom-web/studies/1.2", 405),
        ("PUT", "/dicom-web/studies", 405),
        ("POST", "/dicom-web/studies/1.2/metadata", 405),
        ("POST", "/health/live", 405),
        ("GET", "/dicom-web/studies/1.2/metadata", 404),
        ("GET", "/dicom-web/studies/../../etc/passwd", 404),
        ("GET", "/dicom-web/studies/1.2/series/..%2f..%2fetc", 404),
    ],
)
def test_problems(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert json_of(answer)["status"] == status
    assert json_of(answer)["type"] == "about:blank"
    assert json_of(answer)["title"]
    assert json_of(answer)["detail"]
    if status == 405:
        assert answer.headers["Allow"]


def test_an_invalid_host(client: FlaskClient) -> None:
    answer = client.get("/dicom-web/studies", headers={"Host": "bad host/<x>"})
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


def test_options(client: FlaskClient) -> None:
    answer = client.options("/dicom-web/studies")
    assert answer.status_code == 200
    assert {"GET", "HEAD", "POST"} <= answer.allow


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StorageUnavailable("the database is away"), 503),
        (StorageNotWritable("the disk is full"), 507),
        (SchemaNotCurrent("run `fileroom db upgrade`"), 503),
        (ObjectMissing("the bytes are gone"), 500),
    ],
)
def test_storage_errors(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def locate(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(storage, "locate", locate)
    answer = client.get("/dicom-web/studies/1.2")
    assert answer.status_code == status
    assert json_of(answer)["detail"] == str(error)
    assert ("Retry-After" in answer.headers) is (status == 503)


def test_surprises_are_logged_by_place_only(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def locate(*_: Any) -> Any:
        raise RuntimeError("Doe^Jane was here")

    monkeypatch.setattr(storage, "locate", locate)
    answer = client.get("/dicom-web/studies/1.2?PatientName=Doe^Jane")
    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert "Traceback" not in answer.text
    assert "RuntimeError" not in answer.text
    assert "unexpected RuntimeError at test_problem.py" in caplog.text
    assert "Doe" not in caplog.text + answer.text
