"""Sends requests to servers that may do anything: every answer has an end, in bytes and in seconds."""

import http.client
import queue
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3 import exceptions

from fileroom_server.config_values import is_loopback

from .findings import Fault, Unusable

Value = TypeVar("Value")

_CHUNK = 64 << 10
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `is_whole` is False where reading stopped at the limit; `url` is the last one of redirects."""

    url: str
    status: int
    headers: Mapping[str, str]  # any case
    body: bytes
    is_whole: bool
    seconds: float

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "")

    @property
    def media_type(self) -> str:
        return self.content_type.partition(";")[0].strip().lower()


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what credentials are for, and what browsers compare."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme)


class Prober:
    """Requests to one server. `credentials` go to its origin only, wherever its answers point."""

    def __init__(
        self, base_url: str, credentials: Mapping[str, str] | None = None, *, timeout: float, insecure: bool = False
    ) -> None:
        self._origin = origin(base_url)
        self._credentials = dict(credentials or {})
        self._timeout = timeout
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._context = ssl.create_default_context()
        if insecure:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
            urllib3.disable_warnings(exceptions.InsecureRequestWarning)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], *, limit: int, body: bytes | None = None
    ) -> Answer:
        """The answer, after redirects. Raises Unusable where none came."""
        return _within(self._timeout, lambda: self._send(method, url, headers, limit, body))

    def _send(self, method: str, url: str, headers: Mapping[str, str], limit: int, body: bytes | None) -> Answer:
        begun = time.monotonic()
        seen = []
        while True:
            try:
                answer = self._one(method, url, headers, limit, body, begun)
            except (exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
                raise Unusable(_fault(error, url, self._timeout)) from error
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or location is None:
                return answer
            seen.append(url)
            url = urljoin(url, location)
            if url in seen or len(seen) > _MOST_REDIRECTS:
                raise Unusable(
                    Fault(
                        "redirect-loop",
                        f"it redirects without end ({len(seen)} times)",
                        "Look at the redirects of the reverse proxy or login before the server; "
                        "DICOMweb has to answer at its own URL.",
                    )
                )
            if urlsplit(url).scheme not in _PORTS:
                raise Unusable(
                    Fault("redirect", "it redirects to what is no http URL", "Correct the Location of the redirect.")
                )
            if answer.status == 303:
                method, body = "GET", None

    def _one(
        self, method: str, url: str, headers: Mapping[str, str], limit: int, body: bytes | None, begun: float
    ) -> Answer:
        sent = {"User-Agent": "fileroom-doctor", "Accept-Encoding": "gzip, deflate", **headers}
        # browsers never send credentials with a preflight request
        if origin(url) == self._origin and method != "OPTIONS":
            sent |= self._credentials
        # a trickle of bytes keeps every read alive: _within has the last word
        timeout = urllib3.Timeout(connect=min(self._timeout, 10.0), read=self._timeout)

        def ask() -> urllib3.BaseHTTPResponse:
            return self._pool(url).request(
                method,
                url,
                body=body,
                headers=sent,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )

        try:
            response = ask()
        except exceptions.ProtocolError as error:
            # RFC 9112 9.3.1: a kept connection that the server closed meanwhile; asked again on a new one
            if method == "POST" or not isinstance(error.args[-1], ConnectionError):
                raise
            response = ask()
        try:
            content, is_whole = bytearray(), True
            for chunk in response.stream(_CHUNK, decode_content=True):
                content += chunk
                if len(content) > limit:
                    is_whole = False
                    break
        finally:
            if not response.closed:
                response.close()
        return Answer(
            url=url,
            status=response.status,
            headers=response.headers,
            body=bytes(content[:limit]),
            is_whole=is_whole,
            seconds=time.monotonic() - begun,
        )

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        host = parts.hostname or ""
        proxy = None
        if not is_loopback(host) and not urllib.request.proxy_bypass(host):
            proxy = urllib.request.getproxies().get(parts.scheme)
        if (proxy or "") not in self._pools:
            pool = urllib3.ProxyManager(proxy, ssl_context=self._context) if proxy else None
            self._pools[proxy or ""] = pool or urllib3.PoolManager(ssl_context=self._context)
        return self._pools[proxy or ""]


def _within(seconds: float, action: Callable[[], Value]) -> Value:
    """What `action` returns or raises; after so many seconds Unusable, whatever it is still waiting for."""
    results: queue.SimpleQueue[tuple[Value | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((action(), None))
        except BaseException as error:  # noqa: BLE001  # handed over to who waits
            results.put((None, error))

    threading.Thread(target=run, name="doctor-request", daemon=True).start()
    try:
        value, error = results.get(timeout=seconds)
    except queue.Empty:
        raise Unusable(timed_out(seconds)) from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # of the action, as there is no error


TIMED_OUT = "timed-out"


def timed_out(seconds: float) -> Fault:
    return Fault(
        TIMED_OUT,
        f"the answer was not complete after {seconds:g} s",
        "See in the server's log what it does so long; --timeout waits longer.",
    )


def _fault(error: Exception, url: str, timeout: float) -> Fault:
    host = urlsplit(url).netloc.rpartition("@")[2]
    text = str(error)
    if isinstance(error, exceptions.ConnectTimeoutError) or "Connection refused" in text:
        return Fault(
            "unreachable",
            f"nothing answers at {host}",
            "Check host, port and firewall, and that the server is running.",
        )
    if isinstance(error, exceptions.NameResolutionError):
        return Fault("unreachable", f"the name {host} is not known", "Check the spelling of the host, and DNS.")
    if isinstance(error, exceptions.ProxyError):
        return Fault("proxy", "the proxy of this machine does not let it through", "Set NO_PROXY for this host.")
    if isinstance(error, exceptions.NewConnectionError):
        return Fault("unreachable", f"no connection to {host} can be made", "Check host, port and network.")
    if isinstance(error, exceptions.SSLError | ssl.SSLError):
        return _tls_fault(text, host)
    if isinstance(error, exceptions.DecodeError):
        return Fault(
            "content-encoding",
            "the body is not encoded as its Content-Encoding says",
            "Look for a proxy that compresses twice, or takes the compression off and leaves the header.",
        )
    if isinstance(error, exceptions.TimeoutError | OSError) and "timed out" in text.lower():
        return timed_out(timeout)
    if isinstance(error, exceptions.ProtocolError | http.client.HTTPException):
        return Fault(
            "broken-answer",
            f"the connection ended in the middle of the answer, or what came is no HTTP ({type(error).__name__})",
            "See in the log of the server, or of the proxy before it, why it gave up.",
        )
    return Fault("unreachable", f"no answer can be had from {host} ({type(error).__name__})", "Check the URL.")


def _tls_fault(text: str, host: str) -> Fault:
    if "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text:
        return Fault(
            "certificate",
            f"the certificate of {host} is not trusted here",
            "Browsers will refuse it as well: install its authority on the machines of the viewers, or another "
            "certificate on the server. --insecure goes on without.",
        )
    return Fault(
        "tls",
        f"no TLS connection to {host} can be made",
        "Check that this port speaks https, not http, and its TLS versions.",
    )
