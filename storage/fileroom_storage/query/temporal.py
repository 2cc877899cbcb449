"""Dates, times and moments in a query, and the ranges they name (PS3.4 C.2.2.2.5)."""

import calendar
import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import InvalidQuery
from ..index.rows import date_of, offset_of, time_of

Moment = TypeVar("Moment", dt.date, dt.time, dt.datetime)

_DATE_TIME = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:\.(\d{1,6}))?([+-]\d{4})?")
# a '-' that parts two moments, not one that begins an offset from UTC at the end of one
_TIME = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?)?")


@dataclass(frozen=True, slots=True)
class Range(Generic[Moment]):
    """From the first moment to the last, both included; None is open."""

    first: Moment | None
    last: Moment | None


def date_range(text: str, keyword: str) -> Range[dt.date]:
    return _range(text.replace(" ", ""), keyword, _date_bounds, "-")


def time_range(text: str, keyword: str) -> Range[dt.time]:
    return _range(text.replace(" ", ""), keyword, _time_bounds, "-")


def date_time_range(text: str, keyword: str) -> Range[dt.datetime]:
    """DT has a '-' of its own in its offset from UTC: the range's is the one that leaves a DT on each side."""
    text = text.replace(" ", "")
    whole = _date_time_bounds(text)
    if whole is not None:
        return Range(*whole)
    for position, character in enumerate(text):
        if character != "-":
            continue
        first, last = text[:position], text[position + 1 :]
        bounds = [_date_time_bounds(part) if part else (None, None) for part in (first, last)]
        if (first or last) and None not in bounds:
            return Range(bounds[0][0], bounds[1][1])  # type: ignore[index]  # None was excluded above
    raise InvalidQuery(f"{keyword} needs a date and time, or a range of them, as in 20240101120000-20240131", keyword)


def _range(
    text: str, keyword: str, bounds: Callable[[str], tuple[Moment, Moment] | None], separator: str
) -> Range[Moment]:
    first, found, last = text.partition(separator)
    if not found:
        last = first
    if first or last:
        low = bounds(first) if first else None
        high = bounds(last) if last else None
        if (low or not first) and (high or not last):
            return Range(low[0] if low else None, high[1] if high else None)
    example = "20240101-20240131" if bounds is _date_bounds else "0930-1015"
    raise InvalidQuery(f"{keyword} needs a value or a range, as in {example}", keyword)


def _date_bounds(text: str) -> tuple[dt.date, dt.date] | None:
    date = date_of(text)
    return (date, date) if date else None


def _time_bounds(text: str) -> tuple[dt.time, dt.time] | None:
    """A time given to the minute means all of that minute."""
    match = _TIME.fullmatch(text)
    first = time_of(text)
    if match is None or first is None:
        return None
    _, minute, second, fraction = match.groups()
    last = first.replace(
        minute=first.minute if minute else 59,
        second=first.second if second else 59,
        microsecond=_last_microsecond(fraction),
    )
    return first, last


def _last_microsecond(fraction: str | None) -> int:
    return int(fraction.ljust(6, "0")) if fraction else 999999


def _date_time_bounds(text: str) -> tuple[dt.datetime, dt.datetime] | None:
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        first = dt.datetime(  # as it stands: a DT need not tell its offset
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), min(int(second or 0), 59)
        )
        if second:
            last = first.replace(microsecond=_last_microsecond(fraction))
            first = first.replace(microsecond=int((fraction or "0").ljust(6, "0")))
        elif minute:
            last = first.replace(second=59, microsecond=999999)
        elif hour:
            last = first.replace(minute=59, second=59, microsecond=999999)
        elif day:
            last = first.replace(hour=23, minute=59, second=59, microsecond=999999)
        elif month:
            last_day = calendar.monthrange(first.year, first.month)[1]
            last = first.replace(day=last_day, hour=23, minute=59, second=59, microsecond=999999)
        else:
            last = first.replace(month=12, day=31, hour=23, minute=59, second=59, microsecond=999999)
        shift = offset_of(offset) if offset else dt.timedelta()
        return first - shift, last - shift
    except (ValueError, OverflowError):
        return None
