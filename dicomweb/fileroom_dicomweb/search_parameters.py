"""From the parameters of a search's URL to a Query (PS3.18 8.3.4)."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from fileroom_storage.attributes import Attribute, Level, Registry
from fileroom_storage.errors import InvalidQuery
from fileroom_storage.storage import Query

from .origin_server import Resource
from .return_attributes import default_keywords

_HEX_TAG = re.compile(r"[0-9A-Fa-f]{8}")
# (0010,0020), as the standard prints tags and some clients send them; no keyword is four hexadecimal digits
_PRINTED_TAG = re.compile(r"(?<![0-9A-Za-z])\(?([0-9A-Fa-f]{4}),([0-9A-Fa-f]{4})\)?(?![0-9A-Za-z])")
_UNSIGNED = re.compile(r"[0-9]{1,18}")
_LARGEST = 2**31 - 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ufffd]")
# PS3.18 8.3.4.1 has commas between UIDs; viewers put them between modalities too. In other VRs a comma is text.
_COMMA_SEPARATED_VRS = frozenset({"UI", "CS"})
_SWITCHES = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_OTHER = ("includefield", "limit", "offset", "accept", "charset")
# What clients send that were made for other servers, and what keeps browsers from caching: not a typing error.
_UNSUPPORTED = frozenset({"orderby", "includedefaults", "count", "_count", "_"})


@dataclass(frozen=True, slots=True)
class Search:
    """A search as the URL puts it. `ignored` are match parameters and fields that the index does not have.

    `is_bounded` where the limit is the server's, as the client asks for none or for a larger one.
    """

    query: Query
    ignored: tuple[str, ...] = ()
    is_bounded: bool = False


def read_search(
    parameters: Iterable[tuple[str, str]],
    level: Level,
    within: Resource,
    registry: Registry,
    *,
    maximum_results: int | None = None,
) -> Search:
    """Raises InvalidQuery for what cannot be understood; `within` is what the URL's path names."""
    reader = _Reader(level, registry)
    for name, value in parameters:
        reader.read(name, value)
    matches = reader.matches
    for keyword, uid in within.unique_keys.items():
        asked = matches.get(keyword)
        if isinstance(asked, str) and asked.strip("* ") and uid not in asked.split("\\"):
            raise InvalidQuery(f"{keyword} is given by the path and otherwise as a parameter; leave one out", keyword)
        matches[keyword] = uid
    limit = reader.limit
    is_bounded = maximum_results is not None and (limit is None or limit > maximum_results)
    if is_bounded:
        limit = maximum_results
    query = Query(
        level=level,
        matches=matches,
        return_keys=None if reader.include_all else default_keywords(level, within) | reader.included,
        limit=limit,
        offset=reader.offset,
        fuzzy=reader.fuzzy,
        # PS3.18 8.3.4.1.1: date and time match as one
        combined_datetime=True,
    )
    return Search(query, tuple(reader.ignored), is_bounded)


class _Reader:
    """Takes one parameter after the other."""

    def __init__(self, level: Level, registry: Registry) -> None:
        self._level = level
        self._registry = registry
        self.matches: dict[str, str | dict[str, str]] = {}
        self.included: set[str] = set()
        self.include_all = False
        self.limit: int | None = None
        self.offset = 0
        self.fuzzy = False
        self.ignored: list[str] = []

    def read(self, name: str, value: str) -> None:
        if _CONTROL.search(value):
            raise InvalidQuery(
                f"the value of {_shown(name)} holds what is no text in UTF-8; percent-encode it as UTF-8"
            )
        if name == "includefield":
            for field in re.split(r"[,\\]", _PRINTED_TAG.sub(r"\1\2", value)):
                self._include(field.strip())
        elif name in ("limit", "offset", *_SWITCHES):
            self._set(name, value.strip())
        elif name in _UNSUPPORTED:
            self.ignored.append(name)
        elif name not in _OTHER:
            self._match(_PRINTED_TAG.sub(r"\1\2", name), value)

    def _set(self, name: str, value: str) -> None:
        # forms send what was left empty; that is as if it were not there
        if not value:
            return
        if name == "limit":
            self.limit = _unsigned(name, value)
        elif name == "offset":
            self.offset = _unsigned(name, value)
        else:
            switched_on = _switch(name, value)
            self.fuzzy = switched_on if name == "fuzzymatching" else self.fuzzy

    def _include(self, field: str) -> None:
        if field == "all":
            self.include_all = True
        elif field:
            # a sequence is answered whole, whichever of its items' attributes is asked for
            tag = _known_tag(field.partition(".")[0])
            if tag is None:
                # a field too many does no harm, and a client may know a newer dictionary
                self.ignored.append(field)
                return
            attribute = self._registry.by_tag(tag)
            if attribute is not None and attribute.level.rank <= self._level.rank:
                self.included.add(attribute.keyword)

    def _match(self, name: str, value: str) -> None:
        tags = self._tags(name)
        attribute = self._registry.by_tag(tags[0])
        if attribute is None or len(tags) > (2 if attribute.items else 1):
            self.ignored.append(name)
            return
        attribute = self._registry.meant(attribute, self._level)
        if attribute.level.rank > self._level.rank:
            raise InvalidQuery(
                f"{attribute.keyword} is kept at level {attribute.level}, below what is searched for; "
                f"search for {'series or instances' if attribute.level is Level.SERIES else 'instances'} instead",
                attribute.keyword,
            )
        self.included.add(attribute.keyword)
        if len(tags) == 1:
            self._match_attribute(attribute, value)
        else:
            self._match_item(name, attribute, tags[1], value)

    def _match_attribute(self, attribute: Attribute, value: str) -> None:
        value = _list(attribute, value)
        if attribute.keyword in self.matches:
            before = self.matches[attribute.keyword]
            if attribute.vr not in _COMMA_SEPARATED_VRS or not isinstance(before, str):
                raise InvalidQuery(f"{attribute.keyword} is given twice; give it once", attribute.keyword)
            value = f"{before}\\{value}"
        self.matches[attribute.keyword] = value

    def _match_item(self, name: str, sequence: Attribute, tag: int, value: str) -> None:
        item = next((item for item in sequence.item_attributes if item.tag == tag), None)
        if item is None:
            self.ignored.append(name)
            return
        keys = self.matches.setdefault(sequence.keyword, {})
        if not isinstance(keys, dict) or item.keyword in keys:
            raise InvalidQuery(f"{sequence.keyword}.{item.keyword} is given twice; give it once", sequence.keyword)
        keys[item.keyword] = _list(item, value)

    def _tags(self, name: str) -> list[int]:
        """The tags of `RequestAttributesSequence.00401001` or the like. Raises InvalidQuery."""
        return [self._tag(part) for part in name.split(".")]

    def _tag(self, name: str) -> int:
        tag = _known_tag(name)
        if tag is None:
            known = [*_SWITCHES, *_OTHER, *(attribute.keyword for attribute in self._registry.attributes)]
            close = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.75)
            advice = f"did you mean {close[0]}?" if close else "attributes go by keyword or by eight hexadecimal digits"
            raise InvalidQuery(f"{_shown(name)} is neither a parameter of a search nor a DICOM attribute; {advice}")
        return tag


def _known_tag(name: str) -> int | None:
    """The tag of eight hexadecimal digits or of a keyword of the dictionary."""
    if _HEX_TAG.fullmatch(name):
        return int(name, 16)
    return tag_for_keyword(name) if name else None


def _shown(name: str) -> str:
    tag = int(name, 16) if _HEX_TAG.fullmatch(name) else None
    return (keyword_for_tag(tag) if tag is not None else "") or repr(name[:64])


def _list(attribute: Attribute, value: str) -> str:
    return value.replace(",", "\\") if attribute.vr in _COMMA_SEPARATED_VRS else value


def _unsigned(name: str, value: str) -> int:
    if not _UNSIGNED.fullmatch(value.strip()):
        raise InvalidQuery(f"{name} needs a number, 0 or more")
    return min(int(value), _LARGEST)


def _switch(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InvalidQuery(f'{name} is "true" or "false"')
    return value.lower() == "true"
