"""The viewer's package unpacked into a folder to be served: whole or not at all, below any path, compressed."""

import errno
import gzip
import json
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from fileroom_server.viewer_download import PACKAGE, CannotInstallViewer

_CONTENT = PurePosixPath("package/dist")
_LEFT_OUT = "ort"  # 100 MB of ONNX runtime for one experimental tool
_PACKAGE_JSON = "package.json"
_KEPT = {PurePosixPath("package/LICENSE"): "LICENSE", PurePosixPath("package/package.json"): _PACKAGE_JSON}
_NEEDED = ("index.html", _PACKAGE_JSON)
_MAXIMUM_FILES = 20_000
_MAXIMUM_SIZE = 1 << 30

_COMPRESSED = {".css", ".html", ".js", ".json", ".map", ".mjs", ".svg", ".txt", ".wasm", ".xml"}
_COMPRESSED_FROM = 1024

# The build has `/` built in as the place of its scripts; it is put right in these places once, here, so that the files
# can be served below any path. In a window index.html says it, a worker knows its own address.
_PLACE = b'(self.PUBLIC_URL || new URL("./", self.location.href).pathname)'
_PUBLIC_PATH = re.compile(rb'(__webpack_require__|(?<=[;,({])[A-Za-z_$])\.p ?= ?"/"(?=[;,)}\s])')
_IMPORT = re.compile(rb"(browserImportFunction\()(['\"])/(?=[a-z])")
_CSS_URL = re.compile(rb"url\((['\"]?)/(?=[^/])")

# Told how many bytes of the package are read, and how many it has.
Advance = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class InstalledViewer:
    version: str
    folder: Path
    size: int


def installed_viewer(folder: Path) -> InstalledViewer | None:
    """What is installed there; None where nothing is."""
    try:
        version = json.loads((folder / _PACKAGE_JSON).read_bytes())["version"]
    except (OSError, ValueError, KeyError, TypeError):
        version = "unknown"
    if not (folder / "index.html").is_file():
        return None
    return InstalledViewer(version, folder, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))


def install(package: Path, folder: Path, advance: Advance) -> InstalledViewer:
    """Unpacks it beside `folder` and then takes its place. Raises CannotInstallViewer, OSError."""
    parent = folder.parent
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the data folder, as the server makes it
    if folder.exists() and installed_viewer(folder) is None and any(folder.iterdir()):
        raise CannotInstallViewer(f"{folder} holds something else; name another folder with http.viewer, or move that")
    _remove_leftovers(folder)
    new = Path(tempfile.mkdtemp(prefix=_leftover_prefix(folder), dir=parent))
    try:
        with _told_what_is_wrong(package, parent):
            _unpack(package, new, advance)
        _check(new, package)
        new.chmod(0o755)
        _take_the_place(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    installed = installed_viewer(folder)
    if installed is None:
        raise CannotInstallViewer(f"{folder} was changed by somebody else meanwhile; run the command again")
    return installed


def remove(folder: Path) -> bool:
    """Whether there was a viewer to be removed. Raises OSError."""
    _remove_leftovers(folder)
    if installed_viewer(folder) is None:
        return False
    old = folder.with_name(f"{_leftover_prefix(folder)}{os.getpid()}-removed")
    folder.rename(old)  # at once for those who are served from it
    shutil.rmtree(old)
    return True


def package_version(package: Path) -> str:
    """The version that the package says it is. Raises CannotInstallViewer, OSError."""
    with _told_what_is_wrong(package, package.parent), tarfile.open(package, "r:gz") as archive:
        for member in archive:
            if member.isreg() and member.name == "package/package.json":
                return str(_package_json(_read(archive, member, _MAXIMUM_SIZE), package)["version"])
    raise _wrong_file(package)


def _unpack(package: Path, target: Path, advance: Advance) -> None:
    size = package.stat().st_size
    files = unpacked = 0
    with package.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:gz") as archive:
        for member in archive:
            advance(stream.tell(), size)
            place = _place(member)
            if place is None:
                continue
            files, unpacked = files + 1, unpacked + member.size
            if files > _MAXIMUM_FILES or unpacked > _MAXIMUM_SIZE:
                raise CannotInstallViewer(f"{package} unpacks to more than a viewer has; it is not installed")
            _write(target / place, _relocated(place, _read(archive, member, _MAXIMUM_SIZE)))
    advance(size, size)


def _place(member: tarfile.TarInfo) -> str | None:
    """Where a member belongs in the folder: only plain files, and none that a name leads elsewhere."""
    path = PurePosixPath(member.name)
    if not member.isreg() or path.is_absolute() or any(part in ("..", "") or "\0" in part for part in path.parts):
        return None
    if path in _KEPT:
        return _KEPT[path]
    if not path.is_relative_to(_CONTENT) or len(path.parts) <= len(_CONTENT.parts):
        return None
    inside = path.relative_to(_CONTENT)
    return None if inside.parts[0] == _LEFT_OUT or str(inside) in _KEPT.values() else str(inside)


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes:
    stream: IO[bytes] | None = archive.extractfile(member) if member.size <= limit else None
    return stream.read() if stream is not None else b""


def _relocated(place: str, content: bytes) -> bytes:
    suffix = PurePosixPath(place).suffix
    if suffix == ".js":
        content = _PUBLIC_PATH.sub(rb"\1.p = " + _PLACE, content)
        return _IMPORT.sub(rb"\1(self.PUBLIC_URL || '/') + \2", content)
    if suffix == ".css" and "/" not in place:
        return _CSS_URL.sub(rb"url(\1", content)
    if place == "manifest.json":
        return content.replace(b'"/assets/', b'"assets/').replace(b'"./index.html"', b'"./"')
    return content


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_bytes(content)
    if path.suffix in _COMPRESSED and len(content) >= _COMPRESSED_FROM:
        packed = gzip.compress(content, compresslevel=6, mtime=0)
        path.with_name(f"{path.name}.gz").write_bytes(packed)


def _check(folder: Path, package: Path) -> None:
    """That this is a build of OHIF which can live below a path."""
    if not all((folder / name).is_file() for name in _NEEDED):
        raise _wrong_file(package)
    _package_json((folder / _PACKAGE_JSON).read_bytes(), package)
    bundles = list(folder.glob("app.bundle*.js"))
    if not any(_PLACE in bundle.read_bytes() for bundle in bundles):
        raise CannotInstallViewer(
            f"{package} is built in a way that this fileroom does not know; take another version with --version"
        )


def _package_json(text: bytes, package: Path) -> dict[str, Any]:
    try:
        document = json.loads(text)
        if document["name"] == PACKAGE and isinstance(document["version"], str):
            return dict(document)
    except (ValueError, KeyError, TypeError):
        pass
    raise _wrong_file(package)


def _wrong_file(package: Path) -> CannotInstallViewer:
    return CannotInstallViewer(
        f"{package} is not the npm package {PACKAGE}; make the file with `npm pack {PACKAGE}` and give it with --from"
    )


@contextmanager
def _told_what_is_wrong(package: Path, parent: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise CannotInstallViewer(f"{package} is damaged, or no package of npm ({error}); fetch it again") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CannotInstallViewer(
                f"the disk of {parent} is full; the viewer needs about 150 MB there. Free some space, or name "
                "another folder with http.viewer (FILEROOM_HTTP__VIEWER), and run the command again"
            ) from None
        raise


def _take_the_place(new: Path, folder: Path) -> None:
    """Two renames: for a moment between them there is no viewer, never half of one."""
    old = new.with_name(f"{new.name}-old")
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _leftover_prefix(folder: Path) -> str:
    return f".{folder.name}.fileroom-"


def _remove_leftovers(folder: Path) -> None:
    """Of an installation that was killed."""
    for leftover in folder.parent.glob(f"{_leftover_prefix(folder)}*"):
        shutil.rmtree(leftover, ignore_errors=True)
