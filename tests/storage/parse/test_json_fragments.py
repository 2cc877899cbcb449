"""Headers written from remembered fragments are the headers that `dicom_json` makes."""

import random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom_storage.errors import UnusableObject
from fileroom_storage.parse import json_fragments
from fileroom_storage.parse.header import Header, parse_header
from fileroom_storage.parse.json_fragments import Additions, JsonFragments, name_utf_8
from fileroom_storage.parse.likeness import Models
from tests.conformance.every_file import every_file
from tests.made import encoded, made
from tests.storage.parse.encoded import explicit
from tests.storage.parse.encoded import implicit as implicit_element

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
ADDED: Additions = {0x00083002: {"vr": "UI", "Value": ["1.2.3"]}}


def expected(header: Header, url: str, additions: Additions = ADDED) -> Any:
    elements = header.dicom_json(bulk_data_uri=url.__add__)
    name_utf_8(elements)
    elements |= {f"{tag:08X}": element for tag, element in additions.items()}
    return orjson.dumps(elements, option=orjson.OPT_SORT_KEYS)


def test_every_file_twice() -> None:
    """One writer sees them all: whatever came before must not matter."""
    fragments, written = JsonFragments(), 0
    for turn in range(2):
        for number, file in enumerate(every_file()):
            try:
                header = parse_header(file.data_set, file.transfer_syntax_uid)
            except UnusableObject:
                continue
            url = f"http://pacs/{turn}/{number}/"
            assert fragments.write(header, url.__add__, ADDED) == expected(header, url), file.name
            written += 1
    assert written > 300


def test_every_file_and_what_is_nearly_the_same() -> None:
    """One set of models and one writer see them all: what is as it was before is not looked at, and is right."""
    fragments, models, chance, alike = JsonFragments(), Models(), random.Random(4), 0
    for number, file in enumerate(every_file()):
        for turn in range(7):
            data_set = bytearray(file.data_set)
            for _ in range(turn // 2 if data_set else 0):
                data_set[chance.randrange(min(len(data_set), 8_000))] = chance.choice(b"\x00\x0158AZ\\\xff")
            url = f"http://pacs/{turn}/{number}/"
            try:
                header = parse_header(bytes(data_set), file.transfer_syntax_uid, models=models)
                right = expected(header, url)
            except UnusableObject:
                continue
            alike += header.likeness is not None
            assert fragments.write(header, url.__add__, ADDED) == right, file.name
    assert alike > 300


_ITEM = st.fixed_dictionaries(
    {},
    optional={
        "CodeMeaning": st.sampled_from(["Thorax", "Schädel", "頭", ""]),
        "SpecificCharacterSet": st.sampled_from(["ISO_IR 100", "ISO_IR 192"]),
        "SmallestImagePixelValue": st.integers(0, 32_767),
        "EncapsulatedDocument": st.binary(max_size=40).map(lambda value: value + bytes(len(value) % 2)),
    },
)


@pytest.mark.filterwarnings("ignore::UserWarning")  # text that a character set does not hold, as devices write it
@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.fixed_dictionaries(
                {
                    "PixelRepresentation": st.sampled_from([0, 1]),
                    "SpecificCharacterSet": st.sampled_from(["ISO_IR 100", "ISO_IR 192", "ISO_IR 13", None]),
                },
                optional={
                    "PatientName": st.sampled_from(["Doe^Jane", "Müller^Jürgen", "Yamada^Tarou=山田^太郎"]),
                    "StudyDescription": st.sampled_from(["~", "\\", "x" * 300, "Überblick", "a\\b"]),
                    "SmallestImagePixelValue": st.sampled_from([0, 255]),
                    "PixelSpacing": st.sampled_from(["1\\1", "0.5\\0.50"]),
                    "ProcedureCodeSequence": st.lists(_ITEM, max_size=3),
                    "IconImageSequence": st.lists(_ITEM, min_size=1, max_size=1),
                    "EncapsulatedDocument": st.sampled_from([b"", b"ab", bytes(2000)]),
                },
            ),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_came_before(objects: list[tuple[dict[str, Any], bool]]) -> None:
    fragments, models = JsonFragments(), Models()
    # each of them twice before they are looked at: what comes then is like one of them, or of their layout
    for turn in range(3):
        for number, (attributes, implicit) in enumerate(objects):
            pixel_data = {"BitsAllocated": 16, "PixelData": bytes(2_000)}
            data_set = encoded(made(InstanceNumber=turn, **attributes, **pixel_data), implicit=implicit)
            data_set += explicit(0xFFFCFFFC, "OB", b"\0\0") if number % 2 and not implicit else b""
            header = parse_header(data_set, IMPLICIT if implicit else EXPLICIT, models=models)
            url = f"http://pacs/{turn}/{number}/"
            additions = ADDED if turn else {**ADDED, 0x00180050: {"vr": "DS", "Value": [number]}}
            assert fragments.write(header, url.__add__, additions) == expected(header, url, additions)


def test_private_creators_decide_what_their_elements_mean() -> None:
    """PS3.5 7.8.1: in implicit VR, the same bytes are a text of one vendor and a number of another."""
    fragments, models = JsonFragments(), Models()
    for turn in range(6):
        creator = b"GEMS_IDEN_01" if turn % 3 else b"ACME PRIVATE"
        data_set = (
            implicit_element(0x00080060, b"CT")
            + implicit_element(0x00090010, creator)
            + implicit_element(0x00091001, b"1234")
            + implicit_element(0x7FE00010, bytes(2_000))
        )
        header = parse_header(data_set, IMPLICIT, models=models)
        assert fragments.write(header, str, ADDED) == expected(header, "")
    assert header.likeness is not None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_fragments, "_FRAGMENTS", 50)
    fragments = JsonFragments()
    for number in range(100):
        header = parse_header(encoded(made(InstanceNumber=number, PatientID=f"P{number}")), EXPLICIT)
        assert fragments.write(header, str, ADDED) == expected(header, "")
        assert len(fragments._known) <= 50


def test_the_address_of_an_icon_is_that_of_its_own_instance() -> None:
    """PS3.5 A.4: encapsulated pixels have no length of their own, and so an address, however short they are."""
    pixels = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 2 + b"\xfe\xff\xdd\xe0\0\0\0\0"
    item = b"\xfe\xff\x00\xe0" + len(pixels).to_bytes(4, "little") + pixels
    icon = b"\x88\x00\x00\x02SQ\0\0" + len(item).to_bytes(4, "little") + item
    header = parse_header(encoded(made()) + icon, EXPLICIT)
    fragments = JsonFragments()
    for number in (1, 2):
        url = f"http://pacs/{number}/"
        written = fragments.write(header, url.__add__, ADDED)
        assert written == expected(header, url)
        assert url.encode() in written
