"""A private Orthanc with its DICOMweb plugin, as Debian packages them."""

import json
import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.databases import find_program, free_port

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_START_SECONDS = 60.0


class Orthanc:
    """A running server; as a context manager it is stopped at the end."""

    def __init__(self, folder: Path) -> None:
        program = find_program("Orthanc", "orthanc orthanc-dicomweb", [Path("/usr/sbin")])
        self._port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "Name": "tests",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "Plugins": [str(_PLUGIN)],
            "DicomServerEnabled": False,
            "HttpPort": self._port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado"},
        }
        configuration = folder / "orthanc.json"
        configuration.write_text(json.dumps(settings))
        self._log = (folder / "orthanc.log").open("w+")
        environment = {**os.environ, "TCP_NODELAY": "1"}
        self._process = subprocess.Popen(
            [program, str(configuration)], stdout=self._log, stderr=subprocess.STDOUT, env=environment
        )

    @property
    def dicomweb(self) -> str:
        return f"http://127.0.0.1:{self._port}/dicom-web"

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if requests.get(f"{self.dicomweb}/studies?limit=1", timeout=5).ok:
                    return self
            except requests.RequestException:
                pass
            time.sleep(0.05)
        self.__exit__(None, None, None)
        raise RuntimeError(f"Orthanc is not ready:\n{Path(self._log.name).read_text()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._log.close()
