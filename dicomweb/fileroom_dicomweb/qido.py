"""QIDO-RS, the Search Transaction (PS3.18 10.6): answers straight from the index, as DICOM JSON or XML."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from http import HTTPStatus
from itertools import chain, islice
from urllib.parse import unquote_to_bytes

from flask import Response, request

from fileroom_storage.attributes import Level, standard_registry
from fileroom_storage.errors import InvalidQuery
from fileroom_storage.parse.native_model import native_model
from fileroom_storage.storage import Query

from .media_types import DICOM_XML, JSON_OFFERS, Offer
from .metadata import json_response
from .multipart import OutgoingPart, whole_part
from .origin_server import OriginServer, Resource, negotiate
from .recent_answers import INDEX_VERSION
from .return_attributes import required_keywords
from .search_parameters import read_search
from .wado import multipart_response

Element = dict[str, object]
Answer = dict[str, Element]

# Up to this limit, one more answer is fetched to see whether there are any; beyond it, a second query looks.
_PEEKED_LIMIT = 1000

_XML_PARTS = Offer(DICOM_XML, multipart=True)
_UID_TAGS = {Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.IMAGE: "00080018"}
_UTF_8: Element = {"vr": "CS", "Value": ["ISO_IR 192"]}  # PS3.18 F.2: JSON is UTF-8, whatever the object was


def search(server: OriginServer, level: Level, within: Resource) -> Response:
    """Entities of a level, within what the URL's path names."""
    offer = negotiate(*JSON_OFFERS, _XML_PARTS)
    within.check()
    _check_text(request.query_string)
    asked = read_search(
        request.args.items(multi=True),
        level,
        within,
        standard_registry(),
        maximum_results=server.settings.maximum_results,
    )
    # before the index is read: what is committed meanwhile makes the answer one of a version that is over
    request.environ[INDEX_VERSION] = server.storage.version()
    answers, more = _find(server, replace(asked.query, scope=server.scope), bounded=asked.is_bounded)
    complete = _closing(_complete(server.root_url(), level, within, answers), answers)
    response = _xml_response(complete) if offer.multipart else json_response(complete)
    if asked.ignored:
        names = ", ".join(name.encode("ascii", "replace").decode()[:64] for name in asked.ignored)
        _warn(server, response, f"The following parameters are not supported and were ignored: {names}")
    if more:
        # PS3.18 8.3.4.4
        _warn(server, response, "There are additional results that can be requested")
    return response


def _check_text(query_string: bytes) -> None:
    """Werkzeug would take the percent-encoding of what is no UTF-8 for the text itself, and nothing would match."""
    try:
        unquote_to_bytes(query_string).decode()
    except UnicodeDecodeError:
        raise InvalidQuery("the query is no text in UTF-8; percent-encode it as UTF-8") from None


def _xml_response(answers: Generator[Answer, None, None]) -> Response:
    """A part for each match (PS3.18 8.7.3.2)."""
    first = next(answers, None)
    if first is None:
        # PS3.18 10.6.3.1: nothing matches. RFC 2046 5.1.1 has no multipart message without a part.
        nothing = Response(status=HTTPStatus.NO_CONTENT)
        del nothing.headers["Content-Type"]
        return nothing
    return multipart_response(DICOM_XML, _xml_parts(chain((first,), answers), answers))


def _xml_parts(answers: Iterable[Answer], source: Generator[Answer, None, None]) -> Generator[OutgoingPart, None, None]:
    try:
        for answer in answers:
            yield whole_part(DICOM_XML, native_model(answer))
    finally:
        source.close()


def _find(server: OriginServer, query: Query, *, bounded: bool) -> tuple[Iterator[Answer], bool]:
    """The answers, and whether there are more than the limit lets through; `bounded` where it is ours alone."""
    limit = query.limit
    if limit is None:
        return server.storage.find(query), False
    if bounded and limit > _PEEKED_LIMIT:
        # few answers come near to it, and those that do not need no second query
        answers = server.storage.find(query)
        first = list(islice(answers, _PEEKED_LIMIT))
        if len(first) < _PEEKED_LIMIT:
            return iter(first), False
        return _resumed(first, answers), _are_beyond(server, query, limit)
    if limit <= _PEEKED_LIMIT:
        found = list(server.storage.find(replace(query, limit=limit + 1)))
        return iter(found[:limit]), len(found) > limit
    return server.storage.find(query), _are_beyond(server, query, limit)


def _are_beyond(server: OriginServer, query: Query, limit: int) -> bool:
    return bool(list(server.storage.find(replace(query, limit=1, offset=query.offset + limit))))


def _resumed(first: list[Answer], rest: Iterator[Answer]) -> Generator[Answer, None, None]:
    try:
        yield from first
        yield from rest
    finally:
        if isinstance(rest, Generator):
            rest.close()


def _complete(root_url: str, level: Level, within: Resource, answers: Iterator[Answer]) -> Iterator[Answer]:
    """Adds what the index does not hold: RetrieveURL, the character set, and attributes without a value."""
    registry = standard_registry()
    empty: Answer = {
        registry[keyword].tag_hex: {"vr": registry[keyword].vr} for keyword in required_keywords(level, within)
    }
    for answer in answers:
        study, series, instance = (_uid(answer, _UID_TAGS[one], one, level) for one in _UID_TAGS)
        url: Element = {"vr": "UR", "Value": [root_url + Resource(study, series, instance).path]}
        valued = {tag: element for tag, element in answer.items() if "Value" in element}
        yield {**empty, "00080005": _UTF_8, "00081190": url, **valued}


def _uid(answer: Answer, tag: str, of: Level, level: Level) -> str | None:
    if of.rank > level.rank:
        return None
    values = answer[tag]["Value"]
    return str(values[0]) if isinstance(values, list) else None


def _closing(items: Iterable[Answer], source: Iterator[Answer]) -> Generator[Answer, None, None]:
    """The items; when they are closed, so is the cursor they come from."""
    try:
        yield from items
    finally:
        if isinstance(source, Generator):
            source.close()


def _warn(server: OriginServer, response: Response, text: str) -> None:
    response.headers.add("Warning", f"299 {server.root_url()}: {text}")
