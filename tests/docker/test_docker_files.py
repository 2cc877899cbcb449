"""docker/: lint, and that the files agree with each other and with the configuration they set; no engine is needed."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from fileroom_server.config_sources import load_configuration
from tests.docker.image import COMPOSE, DOCKER, DOCKERFILE, ROOT, instruction, instructions, variables

SERVICE_KEYS = {
    "build",
    "command",
    "depends_on",
    "environment",
    "healthcheck",
    "image",
    "ports",
    "restart",
    "stop_grace_period",
    "volumes",
}
HEALTHCHECK_KEYS = {"test", "interval", "timeout", "retries", "start_period"}


def compose(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return document


def test_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    finished = subprocess.run([hadolint, "--failure-threshold", "style", DOCKERFILE], capture_output=True, text=True)
    assert (finished.returncode, finished.stdout) == (0, "")


def test_the_image_does_not_run_as_root() -> None:
    names = [entry["instruction"] for entry in instructions()]
    assert instruction("USER") == "10001:10001"
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "--uid 10001" in DOCKERFILE.read_text()


def test_commands_are_in_exec_form() -> None:
    assert json.loads(instruction("ENTRYPOINT")) == ["/opt/fileroom/bin/fileroom"]
    assert json.loads(instruction("CMD")) == ["serve"]
    assert json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    ignored = DOCKER.joinpath("Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    sources: set[str] = set()
    for entry in instructions():
        if entry["instruction"] == "COPY" and not entry["value"].startswith("--from"):
            sources.update(entry["value"].split()[:-1])
    assert sources == kept
    assert all((ROOT / source).exists() for source in sources)


def test_the_package_needs_nothing_that_the_build_does_not_copy() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = next(entry["value"] for entry in instructions() if "pyproject.toml" in entry["value"]).split()
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= set(copied)
    folders = {entry["value"].split()[0] for entry in instructions() if entry["instruction"] == "COPY"}
    assert {package.partition("/")[0] for package in packages} <= folders


def test_the_image_says_in_words_that_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables().items():
        monkeypatch.setenv(name, value)
    configuration = load_configuration().configuration
    assert (configuration.dicom.host, configuration.http.host) == ("0.0.0.0", "0.0.0.0")
    assert configuration.data == Path("/data")
    assert instruction("VOLUME") == "/data"
    assert set(instruction("EXPOSE").split()) == {str(configuration.dicom.port), str(configuration.http.port)}


def test_base_images_are_named_by_version_and_are_the_same() -> None:
    bases = [entry["value"].split()[0] for entry in instructions() if entry["instruction"] == "FROM"]
    assert bases == ["python:3.11-slim-bookworm"] * 2


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
class TestCompose:
    def test_known_keys_only(self, file: Path) -> None:
        document = compose(file)
        assert set(document) == {"services", "volumes"}
        for service in document["services"].values():
            assert set(service) <= SERVICE_KEYS
            assert set(service.get("healthcheck", {})) <= HEALTHCHECK_KEYS
            assert service["image"]

    def test_names_exist(self, file: Path) -> None:
        document = compose(file)
        for service in document["services"].values():
            assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(document["volumes"])
            for name, needed in service.get("depends_on", {}).items():
                assert needed == {"condition": "service_healthy"}
                assert document["services"][name]["healthcheck"]["test"][0] == "CMD"

    def test_the_build_finds_its_files(self, file: Path) -> None:
        build = compose(file)["services"]["fileroom"]["build"]
        context = (file.parent / build["context"]).resolve()
        assert context == ROOT
        assert (context / build["dockerfile"]).samefile(DOCKERFILE)

    def test_only_this_machine_reaches_it(self, file: Path) -> None:
        for service in compose(file)["services"].values():
            for port in service.get("ports", []):
                assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)

    def test_the_data_is_on_a_volume(self, file: Path) -> None:
        assert compose(file)["services"]["fileroom"]["volumes"] == ["data:/data"]

    def test_a_stop_waits_for_the_drain(self, file: Path) -> None:
        grace = int(compose(file)["services"]["fileroom"]["stop_grace_period"].removesuffix("s"))
        assert grace > load_configuration().configuration.drain_timeout

    def test_no_password_is_written_down(self, file: Path) -> None:
        for service in compose(file)["services"].values():
            for name, value in service.get("environment", {}).items():
                if name.endswith("PASSWORD") and "RANDOM" not in name:
                    assert re.fullmatch(r"\$\{MARIADB_PASSWORD:\?.+\}", value)

    def test_the_environment_is_a_good_configuration(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        environment = compose(file)["services"]["fileroom"].get("environment", {})
        for name, value in {**variables(), **environment}.items():
            monkeypatch.setenv(name, "p@ss" if value.startswith("${") else value)
        url = load_configuration().configuration.database_url()
        expected = {
            "compose.yaml": "sqlite:////data/index.sqlite",
            "compose.mariadb.yaml": "mariadb+pymysql://fileroom:p%40ss@mariadb/fileroom",
        }
        assert url == expected[file.name]


def test_mariadb_makes_the_database_that_fileroom_uses() -> None:
    services = compose(DOCKER / "compose.mariadb.yaml")["services"]
    made = services["mariadb"]["environment"]
    url = services["fileroom"]["environment"]["FILEROOM_DATABASE__URL"]
    assert url == f"mariadb://{made['MARIADB_USER']}@mariadb/{made['MARIADB_DATABASE']}"


def test_the_image_alone_is_installed_with_what_speaks_with_aws() -> None:
    """A plain server does without the 30 MB; all else that both have is of one version."""
    pinned = {}
    for name in ("requirements.lock", "requirements-image.lock", "requirements-test.lock"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        pinned[name] = {line.split(" ")[0] for line in lines if re.match(r"[a-zA-Z0-9]", line)}
    plain, image = pinned["requirements.lock"], pinned["requirements-image.lock"]
    assert plain < image <= pinned["requirements-test.lock"]
    of_aws = {"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six"}
    assert {one.partition("==")[0] for one in image - plain} == of_aws
    assert "requirements-image.lock" in DOCKERFILE.read_text(encoding="utf-8")
