"""The tour of docs/healthimaging.md, command by command, to the letter, in one shell; `…` stands for anything."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import free_port

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "healthimaging.md"
MARK = "-- fileroom tour --"
JOB_STATUS = re.compile(r"^\[\d+\][+-]? .*\n", re.MULTILINE)  # that bash tells or not, as the time goes


def steps() -> list[tuple[str, str]]:
    [block] = re.findall(r"```console\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    parts = (part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:])
    return [(command, output) for command, _, output in parts]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    return tmp_path


def test_the_tour(folder: Path) -> None:
    ports = {"11112": str(free_port()), "8080": str(free_port())}
    script = ["set -m\n", "trap 'kill $(jobs -p) 2>/dev/null; kill $(cat tour/fakes.pid) 2>/dev/null' EXIT\n"]
    for documented, _ in steps():
        command = re.sub(r"\b(11112|8080)\b", lambda found: ports[found[0]], documented)
        script.append(f"{command}\necho '{MARK}' $?\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("FILEROOM_", "AWS_"))}
    done = subprocess.run(
        ["bash", "-c", "".join(script)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    outputs = re.split(rf"{MARK} (\d+)\n", done.stdout)
    assert len(outputs) == 2 * len(steps()) + 1, done.stdout
    for (command, expected), output, code in zip(steps(), outputs[::2], outputs[1::2], strict=False):
        pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
        assert re.fullmatch(pattern, JOB_STATUS.sub("", output).strip(), re.DOTALL), (command, output)
        assert code == "0", (command, output)
