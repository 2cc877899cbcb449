"""From a key and its value to a condition in SQL: every matching type of PS3.4 C.2.2.2, in one place."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, and_, false, func, literal, or_, select

from ..attributes import Attribute, Level, Origin
from ..errors import InvalidQuery
from ..index.rows import number_of, number_text, whole_number_of, without_nul
from ..index.scope import patient_within
from ..index.tables import DEFAULT_ISSUER, NO_PATIENT_ID, Tables
from ..index.types import ExactText
from ..index.value_pattern import value_pattern
from .match import Condition, Match, any_row, owner_column, table_of
from .name_matching import NameMatcher
from .query import MatchValue, Query
from .temporal import Range, date_range, date_time_range, time_range
from .wild_card import ESCAPE, escaped, has_wildcard, literal_prefix, one_of

_EMPTY = '""'  # PS3.4 C.2.2.2.7 Empty Value Matching
_WHOLE_NUMBER_VRS = frozenset({"IS", "SL", "SS", "UL", "US"})
_NUMBER_VRS = _WHOLE_NUMBER_VRS | {"DS", "FD", "FL"}
_TEMPORAL: Mapping[str, Callable[[str, str], Range[Any]]] = {"DA": date_range, "TM": time_range, "DT": date_time_range}
_WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})  # PS3.4 C.2.2.2.4
# values of these may hold a backslash of their own (PS3.5 6.2)
_SINGLE_VALUE_VRS = frozenset({"LT", "ST", "UR", "UT"})
# a study's, a patient's, a series'; a device may give the same Study ID to all that it makes
_NEARLY_UNIQUE = frozenset({"PatientID", "StudyInstanceUID", "AccessionNumber", "SeriesInstanceUID", "SOPInstanceUID"})
_MOST_RANGES = 32  # of an index, each a SELECT of a UNION
_SURROGATE = re.compile("[\ud800-\udfff]")
# Each database gives up somewhere: at long patterns, many parameters or deep expressions. These stay below all of them.
_LONGEST_VALUE = 1024
_LONGEST_KEY = 8192
_MOST_VALUES = 200
_MOST_UIDS = 10_000


class Matcher:
    """Makes the matches of one query."""

    def __init__(self, tables: Tables, server_values: Mapping[str, str], query: Query) -> None:
        self._tables = tables
        self._server_values = server_values
        self._query = query
        self._names = NameMatcher(tables, query)

    def matches(self) -> list[Match]:
        """What an answer has to meet, all of it; universal matching asks for nothing."""
        combined = self._combined_pairs()
        matches = [match for pair in combined for match in self._combined(*pair)]
        done = {keyword for pair in combined for keyword in pair}
        for keyword, value in self._query.matches.items():
            if keyword not in done:
                match = self._match(self._attribute(keyword), value)
                if match is not None:
                    matches.append(match)
        if self._query.scope is not None:
            matches.append(self._within(self._query.scope))
        return matches

    def _within(self, scope: frozenset[str]) -> Match:
        """Whoever asks sees these issuers' patients only, whatever else is asked for."""
        patient = self._tables.patient
        condition = patient_within(self._tables, scope)
        found = select(patient.c.pk.label("pk")).where(condition)
        return Match(Level.PATIENT, patient, condition, candidates=(found,), exact=True)

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

    def _match(self, attribute: Attribute, value: MatchValue) -> Match | None:
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
            return self._names.match(attribute, values_of(attribute, text))
        if attribute.keyword == "ModalitiesInStudy":
            return self._modalities(text)
        column = self._column(attribute)
        condition = self._matches(attribute, column, text)
        if condition is None:
            return None
        if attribute.origin is Origin.SERVER or attribute.keyword == "IssuerOfPatientID":
            return Match(attribute.level, self._tables.issuer, condition)
        return self._of_column(attribute, condition, self._texts(attribute, text))

    def _of_column(self, attribute: Attribute, condition: Condition, values: Sequence[str] = ()) -> Match:
        """How an index finds a column's values: those given, or else what the condition alone says."""
        entity = self._tables.entity(attribute.level)
        certain = attribute.keyword in _NEARLY_UNIQUE and NO_PATIENT_ID not in values
        if certain and values and not _patterns(attribute, values):
            return Match(attribute.level, entity, condition, few=True)
        found = self._candidates(attribute, entity.c.pk, condition, values)
        in_order = attribute.keyword == "StudyDate" and self._query.level is Level.STUDY
        return Match(attribute.level, entity, condition, candidates=found, exact=True, in_order=in_order)

    def _candidates(
        self, attribute: Attribute, owner: Column[Any], condition: Condition, values: Sequence[str]
    ) -> tuple[Select[Any], ...]:
        """A SELECT for each range of the column's index; none where it has no index, or where that does not serve."""
        patterns = _patterns(attribute, values)
        if not attribute.indexed or attribute.multi_valued or not all(map(literal_prefix, patterns)):
            return ()
        if not patterns or len(values) == 1:
            return (select(owner.label("pk")).where(condition),)
        column = self._tables.entity(attribute.level).c[attribute.column]
        ranges = [one_of(column, [value], wildcards=True) for value in values]
        return tuple(select(owner.label("pk")).where(one) for one in ranges) if len(ranges) <= _MOST_RANGES else ()

    def _texts(self, attribute: Attribute, text: str) -> Sequence[str]:
        return () if attribute.vr in _TEMPORAL or attribute.vr in _NUMBER_VRS else values_of(attribute, text)

    def _column(self, attribute: Attribute) -> ColumnElement[Any]:
        if attribute.keyword == "IssuerOfPatientID":
            return self._tables.issuer.c.issuer_of_patient_id
        constant = self._server_values.get(attribute.keyword)
        if constant is not None:
            # of nothing but that column's collation: MariaDB compares two plain texts without case
            return literal(constant, ExactText()) + func.substr(self._tables.issuer.c.issuer_of_patient_id, 1, 0)
        return self._tables.entity(attribute.level).c[attribute.column]

    def _empty(self, attribute: Attribute) -> Match:
        # what the index shows where the object said nothing
        if attribute.keyword == "IssuerOfPatientID":
            issuer = self._tables.issuer
            return Match(attribute.level, issuer, issuer.c.issuer_of_patient_id == DEFAULT_ISSUER)
        if attribute.keyword == "PatientID":
            patient = self._tables.patient
            condition = and_(patient.c.patient_id == NO_PATIENT_ID, patient.c.unidentified_study_uid != "")
        else:
            condition = self._column(attribute).is_(None)
        if attribute.origin is Origin.SERVER:
            return Match(attribute.level, self._tables.issuer, condition)
        return self._of_column(attribute, condition)

    def _matches(self, attribute: Attribute, column: ColumnElement[Any], text: str) -> Condition | None:
        if attribute.vr in _TEMPORAL:
            return _within(column, _temporal_range(attribute, text))
        values = values_of(attribute, text)
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
        return one_of(column, values, wildcards=wildcards)

    def _modalities(self, text: str) -> Match | None:
        # PS3.4 C.3.4: matches where a series of the study does
        series = self._tables.series
        modality = self._tables.registry["Modality"]
        # not the series that the query may be about
        some = series.alias("some_series")
        condition = self._matches(modality, series.c.modality, text)
        of_study = self._matches(modality, some.c.modality, text)
        if condition is None or of_study is None:
            return None
        key = owner_column(self._tables, Level.STUDY, self._query.level)
        rows = select(literal(1)).where(some.c.study_pk == key, of_study)
        found = self._candidates(modality, series.c.study_pk, condition, values_of(modality, text))
        return Match(Level.STUDY, table_of(key), any_row(rows, table_of(key)), candidates=found, exact=True)

    # -- sequences -------------------------------------------------------------------------------------------

    def _sequence(self, attribute: Attribute, value: MatchValue) -> Match | None:
        """PS3.4 C.2.2.2.6: some item matches all keys of the one item in the query."""
        if isinstance(value, str):
            if not value.strip(" *"):
                return None
            raise InvalidQuery(f"{attribute.keyword} is a sequence; its key has an item with keys", attribute.keyword)
        items = self._tables.by_level[attribute.level].sequences[attribute.keyword]
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
        owner = owner_column(self._tables, attribute.level, self._query.level)
        of_owner = items.c[f"{attribute.level.entity}_pk"] == owner
        return Match(
            attribute.level, table_of(owner), any_row(select(literal(1)).where(of_owner, *conditions), table_of(owner))
        )

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

    def _combined(self, date_keyword: str, time_keyword: str) -> list[Match]:
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
        # the dates alone first: what an index can tell
        of_date = self._of_column(date_attribute, _within(date, dates))
        return [of_date, Match(date_attribute.level, of_date.table, and_(*conditions))]


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


def values_of(attribute: Attribute, text: str) -> list[str]:
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


def _patterns(attribute: Attribute, values: Sequence[str]) -> list[str]:
    return [value for value in values if has_wildcard(value)] if attribute.vr in _WILDCARD_VRS else []


def _number(attribute: Attribute, text: str) -> int | float:
    try:
        value = number_of(float(text))
    except ValueError:
        value = None
    number = whole_number_of(value) if attribute.vr in _WHOLE_NUMBER_VRS and value is not None else value
    if number is None:
        raise InvalidQuery(f"{attribute.keyword} needs a number", attribute.keyword)
    return number


def _any(column: ColumnElement[Any], values: Sequence[str], *, wildcards: bool) -> Condition:
    """Some value of a backslash-separated column matches."""
    conditions: list[Condition] = []
    framed = literal("\\", ExactText()) + column + literal("\\", ExactText())
    for value in values:
        if wildcards and has_wildcard(value):
            conditions.append(column.regexp_match(value_pattern(value)))
        else:
            conditions.append(framed.like(f"%\\{escaped(value)}\\%", escape=ESCAPE))
    return or_(false(), *conditions)
