"""Servers that do anything but DICOMweb: one clear finding, no traceback, and an end."""

import itertools
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fileroom_server.doctor.examination import Plan, examine
from fileroom_server.doctor.findings import CLIENTS, Outcome
from fileroom_server.doctor.prober import Prober
from tests.databases import find_program
from tests.server.doctor.conftest import Examine

Answer = Callable[[BaseHTTPRequestHandler], None]
Serve = Callable[[Answer], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """The URL of a server that answers every request by this function, and closes the connection."""
    servers = []

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that do not want more close the connection."""

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # the name that http.server calls
                self.close_connection = True
                answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
                pass

        server = Server(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/dicom-web"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def plain(status: int, content_type: str, body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        for name, text in headers.items():
            handler.send_header(name.replace("_", "-"), text)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def redirect_to_itself(handler: BaseHTTPRequestHandler) -> None:
    plain(302, "text/plain", b"", Location=handler.path)(handler)


def redirect_on_and_on(handler: BaseHTTPRequestHandler) -> None:
    plain(307, "text/plain", b"", Location=handler.path + "a")(handler)


def chunks_without_end(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/dicom+json")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for _ in itertools.count():
        handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def trickle(handler: BaseHTTPRequestHandler) -> None:
    """A byte of a header now and then: no single read ever times out."""
    for _ in range(600):
        handler.wfile.write(b"H")
        handler.wfile.flush()
        threading.Event().wait(0.1)


def silence(handler: BaseHTTPRequestHandler) -> None:
    threading.Event().wait(60)


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def ends_too_early(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/dicom+json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"[")


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00\x01\x02 220 smtp ready\r\n\r\n")


JSON = "application/dicom+json"
SILLY: list[tuple[str, Answer, str]] = [
    ("redirects to itself", redirect_to_itself, "redirect-loop"),
    ("redirects on and on", redirect_on_and_on, "redirect-loop"),
    ("redirects to a file", plain(302, "text/plain", b"", Location="file:///etc/hostname"), "redirect"),
    ("a login page", plain(200, "text/html; charset=utf-8", b"<!DOCTYPE html><p>log in"), "html-instead"),
    ("a login page labelled as JSON", plain(200, JSON, b"\n <html><p>log in"), "html-instead"),
    ("asks for a login", plain(401, "text/plain", b"who are you?"), "credentials"),
    ("forbids", plain(403, "text/plain", b""), "credentials"),
    ("fails always", plain(500, "text/plain", b"Traceback (most recent call last):"), "status-500"),
    ("is not there", plain(404, "text/plain", b""), "status-404"),
    ("JSON that is none", plain(200, JSON, b'[{"0020000D": '), "not-json"),
    ("nothing at all", plain(200, JSON, b""), "not-json"),
    ("JSON of something else", plain(200, JSON, b'{"error": "no"}'), "json-shape"),
    ("a list of texts", plain(200, JSON, b'["a", "b"]'), "json-shape"),
    ("nested without end", plain(200, JSON, b"[" * 100_000), "not-json"),
    ("attributes by keyword", plain(200, JSON, b'[{"StudyInstanceUID": "1.2"}]'), "json-shape"),
    ("labelled gzip", plain(200, JSON, b"[]", Content_Encoding="gzip"), "content-encoding"),
    ("gigantic", chunks_without_end, "too-large"),
    ("hangs up", hangs_up, "broken-answer"),
    ("ends too early", ends_too_early, "broken-answer"),
    ("speaks something else", no_http, "broken-answer"),
]


@pytest.mark.parametrize(("answer", "code"), [pytest.param(*row[1:], id=row[0]) for row in SILLY])
def test_a_clear_finding(serve: Serve, examined: Examine, answer: Answer, code: str) -> None:
    examination = examined(serve(answer))
    assert examination.fatal is not None
    assert examination.fatal.code == code
    assert examination.fatal.advice
    assert {result.outcome for result in examination.results} == {Outcome.NOT_TRIED}
    assert not examination.is_good


@pytest.mark.parametrize("answer", [silence, trickle])
def test_a_server_that_never_ends_its_answer(serve: Serve, examined: Examine, answer: Answer) -> None:
    examination = examined(serve(answer), timeout=1.0)
    assert examination.fatal is not None
    assert examination.fatal.code == "timed-out"


def test_nobody_there(examined: Examine, free_port: int) -> None:
    examination = examined(f"http://127.0.0.1:{free_port}/dicom-web")
    assert examination.fatal is not None
    assert examination.fatal.code == "unreachable"
    assert f"127.0.0.1:{free_port}" in examination.fatal.what
    unknown = examined("http://no-such-host.invalid/dicom-web")
    assert unknown.fatal is not None
    assert unknown.fatal.code == "unreachable"


def test_https_where_there_is_none(serve: Serve, examined: Examine) -> None:
    examination = examined(serve(plain(200, JSON, b"[]")).replace("http://", "https://"))
    assert examination.fatal is not None
    assert examination.fatal.code == "tls"


def test_a_certificate_that_nobody_knows(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        find_program("openssl", "openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            plain(200, JSON, b"[]")(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that do not trust close the connection."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_address[1]}/dicom-web"

        def fatal(*, insecure: bool) -> str | None:
            plan = Plan(url, CLIENTS)
            examination = examine(plan, Prober(url, timeout=60, insecure=insecure), lambda _done, _total, _what: None)
            return examination.fatal.code if examination.fatal else None

        assert fatal(insecure=False) == "certificate"
        assert fatal(insecure=True) is None
        server.shutdown()


def test_credentials_stay_with_their_server(serve: Serve) -> None:
    seen: list[tuple[str, str | None]] = []

    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        seen.append(("elsewhere", handler.headers.get("Authorization")))
        plain(200, JSON, b"[]")(handler)

    other = serve(elsewhere)

    def here(handler: BaseHTTPRequestHandler) -> None:
        seen.append(("here", handler.headers.get("Authorization")))
        plain(302, "text/plain", b"", Location=f"{other}/studies")(handler)

    url = serve(here)
    answer = Prober(url, {"Authorization": "Bearer secret"}, timeout=60).send("GET", url, {}, limit=1000)
    assert answer.status == 200
    assert seen == [("here", "Bearer secret"), ("elsewhere", None)]


def test_reading_stops_at_the_limit(serve: Serve) -> None:
    url = serve(chunks_without_end)
    answer = Prober(url, timeout=60).send("GET", url, {}, limit=100_000)
    assert len(answer.body) == 100_000
    assert not answer.is_whole


def test_a_server_that_falls_silent_is_left_alone(serve: Serve, examined: Examine) -> None:
    """After some requests in vain the others are not tried: nobody waits for seventy timeouts."""
    study = {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}
    answered = itertools.count()

    def first_only(handler: BaseHTTPRequestHandler) -> None:
        if next(answered) == 0:
            plain(200, JSON, json.dumps([study]).encode())(handler)
        else:
            silence(handler)

    examination = examined(serve(first_only), timeout=0.5)
    tried = [result for result in examination.results if result.outcome is not Outcome.NOT_TRIED]
    assert len(tried) == 3
    assert {finding.code for result in tried for finding in result.findings} == {"timed-out"}
