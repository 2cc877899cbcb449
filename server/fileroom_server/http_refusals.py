"""What gunicorn refuses before DICOMweb sees it: with problem bodies too, and without quoting the request."""

from http import HTTPStatus

from gunicorn.http.errors import (  # type: ignore[import-untyped]
    ConfigurationProblem,
    ExpectationFailed,
    InvalidHTTPVersion,
    InvalidRequestLine,
    InvalidRequestMethod,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)

from fileroom_dicomweb.media_types import PROBLEM_JSON
from fileroom_dicomweb.problem import problem_body
from fileroom_dicomweb.status import RETRY_AFTER_SECONDS

# The most of a request line that gunicorn reads: a search may name many studies.
LONGEST_REQUEST_LINE = 8190

_FAILED = "The server failed on this request; its log says where."

# The first that fits counts.
_REFUSALS: tuple[tuple[type[Exception], HTTPStatus, str], ...] = (
    (
        LimitRequestLine,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        f"The request line is longer than {LONGEST_REQUEST_LINE} bytes; ask for fewer values at a time.",
    ),
    (
        LimitRequestHeaders,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The headers are too many or too long; leave out what this server does not need, such as cookies.",
    ),
    (ExpectationFailed, HTTPStatus.EXPECTATION_FAILED, "The only expectation that can be met is 100-continue."),
    (
        UnsupportedTransferCoding,
        HTTPStatus.NOT_IMPLEMENTED,
        "The only transfer coding that is read is chunked; send the body with it or with a Content-Length.",
    ),
    (InvalidHTTPVersion, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Send the request as HTTP/1.1."),
    (
        InvalidRequestMethod,
        HTTPStatus.BAD_REQUEST,
        "The method is no token of HTTP; GET, HEAD, POST, DELETE and OPTIONS are what resources take.",
    ),
    (
        InvalidRequestLine,
        HTTPStatus.BAD_REQUEST,
        "The request line is not a method, a path and a version parted by one space each; percent-encode the path.",
    ),
    # both are kinds of the client's errors, and ours
    (InvalidResponseHeader, HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED),
    (InvalidResponseHeaderName, HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED),
    (ConfigurationProblem, HTTPStatus.INTERNAL_SERVER_ERROR, "The server is not set up well; its log says how."),
    (ParseException, HTTPStatus.BAD_REQUEST, "The headers or the framing of the body are no HTTP; see RFC 9112."),
)


def refusal(error: Exception) -> tuple[HTTPStatus, str]:
    """The status and the advice for an error that arose outside of the application."""
    for kind, status, advice in _REFUSALS:
        if isinstance(error, kind):
            return status, advice
    return HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED


def answer(status: HTTPStatus, advice: str) -> bytes:
    """The whole of an answer that ends the connection."""
    body = problem_body(status, advice)
    later = f"Retry-After: {RETRY_AFTER_SECONDS}\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n{later}"
        f"Content-Type: {PROBLEM_JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
