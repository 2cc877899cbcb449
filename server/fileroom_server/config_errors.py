"""What is wrong with a configuration: every problem at once, each with its place and the key that was perhaps meant."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

# What to write instead, by pydantic's types of errors; a name in braces is of the error's context.
_WORDINGS = {
    "missing": "is missing",
    "bool_parsing": "write true or false",
    "bool_type": "write true or false",
    "int_from_float": "write a whole number",
    "int_parsing": "write a whole number",
    "int_parsing_size": "write a smaller number",
    "int_type": "write a whole number",
    "float_parsing": "write a number",
    "float_type": "write a number",
    "finite_number": "write a number",
    "greater_than": "write a number above {gt}",
    "greater_than_equal": "write a number of at least {ge}",
    "less_than_equal": "write a number of at most {le}",
    "literal_error": "write one of {expected}",
    "enum": "write one of {expected}",
    "string_type": "write text, in quotes",
    "path_type": "write a path, in quotes",
    "model_type": "is a section of keys, not a value",
    "tuple_type": "write a list, in brackets",
}
_ANY_OTHER = "cannot be used; conf/fileroom.toml says what to write"


@dataclass(frozen=True)
class Problem:
    """One thing to repair; `message` never holds a value, which may be a secret."""

    source: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key}: {self.message}" if self.key else f"{self.source}: {self.message}"


class ConfigurationError(Exception):
    """A configuration that nothing may start with."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def wording(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """What to tell about an error of pydantic's; never the value, which may be a secret."""
    if kind == "value_error":
        return message.removeprefix("Value error, ")  # our own text
    return _WORDINGS.get(kind, _ANY_OTHER).format_map(context)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The question to add to a message about an unknown word; empty where nothing is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
