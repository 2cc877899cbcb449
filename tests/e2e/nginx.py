"""nginx before a fileroom, as a site would have it: on a port and below a path of its own."""

import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

_STARTED_WITHIN = 30.0

_CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 404; }}
        {locations}
    }}
}}
"""


class Nginx:
    """A running nginx; `locations` is what stands in its server."""

    def __init__(self, folder: Path, port: int, locations: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "error.log"
        self.url = f"http://127.0.0.1:{port}"
        configuration = folder / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, locations=locations))
        command = ["/usr/sbin/nginx", "-p", str(folder), "-e", str(self._log), "-c", str(configuration)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _STARTED_WITHIN
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self._process.kill()
                raise RuntimeError(f"nginx did not start:\n{self._log.read_text()}")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _answers(self) -> bool:
        try:
            return requests.get(self.url, timeout=5).status_code == 404
        except requests.ConnectionError:
            return False
