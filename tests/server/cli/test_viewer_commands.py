"""`fileroom viewer` as its users run it, on a small package."""

import json
from pathlib import Path

import pytest

from tests.server.cli.commands import fileroom
from tests.server.cli.terminal import on_a_terminal
from tests.server.viewer_packages import FILES, package, registry, sha512


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return package(tmp_path / "it.tgz")


def test_install_from_a_file_status_and_remove(archive: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    installed = fileroom("viewer", "install", "--from", archive, "--data", data)
    assert installed.returncode == 0, installed.stderr
    assert installed.stdout == f"OHIF 9.9.9 is in {data}/viewer. `fileroom serve` offers it at /viewer/.\n"
    status = json.loads(fileroom("viewer", "status", "--json", "--data", data).stdout)
    assert (status["version"], status["folder"]) == ("9.9.9", str(data / "viewer"))
    assert fileroom("viewer", "remove", "--data", data).stdout == f"The viewer is removed from {data}/viewer.\n"
    assert "`fileroom viewer install` gets one" in fileroom("viewer", "status", "--data", data).stdout


def test_install_elsewhere_without_npm(archive: Path, tmp_path: Path) -> None:
    content, folder = archive.read_bytes(), tmp_path / "elsewhere"
    programs = tmp_path / "bin"  # without npm
    programs.mkdir()
    with registry(content, sha512(content)) as url:
        options = ("--version", "9.9.9", "--registry", url)
        variables = {"FILEROOM_HTTP__VIEWER": str(folder), "PATH": str(programs)}
        installed = fileroom("viewer", "install", *options, **variables)
    assert installed.returncode == 0, installed.stderr
    assert "from the npm registry" in installed.stderr
    assert (folder / "index.html").is_file()


def test_the_pinned_release_has_to_be_the_published_one(tmp_path: Path) -> None:
    package_json = json.dumps({"name": "@ohif/app", "version": "3.13.2"}).encode()
    archive = package(tmp_path / "it.tgz", FILES | {"package/package.json": package_json})
    refused = fileroom("viewer", "install", "--from", archive, "--data", tmp_path / "data")
    assert refused.returncode == 1
    assert "not the one that was published" in refused.stderr
    options = ("--integrity", sha512(archive.read_bytes()), "--data", tmp_path / "data")
    assert fileroom("viewer", "install", "--from", archive, *options).returncode == 0


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_wrong_file_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "it.tgz"
    file.write_bytes(content)
    refused = fileroom("viewer", "install", "--from", file, "--data", tmp_path / "data")
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: ")
    assert refused.stderr.count("\n") == 1


def test_help_has_an_example() -> None:
    for command in ("install", "status", "remove"):
        assert "Example: fileroom viewer" in fileroom("viewer", command, "--help").stdout


def test_progress_on_a_terminal(archive: Path, tmp_path: Path) -> None:
    code, text = on_a_terminal("viewer", "install", "--from", archive, "--data", tmp_path / "data")
    assert code == 0
    assert "Unpacking" in text
