"""A question to the index: the one form that C-FIND identifiers and QIDO-RS URLs are turned into."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..attributes import Level
from ..index.scope import Scope

# The value of a key as C-FIND writes it (PS3.4 C.2.2.2); for a sequence, those of its item's keys by keyword.
MatchValue = str | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Query:
    """What to find: entities of `level` whose attributes match, each answered with the attributes asked for.

    `matches` is by keyword: `*`, `?`, ranges with `-`, several values parted by backslashes, `""` for an empty value.
    `return_keys` are keywords of this level or above; None asks for all. Answers come in a stable order, so that
    `offset` and `limit` page through them. `fuzzy` matches person names by words and sound (PS3.4 C.2.2.2.1.1),
    `combined_datetime` reads a pair of date and time keys as one range (PS3.4 C.2.2.2.5.1). `scope` are the issuers
    whose patients are there for whoever asks; None is all.
    """

    level: Level
    matches: Mapping[str, MatchValue] = field(default_factory=dict)
    return_keys: frozenset[str] | None = None
    limit: int | None = None
    offset: int = 0
    fuzzy: bool = False
    combined_datetime: bool = False
    scope: Scope = None
