"""What the HTTP server itself refuses, before DICOMweb sees it, is a problem body like every other error."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.served import Served

_HOST = b"Host: localhost\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("refused") / "data") as served:
        yield served


def answered(served: Served, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by name in lower case, body."""
    with socket.create_connection(("127.0.0.1", served.http_port), timeout=30) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as file:
            status = int(file.readline().split()[1])
            headers = {}
            while line := file.readline().decode().strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            return status, headers, file.read(int(headers["content-length"]))


def get(path: bytes, headers: bytes = _HOST, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + path + b" " + version + b"\r\n" + headers + b"\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "advice"),
    [
        (get(b"/dicom-web/studies?PatientName=" + b"x" * 9000), 414, "ask for fewer values"),
        (get(b"/", _HOST + b"X-Long: " + b"x" * 10_000 + b"\r\n"), 431, "leave out"),
        (get(b"/", _HOST + b"".join(b"X-%d: 1\r\n" % number for number in range(200))), 431, "leave out"),
        (b"GET\r\n\r\n", 400, "request line"),
        (b"nonsense\r\n\r\n", 400, "request line"),
        (b"G(T / HTTP/1.1\r\n" + _HOST + b"\r\n", 400, "GET, HEAD, POST"),
        (get(b"/", version=b"HTTP/7.0"), 505, "HTTP/1.1"),
        (get(b"/", _HOST + b"No colon\r\n"), 400, "RFC 9112"),
        (get(b"/", _HOST + b"Na me: 1\r\n"), 400, "RFC 9112"),
        (get(b"/", _HOST + b"X: a\x00b\r\n"), 400, "RFC 9112"),
        (get(b"/", _HOST + b"X: a\r\n b\r\n"), 400, "RFC 9112"),
        (get(b"/", _HOST + b"Expect: a-wonder\r\n"), 417, "100-continue"),
        (get(b"/", _HOST + b"Transfer-Encoding: a-secret\r\n"), 501, "chunked"),
        (get(b"/", _HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n"), 400, "RFC 9112"),
        (get(b"/", _HOST + b"Content-Length: many\r\n"), 400, "RFC 9112"),
    ],
)
def test_refusals(served: Served, request_: bytes, status: int, advice: str) -> None:
    answer = answered(served, request_)
    assert (answer[0], answer[1]["content-type"]) == (status, "application/problem+json")
    problem = json.loads(answer[2])
    assert problem["type"] == "about:blank"
    assert problem["status"] == status
    assert problem["title"]
    assert advice in problem["detail"]


def test_the_log_tells_but_does_not_quote(served: Served) -> None:
    answered(served, get(b"/dicom-web/studies?PatientName=Doe^Jane" + b"x" * 9000))
    answered(served, get(b"/", _HOST + b"X-Patient Doe^Jane\r\n"))
    assert "refused a request of 127.0.0.1: " in served.output
    assert "LimitRequestLine" in served.output
    assert "Doe" not in served.output
    assert "Traceback" not in served.output


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get(b"//evil.example.org/dicom-web"), 404),
        (get(b"http://evil.example.org/nothing"), 404),
        (get(b"/dicom-web/studies/%00"), 400),
        (get(b"/dicom-web/studies/\xff\xfe"), 400),
        (get(b"/dicom-web/studies/%zz%"), 400),
        (get(b"/dicom-web/studies", b"Host: a b\r\n"), 400),
        (b"TRACE /dicom-web/studies HTTP/1.1\r\n" + _HOST + b"\r\n", 405),
        (b"BREW /dicom-web/studies HTTP/1.1\r\n" + _HOST + b"\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\n" + _HOST + b"\r\n", 404),
    ],
)
def test_what_comes_through_is_refused_alike(served: Served, request_: bytes, status: int) -> None:
    answer = answered(served, request_)
    assert (answer[0], answer[1]["content-type"]) == (status, "application/problem+json")
    assert json.loads(answer[2])["detail"]
