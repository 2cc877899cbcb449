"""C-FIND SCP: answers stream from a cursor of the index to the peer."""

from collections.abc import Callable, Generator, Hashable, Iterator
from contextlib import closing
from typing import NamedTuple

from fileroom_server.dimse import Request, Response
from fileroom_server.identifier import FindIdentifier, read_find_identifier, write_answer
from fileroom_server.negotiation import find_model, options
from fileroom_server.status import (
    CANCELLED,
    PENDING,
    PENDING_WITH_UNSUPPORTED_KEYS,
    SUCCESS,
    SopClassNotSupported,
    Status,
    TooManyMatches,
)
from fileroom_storage.attributes import standard_registry
from fileroom_storage.query import Answer
from fileroom_storage.query.recent import RecentAnswers
from fileroom_storage.storage import Storage

Pending = Generator[tuple[Status, bytes], None, None]

_MOST_BYTES = 8 << 20  # of answers that are kept
_LONGEST = 1 << 18  # bytes of the identifiers of one answer


class FoundAnswer(NamedTuple):
    """The pending responses to a request, all of one status."""

    status: Status
    identifiers: tuple[bytes, ...]


def recent_answers(storage: Storage) -> "RecentAnswers[FoundAnswer]":
    """What `handle_c_find` remembers of one storage, for all associations."""
    return RecentAnswers(storage.version, _MOST_BYTES)


def handle_c_find(
    request: Request, storage: Storage, ae_title: str, recent: "RecentAnswers[FoundAnswer]", maximum_results: int = 0
) -> Iterator[Response]:
    """One pending response a match, then success; as soon as the peer cancels, that it was cancelled.

    `ae_title` is what answers name as Retrieve AE Title. With `maximum_results`, so many matches are returned at most,
    and where there are more, raises TooManyMatches after them.
    """
    model = find_model(request.sop_class_uid)
    if model is None:
        raise SopClassNotSupported("there is no C-FIND for this SOP Class")
    asked = options(request.association, request.abstract_syntax)
    key = (request.sop_class_uid, request.transfer_syntax, asked, bytes(request.data_set))
    known = recent.find(key)
    if known is not None:
        pending = _again(known)
    else:
        find = read_find_identifier(request.data_set, request.transfer_syntax, model, asked, standard_registry())
        pending = _found(storage, find, lambda answer: write_answer(answer, find, request.transfer_syntax, ae_title))
        pending = _kept(pending, recent, key)
    with closing(pending):
        for number, (status, identifier) in enumerate(pending):
            if request.is_cancelled():
                yield Response(CANCELLED)
                return
            if number == maximum_results > 0:
                # PS3.4 C.4.1.1.4: refused, out of resources; what has been sent are matches
                raise TooManyMatches(f"more than {maximum_results} match; narrow the search")
            yield Response(status, identifier, more=True)
    yield Response(SUCCESS)


def _again(known: FoundAnswer) -> Pending:
    for identifier in known.identifiers:
        yield known.status, identifier


def _found(storage: Storage, find: FindIdentifier, write: Callable[[Answer], bytes]) -> Pending:
    status = PENDING_WITH_UNSUPPORTED_KEYS if find.has_unsupported_keys else PENDING
    with closing(storage.find(find.query)) as answers:
        for answer in answers:
            yield status, write(answer)


def _kept(pending: Pending, recent: "RecentAnswers[FoundAnswer]", key: Hashable) -> Pending:
    """The same, remembered once all of it was asked for, unless it is long."""
    version = recent.version()  # before the index is looked at
    identifiers: list[bytes] = []
    size, last = 0, PENDING
    with closing(pending):
        for status, identifier in pending:
            size, last = size + len(identifier), status
            if size <= _LONGEST:
                identifiers.append(identifier)
            yield status, identifier
    if size <= _LONGEST:
        recent.keep(version, key, FoundAnswer(last, tuple(identifiers)), size)
