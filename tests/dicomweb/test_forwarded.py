"""Proxies' headers: what they change, and from whom."""

from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.test import Client

from fileroom_dicomweb.forwarded import BehindProxy, forwarded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def seen(
    headers: dict[str, str], trusted: tuple[str, ...] = ("127.0.0.1",), peer: str = "127.0.0.1", hops: int = 1
) -> tuple[str, ...]:
    """Scheme, host, client address and script name as the application gets them."""
    found: dict[str, Any] = {}

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
        found.update(environ)
        start_response("200 OK", [])
        return []

    client = Client(BehindProxy(application, trusted, hops))
    client.get("/", headers=headers, environ_overrides={"REMOTE_ADDR": peer}).close()
    return found["wsgi.url_scheme"], found["HTTP_HOST"], found["REMOTE_ADDR"], found["SCRIPT_NAME"]


DIRECT = ("http", "localhost", "127.0.0.1", "")
X_FORWARDED = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "pacs.example.org",
    "X-Forwarded-Prefix": "/archive",
}
FORWARDED = {"Forwarded": 'for=192.0.2.7;proto=https;host="pacs.example.org:8443"', "X-Forwarded-Prefix": "/archive"}


def test_no_proxy() -> None:
    assert seen({}) == DIRECT


def test_x_forwarded() -> None:
    assert seen(X_FORWARDED) == ("https", "pacs.example.org", "192.0.2.7", "/archive")


def test_x_forwarded_port() -> None:
    assert seen({**X_FORWARDED, "X-Forwarded-Port": "8443"})[1] == "pacs.example.org:8443"


def test_forwarded() -> None:
    assert seen(FORWARDED) == ("https", "pacs.example.org:8443", "192.0.2.7", "/archive")


def test_forwarded_stands_before_x_forwarded() -> None:
    assert seen({**X_FORWARDED, "Forwarded": "for=192.0.2.8;host=other.example.org"}) == (
        "http",
        "other.example.org",
        "192.0.2.8",
        "/archive",
    )


@pytest.mark.parametrize("headers", [X_FORWARDED, FORWARDED], ids=["x-forwarded", "forwarded"])
@pytest.mark.parametrize(
    ("trusted", "peer", "believed"),
    [
        ((), "127.0.0.1", False),
        (("10.0.0.0/8",), "127.0.0.1", False),
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("::1", "fd00::/8"), "fd12::1", True),
        (("*",), "203.0.113.9", True),
        (("127.0.0.1",), "", False),
        (("*",), "", True),
    ],
)
def test_only_trusted_proxies_are_believed(
    headers: dict[str, str], trusted: tuple[str, ...], peer: str, *, believed: bool
) -> None:
    result = seen(headers, trusted, peer)
    assert (result[2] == "192.0.2.7") is believed
    assert (result[0] == "https") is believed
    if not believed:
        assert result == ("http", "localhost", peer, "")


def test_several_proxies() -> None:
    chain = {
        "Forwarded": "for=evil;host=evil.example.org, for=192.0.2.7;host=pacs.example.org;proto=https, for=10.0.0.1"
    }
    assert seen(chain, hops=2)[:3] == ("https", "pacs.example.org", "192.0.2.7")
    assert seen(chain, hops=1)[:3] == ("http", "localhost", "10.0.0.1")


@pytest.mark.parametrize(
    ("header", "parameters"),
    [
        ("for=192.0.2.43", {"for": "192.0.2.43"}),
        ('For="[2001:db8:cafe::17]:4711"', {"for": "[2001:db8:cafe::17]:4711"}),
        ("for=192.0.2.60;proto=http; by=203.0.113.43", {"for": "192.0.2.60", "proto": "http", "by": "203.0.113.43"}),
        ('host="a,b";proto=https', {"host": "a,b", "proto": "https"}),
        ("", {}),
        (";;=,=", {}),
    ],
)
def test_forwarded_syntax(header: str, parameters: dict[str, str]) -> None:
    assert forwarded(header) == parameters


@pytest.mark.parametrize(
    ("node", "address"),
    [('"[2001:db8::17]:4711"', "2001:db8::17"), ('"192.0.2.1:80"', "192.0.2.1"), ("unknown", "unknown"), ("_h", "_h")],
)
def test_address_of_a_node(node: str, address: str) -> None:
    assert seen({"Forwarded": f"for={node}"})[2] == address


def test_another_scheme_is_not_taken() -> None:
    assert seen({"Forwarded": "proto=javascript"})[0] == "http"
