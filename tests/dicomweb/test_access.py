"""Every resource that there is asks who comes, what they may do, and whose patients they may see."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, g
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from fileroom_dicomweb import DicomwebSettings, create_app, dicomweb_blueprint, wado_uri_blueprint
from fileroom_dicomweb.access import ANYBODY, NEEDED, NOBODY, Permission, Principal, needed, register_guard
from fileroom_dicomweb.authentication_settings import AuthenticationSettings
from fileroom_dicomweb.problem import register_problem_handlers
from fileroom_storage.storage import Storage
from tests.dicomweb.objects import data_set, json_of, multipart, part10
from tests.dicomweb.signed_in import ALL, key, secured
from tests.made import made, uid
from tests.storage.stored import store
from tests.storage.test_rejection import note

# written out here once more: whoever opens a resource has to say so twice
OPEN = {"/", "/about", "/health/live", "/health/ready", "/viewer", "/viewer/", "/viewer/<path:path>"}
NORTH = frozenset({"NORTH"})
CONTENT_TYPE = 'multipart/related; type="application/dicom"; boundary=a-boundary'
# study → issuer
ISSUERS = {1: "NORTH", 2: "SOUTH"}


def image(study: int, **attributes: Any) -> bytes:
    values = {
        "StudyInstanceUID": uid(study),
        "SeriesInstanceUID": uid(study, 1),
        "SOPInstanceUID": uid(study, 1, 1),
        "IssuerOfPatientID": ISSUERS.get(study),
        "PatientID": "P1",
        "ICCProfile": bytes(2000),  # long enough to be bulk data
    }
    return part10(data_set(**{**values, **attributes}))


@pytest.fixture
def storage(storage: Storage) -> Storage:
    client = create_app(storage, DicomwebSettings()).test_client()
    for study in ISSUERS:
        answer = client.post("/dicom-web/studies", data=image(study), content_type="application/dicom")
        assert answer.status_code == 200
    return storage


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    return secured(storage)


def is_open(rule: Rule) -> bool:
    return rule.rule in OPEN or rule.endpoint == "viewer.mode_at_the_root"


def requests(app: Flask, study: int = 1, deletion: int = 1) -> list[tuple[Rule, str, str]]:
    """Every rule with each of its methods, and a path to which there is something in a study."""
    return list(_requests(app, study, deletion))


def _requests(app: Flask, study: int, deletion: int) -> Iterator[tuple[Rule, str, str]]:
    values = {"study": uid(study), "series": uid(study, 1), "instance": uid(study, 1, 1), "frame_list": "1"}
    values |= {"path": "00282000", "code": "113001^DCM"}
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
        for rule in app.url_map.iter_rules():
            arguments: dict[str, Any] = {name: values.get(name, deletion) for name in rule.arguments}
            for method in sorted((rule.methods or set()) - {"OPTIONS"}):
                path = adapter.build(rule.endpoint, arguments, method)
                if rule.endpoint == "wado_uri.retrieve":
                    path += f"?requestType=WADO&studyUID={uid(study)}&seriesUID={uid(study, 1)}"
                    path += f"&objectUID={uid(study, 1, 1)}"
                yield rule, method, path


def ask(client: FlaskClient, method: str, path: str, headers: dict[str, str] | None = None) -> TestResponse:
    return client.open(path, method=method, headers={"Accept": "*/*", **(headers or {})})


def note_principals(app: Flask, seen: list[Principal]) -> None:
    @app.after_request
    def seen_here(response: Response) -> Response:
        seen.append(g.principal)
        return response


def test_every_endpoint_says_what_it_needs(storage: Storage) -> None:
    app = create_app(storage, exposition=lambda _accept: (b"", "text/plain"))
    rules = [*app.url_map.iter_rules()]
    assert {rule.endpoint.removeprefix("dicomweb.") for rule in rules} == NEEDED.keys()
    assert {rule.rule for rule in rules if needed(rule.endpoint) == "nothing"} >= OPEN
    assert needed("dicomweb.something_new") is Permission.ADMIN
    assert needed("metrics") is Permission.ADMIN


def test_nobody_gets_anything(client: FlaskClient) -> None:
    for rule, method, path in requests(client.application):
        for headers in ({}, {"X-API-Key": "frk_000000000000_" + 43 * "A"}, {"Authorization": "Basic YTpi"}):
            answer = ask(client, method, path, headers)
            if is_open(rule):
                assert answer.status_code in (200, 302, 404), (method, path)
                continue
            assert answer.status_code == 401, (method, path)
            challenge = answer.headers["WWW-Authenticate"]
            known = "X-API-Key" in headers
            assert challenge.startswith('Bearer realm="fileroom"'), path
            assert ('error="invalid_token"' in challenge) is known, path
            assert answer.content_type == "application/problem+json"
            if method != "HEAD":
                assert json_of(answer)["status"] == 401


def test_each_permission_is_for_what_needs_it(client: FlaskClient, storage: Storage) -> None:
    lacking = {
        permission: key(storage, f"all but {permission}", {*ALL} - {permission, Permission.ADMIN}) for permission in ALL
    }
    having = {permission: key(storage, permission, [permission]) for permission in ALL}
    tried = set()
    for rule, method, path in requests(client.application, study=77):
        need = needed(rule.endpoint)
        if not isinstance(need, Permission):
            continue
        tried.add(need)
        answer = ask(client, method, path, lacking[need])
        assert answer.status_code == 403, (method, path)
        assert f'error="insufficient_scope", scope="{need}"' in answer.headers["WWW-Authenticate"]
        for enough in (need, Permission.ADMIN):
            assert ask(client, method, path, having[enough]).status_code not in (401, 403), (method, path)
    assert tried == {Permission.READ, Permission.WRITE, Permission.DELETE}


def test_what_is_outside_of_a_scope_is_not_there(client: FlaskClient, storage: Storage) -> None:
    """Every URL that leads to something of SOUTH is a 404 or an empty list for NORTH, and works for who sees all."""
    deletion = storage.delete({"StudyInstanceUID": uid(2)})
    before = storage.version()
    north, everything = key(storage, "north", scope=NORTH), key(storage, "all")
    nobody = key(storage, "nobody", scope=frozenset())
    led, order = set(), {"POST": 1, "DELETE": 2}
    of_deletions = [one for one in requests(client.application, 2, deletion.pk) if "deletion" in one[0].rule]
    of_studies = [one for one in requests(client.application, 2) if "deletion" not in one[0].rule]
    for chosen in (of_deletions, sorted(of_studies, key=lambda one: order.get(one[1], 0))):
        for rule, method, path in chosen:
            if is_open(rule) or rule.endpoint.endswith(("capabilities_page", "openapi_document", "store_to_study")):
                continue
            if rule.rule == "/dicom-web/studies" and method == "POST":
                continue
            for who in (north, nobody):
                answer = ask(client, method, path, who)
                if answer.status_code == 200:
                    kept = {uid(1)} if who is north else set()
                    assert not rule.arguments or not json_or_empty(answer), (method, path)
                    assert studies_told(answer) <= kept, (method, path)
                else:
                    assert answer.status_code == 404, (method, path, answer.status_code, answer.data)
                    assert uid(2).encode() not in answer.data
            if method in ("GET", "HEAD") or "restore" in path:
                assert ask(client, method, path, everything).status_code == 200, (method, path)
                led.add(rule.rule)
    assert before is not None
    assert len(led) > 20
    assert [one.study_instance_uid for one in storage.locate({"StudyInstanceUID": uid(2)})] == [uid(2)]


def json_or_empty(answer: TestResponse) -> Any:
    return json.loads(answer.data or b"[]")


def studies_told(answer: TestResponse) -> set[str]:
    """The studies that are told of, in answers of searches and of the list of deletions."""
    return {one.get("study_instance_uid") or one["0020000D"]["Value"][0] for one in json_or_empty(answer)}


@pytest.mark.parametrize("level", ["studies", "series", "instances"])
def test_searches_at_every_level(client: FlaskClient, storage: Storage, level: str) -> None:
    north, both = key(storage, "north", scope=NORTH), key(storage, "both", scope=NORTH | {"SOUTH"})
    path = f"/dicom-web/{level}?includefield=IssuerOfPatientID"
    for who, expected in ((north, {"NORTH"}), (both, {"NORTH", "SOUTH"})):
        found = json_of(client.get(path, headers=who))
        assert {entity["00100021"]["Value"][0] for entity in found} == expected
    assert json_of(client.get(f"{path}&IssuerOfPatientID=SOUTH", headers=north)) == []
    assert json_of(client.get(f"{path}&StudyInstanceUID={uid(2)}", headers=north)) == []


def test_store_into_anothers(client: FlaskClient, storage: Storage) -> None:
    """Each instance has its own outcome: 0124, not authorized (PS3.7 Annex C)."""
    writer = key(storage, "writer", [Permission.WRITE], NORTH)
    objects = [
        image(1, SOPInstanceUID=uid(1, 1, 2)),
        image(3, IssuerOfPatientID="SOUTH"),
        image(4),
        image(2, SOPInstanceUID=uid(2, 1, 2), IssuerOfPatientID="NORTH"),
    ]
    answer = client.post("/dicom-web/studies", data=multipart(*objects), content_type=CONTENT_TYPE, headers=writer)
    assert answer.status_code == 202
    outcome = json_of(answer)
    stored = [item["00081155"]["Value"] for item in outcome["00081199"]["Value"]]
    failed = {item["00081155"]["Value"][0]: item["00081197"]["Value"] for item in outcome["00081198"]["Value"]}
    assert stored == [[uid(1, 1, 2)]]
    assert failed == {uid(3, 1, 1): [0x0124], uid(4, 1, 1): [0x0124], uid(2, 1, 2): [0x0124]}
    assert {one.sop_instance_uid for one in storage.locate({"StudyInstanceUID": uid(2)})} == {uid(2, 1, 1)}
    only = client.post(
        "/dicom-web/studies", data=image(3, IssuerOfPatientID="SOUTH"), headers=writer, content_type="application/dicom"
    )
    assert only.status_code == 409


def test_metadata_is_stored_into_anothers_as_little(client: FlaskClient, storage: Storage) -> None:
    writer = key(storage, "writer", [Permission.WRITE], NORTH)
    metadata = made(StudyInstanceUID=uid(5), IssuerOfPatientID="SOUTH").to_json_dict()
    answer = client.post(
        "/dicom-web/studies", data=json.dumps([metadata]), content_type="application/dicom+json", headers=writer
    )
    assert answer.status_code == 409
    assert json_of(answer)["00081198"]["Value"][0]["00081197"]["Value"] == [0x0124]


def test_a_rejection_note_needs_more_than_write(client: FlaskClient, storage: Storage) -> None:
    rejecting = part10(note(1, IssuerOfPatientID="NORTH"))
    for permissions, status, left in (
        ([Permission.WRITE], 409, 1),
        ([Permission.WRITE, Permission.DELETE], 200, 1),
    ):
        who = key(storage, f"{permissions}", permissions)
        answer = client.post("/dicom-web/studies", data=rejecting, content_type="application/dicom", headers=who)
        assert answer.status_code == status
        assert len(list(storage.locate({"StudyInstanceUID": uid(1)}))) == left
    assert [one.sop_instance_uid for one in storage.locate({"StudyInstanceUID": uid(1)})] == [uid(1, 9, 1)]


def test_a_body_is_not_read_for_nobody(client: FlaskClient, storage: Storage) -> None:
    before = storage.version()
    answer = client.post("/dicom-web/studies", data=image(6), content_type="application/dicom")
    assert answer.status_code == 401
    assert storage.version() == before


def test_an_entity_tag_does_not_tell_of_what_is_outside_of_a_scope(client: FlaskClient, storage: Storage) -> None:
    everything, north = key(storage, "all"), key(storage, "north", scope=NORTH)
    for path in ("", "/metadata", "/thumbnail", f"/series/{uid(2, 1)}/instances/{uid(2, 1, 1)}/frames/1"):
        url = f"/dicom-web/studies/{uid(2)}{path}"
        tag = client.get(url, headers={**everything, "Accept": "*/*"}).headers["ETag"]
        again = {"If-None-Match": tag, "Accept": "*/*"}
        assert client.get(url, headers={**everything, **again}).status_code == 304
        assert client.get(url, headers={**north, **again}).status_code == 404


@pytest.mark.parametrize("name", ["Authorization", "authorization", "X-API-Key"])
def test_the_ways_to_send_a_key(client: FlaskClient, storage: Storage, name: str) -> None:
    [text] = key(storage, "machine").values()
    for value in (text, f"Bearer {text}", f"bearer  {text} "):
        answer = client.get("/dicom-web/studies", headers={name: value})
        assert answer.status_code == (200 if (name == "X-API-Key") is (value == text) else 401), value


def test_basic_of_a_proxy_does_not_hide_a_key(client: FlaskClient, storage: Storage) -> None:
    headers = {**key(storage, "machine"), "Authorization": "Basic YTpi"}
    assert client.get("/dicom-web/studies", headers=headers).status_code == 200


def test_a_preflight_needs_nothing_and_options_needs_somebody(storage: Storage) -> None:
    settings = DicomwebSettings(authentication=AuthenticationSettings(), cors_origins=("https://viewer.example",))
    client = create_app(storage, settings).test_client()
    origin = {"Origin": "https://viewer.example"}
    preflight = {**origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    answer = client.options("/dicom-web/studies", headers=preflight)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Headers"]) == (204, "authorization")
    refused = client.get("/dicom-web/studies", headers=origin)
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://viewer.example"
    assert "WWW-Authenticate" in refused.headers["Access-Control-Expose-Headers"]
    # without CORS there is nobody to answer a preflight but the resource
    alone = secured(storage)
    assert alone.options("/dicom-web/studies", headers=preflight).status_code == 204
    assert alone.options("/dicom-web/studies", headers={"Accept": "application/json"}).status_code == 401
    somebody = {**key(storage, "machine", []), "Accept": "application/json"}
    assert alone.options("/dicom-web/studies", headers=somebody).status_code == 200


def test_who_asks_is_told_to_others(client: FlaskClient, storage: Storage) -> None:
    seen: list[Principal] = []
    note_principals(client.application, seen)
    client.get("/dicom-web/studies", headers=key(storage, "ct-gateway", [Permission.READ], NORTH))
    client.get("/health/live")
    client.get("/dicom-web/studies")
    assert seen == [Principal("key:ct-gateway", frozenset({Permission.READ}), NORTH), NOBODY, NOBODY]
    free = create_app(storage, DicomwebSettings())
    note_principals(free, seen)
    free.test_client().get("/dicom-web/studies")
    assert seen[-1] == ANYBODY


def test_blueprints_in_an_application_of_somebody_elses(storage: Storage) -> None:
    settings = DicomwebSettings(authentication=AuthenticationSettings())
    app = Flask("other")
    app.register_blueprint(dicomweb_blueprint(storage, settings), url_prefix="/pacs", name="pacs")
    app.register_blueprint(wado_uri_blueprint(storage, settings), url_prefix="/wado")
    app.add_url_rule("/own", view_func=lambda: "own")
    client, reader = app.test_client(), key(storage, "reader", [Permission.READ], NORTH)
    assert client.get("/own").status_code == 200
    for path in ("/pacs/studies", "/wado?requestType=WADO", f"/pacs/studies/{uid(1)}/metadata"):
        assert client.get(path).status_code == 401
    assert len(json_of(client.get("/pacs/studies", headers=reader))) == 1
    assert client.delete(f"/pacs/studies/{uid(1)}", headers=reader).status_code == 403


def test_a_resource_that_nobody_thought_of_is_closed(storage: Storage) -> None:
    client = secured(storage)
    client.application.add_url_rule("/new", endpoint="new", view_func=lambda: "new")
    assert client.get("/new").status_code == 401
    assert client.get("/new", headers=key(storage, "reader", [Permission.READ])).status_code == 403
    assert client.get("/new", headers=key(storage, "admin", [Permission.ADMIN])).status_code == 200


def test_without_identification_everybody_is_anybody() -> None:
    app = Flask("free")
    register_problem_handlers(app)
    register_guard(app, None)
    app.add_url_rule("/who", view_func=lambda: str(g.principal == ANYBODY))
    assert app.test_client().get("/who").text == "True"


def test_an_index_that_is_away_lets_nobody_in(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    client, who = secured(storage), key(storage, "machine")
    path = storage.settings.data / "index.sqlite"
    with Storage.open(storage.settings) as other:
        broken = create_app(other, DicomwebSettings(authentication=AuthenticationSettings())).test_client()
        for file in storage.settings.data.glob("index.sqlite*"):
            file.rename(file.with_suffix(".away"))
        path.mkdir()
        answer = broken.get("/dicom-web/studies", headers=who)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert client is not None


def test_the_document_tells_of_it(client: FlaskClient, storage: Storage) -> None:
    from openapi_spec_validator import validate

    document = json_of(client.get("/dicom-web/openapi.json", headers=key(storage, "machine", [])))
    validate(document)
    assert document["security"] == [{"token": []}, {"apiKey": []}]
    operation = document["paths"]["/studies/{study}"]["delete"]
    assert operation["description"].endswith("Needs the permission delete.")
    assert {"401", "403"} <= operation["responses"].keys()
    page = client.get("/dicom-web", headers={**key(storage, "browser", []), "Accept": "text/html"})
    assert "Needs the permission delete." in page.text


def test_stored_by_a_client_without_a_scope(storage: Storage) -> None:
    """Nothing changes for those who see all."""
    client = secured(storage)
    answer = client.post(
        "/dicom-web/studies", data=image(9), content_type="application/dicom", headers=key(storage, "w")
    )
    assert answer.status_code == 200
    store(storage, made(StudyInstanceUID=uid(10)))


def test_each_request_is_looked_at_also_in_a_context_that_is_older(client: FlaskClient, storage: Storage) -> None:
    """Whoever has pushed Flask's application context shares `g` between requests."""
    everything = key(storage, "all")
    with client.application.app_context():
        assert client.get("/dicom-web/studies", headers=everything).status_code == 200
        assert client.get("/dicom-web/studies").status_code == 401
