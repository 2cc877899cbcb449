"""What goes wrong on the way to the fake service and back, at a test's wish."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    THROTTLING = "throttling"  # ThrottlingException
    INTERNAL = "internal"  # InternalServerException
    CUT_BEFORE = "cut before"  # the connection ends without an answer; nothing was done
    CUT_AFTER = "cut after"  # it was done, and the connection ends without an answer
    CUT_IN_BODY = "cut in body"  # the connection ends half way through the body
    HANG = "hang"  # no answer until the client has given up, or `Faults.release`
    WRONG_BYTES = "wrong bytes"  # the answer is whole, with one byte of its body changed
    SLOW = "slow"  # the body comes in pieces, with pauses


@dataclass
class _Fault:
    kind: Kind
    operation: str | None
    remaining: int


class Faults:
    """Faults that wait for their operation; each happens as often as it was asked for, the earliest asked first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Fault] = []
        self._hanging = threading.Event()

    def add(self, kind: Kind, operation: str | None = None, *, times: int = 1) -> None:
        """Let the next `times` requests of an operation ("GetImageFrame"), or of any, meet the fault."""
        with self._lock:
            self._waiting.append(_Fault(kind, operation, times))

    def take(self, operation: str) -> Kind | None:
        """The fault that this request meets."""
        with self._lock:
            for fault in self._waiting:
                if fault.operation in (None, operation) and fault.remaining:
                    fault.remaining -= 1
                    return fault.kind
        return None

    def hang(self, seconds: float) -> None:
        """Wait until `release` or, so that no thread of a test stays for ever, for some seconds."""
        self._hanging.wait(seconds)

    def release(self) -> None:
        """Let go what hangs, now and from now on, and forget the faults that have not happened."""
        with self._lock:
            self._waiting.clear()
        self._hanging.set()
        self._hanging = threading.Event()


def pieces(body: bytes, number: int = 8) -> Iterator[bytes]:
    """A body in about so many pieces."""
    step = max(1, -(-len(body) // number))
    for start in range(0, len(body), step):
        yield body[start : start + step]
