"""Identifiers of C-FIND, C-MOVE and C-GET: read into a Query or unique keys, and written as an answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fileroom_server.negotiation import InformationModel, Options
from fileroom_storage.attributes import Attribute, Level, Origin, Registry
from fileroom_storage.errors import InvalidQuery
from fileroom_storage.parse.data_set_encoding import Element, encode_data_set
from fileroom_storage.parse.header import Header, parse_header
from fileroom_storage.query import Query
from fileroom_storage.query.query import MatchValue

Encoded = bytes | memoryview

_QUERY_RETRIEVE_LEVEL = "00080052"
_INSTANCE_AVAILABILITY = "00080056"
_RETRIEVE_AE_TITLE = "00080054"
_SPECIFIC_CHARACTER_SET = "00080005"
_NO_KEYS = frozenset({_SPECIFIC_CHARACTER_SET, _QUERY_RETRIEVE_LEVEL})
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_WILDCARDS = frozenset("*?\\")
# PS3.5 9.1 allows digits and dots; storage keeps devices' letters too
_UID = re.compile(r"[0-9A-Za-z._-]{1,64}")


@dataclass(frozen=True, slots=True)
class FindIdentifier:
    """What a C-FIND asks for. `keys` are the attributes that an answer has; a sequence with the item's attributes."""

    query: Query
    keys: Mapping[str, tuple[Attribute, tuple[Attribute, ...]]]
    character_set: tuple[str, ...]
    has_unsupported_keys: bool


def read_find_identifier(
    identifier: Encoded,
    transfer_syntax_uid: str,
    model: InformationModel,
    options: Options,
    registry: Registry,
) -> FindIdentifier:
    """Raises InvalidQuery, and UnusableObject where the identifier cannot be read."""
    header = parse_header(memoryview(identifier), transfer_syntax_uid)
    elements = header.dicom_json()
    level = _level(header, model)
    keys: dict[str, tuple[Attribute, tuple[Attribute, ...]]] = {}
    matches: dict[str, MatchValue] = {}
    unsupported = False
    value: MatchValue
    for tag, element in elements.items():
        if tag in _NO_KEYS:
            continue
        attribute = registry.by_tag(int(tag, 16))
        if attribute is None:
            unsupported = True
            continue
        asked, attribute = attribute, registry.meant(attribute, level)
        if attribute is not asked:
            # what many send with a query for studies: matched as what is meant, and not answered
            unsupported = True
            if value := _match_text(element):
                matches.setdefault(attribute.keyword, value)
            continue
        if attribute.level.rank > level.rank:
            if attribute.origin is Origin.SERVER:
                continue  # PS3.4 C.4.1.1.3.2: answered at every level
            # PS3.4 C.4.1.2.1
            raise InvalidQuery(f"{attribute.keyword} is of level {attribute.level}, below {level}", attribute.keyword)
        items: tuple[Attribute, ...] = ()
        if attribute.items:
            items, value, some_unsupported = _sequence_key(attribute, element)
            unsupported |= some_unsupported
        else:
            value = _match_text(element)
        keys[tag] = (attribute, items)
        if value:
            matches[attribute.keyword] = value
    if not options.relational:
        _check_hierarchy(matches, level, model, registry, "query")
    query = Query(
        level=level,
        matches=matches,
        return_keys=frozenset(attribute.keyword for attribute, _ in keys.values()),
        fuzzy=options.fuzzy,
        combined_datetime=options.combined_datetime,
    )
    return FindIdentifier(query, keys, header.specific_character_set, unsupported)


def write_answer(
    answer: Mapping[str, Element], find: FindIdentifier, transfer_syntax_uid: str, retrieve_ae_title: str
) -> bytes:
    """The identifier of a pending response: every key that was asked for, empty where there is no value."""
    elements: dict[str, Element] = {}
    for tag, (attribute, items) in find.keys.items():
        element = answer.get(tag)
        if element is None:
            element = {"vr": attribute.vr}
        elif items:
            element = {"vr": "SQ", "Value": [_only(item, items) for item in element.get("Value", ())]}
        elements[tag] = element
    elements[_QUERY_RETRIEVE_LEVEL] = {"vr": "CS", "Value": [find.query.level.value]}
    # PS3.4 C.4.1.1.3.2
    elements[_RETRIEVE_AE_TITLE] = {"vr": "AE", "Value": [retrieve_ae_title]}
    elements[_INSTANCE_AVAILABILITY] = answer.get(_INSTANCE_AVAILABILITY, {"vr": "CS", "Value": ["ONLINE"]})
    return encode_data_set(elements, transfer_syntax_uid, find.character_set)


def read_retrieve_identifier(
    identifier: Encoded,
    transfer_syntax_uid: str,
    model: InformationModel,
    options: Options,
    registry: Registry,
) -> dict[str, str]:
    """The unique keys, by keyword, of what is to be retrieved. Raises InvalidQuery, UnusableObject."""
    header = parse_header(memoryview(identifier), transfer_syntax_uid)
    level = _level(header, model)
    keys: dict[str, str] = {}
    for upper in level.up_to():
        attribute = registry.unique_key(upper)
        element = header.element(attribute.tag)
        text = _match_text(element) if element else ""
        if text:
            keys[attribute.keyword] = text
    unique_key = registry.unique_key(level).keyword
    wanted = keys.get(unique_key)
    if not wanted:
        # PS3.4 C.4.2.2.1
        raise InvalidQuery(f"{unique_key} is missing: a {level} retrieval names it", unique_key)
    # PS3.4 C.4.2.2.1: a list of UIDs at this level, but of patients only one
    if _WILDCARDS & set(wanted) - ({"\\"} if level is not Level.PATIENT else set()):
        raise InvalidQuery(f"{unique_key} has to name what to send, without wildcards", unique_key)
    if not options.relational:
        _check_hierarchy(keys, level, model, registry, "retrieval")
    _check_uids(keys, registry)
    return keys


def write_failed_uids(failed: list[str], transfer_syntax_uid: str) -> bytes:
    """The identifier of a final C-MOVE or C-GET response (PS3.4 C.4.2.1.4.2), with as many UIDs as an element holds."""
    uids: list[str] = []
    length = 0
    for uid in failed:
        length += len(uid) + 1
        if length > 0xFFFE:
            break
        uids.append(uid)
    return encode_data_set({"00080058": {"vr": "UI", "Value": uids}}, transfer_syntax_uid)


def _level(header: Header, model: InformationModel) -> Level:
    text = (header.text(int(_QUERY_RETRIEVE_LEVEL, 16)) or "").strip(" ").upper()
    if not text:
        raise InvalidQuery(f"QueryRetrieveLevel is missing; {model.name} has {_names(model)}", "QueryRetrieveLevel")
    if text not in model.levels:
        raise InvalidQuery(f"QueryRetrieveLevel is none of {_names(model)} ({model.name})", "QueryRetrieveLevel")
    return Level(text)


def _names(model: InformationModel) -> str:
    return ", ".join(model.levels)


def _check_hierarchy(
    matches: Mapping[str, MatchValue], level: Level, model: InformationModel, registry: Registry, operation: str
) -> None:
    """PS3.4 C.4.1.3.1.1: below a study, each level above is one entity, named by its unique key."""
    # At STUDY level the key of the patient may be missing even so: many SCUs ask for studies by name or date in the
    # Patient Root model, and every PACS answers them.
    if level.rank < Level.SERIES.rank:
        return
    for upper in model.levels[: model.levels.index(level)]:
        keyword = registry.unique_key(upper).keyword
        value = matches.get(keyword)
        article = "an" if level is Level.IMAGE else "a"
        if not value:
            raise InvalidQuery(f"{keyword} is missing: {article} {level} {operation} needs it", keyword)
        if _WILDCARDS & set(value):
            raise InvalidQuery(f"{keyword} has to be one value in {article} {level} {operation}", keyword)


def _check_uids(keys: Mapping[str, str], registry: Registry) -> None:
    for keyword, value in keys.items():
        if registry[keyword].vr == "UI" and not all(_UID.fullmatch(uid.strip(" ")) for uid in value.split("\\") if uid):
            raise InvalidQuery(f"{keyword} has a value that is no UID (PS3.5 9.1)", keyword)


def _sequence_key(attribute: Attribute, element: Element) -> tuple[tuple[Attribute, ...], MatchValue, bool]:
    """The item attributes to answer (none means all), what they have to match, whether some are not supported."""
    items = [item for item in element.get("Value", ()) if item]
    if not items:
        return (), "", False
    if len(items) > 1:
        # PS3.4 C.2.2.2.6
        raise InvalidQuery(f"{attribute.keyword} has more than one item", attribute.keyword)
    known = {item.tag_hex: item for item in attribute.item_attributes}
    wanted = tuple(known[tag] for tag in items[0] if tag in known)
    texts = {item.keyword: _match_text(items[0][item.tag_hex]) for item in wanted}
    matches = {keyword: text for keyword, text in texts.items() if text}
    return wanted, matches, len(wanted) < len(items[0])


def _only(item: Mapping[str, Element], wanted: tuple[Attribute, ...]) -> dict[str, Element]:
    return {attribute.tag_hex: item.get(attribute.tag_hex, {"vr": attribute.vr}) for attribute in wanted}


def _match_text(element: Element) -> str:
    """The value of a key as a Query has it: several values parted by backslashes."""
    return "\\".join(_value_text(value) for value in element.get("Value", ()))


def _value_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return "=".join(value.get(group, "") for group in _NAME_GROUPS).rstrip("=")
    return str(value)
