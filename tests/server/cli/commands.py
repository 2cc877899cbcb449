"""The command line as its users run it: in a process of its own."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from tests.made import made, part10, uid
from tests.served import FILEROOM

SECONDS = 120


def environment(**variables: str) -> dict[str, str]:
    """This process's, without what configures a fileroom of its user."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("FILEROOM_")}
    # what is durable is tested elsewhere; here a disk would only cost time
    return {**others, "FILEROOM_STORAGE__DURABILITY": "relaxed", **variables}


def fileroom(*arguments: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [FILEROOM, *map(str, arguments)], env=environment(**variables), capture_output=True, text=True, timeout=SECONDS
    )


def begun(*arguments: str | Path, **variables: str) -> "subprocess.Popen[str]":
    """A command that goes on, in a process group of its own as a shell makes it."""
    return subprocess.Popen(
        [FILEROOM, *map(str, arguments)],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def outcomes(finished: "subprocess.CompletedProcess[str]") -> dict[tuple[str, str], int]:
    """The table at the end of an import: (outcome, reason) → files."""
    rows = [line.split("\t") for line in finished.stdout.splitlines()]
    return {(outcome, reason): int(files) for outcome, reason, files in rows}


def report_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def instances(number: int, study: int = 1) -> Iterator[Dataset]:
    for instance in range(number):
        yield made(
            StudyInstanceUID=uid(study),
            SeriesInstanceUID=uid(study, 1),
            SOPInstanceUID=uid(study, 1, instance),
            InstanceNumber=instance,
            PatientID=f"P{study}",
        )


def write_files(folder: Path, number: int, study: int = 1) -> list[Path]:
    """So many small objects in a folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for place, dataset in enumerate(instances(number, study)):
        files.append(folder / f"{study}-{place:05}.dcm")
        files[-1].write_bytes(part10(dataset))
    return files
