"""The image's entry point and health check, run for real on a temporary data folder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import free_port
from tests.docker.image import DOCKER, instruction, variables

START_SECONDS = 60


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The image's environment, with a data folder and ports of this machine."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("FILEROOM_")}
    ports = {"FILEROOM_DICOM__PORT": str(free_port()), "FILEROOM_HTTP__PORT": str(free_port())}
    return {
        **others,
        **variables(),
        **ports,
        "FILEROOM_DATA": str(tmp_path / "data"),
        "http_proxy": "http://192.0.2.1:9",
    }


def command(value: str) -> list[str]:
    """An exec-form command with the image's paths turned into this machine's."""
    programs = Path(sys.executable).parent
    return [
        word.replace("/opt/fileroom/bin", str(programs)).replace(
            "/opt/fileroom/healthcheck.py", str(DOCKER / "healthcheck.py")
        )
        for word in json.loads(value)
    ]


def check_health(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    health = command(instruction("HEALTHCHECK").partition("CMD ")[2])
    return subprocess.run(health, env=environment, capture_output=True, text=True, timeout=30)


@pytest.fixture
def container(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    start = command(instruction("ENTRYPOINT")) + json.loads(instruction("CMD"))
    log = tmp_path / "log"
    with log.open("wb") as output, subprocess.Popen(start, env=environment, stdout=output, stderr=output) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while check_health(environment).returncode != 0:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
            yield process
        finally:
            process.kill()


def test_the_entry_point_starts_and_stops(container: subprocess.Popen[bytes], environment: dict[str, str]) -> None:
    echo = ["echoscu", "-aec", "FILEROOM", "127.0.0.1", environment["FILEROOM_DICOM__PORT"]]
    assert subprocess.run(echo, timeout=30).returncode == 0
    assert (Path(environment["FILEROOM_DATA"]) / "index.sqlite").exists()
    container.send_signal(signal.SIGTERM)
    assert container.wait(timeout=60) == 0
    assert check_health(environment).returncode == 1


def test_the_health_check_says_why(environment: dict[str, str]) -> None:
    finished = check_health(environment)
    assert finished.returncode == 1
    assert finished.stderr.startswith("not ready: ")
    assert "Traceback" not in finished.stderr
