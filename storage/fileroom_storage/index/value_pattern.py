"""Wild cards in one of the values of a column that holds several, parted by backslashes: a regular expression."""

import re
from functools import lru_cache

_ANY_TEXT = r"[^\\]*"  # no wild card reaches over a backslash


def value_pattern(value: str) -> str:
    """A regular expression that every database reads alike; it finds a value that `value` matches."""
    parts = {"*": _ANY_TEXT, "?": r"[^\\]"}
    body = "".join(parts.get(character) or _literal_pattern(character) for character in value)
    return rf"(^|\\){body}(\\|$)"


def sqlite_regexp(pattern: str, text: str | None) -> bool:
    """SQLite's REGEXP for a `value_pattern`; a hostile one takes no longer than others."""
    return text is not None and _compiled(pattern).search(text) is not None


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    first, *following = pattern.split(_ANY_TEXT)
    if not following:
        return re.compile(pattern)
    # What stands between two asterisks may be where it is found first; to look for it farther on as well helps nothing,
    # and would take exponential time, in which this process does nothing else.
    between = "".join(f"(?>{_ANY_TEXT}?{part})" for part in following[:-1] if part)
    return re.compile(first + between + _ANY_TEXT + following[-1])


def _literal_pattern(character: str) -> str:
    return character if character.isalnum() or ord(character) > 127 or character == " " else f"\\{character}"
