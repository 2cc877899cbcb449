"""Parts of a single value by Range (RFC 9110 14), without a copy of the whole."""

import re
from http import HTTPStatus

from flask import Response, request

from .problem import problem_response

# werkzeug's reader takes a suffix that is longer than the value for unsatisfiable, against RFC 9110 14.1.2
_SINGLE_RANGE = re.compile(r"bytes *= *([0-9]{0,30})-([0-9]{0,30})", re.IGNORECASE)


def requested_range(length: int, strong_tag: str) -> tuple[int, int] | None:
    """Start and end of what is asked for, the end excluded; None for all of it. Raises RangeNotSatisfiable.

    What RFC 9110 14.2 lets a server ignore is ignored, so that the whole comes: another unit, a range that cannot be
    read, several ranges in one request, a range on condition of another version.
    """
    header = request.headers.get("Range", "")
    if request.method != "GET" or not header or not _same_version(strong_tag):
        return None
    asked = _SINGLE_RANGE.fullmatch(header.strip())
    if asked is None or not any(asked.groups()):
        return None
    first, last = asked.groups()
    if not first:
        # the last so many bytes, or all where there are fewer
        start, end = max(length - int(last), 0), length
    else:
        start, end = int(first), min(int(last) + 1, length) if last else length
        if last and int(last) < start:
            return None
    if start >= length:
        raise RangeNotSatisfiable(length)
    return start, end


class RangeNotSatisfiable(Exception):
    """The range begins behind the end of the value."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def response(self) -> Response:
        response = problem_response(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"The value has {self.length} bytes, counted from 0; ask for a range that begins within it.",
        )
        response.headers["Content-Range"] = f"bytes */{self.length}"
        return response


def content_range(start: int, end: int, length: int) -> tuple[str, str]:
    """The header of a partial answer; `end` is excluded."""
    return "Content-Range", f"bytes {start}-{end - 1}/{length}"


def _same_version(strong_tag: str) -> bool:
    # RFC 9110 13.1.5: a weak tag never matches, and neither does a date, as no Last-Modified was sent
    condition = request.headers.get("If-Range")
    return condition is None or condition.strip() == f'"{strong_tag}"'
