"""A fileroom started as its users start it: `fileroom serve`, in processes of its own, on ports of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.databases import copy_index, free_port

FILEROOM = str(Path(sys.executable).with_name("fileroom"))
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0


class Served:
    """A running server; as a context manager it is stopped at the end, and has to have stopped well.

    Without a database its index is a file in `data`, the empty one of this release where there is none.
    """

    scheme = "http"

    def __init__(self, data: Path, database: str | None = None, *arguments: str, **environment: str) -> None:
        self.data = data
        self.session = requests.Session()  # by which it is found ready
        self.session.trust_env = False  # a bundle of certificates named there would count more than the session's
        self.dicom_port, self.http_port = self.choose_dicom_port(), free_port()
        data.mkdir(parents=True, exist_ok=True)
        if database is None and not (data / "index.sqlite").exists():
            copy_index(data)  # tests/server/cli/test_serve_command.py has servers that make theirs
        self._log = (data / "serve.log").open("w+")
        command = [FILEROOM, "serve", "--data", str(data), *arguments]
        command += ["--dicom-port", str(self.dicom_port), "--http-port", str(self.http_port)]
        command += ["--database", database] if database else []
        self.process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )

    def choose_dicom_port(self) -> int:
        return free_port()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.http_port}"

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    @property
    def output(self) -> str:
        return Path(self._log.name).read_text()

    def wait_until_ready(self) -> Self:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.output}")
            try:
                if self.session.get(f"{self.url}/health/ready", timeout=5).ok:
                    return self
            except requests.RequestException:
                pass
            time.sleep(0.05)
        raise TimeoutError(f"the server is not ready after {_START_SECONDS} s:\n{self.output}")

    def peak_memory(self) -> dict[int, int]:
        """The most bytes that each process has ever occupied, pages of mapped files among them."""
        peaks: dict[int, int] = {}
        waiting = [self.process.pid]
        while waiting:
            process = waiting.pop()
            status = Path(f"/proc/{process}/status").read_text()
            peaks[process] = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) << 10
            for task in Path(f"/proc/{process}/task").iterdir():
                with suppress(FileNotFoundError):  # a thread that ended meanwhile
                    waiting += map(int, (task / "children").read_text().split())
        return peaks

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_SECONDS)

    def close(self) -> None:
        """Ends it, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        self.session.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self.wait_until_ready()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            code = self.stop()
        finally:
            self.close()
        if kind is None and code != 0:
            raise RuntimeError(f"the server ended with {code}")
