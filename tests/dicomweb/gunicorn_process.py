"""DICOMweb under a real gunicorn, in a process of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
from flask import Flask

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_storage.storage import Storage, StorageSettings

_DATA = "DICOMWEB_TEST_DATA"
_IDLE = "DICOMWEB_TEST_IDLE_TIMEOUT"
_STARTED_WITHIN = 120.0


def application() -> Flask:
    """What gunicorn's worker serves."""
    storage = Storage.open(StorageSettings(Path(os.environ[_DATA])))
    storage.create_schema_if_empty()
    return create_app(storage, DicomwebSettings(idle_timeout=float(os.environ[_IDLE])))


class GunicornProcess:
    """One worker, so that its memory is the server's."""

    def __init__(self, folder: Path, port: int, idle_timeout: float = 60.0) -> None:
        self.folder = folder
        self._port = port
        self._idle_timeout = idle_timeout
        self.log = folder / "gunicorn.log"
        self.url = f"http://127.0.0.1:{port}"
        self.dicomweb_url = f"{self.url}/dicom-web"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{self._port}", "--workers", "1"]
        command += ["--worker-class", "gthread", "--threads", "4", "--no-control-socket"]
        command += ["tests.dicomweb.gunicorn_process:application()"]
        environment = {**os.environ, _DATA: str(self.folder / "data"), _IDLE: str(self._idle_timeout)}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=Path(__file__).parents[2], env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _STARTED_WITHIN
        while not self._is_live():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self._process.kill()
                raise RuntimeError(f"gunicorn did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)

    def anonymous_memory(self) -> int:
        """Bytes the worker holds itself; pages of mapped files are the kernel's."""
        (child,) = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for line in Path(f"/proc/{child}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the kernel does not tell RssAnon")

    def _is_live(self) -> bool:
        try:
            return requests.get(f"{self.url}/health/live", timeout=5).ok
        except (requests.ConnectionError, requests.Timeout):
            return False
