"""The application around the blueprint: health, the start page, addresses behind proxies."""

import re
from collections.abc import Mapping

import pytest
from flask.testing import FlaskClient
from pydicom.uid import generate_uid

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_storage.errors import StorageUnavailable
from fileroom_storage.storage import Storage
from tests.dicomweb.objects import data_set, json_of, multipart, part10

BEHIND = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "pacs.example.org", "X-Forwarded-Prefix": "/archive"}
FORWARDED = {"Forwarded": "proto=https;host=pacs.example.org", "X-Forwarded-Prefix": "/archive"}
PUBLIC = "https://pacs.example.org/archive"


def test_live(client: FlaskClient) -> None:
    answer = client.get("/health/live")
    assert (answer.status_code, json_of(answer)) == (200, {"status": "live"})


def test_ready(client: FlaskClient) -> None:
    answer = client.get("/health/ready")
    assert (answer.status_code, json_of(answer)) == (200, {"status": "ready", "parts": {"storage": "ready"}})


@pytest.mark.parametrize("reason", [None, "the DICOM listener is not up yet"])
def test_readiness_of_other_parts(storage: Storage, reason: str | None) -> None:
    def readiness() -> Mapping[str, str | None]:
        return {"dicom": reason}

    answer = create_app(storage, readiness=readiness).test_client().get("/health/ready")
    assert answer.status_code == (503 if reason else 200)
    assert json_of(answer)["parts"] == {"storage": "ready", "dicom": reason or "ready"}


def test_not_ready(client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def check_ready() -> None:
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(storage, "check_ready", check_ready)
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert json_of(answer) == {"status": "not ready", "parts": {"storage": "the disk is full"}}
    assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    ("headers", "base_url"), [({}, "http://localhost"), (BEHIND, PUBLIC), (FORWARDED, PUBLIC)], ids=["direct", "x", "f"]
)
def test_start_page(client: FlaskClient, headers: dict[str, str], base_url: str) -> None:
    answer = client.get("/", headers=headers)
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    links = re.findall(r'href="([^"]+)"', answer.text)
    assert links == [f"{base_url}/dicom-web/studies?limit=25", f"{base_url}/health/ready"]
    assert all(client.get(link.removeprefix(base_url)).status_code == 200 for link in links)
    assert f"<code>{base_url}/dicom-web</code>" in answer.text


@pytest.mark.parametrize("headers", [BEHIND, FORWARDED], ids=["x-forwarded", "forwarded"])
@pytest.mark.parametrize("base_url", [None, "https://fixed.example.org/sub/"])
def test_addresses_behind_a_proxy(storage: Storage, headers: dict[str, str], base_url: str | None) -> None:
    client = create_app(storage, DicomwebSettings(prefix="/dw", base_url=base_url)).test_client()
    root = f"{base_url.rstrip('/') if base_url else PUBLIC}/dw"
    ds = data_set()
    path = f"studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    stored = json_of(client.post("/dw/studies", data=part10(ds), content_type="application/dicom", headers=headers))
    assert stored["00081190"]["Value"] == [f"{root}/studies/{ds.StudyInstanceUID}"]
    assert stored["00081199"]["Value"][0]["00081190"]["Value"] == [f"{root}/{path}"]
    (instance,) = json_of(client.get("/dw/instances", headers=headers))
    assert instance["00081190"]["Value"] == [f"{root}/{path}"]
    (metadata,) = json_of(client.get(f"/dw/{path}/metadata", headers=headers))
    assert metadata["7FE00010"]["BulkDataURI"] == f"{root}/{path}/bulkdata/7FE00010"
    (warned,) = client.get("/dw/studies?ReasonForStudy=x", headers=headers).headers.getlist("Warning")
    assert warned.startswith(f"299 {root}: ")


def test_a_stranger_cannot_forward(storage: Storage) -> None:
    client = create_app(storage).test_client()
    body = multipart(part10(data_set(StudyInstanceUID=generate_uid())))
    kind = "multipart/related; type=application/dicom; boundary=a-boundary"
    stranger = {"REMOTE_ADDR": "203.0.113.9"}
    stored = client.post("/dicom-web/studies", data=body, content_type=kind, headers=BEHIND, environ_overrides=stranger)
    assert json_of(stored)["00081190"]["Value"][0].startswith("http://localhost/dicom-web/studies/")
