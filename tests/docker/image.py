"""What docker/Dockerfile makes of the image, read without an engine."""

import shlex
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = DOCKER / "Dockerfile"
COMPOSE = sorted(DOCKER.glob("compose*.yaml"))


def instructions() -> list[dict[str, str]]:
    """The instructions of all stages, in order."""
    structure = DockerfileParser(str(DOCKERFILE)).structure
    return [
        {"instruction": entry["instruction"], "value": entry["value"]}
        for entry in structure
        if entry["instruction"] != "COMMENT"
    ]


def instruction(name: str) -> str:
    """The value of the last instruction of this name, the one that counts."""
    return [entry["value"] for entry in instructions() if entry["instruction"] == name][-1]


def variables() -> dict[str, str]:
    """The variables of fileroom that the image sets."""
    pairs = (pair.split("=", 1) for pair in shlex.split(instruction("ENV")))
    return {name: value for name, value in pairs if name.startswith("FILEROOM_")}
