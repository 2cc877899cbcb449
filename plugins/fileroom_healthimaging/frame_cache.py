"""Frames that were had from the service, kept on the disk: bounded, for any number of processes."""

import fcntl
import hashlib
import logging
import os
import struct
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)

_HEAD = struct.Struct("<8sQ32s")  # magic, length of the frame, SHA-256 of the frame
_MAGIC = b"FRAME\0\0\1"
_SUFFIX = ".frame"
_LARGEST_SHARE = 8  # a frame larger than this part of all is not kept
_SWEEP_SHARE = 16  # what is written before room is made
_LEFT_AFTER_SWEEP = 0.9
_TOUCHED_SECONDS = 60.0  # within which a frame that is used again is as good as just used
_ABANDONED_SECONDS = 3600.0  # after which a half-written file has nobody who writes it


class FrameCache:
    """A file a frame, under a digest of its key. `limit` is bytes; with 0 nothing is kept.

    Nothing is synced: what a crash leaves torn does not agree with its head, and is had from the service again. The
    frames that were not used for longest go first; until then each process may be a sixteenth of the limit over.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        self._written = limit  # so that the first frame that is kept finds out how much there is

    def get(self, key: str) -> bytes | None:
        """The frame as it was put; None where it is not there, or not whole."""
        if not self._limit:
            return None
        path = self._path(key)
        try:
            with path.open("rb") as file:
                content = file.read()
                used = os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        frame = _whole(content)
        if frame is None:
            _log.warning("a frame of the cache is damaged, and is had from the service again")
            path.unlink(missing_ok=True)
        elif time.time() - used > _TOUCHED_SECONDS:
            with suppress(OSError):
                os.utime(path)
        return frame

    def put(self, key: str, frame: bytes) -> None:
        """Keeps a frame; where the disk does not take it, it is only not kept."""
        if not self._limit or len(frame) > self._limit // _LARGEST_SHARE:
            return
        path = self._path(key)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(path, frame)
        except OSError as error:
            _log.warning("a frame could not be kept in the cache: %s", error.strerror or type(error).__name__)
        with self._lock:
            self._written += len(frame) + _HEAD.size
            is_due = self._written >= self._limit // _SWEEP_SHARE
            if is_due:
                self._written = 0
        if is_due:
            self._make_room()

    def _write(self, path: Path, frame: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=path.parent)  # for its owner alone
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_HEAD.pack(_MAGIC, len(frame), hashlib.sha256(frame).digest()))
                file.write(frame)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return self._folder / digest[:2] / f"{digest}{_SUFFIX}"

    def _make_room(self) -> None:
        """One process at a time; another leaves it to that one."""
        try:
            with (self._folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._remove_least_recently_used()
        except BlockingIOError:
            return
        except OSError as error:
            _log.warning("no room could be made in the cache of frames: %s", error.strerror or type(error).__name__)

    def _remove_least_recently_used(self) -> None:
        found: list[tuple[float, int, str]] = []
        now = time.time()
        for folder in os.scandir(self._folder):
            if not folder.is_dir(follow_symlinks=False) or len(folder.name) != 2:
                continue
            for file in os.scandir(folder):
                with suppress(FileNotFoundError):
                    stat = file.stat(follow_symlinks=False)
                    if file.name.endswith(_SUFFIX):
                        found.append((stat.st_mtime, stat.st_size, file.path))
                    elif now - stat.st_mtime > _ABANDONED_SECONDS:
                        Path(file.path).unlink()
        size = sum(one for _, one, _ in found)
        if size <= self._limit:
            return
        for _, one, path in sorted(found):
            Path(path).unlink(missing_ok=True)
            size -= one
            if size <= self._limit * _LEFT_AFTER_SWEEP:
                return


def _whole(content: bytes) -> bytes | None:
    """The frame, where all of it is as its head says."""
    if len(content) < _HEAD.size:
        return None
    magic, length, digest = _HEAD.unpack_from(content)
    frame = content[_HEAD.size :]
    if magic != _MAGIC or length != len(frame) or hashlib.sha256(frame).digest() != digest:
        return None
    return frame
