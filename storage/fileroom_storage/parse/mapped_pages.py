"""Pages of mapped files: what was looked at once must not stay in the memory of the process."""

from mmap import MADV_DONTNEED, mmap

from .encoding import View

STRETCH = 16 << 20


def let_go_of_pages(view: View) -> None:
    """Unmaps what the kernel has mapped of a file; the next look at it maps it again. Other views are left alone."""
    mapped = view.obj if isinstance(view, memoryview) else None
    if isinstance(mapped, mmap):
        mapped.madvise(MADV_DONTNEED)


class PagesBehind:
    """Lets go of pages as a walk over a view goes on, so that no more than a stretch of it is held."""

    def __init__(self, view: View, offset: int = 0) -> None:
        self._view = view
        self._next = offset + STRETCH

    def at(self, offset: int) -> None:
        if offset >= self._next:
            let_go_of_pages(self._view)
            self._next = offset + STRETCH
