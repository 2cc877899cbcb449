"""A server under a service manager: started again at the same ports when it dies, its processes known by role."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.databases import free_port
from tests.served import FILEROOM

READY_SECONDS = 60.0
STOP_SECONDS = 60.0

Health = dict[str, Any]


def wait_until(happens: Callable[[], Any], what: Callable[[], str] | str, seconds: float = READY_SECONDS) -> Any:
    """What `happens` gives once that is true; `what` did not happen if it takes too long."""
    deadline = time.monotonic() + seconds
    while not (found := happens()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.05)
    return found


class ManagedServer:
    """As a context manager it is started, and has to stop well. Its log is outside the data, which may be full."""

    def __init__(self, data: Path, log: Path, *, database: str | None = None, **environment: str) -> None:
        self.data = data
        self.database_url = database or f"sqlite:///{data / 'index.sqlite'}"
        self.dicom_port, self.http_port = free_port(), free_port()
        self._log = log
        self._command = [FILEROOM, "serve", "--data", str(data), "--database", self.database_url]
        self._command += ["--dicom-port", str(self.dicom_port), "--http-port", str(self.http_port)]
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def dicomweb(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    @property
    def output(self) -> str:
        return self._log.read_text()

    def start(self) -> None:
        """Again and again, as a service manager does where a port is still held by what is ending."""

        def started() -> bool:
            with self._log.open("a") as log:
                self.process = subprocess.Popen(
                    self._command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **self._environment}
                )
            return bool(wait_until(lambda: self._is_up() or self._has_ended(), lambda: self.output)) and self._is_up()

        wait_until(started, lambda: f"the server does not start:\n{self.output}")

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _is_up(self) -> bool:
        """Whether the processes of this start are there; whether they are ready is another question."""
        return not self._has_ended() and bool(self.pids("receiver")) and bool(self.pids("worker"))

    def health(self) -> Health:
        try:
            answer = requests.get(f"http://127.0.0.1:{self.http_port}/health/ready", timeout=60)
        except requests.RequestException as error:
            return {"status": f"no answer: {type(error).__name__}", "parts": {}}
        health: Health = answer.json()
        return health

    def is_ready(self) -> bool:
        return bool(self.health()["status"] == "ready")

    def wait_until_ready(self) -> Self:
        wait_until(self.is_ready, lambda: f"not ready: {self.health()}\n{self.output[-4000:]}")
        return self

    def pids(self, role: str) -> list[int]:
        """The processes of a role: supervisor, receiver, http (gunicorn's master), worker (one of its workers)."""
        if self.process is None:
            return []
        supervisor = self.process.pid
        if role == "supervisor":
            return [supervisor]
        children = _children(supervisor)
        masters = [pid for pid in children if _name(pid) == "fileroom-http"]
        if role == "receiver":
            return [pid for pid in children if _name(pid) == "fileroom-dicom"]
        return masters if role == "http" else [pid for master in masters for pid in _children(master)]

    def kill(self, pid: int) -> None:
        """`kill -9`; the supervisor is started again, as a service manager would do."""
        os.kill(pid, signal.SIGKILL)
        if self.process is not None and pid == self.process.pid:
            self.process.wait()
            self.start()

    def stop(self) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self.wait_until_ready()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            code = self.stop()
        finally:
            if self.process is not None:
                self.process.kill()
                self.process.wait()
        if kind is None and code != 0:
            raise RuntimeError(f"the server ended with {code}:\n{self.output[-4000:]}")


def fileroom(*arguments: str, server: ManagedServer) -> subprocess.CompletedProcess[str]:
    """A command of fileroom's on the data of a server."""
    command: Sequence[str] = [FILEROOM, *arguments, "--data", str(server.data), "--database", server.database_url]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # it has just ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
