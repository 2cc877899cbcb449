"""Zip archives: their members as files to import, streamed, and bounded in what they may unpack to."""

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedIOBase
from typing import cast

from fileroom_server.import_outcome import FileOutcome, SourceFile, failed, refused

# what zipfile raises for a member that is damaged or packed in a way that it does not know
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError)

_ENCRYPTED = 0x1
_FREE_SIZE = 64 << 20  # nothing that unpacks to less is a bomb


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What a member, or an archive as a whole, may unpack to: bytes, and times its size."""

    member_size: int
    ratio: int


def is_archive(path: str, *, any_name: bool) -> bool:
    """Whether the file is a zip archive; in folders only those that are called so are looked into."""
    if not (any_name or path.lower().endswith(".zip")):
        return False
    try:
        return zipfile.is_zipfile(path)
    except OSError:
        return False


def archive_members(path: str, status: os.stat_result, limits: ArchiveLimits) -> Iterator[SourceFile | FileOutcome]:
    """The members, by their place in the archive: where their names would lead to plays no part."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except OSError as error:
        yield failed(path, error)
        return
    except DAMAGED as error:
        yield refused(path, "a damaged archive", str(error))
        return
    # members that share their packed bytes unpack to far more than each of them says
    if _is_bomb(sum(info.file_size for info in infos), status.st_size, limits):
        yield refused(path, "a zip bomb", f"it unpacks to more than {limits.ratio} times its size; see --zip-ratio")
        return
    for member, info in enumerate(infos):
        if not info.filename:
            yield refused(f"{path}!", "damaged in the archive", "a member has no name; make the archive anew")
            continue
        if info.is_dir():
            continue
        name = f"{path}!{info.filename}"
        if info.flag_bits & _ENCRYPTED:
            yield refused(name, "encrypted", "unpack it with its password first")
        elif info.file_size > limits.member_size:
            yield refused(name, "too large", f"it unpacks to {info.file_size:,} bytes; see --zip-member-size")
        elif _is_bomb(info.file_size, info.compress_size, limits):
            yield refused(name, "a zip bomb", f"it unpacks to more than {limits.ratio} times its size; see --zip-ratio")
        else:
            yield SourceFile(name, path, info.file_size, status.st_mtime_ns, member)


@contextmanager
def opened_member(file: SourceFile) -> Iterator[BufferedIOBase]:
    """The bytes of a member, which end where the archive says. Raises OSError, and DAMAGED errors while it is read."""
    archive = _archive(file.file, file.modified_ns)
    if file.member is None:
        raise ValueError(f"{file.name} is no member of an archive")
    with archive.open(archive.infolist()[file.member]) as member:
        yield cast("BufferedIOBase", member)


# Kept open for the members that follow: a directory of a hundred thousand members takes a second to read. An archive
# that falls out is closed when the last thread that reads it lets go.
@lru_cache(maxsize=2)
def _archive(path: str, _modified_ns: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _is_bomb(unpacked: int, packed: int, limits: ArchiveLimits) -> bool:
    return unpacked > _FREE_SIZE and unpacked > limits.ratio * max(packed, 1)
