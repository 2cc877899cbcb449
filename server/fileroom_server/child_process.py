"""What processes that fileroom starts have in common: a name, and an end when their parent ends."""

import ctypes
import gc
import multiprocessing
import os
import signal
from multiprocessing.context import ForkContext

# <sys/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_NAME_LENGTH = 15

_libc = ctypes.CDLL(None, use_errno=True)

# The parent has no threads when it forks, so a child starts at once with all modules loaded.
FORK: ForkContext = multiprocessing.get_context("fork")


def become_child(name: str, parent: int) -> None:
    """Called first in a child: it is called `name` in `ps`, and gets SIGTERM when `parent` dies in whatever way."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _libc.prctl(_PR_SET_NAME, name.encode()[:_NAME_LENGTH], 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before it could be watched
        os._exit(1)


def collect_less() -> None:
    """To be called once a process has loaded what it needs: that stays, and little of what comes is in cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
