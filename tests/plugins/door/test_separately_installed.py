"""The plugin of docs/plugins.md, installed as a distribution of its own beside the real server."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.dicomweb.objects import data_set, part10
from tests.made import uid
from tests.served import FILEROOM, Served

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "exposure"


def test_the_documentation_shows_it_whole() -> None:
    declaration = (EXAMPLE / "fileroom_exposure" / "__init__.py").read_text()
    assert declaration in (EXAMPLE.parents[1] / "plugins.md").read_text()
    assert len(declaration.splitlines()) <= 60


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that the server finds, and this process does not."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder), str(EXAMPLE)], check=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exposure") / "data"


@pytest.fixture(scope="module")
def variables(installed: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(installed), "FILEROOM_PLUGINS__EXPOSURE__UNREMARKABLE": "10"}


@pytest.fixture(scope="module")
def served(data: Path, variables: dict[str, str]) -> Iterator[Served]:
    """Stored before the plugin was enabled is one image."""
    with Served(data) as before:
        stored(before, 1, ProtocolName="HEAD", Exposure="120")
    with Served(data, None, **variables) as served:
        stored(served, 2, ProtocolName="HEAD", Exposure="300")
        stored(served, 3, ProtocolName="KNEE", Exposure="3")
        stored(served, 4, ProtocolName="WITHOUT")
        yield served


def stored(served: Served, number: int, **attributes: str) -> None:
    content = part10(data_set(StudyInstanceUID=uid(1), SOPInstanceUID=uid(1, 1, number), **attributes))
    headers = {"Content-Type": "application/dicom"}
    answer = requests.post(f"{served.dicomweb}/studies", content, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text


def run(data: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [FILEROOM, *arguments, "--data", str(data)]
    environment = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_its_command_blueprint_and_rows(served: Served, data: Path, variables: dict[str, str]) -> None:
    protocols = f"{served.url}/api/exposure/protocols"
    assert requests.get(protocols, timeout=30).json() == [{"protocol": "HEAD", "images": 1, "exposure": 300.0}]
    listed = run(data, "plugins", "list", **variables).stdout
    assert "exposure\tfileroom-exposure 1.0\tyes\t0001\t4\t0\n" in listed
    assert run(data, "plugins", "backfill", "exposure", **variables).stdout == (
        "exposure: 4 instances looked at, 0 failures left.\n"
    )
    assert requests.get(protocols, timeout=30).json() == [{"protocol": "HEAD", "images": 2, "exposure": 300.0}]
    assert run(data, "exposure", "protocols", **variables).stdout == "HEAD\t2\t300.0\n"
    assert "Example: fileroom exposure protocols" in run(data, "exposure", "protocols", "--help", **variables).stdout
    with sqlite3.connect(data / "index.sqlite") as connection:
        rows = connection.execute("SELECT protocol, exposure FROM exposure_of_images ORDER BY exposure").fetchall()
    connection.close()
    assert rows == [("KNEE", 3.0), ("HEAD", 120.0), ("HEAD", 300.0)]


def test_it_is_behind_the_same_door(data: Path, served: Served, variables: dict[str, str]) -> None:
    """As all of HTTP: closed where authentication is on; a GET needs the permission to read."""
    keys = [
        run(data, "keys", "create", name, "--permission", permission).stdout.split()[-1]
        for name, permission in (("reader", "read"), ("writer", "write"))
    ]
    limited = run(data, "keys", "create", "limited", "--permission", "read", "--issuer", "NORTH").stdout.split()[-1]
    settings = {**variables, "FILEROOM_HTTP__AUTHENTICATION__METHODS": "api_keys"}
    with Served(data, None, **settings) as closed:
        protocols = f"{closed.url}/api/exposure/protocols"
        statuses = [
            requests.get(protocols, headers={"X-API-Key": key} if key else {}, timeout=30).status_code
            for key in ("", *keys, limited)
        ]
        assert statuses == [401, 200, 403, 403]
        assert requests.post(protocols, headers={"X-API-Key": keys[0]}, timeout=30).status_code in (403, 405)


def test_a_configuration_that_cannot_be(data: Path, installed: Path) -> None:
    path = {"PYTHONPATH": str(installed)}
    unknown = run(data, "config", "check", FILEROOM_PLUGINS__EXPOSUR__X="1", **path)
    assert "no such plugin is installed; did you mean exposure?; installed are exposure" in unknown.stdout
    key = run(data, "config", "check", FILEROOM_PLUGINS__EXPOSURE__UNREMARKABEL="1", **path)
    assert "plugins.exposure.unremarkabel\tunknown key; did you mean unremarkable?" in key.stdout
    value = run(data, "config", "check", FILEROOM_PLUGINS__EXPOSURE__UNREMARKABLE="secret", **path)
    assert "plugins.exposure.unremarkable\twrite a number" in value.stdout
    assert "secret" not in value.stdout
    shown = run(data, "config", "show", FILEROOM_PLUGINS__EXPOSURE__UNREMARKABLE="7", **path)
    assert 'plugins\t{"exposure":{"unremarkable":7.0}}\tenvironment' in shown.stdout
    disabled = run(data, "exposure", "protocols", **path)
    assert "plugin exposure is not enabled; write a section [plugins.exposure]" in disabled.stderr
    assert disabled.returncode == 1
    listed = run(data, "plugins", "list", "--json", **path)
    assert '"enabled": false' in listed.stdout


def test_it_is_uninstalled(data: Path, served: Served) -> None:
    """What it had stays, and is nobody's business; images come and go as before."""
    served.stop()
    with Served(data) as without:
        assert requests.get(f"{without.url}/api/exposure/protocols", timeout=30).status_code == 404
        stored(without, 5, Exposure="5")
        assert requests.delete(f"{without.dicomweb}/studies/{uid(1)}", timeout=30).ok
    with sqlite3.connect(data / "index.sqlite") as connection:
        [(left,)] = connection.execute("SELECT count(*) FROM exposure_image").fetchall()
    connection.close()
    assert left == 0
    assert "exposure" not in run(data, "plugins", "list").stdout
    assert "No such command 'exposure'" in run(data, "exposure", "protocols").stderr
