"""The OpenAPI document as a page for people: plain HTML, nothing from elsewhere and no script."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from .media_types import PROBLEM_JSON

_ENVIRONMENT = Environment(
    loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_CODE = re.compile(r"`([^`]+)`")
_METHODS = ("get", "post", "put", "delete")


def _with_code(text: str) -> Markup:
    """What stands between backticks is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped here


_ENVIRONMENT.filters["with_code"] = _with_code


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation as the page shows it, references followed."""

    id: str
    method: str
    path: str
    summary: str
    reference: str
    parameters: list[dict[str, Any]]
    matched: list[dict[str, Any]]  # the attributes that a search takes
    body: list[str]
    answers: list[tuple[str, str, list[str]]]  # status, description, media types
    errors: list[tuple[str, str]]


def page(document: dict[str, Any], root_url: str, document_url: str) -> str:
    operations = [
        (tag, _operation(document, path, method, item))
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
        for tag in item[method]["tags"]
    ]
    services = [
        (tag["name"], [operation for name, operation in operations if name == tag["name"]]) for tag in document["tags"]
    ]
    return _ENVIRONMENT.get_template("capabilities_page.html").render(
        info=document["info"], services=services, root_url=root_url, document_url=document_url
    )


def _operation(document: dict[str, Any], path: str, method: str, item: dict[str, Any]) -> _Operation:
    described = item[method]
    parameters = [_resolved(document, one) for one in (*item.get("parameters", ()), *described.get("parameters", ()))]
    # attributes are the parameters that DICOM names
    matched = [one for one in parameters if one["in"] == "query" and one["name"][0].isupper()]
    responses = {status: _resolved(document, response) for status, response in described["responses"].items()}
    body = described.get("requestBody", {}).get("content", {})
    return _Operation(
        described["operationId"],
        method.upper(),
        path,
        described["summary"],
        described["description"],
        [one for one in parameters if one not in matched],
        matched,
        _media_types(body),
        [
            (status, response["description"], _media_types(response.get("content", {})))
            for status, response in responses.items()
            if not _is_problem(response)
        ],
        [(status, HTTPStatus(int(status)).phrase) for status, response in responses.items() if _is_problem(response)],
    )


def _resolved(document: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    """What `$ref` refers to, or the thing itself."""
    if "$ref" not in described:
        return described
    for name in described["$ref"].removeprefix("#/").split("/"):
        document = document[name]
    return document


def _is_problem(response: dict[str, Any]) -> bool:
    return list(response.get("content", ())) == [PROBLEM_JSON]


def _media_types(content: dict[str, Any]) -> list[str]:
    return [_with_parts(name, media["schema"].get("description")) for name, media in content.items()]


def _with_parts(name: str, parts: str | None) -> str:
    return f"{name} ({parts[0].lower()}{parts[1:].rstrip('.')})" if parts else name
