"""CORS: which pages of other origins may use DICOMweb, and that nothing else is touched."""

import pytest
from flask.testing import FlaskClient

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_storage.storage import Storage
from tests.dicomweb.objects import data_set, part10

VIEWER = "https://viewer.example.org"
LOCAL = "http://localhost:3000"
STUDIES = "/dicom-web/studies"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,accept,content-type,x-requested-with,if-none-match",
}


def client_for(storage: Storage, *origins: str) -> FlaskClient:
    return create_app(storage, DicomwebSettings(cors_origins=origins)).test_client()


@pytest.mark.parametrize("origin", [VIEWER, LOCAL, "HTTPS://viewer.example.ORG"])
def test_a_listed_origin(storage: Storage, origin: str) -> None:
    answer = client_for(storage, VIEWER, LOCAL).get(STUDIES, headers={"Origin": origin})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    exposed = answer.headers["Access-Control-Expose-Headers"]
    for name in ("Content-Type", "Content-Location", "Content-Range", "ETag", "Location", "Warning"):
        assert name in exposed
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.org",
        "http://viewer.example.org",
        "https://viewer.example.org.evil.example",
        "https://viewer.example.org:8443",
        "https://xviewer.example.org",
        "null",
        "",
        None,
    ],
)
def test_another_origin(storage: Storage, origin: str | None) -> None:
    answer = client_for(storage, VIEWER).get(STUDIES, headers={} if origin is None else {"Origin": origin})
    assert answer.status_code == 200
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]
    # what a cache keeps of this is not for the listed origin
    assert "Origin" in answer.headers["Vary"]


def test_nothing_by_default(storage: Storage) -> None:
    answer = client_for(storage).get(STUDIES, headers={"Origin": VIEWER})
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]
    assert "Origin" not in answer.headers["Vary"]


def test_any_origin_is_without_credentials(storage: Storage) -> None:
    for headers in ({"Origin": VIEWER}, {}):
        answer = client_for(storage, "*").get(STUDIES, headers=headers)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Origin" not in answer.headers["Vary"].split(", ")


@pytest.mark.parametrize("path", [STUDIES, f"{STUDIES}/1.2/series/1.3/metadata", "/dicom-web/nothing", "/wado"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_preflight(storage: Storage, path: str, method: str) -> None:
    asked = {**PREFLIGHT, "Origin": VIEWER, "Access-Control-Request-Method": method}
    answer = client_for(storage, VIEWER).options(path, headers=asked)
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == VIEWER
    assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
    assert answer.headers["Access-Control-Allow-Headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert int(answer.headers["Access-Control-Max-Age"]) > 0


def test_preflight_of_another_origin(storage: Storage) -> None:
    answer = client_for(storage, VIEWER).options(STUDIES, headers={**PREFLIGHT, "Origin": "https://evil.example.org"})
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]


def test_preflight_with_headers_that_are_none(storage: Storage) -> None:
    asked = {**PREFLIGHT, "Origin": VIEWER, "Access-Control-Request-Headers": 'a"b<script>'}
    assert "Access-Control-Allow-Headers" not in client_for(storage, VIEWER).options(STUDIES, headers=asked).headers


def test_options_that_is_no_preflight(storage: Storage) -> None:
    """Capabilities, as without CORS."""
    plain = client_for(storage).options(STUDIES, headers={"Origin": VIEWER})
    answer = client_for(storage, VIEWER).options(STUDIES, headers={"Origin": VIEWER})
    assert (answer.status_code, answer.data) == (plain.status_code, plain.data)
    assert answer.headers["Access-Control-Allow-Origin"] == VIEWER


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{STUDIES}?limit=x", 400),
        (f"{STUDIES}/1.2/metadata", 404),
        ("/dicom-web/nothing", 404),
        (f"{STUDIES}?accept=image/tiff", 406),
    ],
)
def test_errors_can_be_read(storage: Storage, path: str, status: int) -> None:
    answer = client_for(storage, VIEWER).get(path, headers={"Origin": VIEWER})
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == VIEWER
    assert client_for(storage, VIEWER).put(STUDIES, headers={"Origin": VIEWER}).status_code == 405


def test_streamed_answers_and_304(storage: Storage) -> None:
    client, ds = client_for(storage, VIEWER), data_set()
    stored = client.post(STUDIES, data=part10(ds), content_type="application/dicom", headers={"Origin": VIEWER})
    assert stored.headers["Access-Control-Allow-Origin"] == VIEWER
    path = f"{STUDIES}/{ds.StudyInstanceUID}"
    for name in ("", "/metadata"):
        answer = client.get(path + name, headers={"Origin": VIEWER})
        assert answer.headers["Access-Control-Allow-Origin"] == VIEWER
        known = {"Origin": VIEWER, "If-None-Match": answer.headers["ETag"]}
        again = client.get(path + name, headers=known)
        assert (again.status_code, again.headers["Access-Control-Allow-Origin"]) == (304, VIEWER)


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/"])
def test_other_pages_are_left_alone(storage: Storage, path: str) -> None:
    answer = client_for(storage, VIEWER, "*").get(path, headers={"Origin": VIEWER})
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]
