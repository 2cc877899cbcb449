"""What this server can do, for programs and for people: OPTIONS (PS3.18 8.9), the OpenAPI document and its page."""

from collections.abc import Iterator
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, request
from werkzeug.routing import Rule

from . import openapi
from .capabilities_page import page
from .media_types import HTML, JSON, OPENAPI_JSON, Offer, accept_ranges, choose
from .origin_server import OriginServer, negotiate

_DOCUMENT_OFFERS = (Offer(JSON), Offer(OPENAPI_JSON))
_DOCUMENT_PATH = "/openapi.json"
# A server has few names; whoever invents more does not fill the memory.
_ROOT_URLS_KEPT = 8


def add_capabilities(blueprint: Blueprint, server: OriginServer) -> None:
    """Adds the routes that tell of all the others, and the answer to OPTIONS of every route."""
    capabilities = _Capabilities(secured=server.settings.authentication is not None)

    @blueprint.before_request
    def options() -> Response | None:
        return capabilities.options(server) if request.method == "OPTIONS" else None

    @blueprint.get("/", strict_slashes=False)
    def capabilities_page() -> Response:
        # programs that say nothing of what they take get the document, as from OPTIONS
        offer = negotiate(*_DOCUMENT_OFFERS, Offer(HTML))
        root_url = server.root_url()
        answer = capabilities.page(root_url) if offer.media_type == HTML else capabilities.document(root_url, offer)
        answer.headers["Vary"] = "Accept"
        return answer

    @blueprint.get(_DOCUMENT_PATH)
    def openapi_document() -> Response:
        # whoever opens this address wants this document, whatever else it says that it takes
        offer = choose(accept_ranges(request.headers.get("Accept")), _DOCUMENT_OFFERS) or _DOCUMENT_OFFERS[0]
        return capabilities.document(server.root_url(), offer)


class _Capabilities:
    """The document of one blueprint's routes, made once for each address that the blueprint is seen under."""

    def __init__(self, *, secured: bool) -> None:
        self._document = lru_cache(_ROOT_URLS_KEPT)(partial(_document, secured=secured))
        self._page = lru_cache(_ROOT_URLS_KEPT)(partial(_page, secured=secured))

    def document(self, root_url: str, offer: Offer) -> Response:
        document = self._document(_blueprint_name(), root_url)
        return Response(orjson.dumps(document), content_type=offer.media_type)

    def page(self, root_url: str) -> Response:
        response = Response(self._page(_blueprint_name(), root_url), content_type=f"{HTML}; charset=utf-8")
        response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
        return response

    def options(self, server: OriginServer) -> Response:
        """Allow, and of the document what is about this resource: nothing for a preflight request of a browser."""
        allow = current_app.make_default_options_response().headers["Allow"]
        query_string = request.query_string.decode("latin-1")
        offer = choose(accept_ranges(request.headers.get("Accept"), query_string), _DOCUMENT_OFFERS)
        root_url = server.root_url()
        if offer is None or "Access-Control-Request-Method" in request.headers:
            response = Response(status=HTTPStatus.NO_CONTENT)
        else:
            about = _about(self._document(_blueprint_name(), root_url), request.url_rule)
            response = Response(orjson.dumps(about), content_type=offer.media_type)
        response.headers["Allow"] = allow
        # RFC 8631
        response.headers["Link"] = (
            f'<{root_url}{_DOCUMENT_PATH}>; rel="service-desc"; type="{OPENAPI_JSON}", '
            f'<{root_url}/>; rel="service-doc"; type="{HTML}"'
        )
        return response


def _blueprint_name() -> str:
    name = request.blueprint
    if name is None:
        raise LookupError("the request is none of a blueprint")
    return name


def _rules(blueprint: str) -> tuple[list[Rule], str]:
    """The routes of a blueprint, and what all of them begin with."""
    of_blueprint = f"{blueprint}."
    rules = [
        rule
        for rule in current_app.url_map.iter_rules()
        if rule.endpoint.startswith(of_blueprint) or openapi.is_beside(rule)
    ]
    root = next(rule.rule for rule in rules if rule.endpoint == f"{blueprint}.openapi_document").removesuffix(
        _DOCUMENT_PATH
    )
    return rules, root


def _document(blueprint: str, root_url: str, *, secured: bool) -> dict[str, Any]:
    return openapi.document(*_rules(blueprint), root_url, secured=secured)


def _page(blueprint: str, root_url: str, *, secured: bool) -> str:
    return page(_document(blueprint, root_url, secured=secured), root_url, f"{root_url}{_DOCUMENT_PATH}")


def _about(document: dict[str, Any], rule: Rule | None) -> dict[str, Any]:
    """What the document says of one resource; all of it for the root."""
    _, root = _rules(_blueprint_name())
    path = openapi.path(rule, root) if rule is not None else "/"
    if path == "/":
        return document
    item = document["paths"][path]
    components = document["components"]
    used = set(_references(item))
    parameters = {name: one for name, one in components["parameters"].items() if name in used}
    return {**document, "paths": {path: item}, "components": {**components, "parameters": parameters}}


def _references(described: Any) -> Iterator[str]:
    """The names that a part of the document refers to."""
    if isinstance(described, dict):
        if "$ref" in described:
            yield described["$ref"].rpartition("/")[2]
        for value in described.values():
            yield from _references(value)
    elif isinstance(described, list):
        for value in described:
            yield from _references(value)
