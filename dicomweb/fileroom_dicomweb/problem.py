"""Errors as problem bodies (RFC 9457), and what of an unexpected one goes into the log: never its text."""

import logging
import traceback
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from flask import Blueprint, Flask, Response
from werkzeug.exceptions import HTTPException

from fileroom_storage.errors import StorageError

from .media_types import PROBLEM_JSON, Offer
from .request_facts import error_is_known
from .status import RETRY_AFTER_SECONDS, http_status

_log = logging.getLogger(__name__)

_FRAMES_LOGGED = 6

# What Werkzeug raises: its own words tell a programmer what happened, not a client what to do.
_ADVICE = {
    HTTPStatus.BAD_REQUEST: "The request is malformed; look at its Host header, its URL and its Content-Length.",
    HTTPStatus.NOT_FOUND: "No resource has this address; a GET of the DICOMweb root lists those that there are.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This resource does not take the method; Allow names those that it takes.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than this server takes; send fewer objects at a time.",
}


class Problem(Exception):
    """An answer with this status and a body that says what to do next; `members` are added to the body."""

    headers: Mapping[str, str] = {}

    def __init__(self, status: HTTPStatus, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.members = members


_NOT_ACCEPTABLE = "The Accept header takes no form that this resource can be given in; ask for one of `acceptable`."


def not_acceptable(offers: Iterable[Offer], detail: str = _NOT_ACCEPTABLE) -> Problem:
    acceptable = [str(offer) for offer in dict.fromkeys(offers)]
    return Problem(HTTPStatus.NOT_ACCEPTABLE, detail, acceptable=acceptable)


def problem_body(status: HTTPStatus, detail: str, **members: Any) -> bytes:
    return orjson.dumps(
        {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **members}
    )


def problem_response(status: HTTPStatus, detail: str, **members: Any) -> Response:
    response = Response(problem_body(status, detail, **members), status, content_type=PROBLEM_JSON)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def register_problem_handlers(target: Flask | Blueprint) -> None:
    """Every error in `target` becomes a problem body; for an application, those of routing too."""
    target.register_error_handler(Problem, _problem)
    target.register_error_handler(StorageError, _storage_error)
    target.register_error_handler(HTTPException, _http_exception)
    target.register_error_handler(Exception, _unexpected)


def log_unexpected(error: BaseException) -> None:
    """Its type and where it arose. Its text may hold a patient's name: an SQL parameter, an element's value."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_LOGGED:]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    _log.error("unexpected %s at %s", type(error).__qualname__, places)


def _problem(error: Problem) -> Response:
    error_is_known(error)
    response = problem_response(error.status, error.detail, **error.members)
    response.headers.update(error.headers)
    return response


def _storage_error(error: StorageError) -> Response:
    error_is_known(error)
    status = http_status(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s: %s", type(error).__name__, error)
    keyword = getattr(error, "keyword", None)
    return problem_response(status, str(error), **({"attribute": keyword} if keyword else {}))


def _http_exception(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return error  # a redirect of the routing
    error_is_known(error)
    status = HTTPStatus(error.code)
    response = problem_response(status, _ADVICE.get(status, status.description))
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _unexpected(error: Exception) -> Response:
    error_is_known(error)
    log_unexpected(error)
    return problem_response(
        HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed on this request; its log says where. Others are not hurt."
    )
