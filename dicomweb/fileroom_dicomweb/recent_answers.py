"""Answers kept for as long as the index stays as it is, for requests that are the same in every header.

Those of searches as a whole; of frames, where they stand in which object. Who asks has been found out before this
(authentication.Identifying): what was answered to a principal is answered again to the same one alone.
"""

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from fileroom_storage.errors import StorageError
from fileroom_storage.index.audit.tally import Tally
from fileroom_storage.monitor import UNWATCHED, Monitor
from fileroom_storage.query.recent import RecentAnswers, Version
from fileroom_storage.storage import ObjectFile, Piece, StoredInstance, Stretch

from .access import IDENTITY, AccessRefused, Identity
from .audit import AUDIT_TALLY
from .request_facts import OPERATION
from .stored_answer import StoredAnswer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]

# in the WSGI environment: the version of the index that an answer is made of
INDEX_VERSION = "fileroom.index_version"
# and the instance, where an answer is made of stretches of its object alone, and of little else
STORED_INSTANCE = "fileroom.stored_instance"
# and for the server: the version of the index that a kept answer, which is now given again, was made of
KEPT_OF_VERSION = "fileroom.kept_of_version"
_LONGEST_ANSWER = 1 << 20
_LONGEST_BETWEEN = 1 << 14  # bytes of boundaries and heads
_MOST_BYTES = 32 << 20
_ASKED = ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "wsgi.url_scheme")


class _Answer(NamedTuple):
    status: str
    headers: Headers
    body: "bytes | _Stored"
    operation: str
    tally: Tally | None  # what counts how often it is given again, for the audit log


class _Stored(NamedTuple):
    """Bytes, and offset and length of stretches."""

    instance: StoredInstance
    pieces: tuple[bytes | tuple[int, int], ...]


class RecentResponses:
    """WSGI middleware. `version` tells the index's version now, or None where that cannot be told; `open_stretches`
    opens an object.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        version: Callable[[], Version | None],
        open_stretches: Callable[[StoredInstance], ObjectFile],
        monitor: Monitor = UNWATCHED,
    ) -> None:
        self._app = app
        self._monitor = monitor
        self._open_stretches = open_stretches
        self._recent: RecentAnswers[_Answer] = RecentAnswers(version, _MOST_BYTES)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET" or isinstance(environ.get(IDENTITY), AccessRefused):
            return self._app(environ, start_response)
        key, version = _key(environ), self._recent.version()
        answer = self._recent.find(key)
        self._monitor.looked_up("responses", found=answer is not None)
        if answer is not None:
            environ[KEPT_OF_VERSION] = version
            environ[OPERATION] = answer.operation
            body = [answer.body] if isinstance(answer.body, bytes) else self._opened(answer.body)
            if body is not None:
                if answer.tally is not None:
                    answer.tally.again()
                    environ[AUDIT_TALLY] = answer.tally
                start_response(answer.status, list(answer.headers))
                return body
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
        (status, headers), version, operation = started[0], environ[INDEX_VERSION], environ.get(OPERATION, "")
        tally: Tally | None = environ.get(AUDIT_TALLY)
        if isinstance(chunks, StoredAnswer):
            start_response(status, list(headers))
            return self._stored(
                key, version, environ.get(STORED_INSTANCE), chunks, _Answer(status, headers, b"", operation, tally)
            )
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
        self._recent.keep(version, key, _Answer(status, headers, whole, operation, tally), len(whole))
        start_response(status, list(headers))
        return [whole]

    def _stored(
        self, key: Hashable, version: Version, instance: StoredInstance | None, chunks: StoredAnswer, answer: _Answer
    ) -> StoredAnswer:
        """Keeps where the pieces of an answer are, which are all known already."""
        if instance is None:
            return chunks
        pieces = list(chunks.pieces())
        between = sum(len(piece) for piece in pieces if not isinstance(piece, Stretch))
        if between <= _LONGEST_BETWEEN:
            places = [(one.offset, one.length) if isinstance(one, Stretch) else bytes(one) for one in pieces]
            self._recent.keep(version, key, answer._replace(body=_Stored(instance, tuple(places))), between)
        return StoredAnswer(_each(pieces), chunks)

    def _opened(self, stored: _Stored) -> StoredAnswer | None:
        """None where the object is not what it was: who makes the answer anew says so."""
        try:
            file = self._open_stretches(stored.instance)
        except StorageError:
            return None
        return StoredAnswer(
            _each([Stretch(file, *one) if isinstance(one, tuple) else one for one in stored.pieces]), file
        )


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
    identity: Identity | None = environ.get(IDENTITY)
    who = identity.principal if identity is not None else None
    return (who, *[environ.get(name) for name in _ASKED], *headers)


def _take(chunks: Iterator[bytes], size: int, body: list[bytes]) -> bool:
    """Adds chunks to the body until it is longer than `size`; whether these are all."""
    length = 0
    for chunk in chunks:
        body.append(chunk)
        length += len(chunk)
        if length > size:
            return False
    return True


def _each(pieces: Iterable[Piece]) -> Generator[Piece, None, None]:
    yield from pieces


def _raising(error: Exception) -> Iterator[bytes]:
    yield from ()
    raise error


def _close(chunks: Iterable[bytes]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


def _no_write(_data: bytes) -> None:
    raise NotImplementedError("an answer is made of what the application returns")
