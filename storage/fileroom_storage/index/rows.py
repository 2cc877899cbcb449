"""Between the elements of a header and the columns of a row, both ways.

What typed columns cannot give back exactly (a legacy date, a time with trailing zeros, a cut text, a sequence) is kept
beside them, as DICOM JSON, in `residue`; so columns and residue together always give what the object said, but for
what is too long for any index.
"""

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import orjson

from ..attributes import Attribute
from .types import LONG_TEXT_LENGTH, RESIDUE_LENGTH, TEXT_LENGTH

Element = dict[str, Any]  # a DICOM JSON element (PS3.18 F.2): {"vr": "CS", "Value": ["CT"]}

_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)|(\d{4})\.(\d\d)\.(\d\d)")
_TIME = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?)?")
_DATE_TIME = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:\.(\d{1,6}))?([+-]\d{4})?")
_WHOLE_NUMBER_LIMIT = 2**63


def date_of(text: str) -> dt.date | None:
    # PS3.5 6.2 DA; the form with dots is of ACR-NEMA and may still be met
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = (int(part) for part in match.groups() if part is not None)
    try:
        return dt.date(year, month, day)
    except ValueError:
        return None


def time_of(text: str) -> dt.time | None:
    # PS3.5 6.2 TM
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hour, minute, second, fraction = match.groups()
    # a leap second has no place in SQL's TIME
    seconds = min(int(second or 0), 59)
    try:
        return dt.time(int(hour), int(minute or 0), seconds, int((fraction or "0").ljust(6, "0")))
    except ValueError:
        return None


def date_time_of(text: str) -> dt.datetime | None:
    """The moment a DT names (PS3.5 6.2), in UTC where it tells its offset, else as it stands."""
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        moment = dt.datetime(  # as it stands: a DT need not tell its offset
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            min(int(second or 0), 59),
            int((fraction or "0").ljust(6, "0")),
        )
        return moment - offset_of(offset) if offset else moment
    except (ValueError, OverflowError):
        return None


def offset_of(text: str) -> dt.timedelta:
    """`+0130` → 1 h 30 min."""
    offset = dt.timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))
    return -offset if text[0] == "-" else offset


def whole_number_of(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and abs(value) < _WHOLE_NUMBER_LIMIT else None


def number_of(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def number_text(value: Any) -> str:
    """One form a number, so that equal numbers are equal texts."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def person_name_text(value: Mapping[str, str] | None) -> str:
    groups = [(value or {}).get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
    return "=".join(groups).rstrip("=")


def person_name_value(text: str) -> dict[str, str] | None:
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("=", 2), strict=False)
    return {name: group for name, group in groups if group} or None


def to_column(attribute: Attribute, element: Element | None) -> Any:
    """The value of an attribute's column; None where there is none or it is not what its VR promises."""
    values = (element or {}).get("Value")
    if not values:
        return None
    if attribute.vr == "PN":
        return _joined(values, lambda value: person_name_text(value if isinstance(value, dict) else None))
    if attribute.multi_valued:
        return _joined(values, number_text)
    value = values[0]
    typed = _TO_TYPED.get(attribute.vr)
    if typed is not None:
        return typed(value)
    text = "" if value is None else without_nul(str(value))
    return text[: LONG_TEXT_LENGTH if attribute.long_text else TEXT_LENGTH] or None


def without_nul(text: str) -> str:
    # PostgreSQL's text has no NUL
    return text.replace("\0", "")


def from_column(attribute: Attribute, value: Any) -> Element | None:
    """The element that a column's value stands for."""
    return None if value is None else column_reader(attribute)(value)


@cache
def column_reader(attribute: Attribute) -> Callable[[Any], Element]:
    """What makes an element of a value of this attribute's column, other than None."""
    vr = attribute.vr
    if vr == "PN":
        return lambda value: {"vr": vr, "Value": [person_name_value(part) for part in _parts(attribute, value)]}
    if attribute.multi_valued:
        read = _number_or_text if vr in _TO_TYPED else _text_or_none
        return lambda value: {"vr": vr, "Value": [read(part) for part in value.split("\\")]}
    text_of = _FROM_TYPED.get(vr)
    if text_of is not None:
        return lambda value: {"vr": vr, "Value": [text_of(value)]}
    return lambda value: {"vr": vr, "Value": [value]}


def to_row(
    attributes: tuple[Attribute, ...], element_of: Callable[[int], Element | None]
) -> tuple[dict[str, Any], dict[str, Element]]:
    """Columns and residue of the given attributes."""
    columns: dict[str, Any] = {}
    residue: dict[str, Element] = {}
    room = RESIDUE_LENGTH

    def keep(attribute: Attribute, element: Element) -> None:
        nonlocal room
        room -= len(orjson.dumps(element))
        if room >= 0:
            residue[attribute.tag_hex] = element

    for attribute in attributes:
        element = element_of(attribute.tag)
        if element is not None and not _has_value(element):
            element = None
        if attribute.items:
            if element is not None:
                keep(attribute, element)
            continue
        column = columns[attribute.column] = to_column(attribute, element)
        if element is not None and from_column(attribute, column) != element:
            keep(attribute, element)
    return columns, residue


def dump_residue(residue: Mapping[str, Element]) -> str | None:
    return orjson.dumps(residue).decode() if residue else None


def load_residue(text: str | None) -> dict[str, Element]:
    return orjson.loads(text) if text else {}


def _has_value(element: Element) -> bool:
    values = element.get("Value")
    return bool(values) and any(value is not None and value != "" for value in values or ())


def _joined(values: list[Any], text_of: Callable[[Any], str]) -> str | None:
    text = without_nul("\\".join("" if value is None else text_of(value) for value in values))
    return text if text.strip("\\") and len(text) <= LONG_TEXT_LENGTH else None


def _parts(attribute: Attribute, value: str) -> list[str]:
    return value.split("\\") if attribute.multi_valued else [value]


def _number_or_text(part: str) -> Any:
    if not part:
        return None
    for number in (int, float):
        try:
            return number(part)
        except ValueError:
            continue
    return part


def _text_or_none(part: str) -> str | None:
    return part or None


def _fraction(microsecond: int) -> str:
    return f".{microsecond:06d}".rstrip("0") if microsecond else ""


def _date_text(value: dt.date) -> str:
    return f"{value.year:04d}{value.month:02d}{value.day:02d}"


def _time_text(value: dt.time) -> str:
    return f"{value.hour:02d}{value.minute:02d}{value.second:02d}{_fraction(value.microsecond)}"


_TO_TYPED: dict[str, Callable[[Any], Any]] = {
    "DA": lambda value: date_of(str(value)),
    "TM": lambda value: time_of(str(value)),
    "DT": lambda value: date_time_of(str(value)),
    **dict.fromkeys(("IS", "SL", "SS", "UL", "US"), whole_number_of),
    **dict.fromkeys(("DS", "FD", "FL"), number_of),
}
_FROM_TYPED: dict[str, Callable[[Any], Any]] = {
    "DA": _date_text,
    "TM": _time_text,
    "DT": lambda value: _date_text(value) + _time_text(value.time()),
}
