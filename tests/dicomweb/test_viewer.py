"""The viewer at /viewer: its files, its page, its configuration, and how addresses lead to it."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_dicomweb.authentication_settings import AuthenticationSettings, OidcSettings, ViewerLogin
from fileroom_server.viewer_package import install
from fileroom_storage.storage import Storage
from tests.server.viewer_packages import package

BUNDLE = "/viewer/app.bundle.0123456789abcdef.js"

Client = Callable[..., FlaskClient]


class Reading(FlaskClient):
    """Reads every answer to its end, as a server does, so that no file stays open."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return super().open(*args, **{**kwargs, "buffered": True})


def configuration(script: str) -> Any:
    match = re.search(r"window\.config = (\{.*?\n\});", script, re.DOTALL)
    assert match is not None
    return json.loads(match.group(1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "viewer"


@pytest.fixture
def installed(tmp_path: Path, folder: Path) -> Path:
    install(package(tmp_path / "it.tgz"), folder, lambda _done, _total: None)
    return folder


@pytest.fixture
def client(storage: Storage, folder: Path, tmp_path: Path) -> Client:
    def made(**settings: Any) -> FlaskClient:
        additions = tmp_path / "viewer-config.js"
        app = create_app(storage, DicomwebSettings(viewer=folder, viewer_config=additions, **settings))
        app.test_client_class = Reading
        return app.test_client()

    return made


class TestStart:
    def test_without_a_viewer_it_says_how_to_get_one(self, client: Client) -> None:
        answer = client().get("/")
        assert answer.status_code == 200
        assert "fileroom viewer install" in answer.text
        assert client().get("/viewer/").status_code == 404
        assert "fileroom viewer install" in client().get("/viewer?StudyInstanceUIDs=1.2").text

    def test_one_installed_meanwhile_is_there(self, client: Client, folder: Path, tmp_path: Path) -> None:
        flask = client()
        assert flask.get("/").status_code == 200
        install(package(tmp_path / "it.tgz"), folder, lambda _done, _total: None)
        answer = flask.get("/")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/viewer/")
        assert flask.get("/viewer/").status_code == 200
        assert "/viewer/" in flask.get("/about").text


@pytest.mark.usefixtures("installed")
class TestAddresses:
    @pytest.mark.parametrize(
        ("address", "location"),
        [
            ("/viewer", "/viewer/"),
            ("/viewer?patientName=A%2AB", "/viewer/?patientName=A%2AB"),
            ("/viewer?StudyInstanceUIDs=1.2%2C3", "/viewer/viewer?StudyInstanceUIDs=1.2%2C3"),
            ("/tmtv?StudyInstanceUIDs=1.2", "/viewer/tmtv?StudyInstanceUIDs=1.2"),
            ("/microscopy?StudyInstanceUIDs=1.2", "/viewer/microscopy?StudyInstanceUIDs=1.2"),
            ("/segmentation?StudyInstanceUIDs=1.2", "/viewer/segmentation?StudyInstanceUIDs=1.2"),
            ("/dynamic-volume?StudyInstanceUIDs=1.2", "/viewer/dynamic-volume?StudyInstanceUIDs=1.2"),
        ],
    )
    def test_short_forms(self, client: Client, address: str, location: str) -> None:
        answer = client().get(address)
        assert (answer.status_code, answer.headers["Location"]) == (302, location)
        behind = client().get(address, headers={"X-Forwarded-Prefix": "/pacs"})
        assert behind.headers["Location"] == f"/pacs{location}"

    @pytest.mark.parametrize("route", ["", "viewer?StudyInstanceUIDs=1.2", "tmtv", "viewer/fileroom", "index.html"])
    def test_a_route_of_the_application_is_its_page(self, client: Client, route: str) -> None:
        answer = client().get(f"/viewer/{route}")
        assert answer.status_code == 200
        assert answer.content_type == "text/html; charset=utf-8"
        assert 'window.PUBLIC_URL="/viewer/"' in answer.text
        assert 'src="/viewer/app-config.js"' in answer.text
        assert answer.headers["Cache-Control"] == "no-cache"

    @pytest.mark.parametrize("path", ["no.js", "assets/no.png", "..%2f..%2findex.sqlite", "%2e%2e/index.sqlite"])
    def test_a_file_that_is_not_there(self, client: Client, path: str) -> None:
        assert client().get(f"/viewer/{path}").status_code == 404

    def test_below_a_path(self, client: Client) -> None:
        flask = client(base_url="https://pacs.example.org/a/b/")
        assert flask.get("/").headers["Location"] == "/a/b/viewer/"
        assert 'window.PUBLIC_URL="/a/b/viewer/"' in flask.get("/viewer/").text
        forwarded = client().get("/viewer/", headers={"X-Forwarded-Prefix": "/c"})
        assert 'window.PUBLIC_URL="/c/viewer/"' in forwarded.text


@pytest.mark.usefixtures("installed")
class TestFiles:
    def test_types(self, client: Client) -> None:
        flask = client()
        for name, content_type in {
            BUNDLE: "text/javascript; charset=utf-8",
            "/viewer/app.bundle.css": "text/css; charset=utf-8",
            "/viewer/manifest.json": "application/json",
            "/viewer/assets/favicon.ico": "image/x-icon",
        }.items():
            answer = flask.get(name)
            assert (answer.status_code, answer.content_type) == (200, content_type)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Content-Disposition" not in answer.headers

    def test_what_is_named_by_its_content_is_kept_for_ever(self, client: Client) -> None:
        flask = client()
        assert "immutable" in flask.get(BUNDLE).headers["Cache-Control"]
        assert flask.get("/viewer/app.bundle.css").headers["Cache-Control"] == "no-cache"

    @pytest.mark.parametrize("path", [BUNDLE, "/viewer/app.bundle.css", "/viewer/", "/viewer/app-config.js"])
    def test_not_modified(self, client: Client, path: str) -> None:
        flask = client()
        first = flask.get(path, headers={"Accept-Encoding": "identity"})
        second = flask.get(path, headers={"If-None-Match": first.headers["ETag"], "Accept-Encoding": "identity"})
        assert (second.status_code, second.data) == (304, b"")

    def test_compressed_beforehand(self, client: Client) -> None:
        flask = client()
        plain, packed = flask.get(BUNDLE), flask.get(BUNDLE, headers={"Accept-Encoding": "br, gzip;q=0.5"})
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.content_type == "text/javascript; charset=utf-8"
        assert gzip.decompress(packed.data) == plain.data
        assert packed.headers["ETag"] != plain.headers["ETag"]
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert "Accept-Encoding" in plain.headers["Vary"]
        refused = flask.get(BUNDLE, headers={"Accept-Encoding": "gzip;q=0"})
        assert "Content-Encoding" not in refused.headers

    def test_the_service_worker_gives_up(self, client: Client) -> None:
        for name in ("sw.js", "init-service-worker.js"):
            script = client().get(f"/viewer/{name}")
            assert "unregister" in script.text
            assert "googleapis" not in script.text
            assert script.headers["Cache-Control"] == "no-cache"

    def test_the_policy_names_this_host_only(self, client: Client) -> None:
        policy = client().get("/viewer/").headers["Content-Security-Policy"]
        assert "://" not in policy
        assert "script-src 'self' 'unsafe-eval' 'sha256-" in policy
        behind = client(base_url="https://pacs.example.org").get("/viewer/").headers["Content-Security-Policy"]
        assert "connect-src 'self' https://pacs.example.org " in behind


@pytest.mark.usefixtures("installed")
class TestConfiguration:
    def test_it_points_here(self, client: Client) -> None:
        script = client().get("/viewer/app-config.js")
        assert script.content_type == "text/javascript; charset=utf-8"
        assert "://" not in script.text
        config = configuration(script.text)
        assert config["routerBasename"] == "/viewer"
        assert config["investigationalUseDialog"] == {"option": "never"}
        [source] = config["dataSources"]
        assert source["sourceName"] == config["defaultDataSourceName"]
        roots = {name: value for name, value in source["configuration"].items() if name.endswith("Root")}
        assert roots == {
            "qidoRoot": "/dicom-web",
            "wadoRoot": "/dicom-web",
            "stowRoot": "/dicom-web",
            "wadoUriRoot": "/wado",
        }

    @pytest.mark.parametrize(
        ("settings", "headers", "base"),
        [({"base_url": "https://pacs.example.org/a"}, {}, "/a"), ({}, {"X-Forwarded-Prefix": "/c/d"}, "/c/d")],
    )
    def test_below_a_path(self, client: Client, settings: dict[str, Any], headers: dict[str, str], base: str) -> None:
        flask = client(prefix="/rs", **settings)
        config = configuration(flask.get("/viewer/app-config.js", headers=headers).text)
        assert config["routerBasename"] == f"{base}/viewer"
        roots = config["dataSources"][0]["configuration"]
        assert (roots["qidoRoot"], roots["wadoUriRoot"]) == (f"{base}/rs", f"{base}/wado")

    def test_login(self, client: Client) -> None:
        oidc = OidcSettings("https://login.example.org:8443/realms/hospital", ("fileroom",))
        login = ViewerLogin(oidc.issuer, "fileroom-viewer", "openid fileroom")
        flask = client(authentication=AuthenticationSettings(oidc, api_keys=False, viewer=login))
        [oidc_client] = configuration(flask.get("/viewer/app-config.js").text)["oidc"]
        assert oidc_client["authority"] == oidc.issuer
        assert (oidc_client["client_id"], oidc_client["scope"]) == ("fileroom-viewer", "openid fileroom")
        assert oidc_client["response_type"] == "code"
        policy = flask.get("/viewer/").headers["Content-Security-Policy"]
        assert "connect-src 'self' https://login.example.org:8443 " in policy
        assert "frame-src 'self' https://login.example.org:8443 " in policy
        assert "script-src 'self' 'unsafe-eval' 'sha256-" in policy
        for name in ("silent_redirect_uri", "post_logout_redirect_uri"):
            page = flask.get(f"/viewer{oidc_client[name]}")
            assert (page.status_code, page.mimetype) == (200, "text/html")
            assert "http" not in page.text
        assert "oidc" not in configuration(client().get("/viewer/app-config.js").text)

    def test_what_a_site_adds_comes_last(self, client: Client, tmp_path: Path) -> None:
        flask = client()
        before = flask.get("/viewer/app-config.js")
        (tmp_path / "viewer-config.js").write_text("window.config.showStudyList = false;")
        after = flask.get("/viewer/app-config.js", headers={"If-None-Match": before.headers["ETag"]})
        assert after.status_code == 200
        assert after.text == f"{before.text}\nwindow.config.showStudyList = false;"
