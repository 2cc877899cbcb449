"""Metadata that was made, compressed, and kept on the disk: under its entity tag, so that it is never out of date.

A cache: what is torn, foreign or lost is made again.
"""

import hashlib
import os
import secrets
import struct
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

_MAGIC = b"fileroom"
_HEAD = struct.Struct("<8sQ32s")  # magic, length, SHA-256 of what follows
_PART = ".part"
_STALE_SECONDS = 3600.0


class KeptMetadata:
    """In a folder that any number of processes may share; `most_bytes` 0 keeps nothing."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def find(self, tag: str) -> bytes | None:
        """What was kept under a tag of hexadecimal digits; None where there is nothing, or not all of it."""
        path = self._folder / tag
        try:
            kept = path.read_bytes()
            os.utime(path)  # the least recently used goes first
        except OSError:
            return None
        if len(kept) < _HEAD.size:
            return None
        magic, length, digest = _HEAD.unpack_from(kept)
        content = kept[_HEAD.size :]
        if magic != _MAGIC or length != len(content) or digest != hashlib.sha256(content).digest():
            return None
        return content

    def keep(self, tag: str, chunks: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
        """Passes the chunks on; when all have come, they are kept."""
        if not self._most_bytes:
            yield from chunks
            return
        path = self._folder / f"{secrets.token_hex(8)}{_PART}"
        descriptor = self._created(path)
        digest, length = hashlib.sha256(), 0
        try:
            for chunk in chunks:
                if descriptor is not None:
                    digest.update(chunk)
                    length += len(chunk)
                    descriptor = _written(descriptor, chunk, length)
                yield chunk
            if descriptor is not None and length <= self._most_bytes:
                with suppress(OSError):
                    os.pwrite(descriptor, _HEAD.pack(_MAGIC, length, digest.digest()), 0)
                    path.rename(self._folder / tag)
                    self._make_room()
        finally:
            chunks.close()
            if descriptor is not None:
                os.close(descriptor)
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _created(self, path: Path) -> int | None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.lseek(descriptor, _HEAD.size, os.SEEK_SET)
        except OSError:
            return None
        return descriptor

    def _make_room(self) -> None:
        with os.scandir(self._folder) as entries:
            found = sorted((entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in entries)
        total = sum(size for _, size, _ in found)
        newest = found[-1][0] if found else 0.0
        for modified, size, path in found:
            is_left_behind = path.endswith(_PART) and newest - modified > _STALE_SECONDS
            if total <= self._most_bytes and not is_left_behind:
                continue
            if not path.endswith(_PART) or is_left_behind:
                with suppress(OSError):
                    Path(path).unlink()
                    total -= size


def _written(descriptor: int, chunk: bytes, length: int) -> int | None:
    """The descriptor; None where the disk takes no more, and nothing is kept."""
    try:
        if os.pwrite(descriptor, chunk, _HEAD.size + length - len(chunk)) == len(chunk):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
