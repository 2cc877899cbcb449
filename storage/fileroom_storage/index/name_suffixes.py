"""The words of all names by their endings: what a name contains is found without looking at every name."""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, Select, and_, bindparam, or_, select

from .prepared import insert_new_rows, prepared
from .tables import WORD_LENGTH, Tables

CUT = ""  # under this ending are the words that were cut: they may contain anything beyond
_AT_ONCE = (1, 2, 4, 8, 16)  # words of one statement; more are asked for in turn


def suffixes(word: str) -> Iterator[str]:
    """Every ending of a word as the index has it."""
    yield from (word[start:] for start in range(len(word)))
    if len(word) == WORD_LENGTH:
        yield CUT


def insert_suffixes(connection: Connection, tables: Tables, words: Iterable[str]) -> None:
    """Makes words findable by what they contain; most are known, and only looked for."""
    wanted = sorted(set(words))
    unknown = [
        word
        for start in range(0, len(wanted), _AT_ONCE[-1])
        for word in _unknown(connection, tables, wanted[start : start + _AT_ONCE[-1]])
    ]
    # in one order, so that writers of the same words wait for one another in turn
    rows = sorted((suffix, word) for word in unknown for suffix in suffixes(word))
    insert_new_rows(connection, tables, tables.name_suffix, [{"suffix": suffix, "word": word} for suffix, word in rows])


def _unknown(connection: Connection, tables: Tables, words: Sequence[str]) -> set[str]:
    """Those of the words that are not their own ending in the index."""
    number = next(size for size in _AT_ONCE if size >= len(words))
    statement = prepared(connection, tables, ("known words", number), lambda: _known_words(tables, number))
    page = [*words, *(words[-1] for _ in range(number - len(words)))]
    known = statement.rows(connection, {f"word_{index}": word for index, word in enumerate(page)})
    return set(words).difference(word for (word,) in known)


def _known_words(tables: Tables, number: int) -> Select[tuple[str]]:
    columns = tables.name_suffix.c
    words = [bindparam(f"word_{index}", type_=columns.word.type) for index in range(number)]
    return select(columns.word).where(or_(*(and_(columns.suffix == word, columns.word == word) for word in words)))
