"""What tells of the resources tells of all of them, and of nothing else: OPTIONS, the OpenAPI document, its page."""

import re
from dataclasses import fields
from html import unescape
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate
from werkzeug.routing import Rule

from fileroom_dicomweb import DicomwebSettings, create_app, dicomweb_blueprint, openapi
from fileroom_dicomweb.openapi_operations import OPERATIONS
from fileroom_dicomweb.openapi_parameters import RENDERING_PARAMETERS, WADO_URI_PARAMETERS
from fileroom_dicomweb.rendering import RenderingOptions, rendering_options
from fileroom_dicomweb.wado_uri_parameters import wado_uri_request
from fileroom_storage.attributes import Level, standard_registry
from fileroom_storage.storage import Storage
from tests.dicomweb.objects import json_of

ROOT = "/dicom-web"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
NO_METHODS = {"parameters", "servers"}
# Werkzeug answers these for every route
EVERYWHERE = {"HEAD", "OPTIONS"}


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    document = json_of(client.get(f"{ROOT}/openapi.json"))
    assert isinstance(document, dict)
    return document


def routes(app: Flask) -> list[Rule]:
    return [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith(("dicomweb.", "wado_uri."))]


def template(rule: Rule) -> str:
    return re.sub(r"<(?:[^<>:]+:)?(\w+)>", r"{\1}", rule.rule.removeprefix(ROOT))


def test_every_route_is_in_the_document_and_nothing_else(client: FlaskClient, document: dict[str, Any]) -> None:
    served = {
        (template(rule), method)
        for rule in routes(client.application)
        for method in (rule.methods or set()) - EVERYWHERE
    }
    described = {
        (path, method.upper())
        for path, item in document["paths"].items()
        for method in item
        if method not in NO_METHODS
    }
    assert described == served
    assert len(described) > 15
    endpoints = {rule.endpoint.removeprefix("dicomweb.") for rule in routes(client.application)}
    assert {endpoint for endpoint, _ in OPERATIONS} == endpoints


def test_a_route_without_a_description_is_an_error(client: FlaskClient) -> None:
    rule = Rule("/dicom-web/new/<study>", endpoint="dicomweb.new", methods=["GET"])
    with pytest.raises(openapi.UndescribedRoute, match=re.escape("GET /new/{study} (new)")):
        openapi.document([rule], ROOT, f"http://localhost{ROOT}")


def test_the_document_is_openapi(document: dict[str, Any]) -> None:
    validate(document)
    ids = [operation["operationId"] for item in document["paths"].values() for operation in operations(item)]
    assert len(ids) == len(set(ids))


def operations(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for method, operation in item.items() if method not in NO_METHODS]


def test_path_parameters_are_those_of_the_path(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        named = [parameter["name"] for parameter in item.get("parameters", [])]
        assert named == re.findall(r"{(\w+)}", path)


@pytest.mark.parametrize(
    ("path", "level"), [("/studies", Level.STUDY), ("/series", Level.SERIES), ("/instances", Level.IMAGE)]
)
def test_searches_take_every_attribute_of_their_level_and_above(
    client: FlaskClient, document: dict[str, Any], path: str, level: Level
) -> None:
    names = [one["$ref"].rpartition("/")[2] for one in document["paths"][path]["get"]["parameters"]]
    attributes = [one for upper in level.up_to() for one in standard_registry().at_level(upper)]
    expected = {
        f"{attribute.keyword}.{item.keyword}" if item else attribute.keyword
        for attribute in attributes
        for item in attribute.item_attributes or (None,)
    }
    assert {name for name in names if name[0].isupper()} == expected
    parameters = document["components"]["parameters"]
    for name in names:
        example = parameters[name].get("example")
        if example is not None:
            answer = client.get(ROOT + path, query_string={name: example})
            assert answer.status_code == 200, (name, example, answer.text)
            assert "Warning" not in answer.headers, (name, answer.headers)


def test_rendering_options_are_those_that_are_read() -> None:
    named = {parameter["name"] for parameter in RENDERING_PARAMETERS} - {"accept"}
    assert named == {field.name.replace("_", "") for field in fields(RenderingOptions)}
    examples = {
        parameter["name"]: str(parameter["example"]) for parameter in RENDERING_PARAMETERS if "example" in parameter
    }
    assert len(examples) > 3
    assert rendering_options(examples) != rendering_options({})
    asked = wado_uri_request({**WADO_URI_EXAMPLES, "windowCenter": "1", "windowWidth": "2"})
    assert (asked.frame_number, asked.region) == (1, (0, 0, 0.5, 0.5))


WADO_URI_EXAMPLES = {
    parameter["name"]: str(parameter.get("example", "1.2.3"))
    for parameter in WADO_URI_PARAMETERS
    if not parameter["name"].startswith("window")
}
BEHIND = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "pacs.example.org", "X-Forwarded-Prefix": "/archive"}


@pytest.mark.parametrize(
    ("base_url", "headers", "root_url"),
    [
        (None, {}, "http://localhost/dw"),
        (None, BEHIND, "https://pacs.example.org/archive/dw"),
        ("https://fixed.example.org/sub", BEHIND, "https://fixed.example.org/sub/dw"),
    ],
)
def test_the_server_is_the_one_that_clients_see(
    storage: Storage, base_url: str | None, headers: dict[str, str], root_url: str
) -> None:
    client = create_app(storage, DicomwebSettings(prefix="/dw", base_url=base_url)).test_client()
    document = json_of(client.get("/dw/openapi.json", headers=headers))
    assert document["servers"] == [{"url": root_url}]
    assert "/studies" in document["paths"]
    page = client.get("/dw", headers={**headers, "Accept": BROWSER}).text
    assert f"<code>{root_url}</code>" in page
    assert f'href="{root_url}/openapi.json"' in page
    link = client.options("/dw/studies", headers=headers).headers["Link"]
    assert f"<{root_url}/openapi.json>" in link
    assert f"<{root_url}/>" in link


def test_in_another_application(storage: Storage) -> None:
    app = Flask("another")
    app.register_blueprint(dicomweb_blueprint(storage), url_prefix="/images/dicom-web")
    app.add_url_rule("/other", "other", lambda: "other")
    document = json_of(app.test_client().get("/images/dicom-web/openapi.json"))
    assert document["servers"] == [{"url": "http://localhost/images/dicom-web"}]
    assert "/studies/{study}/metadata" in document["paths"]
    assert not [path for path in document["paths"] if "other" in path or "images" in path]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/vnd.oai.openapi+json", "application/vnd.oai.openapi+json"),
        (BROWSER, "text/html"),
        ("text/*", "text/html"),
    ],
)
@pytest.mark.parametrize("path", [ROOT, f"{ROOT}/"])
def test_the_root(client: FlaskClient, path: str, accept: str | None, media_type: str) -> None:
    answer = client.get(path, headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.mimetype) == (200, media_type)
    assert "Accept" in answer.headers["Vary"]
    if media_type != "text/html":
        assert json_of(answer) == json_of(client.get(f"{ROOT}/openapi.json"))


def test_the_root_in_no_form_that_there_is(client: FlaskClient) -> None:
    answer = client.get(ROOT, headers={"Accept": "image/png"})
    assert (answer.status_code, answer.content_type) == (406, "application/problem+json")
    assert "text/html" in json_of(answer)["acceptable"]


def test_the_page_shows_everything_and_loads_nothing(client: FlaskClient, document: dict[str, Any]) -> None:
    answer = client.get(ROOT, headers={"Accept": BROWSER})
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    shown = re.findall(r'<span class="method \w+">(\w+)</span>\s*<code class="path">([^<]+)</code>', answer.text)
    described = [
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method not in NO_METHODS
    ]
    assert sorted((method, unescape(path)) for method, path in shown) == sorted(described)
    assert re.findall(r"<(?:script|img|link|iframe)\b|@import|url\(|src=", answer.text) == []
    assert re.findall(r'href="([^"]*)"', answer.text) == [f"http://localhost{ROOT}/openapi.json"]
    for name in ("PatientName", "RequestAttributesSequence.ScheduledProcedureStepID", "fuzzymatching"):
        assert f"<code>{name}</code>" in answer.text
    assert "their <code>detail</code> says" in answer.text
    assert "`" not in answer.text


def test_options_of_every_route(client: FlaskClient, document: dict[str, Any]) -> None:
    for rule in routes(client.application):
        path = template(rule)
        if rule.endpoint.startswith("wado_uri."):
            continue
        url = ROOT + re.sub(r"{\w+}", "1", path)
        answer = client.options(url)
        assert answer.status_code == 200, url
        methods = {method.upper() for method in document["paths"][path] if method not in NO_METHODS}
        assert answer.allow.as_set() == {
            name.lower() for name in methods | {"OPTIONS"} | ({"HEAD"} & {*heads(methods)})
        }
        about = json_of(answer)
        assert about["servers"] == document["servers"]
        expected = document["paths"] if path == "/" else {path: document["paths"][path]}
        assert about["paths"] == expected
        validate(about)


def heads(methods: set[str]) -> list[str]:
    return ["HEAD"] if "GET" in methods else []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://viewer.example.org", "Access-Control-Request-Method": "GET"},
        {"Accept": "application/vnd.sun.wadl+xml"},
    ],
    ids=["preflight", "another form"],
)
def test_options_without_a_body(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.options(f"{ROOT}/studies", headers=headers)
    assert (answer.status_code, answer.data) == (204, b"")
    assert {"GET", "HEAD", "POST", "OPTIONS"} <= answer.allow
    assert 'rel="service-desc"' in answer.headers["Link"]


def test_options_of_what_there_is_not(client: FlaskClient) -> None:
    answer = client.options(f"{ROOT}/nothing")
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
