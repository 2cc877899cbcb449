"""Answers of searches, kept for as long as the index stays as it is, for requests that are the same in every header."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from fileroom_storage.query.recent import RecentAnswers, Version

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]

# in the WSGI environment: the version of the index that an answer is made of
INDEX_VERSION = "fileroom.index_version"
_LONGEST_ANSWER = 1 << 20
_MOST_BYTES = 32 << 20
_ASKED = ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "wsgi.url_scheme")


class _Answer(NamedTuple):
    status: str
    headers: Headers
    body: bytes


class RecentResponses:
    """WSGI middleware. `version` tells the index's version now, or None where that cannot be told."""

    def __init__(self, app: "WSGIApplication", version: Callable[[], Version | None]) -> None:
        self._app = app
        self._recent: RecentAnswers[_Answer] = RecentAnswers(version, _MOST_BYTES)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET":
            return self._app(environ, start_response)
        key = _key(environ)
        answer = self._recent.find(key)
        if answer is not None:
            start_response(answer.status, list(answer.headers))
            return [answer.body]
        return self._made(key, environ, start_response)

    def _made(self, key: Hashable, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        started: list[tuple[str, Headers]] = []

        def start(status: str, headers: Headers, *problem: object) -> Callable[[bytes], object]:
            if environ.get(INDEX_VERSION) is None or not status.startswith("200") or problem:
                return start_response(status, headers, *problem)  # type: ignore[arg-type]  # as it came
            started.append((status, headers))
            return _no_write

        chunks = self._app(environ, start)
        if not started:
            return chunks
        (status, headers), version = started[0], environ[INDEX_VERSION]
        iterator = iter(chunks)
        body: list[bytes] = []
        try:
            is_whole = _take(iterator, _LONGEST_ANSWER, body)
        except Exception as error:  # noqa: BLE001  # it breaks off where it would have done
            iterator, is_whole = _raising(error), False
        if not is_whole:
            start_response(status, headers)
            return _Rest(chain(body, iterator), chunks)
        _close(chunks)
        whole = b"".join(body)
        if not any(name.lower() == "content-length" for name, _ in headers):
            headers.append(("Content-Length", str(len(whole))))
        self._recent.keep(version, key, _Answer(status, headers, whole), len(whole))
        start_response(status, list(headers))
        return [whole]


class _Rest:
    """What is too long to be kept, streamed as it would have been."""

    def __init__(self, chunks: Iterator[bytes], source: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._source = source

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        _close(self._source)


def _key(environ: "WSGIEnvironment") -> Hashable:
    """All of the request that an answer could depend on."""
    headers = [item for item in environ.items() if item[0].startswith("HTTP_")]
    return (*[environ.get(name) for name in _ASKED], *headers)


def _take(chunks: Iterator[bytes], size: int, body: list[bytes]) -> bool:
    """Adds chunks to the body until it is longer than `size`; whether these are all."""
    length = 0
    for chunk in chunks:
        body.append(chunk)
        length += len(chunk)
        if length > size:
            return False
    return True


def _raising(error: Exception) -> Iterator[bytes]:
    yield from ()
    raise error


def _close(chunks: Iterable[bytes]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


def _no_write(_data: bytes) -> None:
    raise NotImplementedError("an answer is made of what the application returns")
