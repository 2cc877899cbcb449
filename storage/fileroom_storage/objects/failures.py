"""What the operating system reports of a folder, in words that say what to do next."""

import errno
import logging
from pathlib import Path

from fileroom_storage.errors import StorageNotWritable, StorageUnavailable

LOG = logging.getLogger(__name__)

_WHAT_TO_DO = {
    errno.ENOSPC: "its disk is full; free some space, then send again",
    errno.EDQUOT: "its disk quota is used up; free some space, then send again",
    errno.EFBIG: "the object is larger than a file may be there; raise the limit on file sizes, then send again",
    errno.EROFS: "its disk is mounted read-only; mount it for writing, then send again",
    errno.EACCES: "the server may not use its folder; give the server's user access to it, then send again",
    errno.EPERM: "the server may not use its folder; give the server's user access to it, then send again",
    errno.ENOENT: "its folder is gone; see whether its disk is mounted, then send again",
    errno.EMFILE: "too many files are open; raise the limit on open files, then send again",
    errno.ENFILE: "too many files are open on this machine; send again later",
    errno.EXDEV: "incoming/ and objects/ are on different disks; keep both on one, then send again",
}
_NOT_WRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class Failures:
    """Turns what the operating system reports into StorageUnavailable; the path goes to the log only."""

    __slots__ = ("_root",)

    def __init__(self, root: Path) -> None:
        self._root = root

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OSError):
            LOG.error("object store %s: %s", self._root, error)
            advice = _WHAT_TO_DO.get(error.errno or 0, f"{error.strerror}; see the server's log")
            kind = StorageNotWritable if error.errno in _NOT_WRITABLE else StorageUnavailable
            raise kind(f"The object store is not available: {advice}.") from error
