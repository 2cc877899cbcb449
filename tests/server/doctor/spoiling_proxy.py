"""A server that passes requests on to another one, and spoils the answers on their way back."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import urllib3


@dataclass
class Passing:
    """An answer on its way. `path` is the request's, with its query."""

    method: str
    path: str
    request_headers: dict[str, str]
    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)


Spoil = Callable[[Passing], None]

_LEFT_OUT = {"connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive", "server", "date"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has seen enough goes away; that is no news."""


class SpoilingProxy:
    def __init__(self, target: str, spoil: Spoil) -> None:
        pool = urllib3.PoolManager()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                # the Host stays, so that URLs in answers are those of this server
                asked = {name: text for name, text in self.headers.items() if name.lower() != "accept-encoding"}
                response = pool.request(
                    self.command,
                    target + self.path,
                    headers=asked,
                    body=self.rfile.read(length) if length else None,
                    redirect=False,
                )
                headers = {n: text for n, text in response.headers.items() if n.lower() not in _LEFT_OUT}
                passing = Passing(
                    self.command, self.path, dict(self.headers.items()), response.status, headers, response.data
                )
                spoil(passing)
                self.send_response(passing.status)
                for name, text in passing.headers.items():
                    self.send_header(name, text)
                if passing.status != 204:
                    self.send_header("Content-Length", str(len(passing.body)))
                self.end_headers()
                self.wfile.write(passing.body)

            do_GET = do_POST = do_DELETE = do_OPTIONS = answer  # noqa: N815  # the names that http.server calls

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
