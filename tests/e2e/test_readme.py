"""The tour of the README, command by command, to the letter; `…` stands for anything."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.served import Served

README = Path(__file__).parents[2] / "README.md"


@dataclass(frozen=True)
class Step:
    command: str
    output: str


def steps() -> list[Step]:
    found = []
    for block in re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Step(command, output))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Served]]:
    folder = tmp_path_factory.mktemp("tour")
    (folder / ".venv").symlink_to(sys.prefix)
    with Served(folder / "fileroom-data") as served:
        yield folder, served


def test_the_tour(folder: tuple[Path, Served]) -> None:
    place, served = folder
    assert len(steps()) >= 8
    for step in steps():
        command = step.command.replace("11112", str(served.dicom_port)).replace("8080", str(served.http_port))
        done = subprocess.run(
            command,
            shell=True,
            cwd=place,
            capture_output=True,
            text=True,
            timeout=120,
            env={key: value for key, value in os.environ.items() if not key.startswith("FILEROOM_")},
        )
        assert done.returncode == 0, (step.command, done.stderr)
        # progress and dcmtk's words go to stderr
        shown = sorted((done.stdout + done.stderr).splitlines()) if "import" in command else None
        actual = "\n".join(shown) + "\n" if shown is not None else done.stdout + done.stderr
        expected = "\n".join(sorted(step.output.splitlines())) + "\n" if shown is not None else step.output
        pattern = ".*".join(re.escape(part) for part in expected.split("…"))
        whole = actual if not actual or actual.endswith("\n") else actual + "\n"
        assert re.fullmatch(pattern, whole, re.DOTALL), (command, actual)
