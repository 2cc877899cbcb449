"""Person names: any component group, without regard to case and accents, by a piece of a name or by its sound."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, FromClause, Select, Table, and_, literal, or_, select

from ..attributes import Attribute
from ..errors import InvalidQuery
from ..index.name_suffixes import CUT
from ..index.tables import WORD_LENGTH, EntityTables, Tables
from ..parse.folding import fold_person_name, name_words, phonetic, word_pieces
from .match import Condition, Match, any_row, owner_column, table_of
from .ordered_join import OrderedJoin
from .query import Query
from .wild_card import begins_with, has_wildcard, like, like_only, literal_prefix

_PERSON_NAME_COMPONENTS = 5  # PS3.5 6.2
_MOST_CANDIDATES = 32  # SELECTs in a UNION; a query for more names is answered without the index of names
_PIECE_LENGTH = WORD_LENGTH // 2  # of a piece of a word that is looked for
_PREFIX_WEIGHT = 3  # bytes at the start of a name that are worth more than anything later in it


@dataclass(frozen=True, slots=True)
class _Search:
    """A component group of the query: the rows it needs, and selects that find the names' owners."""

    condition: Condition
    candidates: tuple[Select[Any], ...]
    exact: bool
    weight: int  # how much of a name it tells: bytes, because ideographs tell more than letters


class NameMatcher:
    """For the person name keys of one query."""

    def __init__(self, tables: Tables, query: Query) -> None:
        self._tables = tables
        self._query = query

    def match(self, attribute: Attribute, names: Sequence[str]) -> Match | None:
        """One of the names matches, with all its component groups."""
        key = owner_column(self._tables, attribute.level, self._query.level)
        alternatives: list[Condition] = []
        found: list[Select[Any]] = []
        findable = exact = True
        for name in names:
            groups = [group for group in name.split("=") if group.strip(" ^*")]
            if not groups:
                return None
            search = self._fuzzy if self._query.fuzzy else self._wild_card
            searches = [search(attribute, key, group) for group in groups]
            alternatives.append(and_(*(one.condition for one in searches)))
            best = max(searches, key=lambda one: (bool(one.candidates), one.weight))
            found += best.candidates
            findable = findable and bool(best.candidates)
            exact = exact and best.exact and len(searches) == 1
        if not findable or len(found) > _MOST_CANDIDATES:
            found = []
        return Match(attribute.level, table_of(key), or_(*alternatives), candidates=tuple(found), exact=exact)

    def _wild_card(self, attribute: Attribute, key: Column[Any], group: str) -> _Search:
        """A component group matches any group of the name: which script it is in does not tell where it stands."""
        names = _required(self._entity_tables(attribute).names)
        owner = names.c[f"{attribute.level.entity}_pk"]
        patterns = [fold_person_name(group)]
        while patterns[-1].endswith("^*") and len(patterns) <= _PERSON_NAME_COMPONENTS:
            # trailing components may be left out (PS3.5 6.2.1.2), so DOE^* is DOE too
            patterns.append(patterns[-1][:-2].rstrip("^"))
        patterns = [pattern for pattern in patterns if pattern]
        here = [like_only(names.c.folded, one) if has_wildcard(one) else names.c.folded == one for one in patterns]
        of_owner = select(literal(1)).where(owner == key, names.c.tag == attribute.tag, or_(*here))
        candidates: list[Select[Any]] = []
        exact = True
        weights = []
        for pattern in patterns:
            chosen = select(owner.label("pk")).where(names.c.tag == attribute.tag)
            prefix = literal_prefix(pattern)
            piece = max(_pieces(pattern), key=lambda one: one.weight, default=None)
            if not has_wildcard(pattern):
                candidates.append(chosen.where(names.c.folded == pattern))
                weights.append(len(pattern.encode()))
            elif prefix and (piece is None or _weight(prefix) >= min(_PREFIX_WEIGHT, piece.weight)):
                candidates.append(chosen.where(like(names.c.folded, pattern)))
                weights.append(len(prefix.encode()))
            elif piece is not None:
                candidates += self._owners_of_words(attribute, piece)
                weights.append(piece.weight)
                exact = False
            else:
                return _Search(any_row(of_owner, table_of(key)), (), False, 0)
        return _Search(any_row(of_owner, table_of(key)), tuple(candidates), exact, min(weights, default=0))

    def _owners_of_words(self, attribute: Attribute, piece: "_Piece") -> list[Select[Any]]:
        """Those who have a word with this piece in it."""
        words, suffix = _required(self._entity_tables(attribute).words), self._tables.name_suffix
        owner = words.c[f"{attribute.level.entity}_pk"].label("pk")
        if piece.begins_word:
            word = words.c.word
            chosen = word == piece.text if piece.ends_word else begins_with(word, piece.text)
            return [select(owner).where(words.c.tag == attribute.tag, chosen)]
        of_tag = and_(words.c.tag == attribute.tag, words.c.word == suffix.c.word)
        joined: FromClause = OrderedJoin(suffix, words, of_tag)
        ending = suffix.c.suffix
        chosen = ending == piece.text if piece.ends_word else begins_with(ending, piece.text)
        return [select(owner).select_from(joined).where(one) for one in (chosen, ending == CUT)]

    def _fuzzy(self, attribute: Attribute, key: Column[Any], group: str) -> _Search:
        """Every word of the query begins a word of the name, or sounds like one."""
        words = _required(self._entity_tables(attribute).words)
        owner = words.c[f"{attribute.level.entity}_pk"]
        asked = name_words(group.replace("*", " ").replace("?", " "))
        if not asked:
            return self._wild_card(attribute, key, group)
        conditions = []
        for word in asked:
            alike = or_(like_only(words.c.word, f"{word}*"), words.c.phonetic == phonetic(word))
            of_owner = select(literal(1)).where(owner == key, words.c.tag == attribute.tag, alike)
            conditions.append(any_row(of_owner, table_of(key)))
        longest = max(asked, key=lambda word: len(word.encode()))
        of_tag = select(owner.label("pk")).where(words.c.tag == attribute.tag)
        alike_by_index = (begins_with(words.c.word, longest), words.c.phonetic == phonetic(longest))
        candidates = tuple(of_tag.where(one) for one in alike_by_index)
        return _Search(and_(*conditions), candidates, len(asked) == 1, len(longest.encode()))

    def _entity_tables(self, attribute: Attribute) -> EntityTables:
        return self._tables.by_level[attribute.level]


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a pattern says of one word of a name."""

    text: str
    begins_word: bool
    ends_word: bool

    @property
    def weight(self) -> int:
        return _weight(self.text) + self.begins_word + self.ends_word


def _pieces(pattern: str) -> Iterable[_Piece]:
    for text, before, after in word_pieces(pattern):
        # a name that is cut may end within a word, and a word that is cut is none: only a separator ends a word
        ends = bool(after) and not has_wildcard(after) and len(text) <= _PIECE_LENGTH
        yield _Piece(text[:_PIECE_LENGTH], not has_wildcard(before), ends)


def _weight(text: str) -> int:
    return len(text.encode())


def _required(table: Table | None) -> Table:
    if table is None:
        raise InvalidQuery("no person name is kept at this level")
    return table
