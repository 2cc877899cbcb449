"""Encoding of answers, held against pydicom's reading of them."""

from io import BytesIO
from typing import Any

import pytest
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from fileroom_storage.parse.data_set_encoding import encode_data_set
from fileroom_storage.parse.header import parse_header

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
ELEMENTS: dict[str, dict[str, Any]] = {
    "00080018": {"vr": "UI", "Value": ["1.2.3"]},
    "00080020": {"vr": "DA", "Value": ["20240229"]},
    "00080061": {"vr": "CS", "Value": ["CT", "SEG"]},
    "00081030": {"vr": "LO"},
    "00081032": {
        "vr": "SQ",
        "Value": [{"00080100": {"vr": "SH", "Value": ["A1"]}, "00080104": {"vr": "LO", "Value": ["Höhe"]}}, {}],
    },
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Röntgen^W", "Ideographic": "倫^琴"}]},
    "00180050": {"vr": "DS", "Value": [0.1, 1e-7, 2.0, 123456.123456789012]},
    "00200013": {"vr": "IS", "Value": [-4]},
    "00280009": {"vr": "AT", "Value": ["00181063"]},
    "00280010": {"vr": "US", "Value": [512]},
    "00280103": {"vr": "US", "Value": [1]},
    "00280106": {"vr": "SS", "Value": [-1024]},
    "00189087": {"vr": "FD", "Value": [1000.5]},
}


@pytest.mark.parametrize("transfer_syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_every_transfer_syntax(transfer_syntax: str) -> None:
    encoded = encode_data_set(ELEMENTS, transfer_syntax, ())
    assert len(encoded) % 2 == 0
    read = parse_header(encoded, transfer_syntax).dicom_json()
    assert read.pop("00080005")["Value"] == ["ISO_IR 192"]
    # PS3.5 6.2: a DS has at most 16 characters
    assert read.pop("00180050")["Value"] == [0.1, 1e-7, 2, 123456.123456789]
    expected = {tag: element for tag, element in ELEMENTS.items() if tag != "00180050"}
    assert read == expected


@pytest.mark.parametrize(
    ("requested", "name", "answered"),
    [
        ((), "Doe^Jane", None),
        (("ISO_IR 100",), "Doe^Jane", "ISO_IR 100"),
        ((), "Röntgen^W", "ISO_IR 192"),
        (("ISO_IR 6",), "Röntgen^W", "ISO_IR 192"),
        (("ISO_IR 100",), "Röntgen^W", "ISO_IR 100"),
        (("ISO_IR 100",), "Διονυσιος", "ISO_IR 192"),
        (("ISO_IR 126",), "Διονυσιος", "ISO_IR 126"),
        (("ISO_IR 144",), "Люкceмбypг", "ISO_IR 144"),
        (("ISO_IR 127",), "قباني^لنزار", "ISO_IR 127"),
        (("ISO_IR 138",), "שרון^דבורה", "ISO_IR 138"),
        (("ISO_IR 166",), "นามสกุล", "ISO_IR 166"),
        (("GB18030",), "Wang^XiaoDong=王^小东=", "GB18030"),
        (("", "ISO 2022 IR 87"), "Yamada^Tarou=山田^太郎=やまだ^たろう", ["", "ISO 2022 IR 87"]),
        (("", "ISO 2022 IR 149"), "Hong^Gildong=洪^吉洞=홍^길동", ["", "ISO 2022 IR 149"]),
        (("", "ISO 2022 IR 100"), "Röntgen^W", "ISO_IR 192"),
        (("ISO 2022 IR 100", "ISO 2022 IR 87"), "Röntgen^W=山田", ["ISO 2022 IR 100", "ISO 2022 IR 87"]),
        (("ISO 2022 IR 87",), "Yamada=山田", "ISO_IR 192"),
        (("", "ISO 2022 IR 87"), "Διονυσιος=홍", "ISO_IR 192"),
        (("ISO_IR 999",), "Röntgen", "ISO_IR 192"),
        (("nonsense", "ISO 2022 IR 87"), "山田", "ISO_IR 192"),
    ],
)
def test_specific_character_set(requested: tuple[str, ...], name: str, answered: str | list[str] | None) -> None:
    groups = dict(zip(("Alphabetic", "Ideographic", "Phonetic"), name.split("="), strict=False))
    encoded = encode_data_set({"00100010": {"vr": "PN", "Value": [groups]}}, ExplicitVRLittleEndian, requested)
    read = read_dataset(BytesIO(encoded), is_implicit_VR=False, is_little_endian=True)
    assert read.get("SpecificCharacterSet") == answered
    assert str(read.PatientName) == name.rstrip("=")


def test_values_that_their_vr_has_no_room_for_are_left_empty() -> None:
    elements: dict[str, dict[str, Any]] = {
        "00081030": {"vr": "LO", "Value": ["x" * 70_000]},
        "00280010": {"vr": "US", "Value": [70_000]},
    }
    read = parse_header(encode_data_set(elements, ExplicitVRLittleEndian), ExplicitVRLittleEndian).dicom_json()
    assert read == {"00081030": {"vr": "LO"}, "00280010": {"vr": "US"}}
