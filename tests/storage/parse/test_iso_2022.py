"""Escape sequences, one by one."""

import pytest

from fileroom_storage.parse.iso_2022 import Repertoire, decode_iso_2022


@pytest.mark.parametrize(
    ("encoded", "text"),
    [
        (b"\x1b(Babc", "abc"),
        (b"\x1b(Jabc", "abc"),
        (b"\x1b(I6E\x1b(B", "ｶﾅ"),
        (b"\x1b)I\xb6\xc5", "ｶﾅ"),
        (b"\x1b$B;3\x1b(B", "山"),
        (b"\x1b$@;3\x1b(J", "山"),
        (b"\x1b$(D0!\x1b(B", "丂"),
        (b"\x1b$)C\xb1\xe8", "김"),
        (b"\x1b$(C1h\x1b(B", "김"),
        (b"\x1b$)A\xcd\xf5", "王"),
        (b"\x1b$AMu\x1b(B", "王"),
        (b"\x1b-A\xe9", "é"),
        (b"\x1b-B\xb3", "ł"),
        (b"\x1b-F\xe1", "α"),
        (b"\x1b-H\xf9", "ש"),
        (b"\x1b-G\xe2", "ق"),
        (b"\x1b-L\xb4", "Д"),
        (b"\x1b-M\xfd", "ı"),
        (b"\x1b-T\xa1", "ก"),
        (b"\x1b-b\xa4", "€"),
        # two sets at once: Latin letters stay in G0
        (b"\x1b$)Cabc\xb1\xe8abc", "abc김abc"),
        (b"\x1b-A\xe9\x1b$B;3\xe9\x1b(B\xe9", "é山éé"),
    ],
)
def test_escape_sequences(encoded: bytes, text: str) -> None:
    assert decode_iso_2022(encoded, Repertoire(), "LO") == text


@pytest.mark.parametrize(
    ("vr", "delimiter"), [("PN", b"^"), ("PN", b"="), ("LO", b"\\"), ("LT", b"\r\n"), ("UT", b"\t")]
)
def test_delimiters_bring_the_first_sets_back(vr: str, delimiter: bytes) -> None:
    encoded = b"\x1b-L\xb4" + delimiter + b"\xe9"
    assert decode_iso_2022(encoded, Repertoire("latin_1"), vr) == "Д" + delimiter.decode() + "é"


@pytest.mark.parametrize(("vr", "text"), [("LO", b"^"), ("SH", b"="), ("LT", b"\\")])
def test_what_delimits_elsewhere_does_not(vr: str, text: bytes) -> None:
    encoded = b"\x1b-L\xb4" + text + b"\xb4"
    assert decode_iso_2022(encoded, Repertoire("latin_1"), vr) == "Д" + text.decode() + "Д"


@pytest.mark.parametrize("second", [b"\\", b"^", b"="])
def test_the_second_byte_of_two_is_no_delimiter(second: bytes) -> None:
    expected = bytes((0x3B | 0x80, second[0] | 0x80)).decode("euc_jp")
    assert decode_iso_2022(b"\x1b$B;" + second + b"\x1b(B", Repertoire(), "PN") == expected


@pytest.mark.parametrize("encoded", [b"\x1b", b"\x1b$", b"\x1bZ", b"\x1b$)Z", b"\x1b$B;", b"\x1b-H\xa1", b"\x1b(B\xe9"])
def test_what_cannot_be_decoded(encoded: bytes) -> None:
    with pytest.raises(UnicodeError):
        decode_iso_2022(encoded, Repertoire(), "LO")
