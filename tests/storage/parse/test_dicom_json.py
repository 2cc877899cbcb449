"""DICOM JSON: pydicom's `to_json_dict` is the oracle; where we differ on purpose, it is said here."""

import base64
import struct
from pathlib import Path
from typing import Any

import orjson
import pydicom
import pytest

from fileroom_storage.errors import InstanceNotFound, InvalidQuery, UnusableObject, UnusableReason
from fileroom_storage.parse.header import Header, parse_header
from fileroom_storage.parse.part10 import read_file_meta
from tests.corpus import PYDICOM, corpus_files, corpus_studies, parameters, pydicom_files
from tests.storage.parse.bulk_data import bulk_data_paths
from tests.storage.parse.encoded import (
    BIG_ENDIAN,
    DEFLATED,
    IMPLICIT,
    LITTLE_ENDIAN,
    explicit,
    fragments,
    implicit,
    item,
    open_item,
    open_sequence,
)

PIXEL_DATA_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
JsonDataSet = dict[str, dict[str, Any]]
UNTOLD: dict[str, Any] = {}  # stands for an element of which pydicom says nothing, or nothing right

# What cannot be parsed, and why. dcmdump refuses the last two as well.
REFUSED = {
    "MR_truncated.dcm": UnusableReason.TRUNCATED,
    "rtplan_truncated.dcm": UnusableReason.TRUNCATED,
    "3gb-bulk-data-truncated": UnusableReason.TRUNCATED,
    "GH179B.dcm": UnusableReason.TRUNCATED,
    "GH626.dcm": UnusableReason.TRUNCATED,
}
# What pydicom reads less of than there is, or not at all
MORE_THAN_PYDICOM = {
    "GH1339.dcm",  # no Sequence Delimitation Item behind the pixel data
    "emri_small_jpeg_2k_lossless_too_short.dcm",  # as before
    "GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm",  # a big endian sequence in a little endian data set
    "no_preamble_dicm_in_data",  # "DICM" at byte 128, but inside a value
    "GH179A.dcm",  # a blank VR with a length of 16 bits
}
# Elements that pydicom reads differently
DIFFERENT = {
    # pydicom leaves the escape sequences of ISO 2022 IR 58 in the text
    "chrGB2312.dcm": {"00100010"},
    # text where the dictionary has a sequence: pydicom makes it a sequence of one empty item, here it is UN
    "Tag-0040-A170-VR-CS.dcm": {"0040A170"},
    # items that no sequence holds: here they are left out
    "GH364.dcm": {"FFFEE000"},
    "FreezePattern.dcm": {"FFFEE000"},
    # text of a declared character set in a CS: pydicom reads it as Latin-1
    "GH1301.dcm": {"00100040"},
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of values that are not as they should be
@pytest.mark.parametrize("path", parameters([*pydicom_files(), *corpus_files(), *corpus_studies()]))
def test_against_pydicom(path: Path) -> None:
    content = path.read_bytes()
    try:
        meta = read_file_meta(content)
    except UnusableObject as error:
        assert error.reason is UnusableReason.NOT_DICOM  # noqa: PT017 -- test_part10 says which files these are
        return
    if path.name in REFUSED:
        with pytest.raises(UnusableObject) as caught:
            parse_header(content, meta.transfer_syntax_uid, meta.data_set_offset)
        assert caught.value.reason is REFUSED[path.name]
        return
    header = parse_header(memoryview(content), meta.transfer_syntax_uid, meta.data_set_offset)
    ours = header.dicom_json()
    assert list(ours) == sorted(ours)
    orjson.dumps(ours)
    try:
        data_set = pydicom.dcmread(path, force=True)
        theirs = from_pydicom(data_set)
    except OSError:
        assert path.name in MORE_THAN_PYDICOM
        return
    different = DIFFERENT.get(path.name, set())
    if path.name in MORE_THAN_PYDICOM:
        assert len(ours) > len(theirs) or "31410008" in theirs
        return
    assert without(ours, different) == without(expected(theirs, ours), different)


def from_pydicom(data_set: pydicom.Dataset) -> JsonDataSet:
    """pydicom's DICOM JSON, but with the values that PS3.18 asks for or that we chose."""
    result: JsonDataSet = {}
    big_endian = data_set.is_little_endian is False if isinstance(data_set, pydicom.FileDataset) else False
    for tag in list(data_set.keys()):
        if tag.element == 0 or tag.group in (0x0000, 0x0002):
            continue  # group lengths; what is no part of the data set
        if isinstance(data_set, pydicom.FileDataset) and tag in PIXEL_DATA_TAGS:
            continue
        if big_endian and tag.is_private:
            result[f"{tag:08X}"] = UNTOLD  # what became UN is little endian (PS3.5 6.2.2); pydicom swaps it
            continue
        result[f"{tag:08X}"] = element_from_pydicom(data_set, tag, big_endian)
    return result


def element_from_pydicom(data_set: pydicom.Dataset, tag: int, big_endian: bool) -> dict[str, Any]:
    try:
        element = data_set[tag]
        if element.VR == "SQ":
            items = [from_pydicom(value) for value in element.value]
            # PS3.18 F.2.5: empty means no Value
            return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        # the threshold is never reached
        json = element.to_json_dict(None, 0)
    except (ValueError, NotImplementedError):
        # a number that is none: pydicom fails, here the text is kept
        return UNTOLD
    json["vr"] = str(json["vr"])
    if "Value" in json:
        json["Value"] = [normal(value) for value in json["Value"]]
    if big_endian and json["vr"] == "OW" and "InlineBinary" in json:
        # PS3.18 F.2.7: little endian
        words = base64.b64decode(json["InlineBinary"])
        swapped = struct.pack(f"<{len(words) // 2}H", *struct.unpack(f">{len(words) // 2}H", words))
        json["InlineBinary"] = base64.b64encode(swapped).decode()
    return json


def normal(value: Any) -> Any:
    """Without padding (PS3.5 6.2), and null for what is empty (PS3.18 F.2.5)."""
    if isinstance(value, dict):
        return {name: group.strip(" \0") for name, group in value.items() if group.strip(" \0")} or None
    if isinstance(value, str):
        return str(value).strip(" \0") or None
    return value


def expected(theirs: JsonDataSet, ours: JsonDataSet) -> JsonDataSet:
    """What pydicom says, and what we say where it says nothing."""
    result: JsonDataSet = {}
    for tag, element in theirs.items():
        our_element = ours.get(tag, {})
        if element is UNTOLD:
            result[tag] = our_element
        elif element["vr"] == "SQ" and "Value" in element:
            our_items: list[JsonDataSet] = our_element.get("Value", [])
            our_items = [*our_items, *({} for _ in element["Value"])]
            values = [expected(value, our_item) for value, our_item in zip(element["Value"], our_items, strict=False)]
            result[tag] = {"vr": "SQ", "Value": values}
        else:
            result[tag] = element
    return result


def without(data_set: JsonDataSet, tags: set[str]) -> JsonDataSet:
    """Without elements of these tags, and without padding before paragraphs, which pydicom's side has lost."""
    result: JsonDataSet = {}
    for tag, element in data_set.items():
        if tag in tags:
            continue
        values = element.get("Value")
        if element.get("vr") == "SQ" and values:
            result[tag] = {"vr": "SQ", "Value": [without(value, tags) for value in values]}
        elif element.get("vr") in ("LT", "ST", "UT", "UR") and values:
            result[tag] = {**element, "Value": [normal(value) for value in values]}
        else:
            result[tag] = element
    return result


def json_of(data_set: bytes, transfer_syntax_uid: str = LITTLE_ENDIAN) -> JsonDataSet:
    return parse_header(data_set, transfer_syntax_uid).dicom_json()


def header_of(path: Path) -> Header:
    content = path.read_bytes()
    meta = read_file_meta(content)
    return parse_header(content, meta.transfer_syntax_uid, meta.data_set_offset)


def test_elements_are_ordered_by_tag() -> None:
    data_set = explicit(0x00100020, "LO", b"B ") + explicit(0x00080060, "CS", b"CT")
    assert list(json_of(data_set)) == ["00080060", "00100020"]


def test_only_the_elements_asked_for() -> None:
    header = parse_header(explicit(0x00080060, "CS", b"CT") + explicit(0x00100020, "LO", b"B "), LITTLE_ENDIAN)
    assert header.dicom_json({0x00100020, 0x00100010}) == {"00100020": {"vr": "LO", "Value": ["B"]}}


def test_group_lengths_are_left_out() -> None:
    assert json_of(explicit(0x00080000, "UL", b"\x0a\0\0\0") + explicit(0x00080060, "CS", b"CT")).keys() == {"00080060"}


@pytest.mark.parametrize("tag", [0x7FE00008, 0x7FE00009, 0x7FE00010])
def test_pixel_data_is_bulk_data_or_left_out(tag: int) -> None:
    header = parse_header(explicit(tag, "OW", b"\1\2"), LITTLE_ENDIAN)
    assert header.dicom_json() == {}
    assert header.dicom_json(bulk_data_uri=lambda path: f"/bulk/{path}") == {
        f"{tag:08X}": {"vr": "OW", "BulkDataURI": f"/bulk/{tag:08X}"}
    }


def test_encapsulated_pixel_data_is_bulk_data() -> None:
    header = parse_header(fragments(b"\xff\xd8\xff\xd9"), "1.2.840.10008.1.2.4.50")
    assert header.dicom_json() == {}
    assert header.dicom_json(bulk_data_uri=str) == {"7FE00010": {"vr": "OB", "BulkDataURI": "7FE00010"}}


def test_binary_values_above_the_threshold_are_bulk_data() -> None:
    header = parse_header(explicit(0x00420011, "OB", b"\1\2\3\4") + explicit(0x00420013, "UN", b"\1\2"), LITTLE_ENDIAN)
    inline = {"vr": "OB", "InlineBinary": "AQIDBA=="}
    assert header.dicom_json()["00420011"] == inline
    assert header.dicom_json(bulk_data_uri=str, bulk_data_threshold=4)["00420011"] == inline
    above = header.dicom_json(bulk_data_uri=str, bulk_data_threshold=3)
    assert above["00420011"] == {"vr": "OB", "BulkDataURI": "00420011"}


def test_the_path_of_nested_bulk_data() -> None:
    inner = explicit(0x54001010, "OW", b"\1\2\3\4")
    header = parse_header(open_sequence(0x54000100, open_item(b""), item(inner)), LITTLE_ENDIAN)
    paths = bulk_data_paths(header)
    assert paths == ["54000100/1/54001010"]
    assert bytes(header.bulk_data(paths[0])) == b"\1\2\3\4"


def test_bulk_data_of_every_path_that_was_given() -> None:
    header = header_of(PYDICOM / "test_files" / "examples_overlay.dcm")
    paths = bulk_data_paths(header)
    assert {"7FE00010", "60003000", "00880200/0/7FE00010"} <= set(paths)
    for path in paths:
        assert len(header.bulk_data(path)) > 0


@pytest.mark.parametrize("path", ["7FE00010", "54000100/0/54001010", "54000100/0/54000100/0/54001010"])
def test_bulk_data_that_is_not_there(path: str) -> None:
    header = parse_header(open_sequence(0x54000100, item(b"")), LITTLE_ENDIAN)
    with pytest.raises(InstanceNotFound):
        header.bulk_data(path)


@pytest.mark.parametrize(
    "path", ["", "PixelData", "7fe0001", "54000100/0", "54000100/-1/54001010", "54000100/x/54001010"]
)
def test_what_is_no_path(path: str) -> None:
    header = parse_header(open_sequence(0x54000100, item(b"")), LITTLE_ENDIAN)
    with pytest.raises(InvalidQuery):
        header.bulk_data(path)


@pytest.mark.parametrize(("vr", "word"), [("OW", 2), ("OF", 4), ("OL", 4), ("OD", 8), ("OV", 8), ("OB", 1)])
def test_big_endian_binary_values_come_little_endian(vr: str, word: int) -> None:
    value = bytes(range(16))
    expected = b"".join(value[start : start + word][::-1] for start in range(0, 16, word))
    header = parse_header(explicit(0x00091002, vr, value, order=">"), BIG_ENDIAN)
    assert base64.b64decode(header.dicom_json()["00091002"]["InlineBinary"]) == expected
    assert header.bulk_data("00091002") == expected


def test_what_became_un_is_little_endian_everywhere() -> None:
    data_set = explicit(0x00280010, "UN", b"\2\0", order=">")
    assert json_of(data_set, BIG_ENDIAN) == {"00280010": {"vr": "US", "Value": [2]}}


@pytest.mark.parametrize("transfer_syntax_uid", [LITTLE_ENDIAN, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_empty_elements_have_no_value(transfer_syntax_uid: str) -> None:
    sequence = explicit(0x00081110, "SQ", b"")
    assert json_of(sequence) == {"00081110": {"vr": "SQ"}}
    assert json_of(explicit(0x00080060, "CS", b"  ")) == {"00080060": {"vr": "CS"}}
    assert json_of(explicit(0x00420011, "OB", b"")) == {"00420011": {"vr": "OB"}}
    assert json_of(implicit(0x00081110, b""), IMPLICIT) == {"00081110": {"vr": "SQ"}}


def test_an_empty_item_is_an_empty_object() -> None:
    assert json_of(open_sequence(0x00081110, item(b""), open_item(b""))) == {
        "00081110": {"vr": "SQ", "Value": [{}, {}]}
    }


def test_an_item_has_the_character_set_around_it_or_its_own() -> None:
    name = explicit(0x00100010, "PN", b"\xc4\xe9")
    own = explicit(0x00080005, "CS", b"ISO_IR 144") + name
    data_set = explicit(0x00080005, "CS", b"ISO_IR 101") + open_sequence(0x00081110, item(name), item(own))
    names = [value["00100010"]["Value"][0]["Alphabetic"] for value in json_of(data_set)["00081110"]["Value"]]
    assert names == ["Äé", "Фщ"]


@pytest.mark.parametrize(("representation", "vr", "value"), [(0, "US", 65535), (1, "SS", -1)])
def test_pixel_representation_decides_between_us_and_ss(representation: int, vr: str, value: int) -> None:
    nested = implicit(0x00283002, struct.pack("<3h", -1, -1, 16))
    sequence = implicit(0x00283000, item(nested))
    data_set = implicit(0x00280103, struct.pack("<H", representation)) + implicit(0x00280106, b"\xff\xff") + sequence
    json = json_of(data_set, IMPLICIT)
    assert json["00280106"] == {"vr": vr, "Value": [value]}
    assert json["00283000"]["Value"][0]["00283002"]["Value"][:2] == [value, value]


def test_private_elements_are_known_by_their_creator() -> None:
    creator = implicit(0x00090010, b"GEMS_IDEN_01")
    assert json_of(creator + implicit(0x00091002, b"CT01"), IMPLICIT) == {
        "00090010": {"vr": "LO", "Value": ["GEMS_IDEN_01"]},
        "00091002": {"vr": "SH", "Value": ["CT01"]},
    }
    assert json_of(implicit(0x00091002, b"CT01"), IMPLICIT)["00091002"]["vr"] == "UN"


def test_unknown_elements_of_undefined_length_are_sequences() -> None:
    data_set = open_sequence(0x00091002, item(implicit(0x00080060, b"CT")), vr="UN")
    assert json_of(data_set) == {"00091002": {"vr": "SQ", "Value": [{"00080060": {"vr": "CS", "Value": ["CT"]}}]}}
