"""Requests from pages of other origins (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol): off unless set."""

import re
from collections.abc import Sequence

from flask import Flask, Response, request

ANY_ORIGIN = "*"

_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
# What a page may read beyond the seven that it always may. Credentials and "*" exclude each other here too.
_EXPOSED = (
    "Accept-Ranges, Allow, Content-Disposition, Content-Encoding, Content-Length, Content-Location, Content-Range, "
    "Content-Type, ETag, Link, Location, Retry-After, Warning, WWW-Authenticate"
)
# RFC 9110 5.6.2, with commas and spaces between
_HEADER_NAMES = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~, -]{1,2000}")
_MAXIMUM_AGE = "7200"  # seconds; browsers take no more


def register_cors(app: Flask, origins: Sequence[str], paths: Sequence[str]) -> None:
    """Lets pages of these origins use what is at or below `paths`.

    Listed origins may send credentials; with "*" nobody may, as any page could then act with its visitor's login.
    """
    if not origins:
        return
    known = frozenset(origin.lower() for origin in origins)

    def concerned() -> bool:
        return any(request.path == path or request.path.startswith(f"{path}/") for path in paths)

    def preflight() -> Response | None:
        # for every path alike, so that a page is told of a 404 and not of a forbidden origin
        asked = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        return Response(status=204) if asked and "Origin" in request.headers and concerned() else None

    def allow(response: Response) -> Response:
        if not concerned():
            return response
        origin = request.headers.get("Origin", "")
        if ANY_ORIGIN in known:
            response.headers["Access-Control-Allow-Origin"] = ANY_ORIGIN
        else:
            response.vary.add("Origin")
            if origin.lower() not in known:
                return response
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
        if "Access-Control-Request-Method" in request.headers and request.method == "OPTIONS":
            _allow_request(response)
        else:
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        return response

    app.before_request(preflight)
    app.after_request(allow)


def _allow_request(response: Response) -> None:
    response.headers["Access-Control-Allow-Methods"] = _METHODS
    response.headers["Access-Control-Max-Age"] = _MAXIMUM_AGE
    response.vary.update(("Access-Control-Request-Headers", "Access-Control-Request-Method"))
    names = request.headers.get("Access-Control-Request-Headers", "")
    if _HEADER_NAMES.fullmatch(names):
        response.headers["Access-Control-Allow-Headers"] = names
