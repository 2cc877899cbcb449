"""Answers kept for as long as the index stays as it is: what many ask again and again is made once.

Who makes an answer says of which version of the index it is, read before the index was looked at; it is found again
only while the index is of that very version. Where versions cannot be told (None), nothing is kept.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Version = Hashable
Answer = TypeVar("Answer")

_OVERHEAD = 2048  # bytes that each answer is taken for besides its own


class RecentAnswers(Generic[Answer]):
    """`version` tells the index's version now. The answers that were used last stay, up to `most_bytes` of them."""

    def __init__(self, version: Callable[[], Version | None], most_bytes: int) -> None:
        self._version = version
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._answers: OrderedDict[Hashable, tuple[Answer, int]] = OrderedDict()
        self._of: Version | None = None
        self._bytes = 0

    def version(self) -> Version | None:
        return self._version()

    def find(self, key: Hashable) -> Answer | None:
        """The answer to what is the same in all that an answer depends on."""
        if key not in self._answers or self._version() != self._of:
            return None
        with self._lock:
            found = self._answers.get(key)
            if found is None:
                return None
            self._answers.move_to_end(key)
            return found[0]

    def keep(self, version: Version | None, key: Hashable, answer: Answer, size: int) -> None:
        """Keeps an answer of so many bytes, which was made of an index of this version."""
        if version is None:
            return
        with self._lock:
            if version != self._of:
                self._answers.clear()
                self._of, self._bytes = version, 0
            _, before = self._answers.pop(key, (None, 0))
            self._answers[key] = answer, size + _OVERHEAD
            self._bytes += size + _OVERHEAD - before
            while self._bytes > self._most_bytes:
                self._bytes -= self._answers.popitem(last=False)[1][1]
