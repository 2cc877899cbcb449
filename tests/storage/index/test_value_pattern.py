"""Wild cards in columns of several values, as SQLite searches them."""

import random
import re
from fnmatch import translate

import pytest

from fileroom_storage.index.value_pattern import sqlite_regexp, value_pattern


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        ("PRI*", "ORIGINAL\\PRIMARY\\AXIAL", True),
        ("ORI*PRI*", "ORIGINAL\\PRIMARY", False),
        ("*.B*", "A.B", True),
        ("*.B*", "AXB", False),
        ("A*B*AB", "A1B2B3AB", True),
        ("A*B*AB", "AB", False),
        ("?X", "AX\\B", True),
        ("?X", "A\\X", False),
        ("**A**", "\\BAB\\", True),
        ("[^\\]*", "[^", False),
    ],
)
def test_values(value: str, text: str, expected: bool) -> None:
    assert sqlite_regexp(value_pattern(value), text) is expected
    assert not sqlite_regexp(value_pattern(value), None)


def test_as_any_other_matcher_of_wild_cards() -> None:
    generator = random.Random(1)
    for _ in range(5000):
        value = "".join(generator.choices("AB*?", k=generator.randrange(1, 8)))
        text = "\\".join("".join(generator.choices("AB", k=generator.randrange(7))) for _ in range(3))
        expected = any(re.fullmatch(translate(value), one) for one in text.split("\\"))
        assert sqlite_regexp(value_pattern(value), text) is expected, (value, text)


def test_a_hostile_pattern_is_answered() -> None:
    # with backtracking: not before the end of the world
    assert not sqlite_regexp(value_pattern("*A" * 100 + "*B"), "A" * 1000)
