"""QIDO-RS, the Search Transaction (PS3.18 10.6): answers straight from the index, as DICOM JSON."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace

import orjson
from flask import Response, request

from fileroom_storage.attributes import Level, standard_registry
from fileroom_storage.storage import Query

from .answer_stream import AnswerStream, json_array
from .media_types import DICOM_JSON, JSON_OFFERS
from .origin_server import OriginServer, Resource, negotiate
from .return_attributes import required_keywords
from .search_parameters import read_search

Element = dict[str, object]
Answer = dict[str, Element]

# Up to this limit, one more answer is fetched to see whether there are any; beyond it, a second query looks.
_PEEKED_LIMIT = 1000

_UID_TAGS = {Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.IMAGE: "00080018"}
_UTF_8: Element = {"vr": "CS", "Value": ["ISO_IR 192"]}  # PS3.18 F.2: JSON is UTF-8, whatever the object was


def search(server: OriginServer, level: Level, within: Resource) -> Response:
    """Entities of a level, within what the URL's path names."""
    negotiate(*JSON_OFFERS)
    within.check()
    asked = read_search(
        request.args.items(multi=True),
        level,
        within,
        standard_registry(),
        maximum_results=server.settings.maximum_results,
    )
    answers, more = _find(server, asked.query)
    encoded = (
        orjson.dumps(answer, option=orjson.OPT_SORT_KEYS)
        for answer in _complete(server.root_url(), level, within, answers)
    )
    response = Response(AnswerStream(json_array(_closing(encoded, answers))), content_type=DICOM_JSON)
    if asked.ignored:
        names = ", ".join(name.encode("ascii", "replace").decode()[:64] for name in asked.ignored)
        _warn(server, response, f"The following matching attributes are not supported and were ignored: {names}")
    if more:
        # PS3.18 8.3.4.4
        _warn(server, response, "There are additional results that can be requested")
    return response


def _find(server: OriginServer, query: Query) -> tuple[Iterator[Answer], bool]:
    """The answers, and whether there are more than the limit lets through."""
    limit = query.limit
    if limit is None:
        return server.storage.find(query), False
    if limit <= _PEEKED_LIMIT:
        found = list(server.storage.find(replace(query, limit=limit + 1)))
        return iter(found[:limit]), len(found) > limit
    beyond = list(server.storage.find(replace(query, limit=1, offset=query.offset + limit)))
    return server.storage.find(query), bool(beyond)


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


def _closing(items: Iterable[bytes], source: Iterator[Answer]) -> Generator[bytes, None, None]:
    """The items; when they are closed, so is the cursor they come from."""
    try:
        yield from items
    finally:
        if isinstance(source, Generator):
            source.close()


def _warn(server: OriginServer, response: Response, text: str) -> None:
    response.headers.add("Warning", f"299 {server.root_url()}: {text}")
