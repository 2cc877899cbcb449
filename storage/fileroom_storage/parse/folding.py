"""One spelling for texts that a person takes for the same: case, accents, widths and spaces do not count."""

import re
import unicodedata
from collections.abc import Iterator

import jellyfish

# letters that have no canonical decomposition but are read as these
_READ_AS = str.maketrans(
    {
        "ı": "i",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "ŧ": "t",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
    }
)
_SEPARATORS = r"\s^=\\,.;:/()\[\]\"_\-\u2010-\u2015\u30fb"
_WORD_SEPARATORS = re.compile(rf"[{_SEPARATORS}]+")
_PIECE = re.compile(rf"[^*?{_SEPARATORS}]+")
_APOSTROPHES = re.compile(r"['`\u00b4\u02bc\u2018\u2019]")


def fold(text: str) -> str:
    """The folded text; equal for texts that differ only in case, accents, character width or spaces."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    folded = "".join(character for character in folded if not _is_accent(character)).translate(_READ_AS)
    return " ".join(unicodedata.normalize("NFC", folded).split())


def fold_person_name(group: str) -> str:
    """One component group of a PN, folded component by component: `Müller^Jürgen^^` → `muller^jurgen`."""
    return "^".join(fold(component) for component in group.split("^")).rstrip("^ ")


def name_words(text: str) -> list[str]:
    """The folded words of a whole PN, all component groups together; each once, in order."""
    folded = _APOSTROPHES.sub("", fold(text))
    return list(dict.fromkeys(word for word in _WORD_SEPARATORS.split(folded) if word))


def word_pieces(folded: str) -> Iterator[tuple[str, str, str]]:
    """The pieces of words in a folded pattern with `*` and `?`, each with the character before and after it, if any."""
    pattern = _APOSTROPHES.sub("", folded)
    for piece in _PIECE.finditer(pattern):
        yield piece[0], pattern[: piece.start()][-1:], pattern[piece.end() :][:1]


def phonetic(word: str) -> str:
    """What a folded Latin word sounds like (Metaphone); a word of another script stands for itself."""
    if word.isascii() and word.isalpha():
        return jellyfish.metaphone(word) or word
    return word


def _is_accent(character: str) -> bool:
    # Marks that are part of the letter stay: kana voicing (class 8), viramas (9), vowels of Thai and Lao (100 to 129).
    # Accents of alphabets have classes from 200 on; Hebrew and Arabic points, which most writers leave out, 10 to 36.
    combining = unicodedata.combining(character)
    return combining >= 200 or 10 <= combining <= 36
