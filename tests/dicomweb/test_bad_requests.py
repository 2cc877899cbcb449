"""What no resource can answer: on every route the right 4xx with a problem body that says what to do, never a 500."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fileroom_dicomweb import create_app
from fileroom_storage.storage import Storage, StorageSettings
from tests.dicomweb.objects import data_set, json_of, part10

ROOT = "/dicom-web"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE")
UID_NAMES = ("study", "series", "instance")
NO_UIDS = (
    "a b",
    "1.2/../3",
    "%00",
    "1.2%00",
    "%ff",
    "%zz",
    "é",
    "x" * 65,
    "1.2;drop",
    "..",
    "%2e%2e",
    "%0d%0a",
    "*",
    "1.2*",
)
REFUSED = (400, 404)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """One for all, as nothing here changes anything."""
    with Storage.open(StorageSettings(tmp_path_factory.mktemp("bad") / "data")) as storage:
        storage.create_schema_if_empty()
        yield create_app(storage).test_client()


@pytest.fixture(scope="module")
def stored(client: FlaskClient) -> dict[str, str]:
    """The UIDs of an 8 × 8 image of one frame."""
    ds = data_set()
    assert client.post(f"{ROOT}/studies", data=part10(ds), content_type="application/dicom").status_code == 200
    uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    others = {"frame_list": "1", "path": "7FE00010", "code": "113001^DCM", "deletion": "1"}
    return {**dict(zip(UID_NAMES, map(str, uids), strict=True)), **others}


@pytest.fixture(scope="module")
def routes(client: FlaskClient) -> list[tuple[str, str]]:
    """Method and path of everything below the root."""
    paths = json_of(client.get(f"{ROOT}/openapi.json"))["paths"]
    return [
        (method.upper(), path)
        for path, item in paths.items()
        for method in item
        if method not in ("parameters", "servers") and "servers" not in item
    ]


def url(path: str, values: dict[str, str]) -> str:
    return ROOT + re.sub(r"{(\w+)}", lambda match: values[match[1]], path)


def check_problem(answer: TestResponse, *statuses: int) -> None:
    assert answer.status_code in statuses, (answer.request.path, answer.text)
    assert answer.content_type == "application/problem+json"
    problem = json_of(answer)
    assert problem["type"] == "about:blank"
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"] != problem["title"]
    assert problem["detail"].endswith((".", "?")) or len(problem["detail"]) > 30
    assert "werkzeug" not in answer.text.lower()


def below_uids(routes: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """With each name of a UID in them; those that store take any study."""
    for method, path in routes:
        for name in UID_NAMES:
            if f"{{{name}}}" in path:
                yield method, path, name


def test_every_method_of_every_route(
    client: FlaskClient, routes: list[tuple[str, str]], stored: dict[str, str]
) -> None:
    taken: dict[str, set[str]] = {}
    for method, path in routes:
        taken.setdefault(path, set()).add(method)
    for path, methods in taken.items():
        allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        for method in set(METHODS) - allowed:
            answer = client.open(url(path, stored), method=method)
            assert answer.status_code == 405, (method, path)
            assert set(answer.headers["Allow"].split(", ")) == allowed
            if method != "HEAD":
                check_problem(answer, 405)


def test_what_is_not_stored(client: FlaskClient, routes: list[tuple[str, str]], stored: dict[str, str]) -> None:
    for method, path, name in below_uids(routes):
        answer = client.open(url(path, {**stored, name: "1.2.3.4.5"}), method=method)
        if path in ("/studies/{study}",) and method == "POST":
            check_problem(answer, 415)
        elif method == "GET" and path.endswith(("/series", "/instances")):
            assert (answer.status_code, json_of(answer)) == (200, [])
        else:
            check_problem(answer, 404)


@pytest.mark.parametrize("wrong", NO_UIDS)
def test_what_is_no_uid(client: FlaskClient, routes: list[tuple[str, str]], stored: dict[str, str], wrong: str) -> None:
    for method, path, name in below_uids(routes):
        check_problem(client.open(url(path, {**stored, name: wrong}), method=method), *REFUSED, 405)


def test_head_is_get_without_a_body(client: FlaskClient, routes: list[tuple[str, str]], stored: dict[str, str]) -> None:
    for method, path in routes:
        if method == "GET":
            for values in (stored, {**stored, "study": "1.2.3.4.5"}):
                answer, head = client.get(url(path, values)), client.head(url(path, values))
                assert (head.status_code, head.data) == (answer.status_code, b""), path
                assert head.mimetype == answer.mimetype


def test_an_unsupported_accept(client: FlaskClient, routes: list[tuple[str, str]], stored: dict[str, str]) -> None:
    refused = 0
    for method, path in routes:
        if method == "GET":
            answer = client.get(url(path, stored), headers={"Accept": "application/x-nothing"})
            if answer.status_code != 200 and "deletion" not in path:
                check_problem(answer, 406)
                assert json_of(answer)["acceptable"]
                refused += 1
            else:
                # one form only, which is given whatever is asked for
                assert path.startswith(("/deletions", "/openapi.json")), path
    assert refused > 15


@pytest.mark.parametrize(
    ("frames", "status"),
    [
        ("2", 404),
        ("1,2", 404),
        ("1-2", 404),
        ("999999999", 404),
        ("1-999999999", 404),
        ("0", 400),
        ("1,0", 400),
        ("2-1", 400),
        ("-1", 400),
        ("1-", 400),
        ("1,,1", 400),
        ("1,", 400),
        (",", 400),
        ("x", 400),
        ("1.0", 400),
        ("٣", 400),
        ("1%00", 400),
        ("9" * 400, 400),
    ],
)
@pytest.mark.parametrize("end", ["", "/rendered", "/thumbnail"])
def test_frames_that_are_none(client: FlaskClient, stored: dict[str, str], frames: str, status: int, end: str) -> None:
    path = "/studies/{study}/series/{series}/instances/{instance}/frames/{frame_list}" + end
    check_problem(client.get(url(path, {**stored, "frame_list": frames})), status)


@pytest.mark.parametrize(
    "value",
    ["00420011", "7FE0001", "x", "7FE00010/0", "7FE00010/0/00100010", "%00", "7FE00010%00"],
)
def test_values_that_are_none(client: FlaskClient, stored: dict[str, str], value: str) -> None:
    path = "/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}"
    check_problem(client.get(url(path, {**stored, "path": value})), *REFUSED)


@pytest.mark.parametrize("code", ["1", "113001^99X", "x", "%00", "^", "113001^DCM^", "9" * 300])
def test_codes_that_are_none(client: FlaskClient, stored: dict[str, str], code: str) -> None:
    check_problem(client.post(url("/studies/{study}/reject/{code}", {**stored, "code": code})), 400)


@pytest.mark.parametrize("deletion", ["99", "-1", "x", "1.5", "9" * 30, "%00", str(2**63)])
def test_deletions_that_are_none(client: FlaskClient, deletion: str) -> None:
    check_problem(client.get(f"{ROOT}/deletions/{deletion}"), 404)
    check_problem(client.post(f"{ROOT}/deletions/{deletion}/restore"), 404)


@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "limit=-1",
        "offset=1e9",
        "fuzzymatching=perhaps",
        "StudyDate=yesterday",
        "StudyDate=20240101-20240132",
        "StudyTime=25",
        "PatientName=%00",
        "PatientName=%ff",
        "NumberOfStudyRelatedInstances=many",
        "PatientNmae=x",
        "StudyInstanceUID=" + ",".join(["1.2"] * 100_000),
        "PatientName=" + "x" * 100_000,
    ],
)
@pytest.mark.parametrize("path", ["/studies", "/series", "/instances"])
def test_searches_that_cannot_be_understood(client: FlaskClient, path: str, query: str) -> None:
    check_problem(client.get(f"{ROOT}{path}?{query}"), 400)


@pytest.mark.parametrize("name", ["viewport", "window", "quality", "iccprofile", "annotation"])
@pytest.mark.parametrize("value", ["x", "-1", ",", "1,", "1,x", "%00", "1e999", "nan,nan", "9" * 5000])
def test_rendering_options_that_are_none(client: FlaskClient, stored: dict[str, str], name: str, value: str) -> None:
    path = "/studies/{study}/series/{series}/instances/{instance}/rendered"
    answer = client.get(f"{url(path, stored)}?{name}={value}")
    if name == "viewport" and value in (",", "1,"):
        assert answer.status_code == 200  # any part may be left out
    else:
        check_problem(answer, 400)
        assert json_of(answer)["parameter"] == name


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/studies/1/2",
        "/studies/1/series/2/instances/3/frames",
        "/studies/1/bulkdata/7FE00010",
        "/studies/1/metadata/",
        "/%00",
        "/%ff",
        "/%zz",
        "/é",
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_addresses_without_a_resource(client: FlaskClient, path: str, method: str) -> None:
    answer = client.open(ROOT + path, method=method)
    if method == "HEAD":
        assert (answer.status_code, answer.data) == (404, b"")
    else:
        check_problem(answer, 404)
        assert "DICOMweb root" in json_of(answer)["detail"]


def test_slashes(client: FlaskClient, stored: dict[str, str]) -> None:
    for path in (
        "/studies/",
        "/series/",
        "/instances/",
        f"/studies/{stored['study']}/",
        f"/studies/{stored['study']}/series/",
    ):
        assert client.get(ROOT + path).status_code == 200, path
    for path in ("//studies", f"/studies//{stored['study']}"):
        answer = client.get(ROOT + path)
        assert answer.status_code == 308
        assert "//" not in answer.headers["Location"].removeprefix("http://")
        assert client.get(ROOT + path, follow_redirects=True).status_code == 200


def test_an_address_beyond_all_bounds(client: FlaskClient) -> None:
    check_problem(client.get(f"{ROOT}/studies/{'1' * 100_000}"), 400)
    check_problem(client.get(f"{ROOT}/{'a/' * 10_000}"), 404)
    check_problem(client.get(f"{ROOT}/studies?{'a=b&' * 10_000}"), 400)


def test_wado_uri(client: FlaskClient, stored: dict[str, Any]) -> None:
    right = {
        "requestType": "WADO",
        "studyUID": stored["study"],
        "seriesUID": stored["series"],
        "objectUID": stored["instance"],
    }
    assert client.get("/wado", query_string=right).status_code == 200
    for name in right:
        check_problem(client.get("/wado", query_string={**right, name: ""}), 400)
        check_problem(client.get("/wado", query_string={**right, name: "a b"}), 400)
        if name != "requestType":
            check_problem(client.get("/wado", query_string={**right, name: "1.2.3.4.5"}), 404)
    for name, value in {
        "frameNumber": "0",
        "rows": "x",
        "columns": "-1",
        "region": "1,1,0,0",
        "windowCenter": "1",
        "imageQuality": "101",
        "annotation": "x",
        "anonymize": "yes",
        "contentType": "nonsense",
    }.items():
        check_problem(client.get("/wado", query_string={**right, name: value}), 400)
    check_problem(client.get("/wado", query_string={**right, "frameNumber": "2"}), 404)
    check_problem(client.get("/wado", query_string={**right, "contentType": "video/mp4"}), 406)
    check_problem(client.post("/wado"), 405)
