"""Packages of the npm registry that tests need, of one known content, kept between sessions."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import requests

from fileroom_server.viewer_download import REGISTRY, check_integrity

_SECONDS = 300
# npm asks its registry only for what it has not fetched before.
ENVIRONMENT = {"npm_config_prefer_offline": "true"}


def npm_package(name: str, version: str, integrity: str, cache: Path) -> Path:
    """The folder that the package is unpacked in."""
    folder = cache / f"{name.replace('/', '-')}-{version}"
    if folder.is_dir():
        return folder
    new = cache / f"{folder.name}.{os.getpid()}"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    archive = _fetched(name, version, new)
    check_integrity(archive, integrity)
    with tarfile.open(archive) as members:
        members.extractall(new, filter="data")
    archive.unlink()
    new.rename(folder)
    return folder


def _fetched(name: str, version: str, folder: Path) -> Path:
    if shutil.which("npm"):
        command = ["npm", "pack", f"{name}@{version}", "--ignore-scripts", "--loglevel=error"]
        subprocess.run(command, cwd=folder, check=True, timeout=_SECONDS, env={**os.environ, **ENVIRONMENT})
        [archive] = folder.glob("*.tgz")
        return archive
    registry = os.environ.get("npm_config_registry", REGISTRY).rstrip("/")  # noqa: SIM112  # npm's
    published = requests.get(f"{registry}/{name}/{version}", timeout=_SECONDS).json()
    archive = folder / "package.tgz"
    archive.write_bytes(requests.get(published["dist"]["tarball"], timeout=_SECONDS).content)
    return archive
