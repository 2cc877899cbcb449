"""Requests that come again byte for byte, answered before they are read: a viewer polls, many ask for the same list.

What was kept as an answer (fileroom_dicomweb.recent_answers) is kept here with its head, under the very bytes that
asked for it and the address they came from, for as long as the index stays as it is, and no longer than whoever asked
may be believed to be who they are: their token is among these bytes.
"""

import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from gunicorn.util import http_date  # type: ignore[import-untyped]

from fileroom_server.http_record import AnswerCounts
from fileroom_server.metrics import table
from fileroom_server.metrics.metric import OTHER
from fileroom_server.tracing import tracer
from fileroom_storage.index.audit.tally import Tally
from fileroom_storage.query.recent import RecentAnswers, Version

_LONGEST_HEAD = 1 << 13
_MOST_BYTES = 16 << 20
_END_OF_HEAD = b"\r\n\r\n"
# headers after which more than the head comes, or something else than an answer; and those that never come again
_NOT_ALONE = (b"\ncontent-length:", b"\ntransfer-encoding:", b"\nupgrade:", b"\nexpect:")
_NOT_AGAIN = (b"\nx-request-id:", b"\ntraceparent:")
_DATE = "Date: "


class _Answer(NamedTuple):
    """What goes before the date, and what goes behind it."""

    before: bytes
    behind: bytes
    valid_until: float | None
    operation: str
    counts: AnswerCounts
    tally: Tally | None  # what counts how often it is given again, for the audit log


class Repeats:
    """For one worker. `version` tells the index's version now, or None where that cannot be told."""

    def __init__(self, version: Callable[[], Version | None], seconds: float) -> None:
        self._recent: RecentAnswers[_Answer] = RecentAnswers(version, _MOST_BYTES)
        self._asked = threading.local()
        self._seconds = seconds
        self._date: tuple[int, bytes] = (0, b"")

    def answer(self, connection: socket.socket, address: str) -> bool:
        """Answers the request that has come on this connection, if it is known.

        Raises OSError where a part of the answer may have gone out: the connection is of no more use then.
        """
        self.forget()
        connection.setblocking(False)
        try:
            head = connection.recv(_LONGEST_HEAD, socket.MSG_PEEK)
        except OSError:
            return False
        begun = time.perf_counter()
        key = (head, address)
        answer = self._recent.find(key)
        if answer is None or (answer.valid_until is not None and time.monotonic() >= answer.valid_until):
            self._asked.request = (connection, key)
            if head.startswith(b"GET "):
                table.KEPT_ANSWERS.inc("requests", "miss")
            return False
        connection.recv(len(head))
        connection.settimeout(self._seconds)  # for silence
        if answer.tally is not None:
            answer.tally.again()
        connection.sendall(answer.before + self._now() + answer.behind)
        self._answered(answer, begun)
        return True

    def forget(self) -> None:
        """To be called before this thread reads a request that it has not looked at here."""
        self._asked.request = None

    def keep(
        self,
        connection: socket.socket,
        version: Version | None,
        lines: list[str],
        body: bytes,
        operation: str = OTHER,
        tally: Tally | None = None,
        valid_until: float | None = None,
    ) -> None:
        """To be told of an answer to the request that this thread has last looked at, by the lines of its head.

        `operation` is what it is counted as when it is given again.
        `valid_until`: how long whoever asked may be taken for who they are, on the monotonic clock; None is for ever.
        """
        asked: tuple[socket.socket, tuple[bytes, str]] | None = getattr(self._asked, "request", None)
        self.forget()
        if asked is None or asked[0] is not connection or version is None:
            return
        key = asked[1]
        head = key[0]
        if not head.startswith(b"GET ") or head.find(_END_OF_HEAD) != len(head) - len(_END_OF_HEAD):
            return
        lower = head.lower()
        if any(name in lower for name in _NOT_ALONE + _NOT_AGAIN) or "Connection: keep-alive\r\n" not in lines:
            return
        [place] = [number for number, line in enumerate(lines) if line.startswith(_DATE)]
        before = "".join([*lines[:place], _DATE]).encode("latin-1")
        behind = "".join(["\r\n", *lines[place + 1 :]]).encode("latin-1") + body
        counts = AnswerCounts(operation, "200", len(body), table.KEPT_ANSWERS.place("requests", "hit"))
        kept = _Answer(before, behind, valid_until, operation, counts, tally)
        self._recent.keep(version, key, kept, len(head) + len(before) + len(behind))

    def _answered(self, answer: _Answer, begun: float) -> None:
        now = time.perf_counter()
        answer.counts.count(now - begun)
        if (active := tracer()) is not None:
            active.record(f"GET {answer.operation}", begun, now, {"fileroom.kept": True})

    def _now(self) -> bytes:
        second, text = self._date
        now = int(time.time())
        if now != second:
            text = http_date().encode("ascii")
            self._date = (now, text)
        return text
