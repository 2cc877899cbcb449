"""From a key and its value to a condition in SQL: every matching type of PS3.4 C.2.2.2, in one place."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, exists, false, func, literal, or_, select

from ..attributes import Attribute
from ..errors import InvalidQuery
from ..index.rows import number_of, number_text, whole_number_of, without_nul
from ..index.tables import DEFAULT_ISSUER, NO_PATIENT_ID, Tables
from ..index.types import ExactText
from ..index.value_pattern import value_pattern
from ..parse.folding import fold_person_name, name_words, phonetic
from .query import MatchValue, Query
from .temporal import Range, date_range, date_time_range, time_range

Condition = ColumnElement[bool]

_ESCAPE = "!"
_EMPTY = '""'  # PS3.4 C.2.2.2.7 Empty Value Matching
_WHOLE_NUMBER_VRS = frozenset({"IS", "SL", "SS", "UL", "US"})
_NUMBER_VRS = _WHOLE_NUMBER_VRS | {"DS", "FD", "FL"}
_TEMPORAL: Mapping[str, Callable[[str, str], Range[Any]]] = {"DA": date_range, "TM": time_range, "DT": date_time_range}
_WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})  # PS3.4 C.2.2.2.4
# values of these may hold a backslash of their own (PS3.5 6.2)
_SINGLE_VALUE_VRS = frozenset({"LT", "ST", "UR", "UT"})
_SURROGATE = re.compile("[\ud800-\udfff]")
_AFTER_ANY_TEXT = "\U0010ffff"
# Each database gives up somewhere: at long patterns, many parameters or deep expressions. These stay below all of them.
_LONGEST_VALUE = 1024
_LONGEST_KEY = 8192
_MOST_VALUES = 200
_MOST_UIDS = 10_000
_PERSON_NAME_COMPONENTS = 5  # PS3.5 6.2


class Matcher:
    """Makes the conditions of one query."""

    def __init__(self, tables: Tables, server_values: Mapping[str, str], query: Query) -> None:
        self._tables = tables
        self._server_values = server_values
        self._query = query

    def conditions(self) -> list[Condition]:
        """All conditions of the query; universal matching adds none."""
        combined = self._combined_pairs()
        conditions = [self._combined(*pair) for pair in combined]
        done = {keyword for pair in combined for keyword in pair}
        for keyword, value in self._query.matches.items():
            if keyword not in done:
                condition = self._condition(self._attribute(keyword), value)
                if condition is not None:
                    conditions.append(condition)
        return conditions

    def _attribute(self, keyword: str) -> Attribute:
        attribute = self._tables.registry.get(keyword)
        if attribute is None:
            raise InvalidQuery(f"{keyword} is not indexed here and cannot be matched", keyword)
        if attribute.level.rank > self._query.level.rank:
            # PS3.4 C.4.1.1.3.1
            raise InvalidQuery(
                f"{keyword} belongs to level {attribute.level}, below the query's level {self._query.level}", keyword
            )
        return attribute

    def _condition(self, attribute: Attribute, value: MatchValue) -> Condition | None:
        if attribute.items:
            return self._sequence(attribute, value)
        if not isinstance(value, str):
            raise InvalidQuery(
                f"{attribute.keyword} is not a sequence; its key has one value, no item", attribute.keyword
            )
        text = searchable(value)
        # PS3.4 C.2.2.2.3 Universal Matching
        if not text or not text.strip("*"):
            return None
        if text == _EMPTY:
            return self._empty(attribute)
        if attribute.vr == "PN":
            return self._person_name(attribute, text)
        if attribute.keyword == "ModalitiesInStudy":
            return self._modalities(text)
        return self._matches(attribute, self._column(attribute), text)

    def _column(self, attribute: Attribute) -> ColumnElement[Any]:
        if attribute.keyword == "IssuerOfPatientID":
            return self._tables.issuer.c.issuer_of_patient_id
        constant = self._server_values.get(attribute.keyword)
        if constant is not None:
            # of nothing but that column's collation: MariaDB compares two plain texts without case
            return literal(constant, ExactText()) + func.substr(self._tables.issuer.c.issuer_of_patient_id, 1, 0)
        return self._tables.entity(attribute.level).c[attribute.column]

    def _empty(self, attribute: Attribute) -> Condition:
        # what the index shows where the object said nothing
        if attribute.keyword == "IssuerOfPatientID":
            return self._tables.issuer.c.issuer_of_patient_id == DEFAULT_ISSUER
        if attribute.keyword == "PatientID":
            patient = self._tables.patient
            return and_(patient.c.patient_id == NO_PATIENT_ID, patient.c.unidentified_study_uid != "")
        return self._column(attribute).is_(None)

    def _matches(self, attribute: Attribute, column: ColumnElement[Any], text: str) -> Condition | None:
        if attribute.vr in _TEMPORAL:
            return _within(column, _temporal_range(attribute, text))
        values = _values(attribute, text)
        if attribute.vr in _NUMBER_VRS:
            numbers = [_number(attribute, value) for value in values]
            if attribute.multi_valued:
                return _any(column, [number_text(number) for number in numbers], wildcards=False)
            return column.in_(numbers)
        if attribute.vr == "UI":
            # MariaDB does not even compare a UID with what cannot be one
            values = [value for value in values if value.isascii()]
        wildcards = attribute.vr in _WILDCARD_VRS
        if wildcards and any(not value.strip("*") for value in values):
            return None
        if attribute.multi_valued:
            return _any(column, values, wildcards=wildcards)
        return _one_of(column, values, wildcards=wildcards)

    def _modalities(self, text: str) -> Condition | None:
        # PS3.4 C.3.4: matches where a series of the study does
        series, study = self._tables.series, self._tables.study
        condition = self._matches(self._tables.registry["Modality"], series.c.modality, text)
        if condition is None:
            return None
        return exists(select(literal(1)).where(series.c.study_pk == study.c.pk, condition).correlate(study))

    # -- person names ----------------------------------------------------------------------------------------

    def _person_name(self, attribute: Attribute, text: str) -> Condition | None:
        alternatives = []
        for name in _values(attribute, text):
            groups = [group for group in name.split("=") if group.strip(" ^*")]
            if not groups:
                return None
            match_group = self._fuzzy_group if self._query.fuzzy else self._name_group
            alternatives.append(and_(*(match_group(attribute, group) for group in groups)))
        return or_(*alternatives)

    def _name_group(self, attribute: Attribute, group: str) -> Condition:
        """A component group matches any group of the name: which script it is in does not tell where it stands."""
        tables = self._tables.by_level[attribute.level]
        names = _required(tables.names)
        owner = names.c[f"{attribute.level.entity}_pk"]
        folded = fold_person_name(group)
        patterns = [folded]
        while patterns[-1].endswith("^*") and len(patterns) <= _PERSON_NAME_COMPONENTS:
            # trailing components may be left out (PS3.5 6.2.1.2), so DOE^* is DOE too
            patterns.append(patterns[-1][:-2].rstrip("^"))
        condition = _one_of(names.c.folded, [pattern for pattern in patterns if pattern], wildcards=True)
        chosen = select(owner).where(names.c.tag == attribute.tag, condition)
        return tables.entity.c.pk.in_(chosen)

    def _fuzzy_group(self, attribute: Attribute, group: str) -> Condition:
        """Every word of the query begins a word of the name, or sounds like one."""
        tables = self._tables.by_level[attribute.level]
        words = _required(tables.words)
        owner = words.c[f"{attribute.level.entity}_pk"]
        conditions = []
        for word in name_words(group.replace("*", " ").replace("?", " ")):
            alike = or_(_like(words.c.word, f"{word}*"), words.c.phonetic == phonetic(word))
            conditions.append(tables.entity.c.pk.in_(select(owner).where(words.c.tag == attribute.tag, alike)))
        return and_(*conditions) if conditions else self._name_group(attribute, group)

    # -- sequences -------------------------------------------------------------------------------------------

    def _sequence(self, attribute: Attribute, value: MatchValue) -> Condition | None:
        """PS3.4 C.2.2.2.6: some item matches all keys of the one item in the query."""
        if isinstance(value, str):
            if not value.strip(" *"):
                return None
            raise InvalidQuery(f"{attribute.keyword} is a sequence; its key has an item with keys", attribute.keyword)
        tables = self._tables.by_level[attribute.level]
        items = tables.sequences[attribute.keyword]
        conditions = []
        for item in attribute.item_attributes:
            text = searchable(value.get(item.keyword, ""))
            if not text.strip("*"):
                continue
            column = items.c[item.column]
            condition = column.is_(None) if text == _EMPTY else self._matches(item, column, text)
            if condition is not None:
                conditions.append(condition)
        if not conditions:
            return None
        owner = items.c[f"{attribute.level.entity}_pk"]
        return tables.entity.c.pk.in_(select(owner).where(*conditions))

    # -- dates with times ------------------------------------------------------------------------------------

    def _combined_pairs(self) -> list[tuple[str, str]]:
        if not self._query.combined_datetime:
            return []
        pairs = []
        for keyword, value in self._query.matches.items():
            partner = keyword.removesuffix("Date") + "Time"
            other = self._query.matches.get(partner)
            if keyword.endswith("Date") and _is_range(value) and _is_range(other):
                pairs.append((keyword, partner))
        return pairs

    def _combined(self, date_keyword: str, time_keyword: str) -> Condition:
        """PS3.4 C.2.2.2.5.1: from the first time of the first day to the last time of the last."""
        date_attribute, time_attribute = self._attribute(date_keyword), self._attribute(time_keyword)
        dates = date_range(str(self._query.matches[date_keyword]), date_keyword)
        times = time_range(str(self._query.matches[time_keyword]), time_keyword)
        date, time = self._column(date_attribute), self._column(time_attribute)
        conditions = []
        if dates.first is not None:
            conditions.append(
                or_(date > dates.first, and_(date == dates.first, _within(time, Range(times.first, None))))
            )
        if dates.last is not None:
            to_time = _within(time, Range(None, times.last))
            conditions.append(or_(date < dates.last, and_(date == dates.last, to_time)))
        return and_(*conditions)


def searchable(value: str) -> str:
    """The value as the index would have it; what no database can take matches nothing."""
    return _SURROGATE.sub("\ufffd", without_nul(value)).strip(" ")


def _is_range(value: MatchValue | None) -> bool:
    return isinstance(value, str) and bool(value.strip(" *")) and value.strip(" ") != _EMPTY


def _temporal_range(attribute: Attribute, text: str) -> Range[Any]:
    read: Callable[[str, str], Range[Any]] = _TEMPORAL[attribute.vr]
    return read(text, attribute.keyword)


def _within(column: ColumnElement[Any], moments: Range[Any]) -> Condition:
    if moments.first is not None and moments.first == moments.last:
        return and_(column == moments.first)
    conditions: list[Condition] = []
    if moments.first is not None:
        conditions.append(column >= moments.first)
    if moments.last is not None:
        conditions.append(column <= moments.last)
    return and_(*conditions) if conditions else column.is_not(None)


def _values(attribute: Attribute, text: str) -> list[str]:
    """PS3.4 C.2.2.2.2 List of UID Matching, C.2.2.2.8 Multiple Value Matching."""
    if attribute.vr in _SINGLE_VALUE_VRS:
        values = [text]
    else:
        values = [value.strip(" ") for value in text.split("\\") if value.strip(" ")] or [text]
    most = _MOST_UIDS if attribute.vr == "UI" else _MOST_VALUES
    if len(values) > most:
        raise InvalidQuery(f"{attribute.keyword} has {len(values)} values; ask for {most} at a time", attribute.keyword)
    if max(map(len, values)) > _LONGEST_VALUE or (attribute.vr != "UI" and len(text) > _LONGEST_KEY):
        raise InvalidQuery(f"{attribute.keyword} is too long to search by; shorten it", attribute.keyword)
    return values


def _number(attribute: Attribute, text: str) -> int | float:
    try:
        value = number_of(float(text))
    except ValueError:
        value = None
    number = whole_number_of(value) if attribute.vr in _WHOLE_NUMBER_VRS and value is not None else value
    if number is None:
        raise InvalidQuery(f"{attribute.keyword} needs a number", attribute.keyword)
    return number


def _has_wildcard(value: str) -> bool:
    return "*" in value or "?" in value


def _one_of(column: ColumnElement[Any], values: Sequence[str], *, wildcards: bool) -> Condition:
    exact = [value for value in values if not (wildcards and _has_wildcard(value))]
    conditions: list[Condition] = []
    if exact:
        conditions.append(column == exact[0] if len(exact) == 1 else column.in_(exact))
    conditions += [_like(column, value) for value in values if wildcards and _has_wildcard(value)]
    return or_(*conditions) if conditions else false()


def _like(column: ColumnElement[Any], pattern: str) -> Condition:
    """PS3.4 C.2.2.2.4: `*` is any text, `?` any one character; all else, `%` and `_` too, is itself."""
    escaped = re.sub(r"([!%_])", rf"{_ESCAPE}\1", pattern)
    like = column.like(escaped.replace("*", "%").replace("?", "_"), escape=_ESCAPE)
    prefix = re.split(r"[*?]", pattern, maxsplit=1)[0]
    if not prefix:
        return like
    # what every index can use, whatever its database makes of LIKE
    return and_(column >= prefix, column < prefix + _AFTER_ANY_TEXT, like)


def _any(column: ColumnElement[Any], values: Sequence[str], *, wildcards: bool) -> Condition:
    """Some value of a backslash-separated column matches."""
    conditions: list[Condition] = []
    framed = literal("\\", ExactText()) + column + literal("\\", ExactText())
    for value in values:
        if wildcards and _has_wildcard(value):
            conditions.append(column.regexp_match(value_pattern(value)))
        else:
            escaped = re.sub(r"([!%_])", rf"{_ESCAPE}\1", value)
            conditions.append(framed.like(f"%\\{escaped}\\%", escape=_ESCAPE))
    return or_(false(), *conditions)


def _required(table: Table | None) -> Table:
    if table is None:
        raise InvalidQuery("no person name is kept at this level")
    return table
