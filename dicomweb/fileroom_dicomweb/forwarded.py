"""What a reverse proxy says of the request it was sent: believed from trusted addresses only."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.request import parse_http_list

from werkzeug.middleware.proxy_fix import ProxyFix

from .media_types import media_type

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ANY = "*"


class BehindProxy:
    """WSGI middleware that gives the application the request as the client made it.

    Forwarded (RFC 7239) counts before X-Forwarded-For, -Proto, -Host, -Port; X-Forwarded-Prefix, for which Forwarded
    has no word, counts with either.
    """

    def __init__(self, application: "WSGIApplication", trusted: Sequence[str], hops: int = 1) -> None:
        self._application = application
        self._trust_any = _ANY in trusted
        self._networks = [ipaddress.ip_network(address, strict=False) for address in trusted if address != _ANY]
        self._hops = max(hops, 1)
        self._proxy_fix = ProxyFix(application, *(self._hops,) * 5)
        self._prefix_fix = ProxyFix(application, 0, 0, 0, 0, self._hops)
        self._is_trusted = lru_cache(maxsize=1024)(self._trusts)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if not self._is_trusted(environ.get("REMOTE_ADDR", "")):
            return self._application(environ, start_response)
        if not environ.get("HTTP_FORWARDED"):
            return self._proxy_fix(environ, start_response)
        _apply(forwarded(environ["HTTP_FORWARDED"], self._hops), environ)
        return self._prefix_fix(environ, start_response)

    def _trusts(self, remote_address: str) -> bool:
        if self._trust_any:
            return True
        try:
            address = ipaddress.ip_address(remote_address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def forwarded(header: str, hops: int = 1) -> dict[str, str]:
    """The parameters that the outermost of `hops` trusted proxies gave (RFC 7239 4), names in lower case.

    What that one left out is taken from those nearer to us.
    """
    parameters: dict[str, str] = {}
    for element in reversed(parse_http_list(header)[-hops:]):
        # the parameters are written as those of a media type are
        parsed = media_type(f"-/-; {element}")
        if parsed is not None:
            parameters.update({name: value for name, value in parsed.parameters.items() if value})
    return parameters


def _apply(parameters: Mapping[str, str], environ: "WSGIEnvironment") -> None:
    if parameters.get("proto", "").lower() in ("http", "https"):
        environ["wsgi.url_scheme"] = parameters["proto"].lower()
    if "host" in parameters:
        host = parameters["host"]
        environ["HTTP_HOST"] = environ["SERVER_NAME"] = host
        if ":" in host and not host.endswith("]"):
            environ["SERVER_NAME"], environ["SERVER_PORT"] = host.rsplit(":", 1)
    if "for" in parameters:
        environ["REMOTE_ADDR"] = _node_address(parameters["for"])


def _node_address(node: str) -> str:
    """RFC 7239 6: an address with or without port, IPv6 in brackets; or "unknown", or a name that hides it."""
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0]
