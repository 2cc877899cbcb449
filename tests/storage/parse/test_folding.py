"""Folding: what a person takes for the same is the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom_storage.parse.folding import fold, fold_person_name, name_words, phonetic


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Müller", "muller"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("  Jean   Luc\t", "jean luc"),
        ("Ångström", "angstrom"),
        ("Sørensen Łódź Đorđe", "sorensen lodz dorde"),
        ("Æsop Œuvre Þór", "aesop oeuvre thor"),
        ("İSTANBUL ılık", "istanbul ilik"),
        ("ＡＢＣ　１２３", "abc 123"),  # full width
        ("ﾔﾏﾀﾞ", "ヤマダ"),  # half-width kana
        ("やまだ", "やまだ"),
        ("ガギグ", "ガギグ"),
        ("カキク", "カキク"),
        ("Διονύσιος", "διονυσιοσ"),
        ("Люкceмбypг", "люкceмбypг"),
        ("Ёлкин", "елкин"),
        ("שָׁלוֹם", "שלום"),
        ("قَبَّانِي", "قباني"),
        ("김희중", "김희중"),
        ("王^小東", "王^小東"),
        ("น้ำใส", "น้ําใส"),  # compatibility only: the vowels and tones are the word
        ("", ""),
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text())
def test_fold_is_idempotent(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_case_does_not_count(text: str) -> None:
    assert fold(text.upper().lower()) == fold(text.upper())


@pytest.mark.parametrize(
    ("group", "folded"),
    [
        ("Müller^Jürgen^^", "muller^jurgen"),
        ("Müller^Jürgen^^Dr.^", "muller^jurgen^^dr."),
        ("Müller ^ Jürgen", "muller^jurgen"),
        ("^^^", ""),
        ("", ""),
        ("ヤマダ^タロウ", "ヤマダ^タロウ"),
    ],
)
def test_fold_person_name(group: str, folded: str) -> None:
    assert fold_person_name(group) == folded


@given(st.text(alphabet="aÉß ^ガ"))
def test_fold_person_name_is_idempotent(group: str) -> None:
    assert fold_person_name(fold_person_name(group)) == fold_person_name(group)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Müller-Lüdenscheidt^Karl Heinz^^Dr.", ["muller", "ludenscheidt", "karl", "heinz", "dr"]),
        ("O'Brien^Séan", ["obrien", "sean"]),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", ["yamada", "tarou", "山田", "太郎", "やまだ", "たろう"]),
        ("Smith^Smith", ["smith"]),
        ("ジョン・スミス", ["ジョン", "スミス"]),
        ("^=^", []),
    ],
)
def test_name_words(name: str, words: list[str]) -> None:
    assert name_words(name) == words


def test_words_that_sound_alike() -> None:
    assert phonetic("smith") == phonetic("smyth")
    assert phonetic("meier") == phonetic("maier")
    assert phonetic("smith") != phonetic("jones")


def test_words_of_other_scripts_stand_for_themselves() -> None:
    assert phonetic("山田") == "山田"
    assert phonetic("123") == "123"


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1))
def test_every_word_has_a_sound(word: str) -> None:
    assert phonetic(word)
