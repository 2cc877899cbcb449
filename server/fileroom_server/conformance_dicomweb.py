"""The section on DICOMweb of the conformance statement, from the OpenAPI document of the served routes."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fileroom_dicomweb import create_app
from fileroom_storage.storage import Storage, StorageSettings

from .config import HttpConfiguration

_METHODS = ("get", "post", "delete")
_HEAD = ("request", "what", "standard", "media types", "parameters")


def dicomweb_services() -> str:
    """A table for each service, in Markdown."""
    document = _document()
    sections = []
    for tag in document["tags"]:
        rows = [f"| {' | '.join(row)} |" for row in (_HEAD, *_rows(document, tag["name"]))]
        sections.append("\n".join([f"### {tag['name']}", "", rows[0], f"|{'---|' * len(_HEAD)}", *rows[1:]]))
    return "\n\n".join(sections)


def _document() -> dict[str, Any]:
    # nothing is asked of this storage: the routes want to have one
    with TemporaryDirectory() as folder, Storage.open(StorageSettings(Path(folder))) as storage:
        answer = create_app(storage).test_client().get(f"{HttpConfiguration().prefix}/openapi.json")
        document: dict[str, Any] = answer.json or {}
        return document


def _rows(document: dict[str, Any], service: str) -> Iterator[tuple[str, ...]]:
    """Requests that are answered alike share a row."""
    alike: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for request, summary, *rest in _requests(document, service):
        alike.setdefault(tuple(rest), []).append((request, summary))
    for (reference, media_types, parameters), requests in alike.items():
        lines = ("<br>".join(column) for column in zip(*requests, strict=True))
        yield *lines, reference, media_types, parameters


def _requests(document: dict[str, Any], service: str) -> Iterator[tuple[str, ...]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            operation = item.get(method)
            if operation is not None and service in operation["tags"]:
                yield (
                    f"`{method.upper()} {path}`",
                    operation["summary"],
                    operation["description"],
                    "<br>".join(_media_types(operation)),
                    _parameters(document, operation),
                )


def _media_types(operation: dict[str, Any]) -> Iterator[str]:
    if "requestBody" in operation:
        yield f"takes {_listed(operation['requestBody']['content'])}"
    successes = (answer for status, answer in operation["responses"].items() if status == "200")
    for answer in successes:
        if answer.get("content"):
            yield _listed(answer["content"])


def _listed(content: dict[str, Any]) -> str:
    return "; ".join(
        f"`{name}` ({media['schema']['description'].rstrip('.').lower()})"
        if "description" in media["schema"]
        else f"`{name}`"
        for name, media in content.items()
    )


def _parameters(document: dict[str, Any], operation: dict[str, Any]) -> str:
    """Those of the query; attributes are listed above."""
    known = document["components"]["parameters"]
    named = [
        one["name"] if "name" in one else known[one["$ref"].rpartition("/")[2]]["name"]
        for one in operation.get("parameters", ())
    ]
    others = [f"`{name}`" for name in named if not name[0].isupper()]
    attributes = ["every key of its level and above"] if len(others) < len(named) else []
    return ", ".join([*others, *attributes])
