"""Sending processes, and what their logs say."""

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.service import ManagedServer, wait_until

_REPOSITORY = Path(__file__).parents[2]
_STOP_SECONDS = 120.0


@dataclass
class Log:
    """What one sender has written so far."""

    path: Path
    sent: set[str] = field(default_factory=set)
    stored: dict[str, None] = field(default_factory=dict)  # in order
    acknowledgements: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0
    _read: int = 0

    def read(self) -> Self:
        with self.path.open() as file:
            file.seek(self._read)
            for line in iter(file.readline, ""):
                if not line.endswith("\n"):
                    break  # it is just being written
                self._read += len(line)
                self._take(*line.split(" ", 3))
        return self

    def _take(self, word: str, uid: str, took: str = "0", rest: str = "") -> None:
        uid = uid.strip()
        self.outcomes[word] += 1
        if word == "sent":
            self.sent.add(uid)
            return
        self.slowest = max(self.slowest, float(took))
        if word == "stored":
            self.stored[uid] = None
            self.acknowledgements += 1
        elif word == "wrong":
            self.wrong.append(f"{uid} {rest.strip()}")


class Senders:
    """Processes that send to one server for as long as this is open: `dicom` by C-STORE, `http` by STOW-RS."""

    def __init__(
        self, server: ManagedServer, folder: Path, *, dicom: int = 4, http: int = 1, pause: float = 0.05
    ) -> None:
        folder.mkdir(exist_ok=True)
        kinds = [("c-store", server.dicom_port)] * dicom + [("stow", server.http_port)] * http
        self.logs: list[Log] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        for number, (kind, port) in enumerate(kinds, 1):
            path = folder / f"sender-{number}.log"
            path.touch()
            self.logs.append(Log(path))
            command = [sys.executable, "-m", "tests.faults.sender", kind, str(port), str(number), str(path)]
            self._processes.append(subprocess.Popen([*command, "--pause", str(pause)], cwd=_REPOSITORY))

    def acknowledged(self) -> set[str]:
        return {uid for log in self.logs for uid in log.read().stored}

    def sent(self) -> set[str]:
        return {uid for log in self.logs for uid in log.read().sent}

    def wait_for_progress(self, seconds: float = 90.0) -> None:
        """Returns when each sender has been answered with a success, from now on."""
        before = [log.read().acknowledgements for log in self.logs]
        assert all(process.poll() is None for process in self._processes), "a sender has died"
        wait_until(
            lambda: all(log.read().acknowledgements > count for log, count in zip(self.logs, before, strict=True)),
            lambda: f"senders that get nothing stored: {[log.outcomes for log in self.logs]}",
            seconds,
        )

    def assert_no_wrong_answer(self, longest: float) -> None:
        """Each answer was a success or `try again`, and came within `longest` seconds."""
        for log in self.logs:
            log.read()
            assert not log.wrong
            assert log.slowest < longest

    def stop(self) -> None:
        """Lets each finish the object that it is sending."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(_STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
