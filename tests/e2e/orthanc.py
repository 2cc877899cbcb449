"""Orthanc as another PACS of the site, which sends what it has and asks for storage commitment."""

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.databases import find_program, free_port

_STARTED_WITHIN = 60.0


class Orthanc:
    """A running Orthanc. `modalities` are those it knows, by name: AE title, host, port."""

    ae_title = "ORTHANC"

    def __init__(self, folder: Path, modalities: Mapping[str, tuple[str, str, int]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dicom_port, http_port = free_port(), free_port()
        self._url = f"http://127.0.0.1:{http_port}"
        settings = {
            "StorageDirectory": str(folder / "data"),
            "DicomAet": self.ae_title,
            "DicomPort": self.dicom_port,
            "HttpPort": http_port,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "DicomModalities": modalities,
        }
        configuration = folder / "orthanc.json"
        configuration.write_text(json.dumps(settings))
        self._log = (folder / "log").open("w+b")
        command = [find_program("Orthanc", "orthanc"), "--verbose", str(configuration)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _STARTED_WITHIN
        while True:
            try:
                requests.get(f"{self._url}/system", timeout=5).raise_for_status()
            except requests.RequestException:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self._process.kill()
                    raise RuntimeError(f"Orthanc did not start:\n{self.log}") from None
                time.sleep(0.1)
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    def get(self, path: str) -> Any:
        answer = requests.get(f"{self._url}/{path}", timeout=60)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, content: Any) -> Any:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        answer = requests.post(f"{self._url}/{path}", data=data, timeout=60)
        assert answer.ok, f"{answer.text}\n{self.log}"
        return answer.json()
