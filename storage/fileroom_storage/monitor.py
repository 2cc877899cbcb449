"""What storage tells of its work while it does it: how long each stage takes, what became of objects, which SQL runs.

Whoever measures or traces derives from `Monitor` and gives it to `Storage.open`; storage knows no metrics library.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from enum import StrEnum

_NOTHING = nullcontext()


class Stage(StrEnum):
    """The stages of an object's way in, in their order; TOTAL is from its first byte until it is durable."""

    RECEIVE = "receive"
    PARSE = "parse"
    WRITE = "write"  # to a file; what comes piece by piece is written while it is received
    SYNC = "sync"  # until the file is on the disk
    WAIT = "wait"  # for the index to be free
    COMMIT = "commit"
    TOTAL = "total"


class StoredAs(StrEnum):
    """What became of an object that was taken."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"  # stored, in conflict with what was there


class Monitor:
    """Hears what is done, in the thread that does it, and must be quick. This one ignores it all.

    `source` is that of Provenance: "C-STORE", "STOW-RS", "import". Times are in seconds.
    """

    traces_statements = False  # whether `executed` is to be called at all

    def took(self, stage: Stage, source: str, seconds: float) -> None:
        """A stage of one object that has just ended."""

    def stored(self, source: str, outcome: StoredAs, size: int) -> None:
        """An object is durable; its file has so many bytes."""

    def refused(self, source: str, error: Exception) -> None:
        """An object was not taken."""

    def waited(self, context: Context, source: str, seconds: float) -> None:
        """The stage WAIT of an object that was handed in in this context."""

    def queued(self, number: int) -> None:
        """So many objects wait for the index."""

    def transaction(self, contexts: Sequence[Context]) -> AbstractContextManager[object]:  # noqa: ARG002
        """Around a group commit; `contexts` are those in which its objects were handed in, the first is entered."""
        return _NOTHING

    def committed(self, sources: Sequence[str], seconds: float) -> None:
        """A group commit has ended, and with it the stage COMMIT of an object of each of these sources."""

    def extraction_failed(self, plugin: str) -> None:
        """A plugin has no rows of an object that was stored."""

    def counted(self, name: str, labels: Sequence[str], by: float) -> None:
        """A plugin counts into a metric that it has declared."""

    def observed(self, name: str, labels: Sequence[str], value: float) -> None:
        """A plugin has measured something for a histogram that it has declared."""

    def searched(self, level: str, seconds: float) -> None:
        """A search of the index has ended, its last answer been taken; level is STUDY, SERIES and so on."""

    def executed(self, sql: str, seconds: float, *, failed: bool) -> None:
        """A statement has been executed: its text, which has no values in it."""

    def rendering(self) -> AbstractContextManager[object]:
        """Around the making of a picture or document of an object."""
        return _NOTHING

    def looked_up(self, kept: str, *, found: bool) -> None:
        """Whether an answer was among those that are `kept`, by the name of where they are."""


UNWATCHED = Monitor()
