"""The OpenAPI document (3.1) of a blueprint's routes; nothing is written here that is declared elsewhere."""

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from werkzeug.routing import Rule

from .access import Permission, needed
from .media_types import PROBLEM_JSON
from .openapi_operations import OPERATIONS, Answer, Operation
from .openapi_schemas import PATH_PARAMETERS, PROBLEM, SCHEMAS, Schema

_ARGUMENT = re.compile(r"<(?:[^<>:]+:)?([^<>:]+)>")
# Werkzeug answers HEAD for every GET, and OPTIONS is the same for all; the description tells of them.
_NOT_LISTED = frozenset({"HEAD", "OPTIONS"})
WADO_URI = "wado_uri"
# What a URL names, by the last of these in it.
_RESOURCES = {
    "study": "of a study",
    "series": "of a series",
    "instance": "of an instance",
    "frame_list": "of frames",
}

_DESCRIPTION = """\
QIDO-RS, WADO-RS and STOW-RS of fileroom (DICOM PS3.18).

Every resource that takes GET takes HEAD. OPTIONS of any resource answers with Allow and, where JSON is accepted, with
the part of this document that is about it. Errors are problem bodies (RFC 9457): their `detail` says what to do next.
"""


_SECURITY_SCHEMES: dict[str, Schema] = {
    "token": {"type": "http", "scheme": "bearer", "description": "An access token, or an API key."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE)


class UndescribedRoute(LookupError):
    """A route without an entry in OPERATIONS."""


def document(rules: Iterable[Rule], root: str, root_url: str, *, secured: bool = False) -> dict[str, Any]:
    """The document. `root` is what the routes begin with and paths leave out, `root_url` where clients find it.

    `secured`: who asks has to be known.
    """
    server_url = root_url.removesuffix(root)
    paths: dict[str, dict[str, Any]] = {}
    parameters: dict[str, Schema] = {}
    described = [(path(rule, root), rule) for rule in rules]
    several = _endpoints_of_several_paths(described)
    order = {endpoint: position for position, (endpoint, _) in enumerate(OPERATIONS)}
    described.sort(key=lambda entry: (order.get(_endpoint(entry[1]), -1), entry[0]))
    for template, rule in described:
        item = paths.setdefault(template, {})
        if is_beside(rule):
            item["servers"] = [{"url": server_url}]
        if rule.arguments:
            item["parameters"] = [
                {"name": name, "in": "path", "required": True, **PATH_PARAMETERS[name]}
                for name in _ARGUMENT.findall(rule.rule)
            ]
        for method in sorted((rule.methods or set()) - _NOT_LISTED):
            endpoint = _endpoint(rule)
            try:
                operation = OPERATIONS[endpoint, method]
            except KeyError:
                raise UndescribedRoute(f"{method} {template} ({endpoint}) has no entry in OPERATIONS") from None
            name = f"{endpoint}_{_named(rule) or 'all'}" if endpoint in several else endpoint.replace(".", "_")
            item[method.lower()] = _operation(operation, name, rule, parameters)
            if secured:
                _secure(item[method.lower()], needed(endpoint))
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "fileroom DICOMweb",
            "version": version("fileroom"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": root_url}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.service for operation in OPERATIONS.values())],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "parameters": dict(sorted(parameters.items())),
            "responses": {status.name: _problem(status) for status in _errors()},
        },
    }
    if secured:
        made["security"] = [{name: []} for name in _SECURITY_SCHEMES]
        made["components"]["securitySchemes"] = _SECURITY_SCHEMES
        made["components"]["responses"] |= {status.name: _problem(status) for status in _REFUSALS}
    return made


def path(rule: Rule, root: str) -> str:
    """The path of a rule as OpenAPI writes it: `/studies/{study}`."""
    return _ARGUMENT.sub(r"{\1}", rule.rule.removeprefix(root)) or "/"


def _endpoint(rule: Rule) -> str:
    """Its name without that of the blueprint, which somebody may have registered under another one."""
    endpoint: str = rule.endpoint
    return endpoint if is_beside(rule) else endpoint.rpartition(".")[2]


def is_beside(rule: Rule) -> bool:
    """Whether it is WADO-URI's, which is not below the root of the others."""
    endpoint: str = rule.endpoint  # Werkzeug takes anything for one; Flask's are names
    return endpoint.startswith(f"{WADO_URI}.")


def _endpoints_of_several_paths(described: list[tuple[str, Rule]]) -> set[str]:
    endpoints = [_endpoint(rule) for _, rule in described]
    return {endpoint for endpoint in endpoints if endpoints.count(endpoint) > 1}


def _named(rule: Rule) -> str | None:
    """The entity that the URL names."""
    return next((name for name in reversed(_RESOURCES) if name in rule.arguments), None)


def _operation(operation: Operation, name: str, rule: Rule, parameters: dict[str, Schema]) -> dict[str, Any]:
    of = _RESOURCES.get(_named(rule) or "", "")
    described: dict[str, Any] = {
        "operationId": name,
        "tags": [operation.service],
        "summary": operation.summary.format(of).rstrip(" ,"),
        "description": operation.reference,
    }
    references = list(_referred(operation.parameters(), parameters))
    if references:
        described["parameters"] = references
    if operation.body:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    answers = {str(status.value): _answer(answer) for status, answer in operation.answers.items()}
    errors = {
        str(status.value): {"$ref": f"#/components/responses/{status.name}"}
        for status in sorted(operation.errors)
        if status not in operation.answers
    }
    described["responses"] = {**answers, **errors}
    return described


def _secure(described: dict[str, Any], need: Permission | str) -> None:
    """Adds what is needed, and the answers to those who do not have it."""
    if isinstance(need, Permission):
        described["description"] += f" Needs the permission {need.value}."
    responses = described["responses"]
    for status in _REFUSALS:
        responses.setdefault(str(status.value), {"$ref": f"#/components/responses/{status.name}"})
    described["responses"] = dict(sorted(responses.items()))


def _referred(asked: Iterable[Schema], parameters: dict[str, Schema]) -> Iterator[Schema]:
    for parameter in asked:
        known = parameters.setdefault(parameter["name"], parameter)
        yield {"$ref": f"#/components/parameters/{parameter['name']}"} if known == parameter else parameter


def _answer(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.content:
        described["content"] = _content(answer.content)
    return described


def _content(types: Any) -> dict[str, Any]:
    return {name: {"schema": schema} for name, schema in types.items()}


def _problem(status: HTTPStatus) -> dict[str, Any]:
    return {"description": status.phrase, "content": {PROBLEM_JSON: {"schema": PROBLEM}}}


def _errors() -> list[HTTPStatus]:
    return sorted({status for operation in OPERATIONS.values() for status in operation.errors})
