"""Specific Character Set: the standard's own examples, what people write instead, and what is wrong."""

from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import python_encoding

from fileroom_storage.parse.character_set import character_set_for, decode, encode
from fileroom_storage.parse.header import parse_header
from fileroom_storage.parse.part10 import read_file_meta
from tests.corpus import PYDICOM


@pytest.mark.parametrize(
    ("values", "encoded", "text"),
    [
        # PS3.5 H.3.1, H.3.2, I.2, J, K
        (
            ("", "ISO 2022 IR 87"),
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            ("ISO 2022 IR 13", "ISO 2022 IR 87"),
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        ),
        (
            ("", "ISO 2022 IR 149"),
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
        (("ISO_IR 192",), "Wang^XiaoDong=王^小东=".encode(), "Wang^XiaoDong=王^小东="),
        (("GB18030",), b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
        (("GBK",), b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
        (
            ("", "ISO 2022 IR 58"),
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
            "Zhang^XiaoDong=张^小东=",
        ),
        # the second byte of a kanji may look like any delimiter
        (("", "ISO 2022 IR 87"), b"=\x1b$B" + "圭".encode("iso2022_jp")[3:5] + b"\x1b(B", "=圭"),
        (("", "ISO 2022 IR 159"), b"\x1b$(D\x30\x21\x1b(B", "丂"),
        # GBK and Shift JIS have backslashes as second bytes
        (("GB18030",), "誠".encode("gb18030"), "誠"),
        (("ISO_IR 100",), b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
        (("ISO_IR 126",), b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
        (("ISO_IR 144",), b"\xbb\xee\xdace\xdc\xd1yp\xd3", "Люкceмбypг"),
        (("ISO_IR 138",), b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
        (("ISO_IR 127",), b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"),
        (("ISO_IR 166",), b"\xb9\xe9\xd3\xe3\xca", "น้ำใส"),
        (("ISO_IR 148",), b"\xddstanbul \xfd\xfe\xf0", "İstanbul ışğ"),
        (("ISO_IR 203",), b"\xa4", "€"),
        # code extensions with single bytes
        (("ISO 2022 IR 6", "ISO 2022 IR 100", "ISO 2022 IR 144"), b"\x1b-AJ\xe9r\xf4me^\x1b-L\xbb", "Jérôme^Л"),
        # PS3.5 6.1.2.5.3: behind a delimiter the first set is back
        (("ISO 2022 IR 100", "ISO 2022 IR 144"), b"\x1b-L\xbb^\xe9", "Л^é"),
    ],
)
def test_decode(values: tuple[str, ...], encoded: bytes, text: str) -> None:
    assert decode(encoded, values, "PN") == text


@pytest.mark.parametrize(
    ("value", "encoded", "text"),
    [
        *(
            (name, b"\xc4", "Ä")
            for name in ("ISO IR 100", "ISO-IR 100", "ISO_IR_100", "iso_ir 100", "ISO_IR100", "IR 100")
        ),
        *(
            (name, b"\xc4", "Ä")
            for name in ("ISO 8859-1", "ISO8859-1", "iso_8859_1", "latin1", "LATIN-1", " ISO_IR 100 ")
        ),
        *((name, b"\xc4", "Ä") for name in ("ISO 2022 IR 100", "ISO_2022_IR_100", "ISO 2022-100", "windows-1252")),
        *(
            (name, b"\xc3\x84", "Ä")
            for name in ("UTF-8", "utf8", "UTF 8", "ISO_IR 192", "ISO IR192", "ISO 2022 IR 192")
        ),
        *((name, b"A", "A") for name in ("ISO_IR 6", "ISO IR 6", "ISO_2022_IR_6", "ISO 2022 IR 6", "", "ASCII")),
        *(
            (name, b"\xcd\xf5", "王")
            for name in ("GB18030", "gbk", "GB 2312", "ISO 2022 GBK", "ISO 2022 58", "ISO_IR 58")
        ),
        ("cp1251", b"\xc4", "Д"),
        ("KOI8-R", b"\xc4", "д"),
        ("EUC-KR", b"\xc8\xab", "홍"),
        ("SHIFT_JIS", b"\x8e\x52", "山"),
        ("ISO_IR 87", b"\xbb\xb3", "山"),
    ],
)
def test_what_people_write_instead(value: str, encoded: bytes, text: str) -> None:
    assert decode(encoded, (value,)) == text


@pytest.mark.parametrize("value", ["KLINGON", "ISO_IR 999", "\\", "rot13", "unicode_escape", "idna", "ISO 8859-12"])
def test_what_nobody_knows_is_utf_8_else_latin_1(value: str) -> None:
    assert decode("Ä".encode(), (value,)) == "Ä"
    assert decode(b"\xc4", (value,)) == "Ä"


def test_the_declared_set_may_be_wrong() -> None:
    assert decode(b"M\xfcller", ("ISO_IR 192",)) == "Müller"
    assert decode("Müller".encode(), ()) == "Müller"
    # Korean without its escape sequence
    assert decode(b"\xc8\xab", ("", "ISO 2022 IR 149")) == "홍"


def test_escape_sequences_that_nobody_knows_stay() -> None:
    assert decode(b"A\x1b%zB", ("ISO_IR 100",)) == "A\x1b%zB"
    assert decode(b"A\x1b", ("",)) == "A\x1b"
    assert decode(b"\x1b$B;", ("", "ISO 2022 IR 87")) == "\x1b$B;"


@given(st.lists(st.sampled_from(sorted(python_encoding)), max_size=3), st.binary(max_size=30))
def test_no_bytes_fail(values: list[str], encoded: bytes) -> None:
    assert isinstance(decode(encoded, values, "PN"), str)


@given(st.lists(st.text(max_size=12), max_size=3), st.binary(min_size=1, max_size=30))
def test_no_name_fails(values: list[str], encoded: bytes) -> None:
    assert decode(encoded, values)


@pytest.mark.parametrize("path", sorted((PYDICOM / "charset_files").glob("chr[!S]*.dcm")), ids=lambda path: path.name)
def test_names_are_those_that_pydicom_reads(path: Path) -> None:
    content = path.read_bytes()
    meta = read_file_meta(content)
    name = parse_header(content, meta.transfer_syntax_uid, meta.data_set_offset).text("PatientName")
    assert name == str(pydicom.dcmread(path).PatientName)


def test_character_set_for() -> None:
    assert character_set_for([]) == "ISO_IR 100"
    assert character_set_for(["Müller", "Smith"]) == "ISO_IR 100"
    assert character_set_for(["Müller", "山田"]) == "ISO_IR 192"


@given(st.lists(st.text()))
def test_every_text_comes_back(texts: list[str]) -> None:
    character_set = character_set_for(texts)
    for text in texts:
        assert decode(encode(text, character_set), (character_set,)) == text or "\x1b" in text


@pytest.mark.parametrize(
    ("text", "value"), [("Διονυσιος", "ISO_IR 126"), ("王^小东", "GB18030"), ("山田", "UTF-8"), ("Smith", "")]
)
def test_encode(text: str, value: str) -> None:
    assert decode(encode(text, value), (value,)) == text


@pytest.mark.parametrize("value", ["ISO_IR 100", "", "ISO_IR 126", "KLINGON"])
def test_what_cannot_be_encoded(value: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        encode("山田", value)
