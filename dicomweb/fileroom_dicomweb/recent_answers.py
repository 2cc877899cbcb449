"""Answers of searches, kept for as long as the index stays as it is: what many ask again and again is made once.

A search says of which version of the index its answer is, before it looks; the answer is given again only while the
index is of that very version, and to requests that are the same in every header.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]
Version = Hashable

# in the WSGI environment: the version of the index that an answer is made of
INDEX_VERSION = "fileroom.index_version"
_LONGEST_ANSWER = 1 << 20
_MOST_BYTES = 32 << 20
_ANSWER_OVERHEAD = 2048
_ASKED = ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "wsgi.url_scheme")


class _Answer(NamedTuple):
    status: str
    headers: Headers
    body: bytes


class RecentAnswers:
    """WSGI middleware. `version` tells the index's version now, or None where that cannot be told."""

    def __init__(self, app: "WSGIApplication", version: Callable[[], Version | None]) -> None:
        self._app = app
        self._version = version
        self._lock = Lock()
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._of: Version | None = None
        self._bytes = 0

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET":
            return self._app(environ, start_response)
        key = _key(environ)
        answer = self._found(key)
        if answer is not None:
            start_response(answer.status, list(answer.headers))
            return [answer.body]
        return self._made(key, environ, start_response)

    def _found(self, key: Hashable) -> _Answer | None:
        if key not in self._answers or self._version() != self._of:
            return None
        with self._lock:
            answer = self._answers.get(key)
            if answer is not None:
                self._answers.move_to_end(key)
            return answer

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
        self._keep(version, key, _Answer(status, headers, whole))
        start_response(status, list(headers))
        return [whole]

    def _keep(self, version: Version, key: Hashable, answer: _Answer) -> None:
        with self._lock:
            if version != self._of:
                self._answers.clear()
                self._of, self._bytes = version, 0
            before = self._answers.pop(key, None)
            self._answers[key] = answer
            self._bytes += _size(answer) - (_size(before) if before else 0)
            while self._bytes > _MOST_BYTES:
                self._bytes -= _size(self._answers.popitem(last=False)[1])


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


def _size(answer: _Answer) -> int:
    return len(answer.body) + _ANSWER_OVERHEAD


def _close(chunks: Iterable[bytes]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


def _no_write(_data: bytes) -> None:
    raise NotImplementedError("an answer is made of what the application returns")
