"""The viewer's package from the npm registry: by npm where it is installed, else by HTTPS; its integrity."""

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

PACKAGE = "@ohif/app"
DEFAULT_VERSION = "3.13.2"
REGISTRY = "https://registry.npmjs.org"

# Of releases that this fileroom was tested with; a registry cannot give anything else for them.
KNOWN_INTEGRITY = {
    "3.13.2": "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==",
}

_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?")
_INTEGRITY = re.compile(r"sha512-[A-Za-z0-9+/]{86}==")
_SECONDS_WITHOUT_A_BYTE = 60
_CHUNK = 1 << 20
_METADATA_LIMIT = 16 << 20

# Told how many bytes have come, and how many there will be if that is known.
Advance = Callable[[int, int | None], None]


class CannotInstallViewer(Exception):
    """What is in the way of the viewer, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Download:
    """What to fetch; without a `registry` from the one of npm. `integrity` wins over what is known."""

    version: str = DEFAULT_VERSION
    registry: str | None = None
    integrity: str | None = None

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version):
            raise CannotInstallViewer(f"{self.version} is no version; write one like {DEFAULT_VERSION}")
        if self.integrity is not None and not _INTEGRITY.fullmatch(self.integrity):
            raise CannotInstallViewer('an integrity is written as npm does: "sha512-" and 88 characters of base64')
        if self.registry is not None and urlsplit(self.registry).scheme not in ("http", "https"):
            raise CannotInstallViewer(f"a registry is a URL like {REGISTRY}")

    @property
    def specification(self) -> str:
        return f"{PACKAGE}@{self.version}"

    @property
    def expected_integrity(self) -> str | None:
        return self.integrity or KNOWN_INTEGRITY.get(self.version)


def npm_program() -> str | None:
    return shutil.which("npm")


def download(what: Download, folder: Path, npm: str | None, advance: Advance) -> Path:
    """The package as a file in `folder`, its integrity checked. Raises CannotInstallViewer, OSError."""
    if npm is not None:
        package, promised = _by_npm(what, folder, npm), None  # npm itself checks what the registry promises
    else:
        package, promised = _by_https(what, folder, advance)
    expected = what.expected_integrity or promised
    if expected is not None:
        check_integrity(package, expected)
    return package


def integrity(package: Path) -> str:
    """Its digest as npm writes it."""
    with package.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha512").digest()
    return f"sha512-{base64.b64encode(digest).decode()}"


def check_integrity(package: Path, expected: str) -> None:
    """Raises CannotInstallViewer."""
    found = integrity(package)
    if not hmac.compare_digest(found, expected):
        raise CannotInstallViewer(
            f"the package is not the one that was published, or it came damaged: its integrity is {found}, and should "
            f"be {expected}. Fetch it again, or from another registry with --registry; for a build of your own, give "
            "its integrity with --integrity"
        )


def _by_npm(what: Download, folder: Path, npm: str) -> Path:
    command = [npm, "pack", what.specification, "--ignore-scripts", "--loglevel=error", f"--pack-destination={folder}"]
    if what.registry is not None:
        command.append(f"--registry={what.registry}")
    # in its folder, so that the package.json of whoever stands in a project plays no part
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    packages = list(folder.glob("*.tgz"))
    if finished.returncode != 0 or len(packages) != 1:
        raise CannotInstallViewer(
            f"npm could not fetch {what.specification}: {_npm_reason(finished.stderr)}. "
            f"See whether `npm pack {what.specification}` works, or {_other_ways(what)}"
        )
    return packages[0]


def _npm_reason(text: str) -> str:
    lines = [re.sub(r"^npm (error|ERR!) ?", "", line).strip() for line in text.splitlines() if "warn" not in line[:9]]
    said = [line for line in lines if line and not line.startswith(("code ", "errno ", "A complete log"))]
    return said[0].rstrip(".") if said else "it said nothing"


def _by_https(what: Download, folder: Path, advance: Advance) -> tuple[Path, str]:
    registry = (what.registry or os.environ.get("npm_config_registry") or REGISTRY).rstrip("/")  # noqa: SIM112  # npm's
    try:
        published = _published(what, f"{registry}/{quote(PACKAGE, safe='@')}/{what.version}")
        address = published["tarball"]
        package = folder / "package.tgz"
        with _opened(address) as answer, package.open("wb") as file:
            length = answer.headers.get("Content-Length")
            done, total = 0, int(length) if length and length.isdigit() else None
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                advance(done, total)
    except HTTPError as error:
        reason = f"{registry} answered {error.code} {error.reason}"
        if error.code == 404:
            reason = f"{registry} has no {what.specification}"
        raise CannotInstallViewer(f"{reason}; {_other_ways(what)}") from None
    except (URLError, HTTPException, TimeoutError) as error:
        said = getattr(error, "reason", None) or error
        raise CannotInstallViewer(f"{registry} cannot be reached: {said}; {_other_ways(what)}") from None
    return package, published["integrity"]


def _published(what: Download, url: str) -> dict[str, str]:
    """Where the registry has the package, and its integrity. Raises CannotInstallViewer."""
    with _opened(url) as answer:
        text = answer.read(_METADATA_LIMIT)
    try:
        published = json.loads(text)["dist"]
        tarball, promised = published["tarball"], published["integrity"]
        if urlsplit(tarball).scheme in ("http", "https") and _INTEGRITY.fullmatch(promised):
            return {"tarball": tarball, "integrity": promised}
    except (ValueError, KeyError, TypeError):
        pass
    raise CannotInstallViewer(f"{url} does not answer as an npm registry does; {_other_ways(what)}")


def _opened(url: str) -> Any:
    if urlsplit(url).scheme not in ("http", "https"):
        raise URLError("no address of the web")
    request = Request(url, headers={"User-Agent": "fileroom", "Accept": "application/json, */*"})  # noqa: S310
    return urlopen(request, timeout=_SECONDS_WITHOUT_A_BYTE)  # noqa: S310


def _other_ways(what: Download) -> str:
    return (
        "name another registry with --registry, or on a machine with network run "
        f"`npm pack {what.specification}` and bring the file: `fileroom viewer install --from FILE.tgz`"
    )
