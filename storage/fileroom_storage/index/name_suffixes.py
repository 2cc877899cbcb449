"""The words of all names by their endings: what a name contains is found without looking at every name."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, literal, or_, select

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


def remove_unused(connection: Connection, tables: Tables, words: Iterable[str]) -> None:
    """Forgets those of the words that no name has any more, once the names that had them are gone."""
    gone = []
    for word in sorted(set(words)):
        # whoever takes in a name with this word, and has not committed, holds it
        held = prepared(connection, tables, "hold word", lambda: _known_words(tables, 1).with_for_update())
        held.rows(connection, {"word_0": word})
        used = prepared(connection, tables, "use of word", lambda: _use_of_word(tables))
        if not any(used.rows(connection, {"word_0": word})[0]):
            gone.append(word)
    suffix = tables.name_suffix.c
    statement = prepared(
        connection,
        tables,
        "forget word",
        lambda: tables.name_suffix.delete().where(
            suffix.suffix == bindparam("gone_suffix"), suffix.word == bindparam("gone_word")
        ),
    )
    statement.run_many(
        connection, [{"gone_suffix": ending, "gone_word": word} for word in gone for ending in suffixes(word)]
    )


def _use_of_word(tables: Tables) -> Select[Any]:
    """A column for each attribute that is a name: not NULL where some name has the word."""
    word = bindparam("word_0", type_=tables.name_suffix.c.word.type)
    return select(
        *(
            select(literal(1))
            .where(of_level.words.c.tag == attribute.tag, of_level.words.c.word == word)
            .limit(1)
            .scalar_subquery()
            .label(attribute.column)
            for level, of_level in tables.by_level.items()
            if of_level.words is not None
            for attribute in tables.registry.in_header(level)
            if attribute.vr == "PN"
        )
    )


def _unknown(connection: Connection, tables: Tables, words: Sequence[str]) -> set[str]:
    """Those of the words that are not their own ending in the index."""
    number = next(size for size in _AT_ONCE if size >= len(words))
    statement = prepared(connection, tables, ("known words", number), lambda: _held_words(tables, number))
    page = [*words, *(words[-1] for _ in range(number - len(words)))]
    known = statement.rows(connection, {f"word_{index}": word for index, word in enumerate(page)})
    return set(words).difference(word for (word,) in known)


def _held_words(tables: Tables, number: int) -> Select[tuple[str]]:
    """Nobody may forget a word that is known, until this transaction has its name."""
    return _known_words(tables, number).with_for_update(read=True, key_share=True)


def _known_words(tables: Tables, number: int) -> Select[tuple[str]]:
    columns = tables.name_suffix.c
    words = [bindparam(f"word_{index}", type_=columns.word.type) for index in range(number)]
    return select(columns.word).where(or_(*(and_(columns.suffix == word, columns.word == word) for word in words)))
