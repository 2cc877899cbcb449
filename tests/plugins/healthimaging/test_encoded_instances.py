"""Values of a document → elements: what goes in comes out, in whatever form it comes, and as pydicom has it."""

import random
from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom_healthimaging import encoded_instances as module
from fileroom_storage.attributes import Level, standard_registry
from fileroom_storage.index.entity_rows import EntityRows
from fileroom_storage.parse.header import parse_header
from tests.made import CT_IMAGE_STORAGE, uid
from tests.plugins.healthimaging.by_pydicom import encoded_by_pydicom
from tests.plugins.healthimaging.documents import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    INSTANCE,
    SERIES,
    STUDY,
    Json,
    document,
    encoded,
    header_of,
    instance,
    json_of,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of values that are not as they should be

UTF_8 = {"vr": "CS", "Value": ["ISO_IR 192"]}


def test_an_instance_has_all_of_its_levels() -> None:
    study, series = {"StudyDate": "20240102"}, {"SeriesNumber": "1 "}
    [one] = encoded(document(instance(InstanceNumber="7 ", PixelData=None), study=study, series=series))
    assert (one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid) == (STUDY, SERIES, INSTANCE)
    assert (one.sop_class_uid, one.transfer_syntax_uid) == (CT_IMAGE_STORAGE, "1.2.840.10008.1.2.4.202")
    assert len(one.frames) == 1
    assert header_of(one).dicom_json() == {
        "00080005": UTF_8,
        "00080016": {"vr": "UI", "Value": [CT_IMAGE_STORAGE]},
        "00080018": {"vr": "UI", "Value": [INSTANCE]},
        "00080020": {"vr": "DA", "Value": ["20240102"]},
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
        "00100020": {"vr": "LO", "Value": ["P1"]},
        "0020000D": {"vr": "UI", "Value": [STUDY]},
        "0020000E": {"vr": "UI", "Value": [SERIES]},
        "00200011": {"vr": "IS", "Value": [1]},
        "00200013": {"vr": "IS", "Value": [7]},
    }


def test_uids_are_those_it_is_found_by() -> None:
    bare = document(instance())
    series = bare["Study"]["Series"][SERIES]
    del series["DICOM"]["SeriesInstanceUID"]
    series["Instances"][INSTANCE]["DICOM"] = {"MediaStorageSOPClassUID": CT_IMAGE_STORAGE}
    [one] = encoded(bare)
    assert one.sop_class_uid == CT_IMAGE_STORAGE
    header = header_of(one)
    uids = [header.text(keyword) for keyword in ("SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")]
    assert uids == [SERIES, INSTANCE, CT_IMAGE_STORAGE]


@pytest.mark.parametrize(
    ("said", "frames", "expected"),
    [
        ("1.2.840.10008.1.2.4.50", 1, "1.2.840.10008.1.2.4.50"),
        (None, 1, "1.2.840.10008.1.2.4.202"),
        (None, 0, "1.2.840.10008.1.2.1"),
        ("1.2.840.10008.1.2.4.202", 0, "1.2.840.10008.1.2.1"),
        ("1.2.840.10008.1.2.1", 1, "1.2.840.10008.1.2.1"),
        ("1.2.840.10008.1.2", 0, "1.2.840.10008.1.2.1"),
    ],
)
def test_the_transfer_syntax_of_frames(said: str | None, frames: int, expected: str) -> None:
    one = instance()
    one["StoredTransferSyntaxUID"], one["ImageFrames"] = said, one["ImageFrames"] * frames
    assert encoded(document(one))[0].transfer_syntax_uid == expected


@pytest.mark.parametrize(
    ("key", "value", "element"),
    [
        ("SliceThickness", "0.25", {"vr": "DS", "Value": [0.25]}),
        ("KVP", "120 ", {"vr": "DS", "Value": [120]}),
        ("KVP", 120.5, {"vr": "DS", "Value": [120.5]}),
        ("KVP", 0.1 + 0.2, {"vr": "DS", "Value": [0.3]}),  # in 16 characters
        ("InstanceNumber", 5.0, {"vr": "IS", "Value": [5]}),
        ("WindowCenter", ["0 "], {"vr": "DS", "Value": [0]}),
        ("ImagePositionPatient", ["0.000000", None, "-2.6 "], {"vr": "DS", "Value": [0, None, -2.6]}),
        ("AcquisitionNumber", None, {"vr": "IS"}),
        ("ImageType", ["DERIVED", None, "AXIAL"], {"vr": "CS", "Value": ["DERIVED", None, "AXIAL"]}),
        ("AcquisitionTime", "131344.000", {"vr": "TM", "Value": ["131344.000"]}),
        ("AcquisitionTime", "131344.123456", {"vr": "TM", "Value": ["131344.123456"]}),
        ("ImageComments", "a\\b", {"vr": "LT", "Value": ["a\\b"]}),
        ("Rows", 640, {"vr": "US", "Value": [640]}),
        ("Rows", "640", {"vr": "US", "Value": [640]}),
        ("Rows", [640.0], {"vr": "US", "Value": [640]}),
        ("RealWorldValueSlope", 0.1, {"vr": "FD", "Value": [0.1]}),
        ("RealWorldValueSlope", "NaN", {"vr": "FD", "Value": ["NaN"]}),
        ("FrameIncrementPointer", ["00181063"], {"vr": "AT", "Value": ["00181063"]}),
        ("FrameIncrementPointer", "(0018,1063)", {"vr": "AT", "Value": ["00181063"]}),
        ("FrameIncrementPointer", "FrameTime", {"vr": "AT", "Value": ["00181063"]}),
        ("FrameIncrementPointer", 0x00181063, {"vr": "AT", "Value": ["00181063"]}),
        ("OtherPatientNames", ["A^B=Ä", None, "C"], {"vr": "PN", "Value": [
            {"Alphabetic": "A^B", "Ideographic": "Ä"}, None, {"Alphabetic": "C"}]}),
        ("SourceImageSequence", [], {"vr": "SQ"}),
        ("SourceImageSequence", None, {"vr": "SQ"}),
        ("SourceImageSequence", [{}, None], {"vr": "SQ", "Value": [{}, {}]}),
        ("ICCProfile", b64encode(b"\1\2\3").decode(), {"vr": "OB", "InlineBinary": "AQIDAA=="}),
        ("ICCProfile", None, {"vr": "OB"}),
        ("EncapsulatedDocument", "", {"vr": "OB"}),
        ("SmallestImagePixelValue", -5, {"vr": "SS", "Value": [-5]}),
        ("SmallestImagePixelValue", 40_000, {"vr": "US", "Value": [40_000]}),
        ("RedPaletteColorLookupTableData", "AQI=", {"vr": "OW", "InlineBinary": "AQI="}),
        ("GrayLookupTableData", "AQI=", {"vr": "OW", "InlineBinary": "AQI="}),
        ("GrayLookupTableData", [1, 2], {"vr": "US", "Value": [1, 2]}),
        ("00080060", "MR", {"vr": "CS", "Value": ["MR"]}),
    ],
)  # fmt: skip
def test_a_value(key: str, value: Any, element: Json) -> None:
    (name,) = json_of(**{key: value}).keys() - json_of().keys() or {"00080060"}
    assert json_of(**{key: value})[name] == element


def test_private_elements_have_their_vr_beside_them() -> None:
    vrs = {"00191001": "DS", "00191002": "SQ", "0019100a": "UN", "00191003": "US"}
    found = json_of(
        vrs,
        **{
            "00190010": "ACME 1.0",
            "00191001": "97",
            "00191002": [{"00190010": "ACME 1.0", "00191003": [1, 2]}],
            "0019100a": "AQI=",
            "00191004": [{"Modality": "CT"}],
        },
    )
    creator = {"vr": "LO", "Value": ["ACME 1.0"]}
    assert {tag: found[tag] for tag in found if tag.startswith("0019")} == {
        "00190010": creator,
        "00191001": {"vr": "DS", "Value": [97]},
        "00191002": {"vr": "SQ", "Value": [{"00190010": creator, "00191003": {"vr": "US", "Value": [1, 2]}}]},
        "00191004": {"vr": "SQ", "Value": [{"00080060": {"vr": "CS", "Value": ["CT"]}}]},
        "0019100A": {"vr": "UN", "InlineBinary": "AQI="},
    }


def test_pixel_representation_decides_what_the_dictionary_leaves_open() -> None:
    nested = [{"LUTDescriptor": [4096, -1024, 16], "LUTData": [1, 2]}, {"PixelRepresentation": 0, "LUTDescriptor": [1]}]
    json = document(
        instance(uid(1, 1, 1), PixelRepresentation=1, SmallestImagePixelValue=5, ModalityLUTSequence=nested),
        instance(uid(1, 1, 2), PixelRepresentation=0, SmallestImagePixelValue=5, ModalityLUTSequence=nested[1:]),
        series={"PixelPaddingValue": 7},
    )
    first, second = (header_of(one).dicom_json() for one in encoded(json))
    assert [found["00280106"]["vr"] for found in (first, second)] == ["SS", "US"]
    assert [found["00280120"]["vr"] for found in (first, second)] == ["SS", "US"]
    items = first["00283000"]["Value"]
    assert items[0]["00283002"] == {"vr": "SS", "Value": [4096, -1024, 16]}
    assert items[0]["00283006"] == {"vr": "US", "Value": [1, 2]}
    assert items[1]["00283002"]["vr"] == "US"


@pytest.mark.parametrize(("bits", "vr"), [(8, "OB"), (16, "OW")])
def test_the_vr_of_a_waveform(bits: int, vr: str) -> None:
    item = {"WaveformBitsAllocated": bits, "WaveformData": "AQI="}
    [found] = json_of(WaveformSequence=[item])["54000100"]["Value"]
    assert found["54001010"] == {"vr": vr, "InlineBinary": "AQI="}


def test_what_is_of_no_data_set_is_not_in_it() -> None:
    icon = [{"Rows": 1, "PixelData": None}]
    found = json_of(
        FileMetaInformationGroupLength=218,
        FileMetaInformationVersion="AAE=",
        TransferSyntaxUID="1.2.840.10008.1.2.4.51",
        SpecificCharacterSet=["ISO_IR 100"],
        PixelData=None,
        ExtendedOffsetTable="AAAAAAAAAAA=",
        IconImageSequence=[*icon, {"SpecificCharacterSet": "ISO_IR 144", "Modality": "CT"}],
        **{"00080000": 100},
    )
    assert found.pop("00880200")["Value"] == [
        {"00280010": {"vr": "US", "Value": [1]}},
        {"00080060": {"vr": "CS", "Value": ["CT"]}},
    ]
    assert found == json_of()


@pytest.mark.parametrize(
    ("attributes", "left_out"),
    [
        ({"NotYetKnown": "x"}, "NotYetKnown"),
        ({"Not a keyword": "x"}, "?"),
        ({"00191001": "x"}, "00191001"),
        ({"Rows": "many"}, "Rows"),
        ({"Rows": 65_536}, "Rows"),
        ({"Rows": {"a": 1}}, "Rows"),
        ({"Rows": 1.5}, "Rows"),
        ({"PatientAge": True}, "PatientAge"),
        ({"PatientAge": {"a": 1}}, "PatientAge"),
        ({"InstanceNumber": 1.5}, "InstanceNumber"),
        ({"ICCProfile": "no base64"}, "ICCProfile"),
        ({"ICCProfile": 5}, "ICCProfile"),
        ({"FrameIncrementPointer": "no tag"}, "FrameIncrementPointer"),
        ({"RecommendedDisplayFrameRateInFloat": 1e300}, "RecommendedDisplayFrameRateInFloat"),
        ({"SourceImageSequence": {"Rows": 1}}, "SourceImageSequence"),
        ({"SourceImageSequence": ["x"]}, "SourceImageSequence"),
        ({"SourceImageSequence": [{}, {"Rows": "x", "Columns": 5}]}, "SourceImageSequence/1/Rows"),
    ],
    ids=str,
)
def test_what_cannot_be_encoded_is_left_out_and_told(attributes: Json, left_out: str) -> None:
    # twice: the second is encoded from the first
    first, second = encoded(document(instance(uid(1), **attributes), instance(uid(2), **attributes)))
    assert first.left_out == second.left_out == (left_out,)
    assert header_of(second).text("SOPInstanceUID") == uid(2)
    [shared] = encoded(document(study=attributes))
    assert shared.left_out == (left_out,)


@pytest.mark.parametrize("order", [1, -1])
def test_a_keyword_holds_against_its_tag(order: int) -> None:
    both = dict([("Modality", "MR"), ("00080060", "CT")][::order])
    assert json_of(**both)["00080060"]["Value"] == ["MR"]


def test_a_text_that_is_too_long_for_its_vr_is_kept() -> None:
    text = "x" * 70_000
    assert json_of(ImageComments=text)["00204000"] == {"vr": "LT", "Value": [text]}


_SCRIPTS = st.sampled_from(
    [
        "Müller^Jürgen",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "Люкceмбypг",
        "קרלו^ריצ'ארד",
        "ไทย",
        "김^희중",
        "é𝄞",
        "",
        "A ",
    ]
)
_TEXT = st.one_of(
    _SCRIPTS, st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\"), max_size=12)
)
_PADDED = st.builds(
    lambda text, pad: text + pad,
    st.sampled_from(["0", "-1.5", "1e-5", "+3", "120", "1.000000"]),
    st.sampled_from(["", " ", "  "]),
)
_WHOLE_PADDED = st.builds(
    lambda number, pad: f"{number}{pad}", st.integers(-(2**31), 2**31 - 1), st.sampled_from(["", " "])
)
_TIMES = st.sampled_from(["1010", "101112", "101112.1", "101112.123456", "101112.000", "235959.999999"])
_UIDS = st.integers(1, 10**20).map(lambda number: f"1.2.{number}")
_EVEN_BYTES = st.binary(max_size=4).map(lambda value: b64encode(value * 2).decode())
_BYTES = st.binary(max_size=9).map(lambda value: b64encode(value).decode())


def _maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


def _several(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return _maybe(st.lists(_maybe(values), min_size=1, max_size=4))


_PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "PatientComments": _maybe(_TEXT),
    "StudyDescription": _maybe(_TEXT),
    "SeriesDescription": _maybe(_TEXT),
    "OtherPatientNames": _several(_SCRIPTS),
    "OperatorsName": _several(_SCRIPTS),
    "SoftwareVersions": _several(_TEXT),
    "ImageType": _several(st.sampled_from(["ORIGINAL", "PRIMARY", "AXIAL"])),
    "SliceThickness": _maybe(_PADDED),
    "ImagePositionPatient": _several(_PADDED),
    "InstanceNumber": _maybe(_WHOLE_PADDED),
    "AcquisitionTime": _maybe(_TIMES),
    "ContentTime": _maybe(_TIMES),
    "Rows": _maybe(st.integers(0, 65535)),
    "RealWorldValueSlope": _maybe(st.floats(allow_nan=False, allow_infinity=False)),
    "FailedSOPInstanceUIDList": _several(_UIDS).filter(lambda values: not values or None not in values),
    "ICCProfile": _maybe(_BYTES),
    "00191001": _maybe(_EVEN_BYTES),  # pydicom leaves UN of odd length as it is
    "00191002": _several(_TEXT),
    "SelectorFDValue": _maybe(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3)),
    "SelectorSLValue": _maybe(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=3)),
    "SelectorSVValue": _maybe(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3)),
    "SelectorUVValue": _maybe(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3)),
}
_VRS = {"00190010": "LO", "00191001": "UN", "00191002": "LO"}
_DATA_SETS: st.SearchStrategy[Json] = st.recursive(
    st.fixed_dictionaries({}, optional=_PLAIN),
    lambda inner: st.fixed_dictionaries(
        {},
        optional=_PLAIN
        | {"SourceImageSequence": st.lists(inner, max_size=2), "ContentSequence": _maybe(st.lists(inner, max_size=2))},
    ),
    max_leaves=6,
)


def _by_pydicom(json: Json) -> list[bytes]:
    [series] = json["Study"]["Series"].values()
    above = {**json["Patient"]["DICOM"], **json["Study"]["DICOM"], **series["DICOM"]}
    return [encoded_by_pydicom({**above, **one["DICOM"]}, one["DICOMVRs"]) for one in series["Instances"].values()]


@settings(deadline=None, max_examples=80)
@given(st.lists(_DATA_SETS, min_size=1, max_size=3), _DATA_SETS, _DATA_SETS, _DATA_SETS)
def test_whatever_is_said_as_pydicom_encodes_it(
    instances: list[Json], patient: Json, study: Json, series: Json
) -> None:
    ones = [instance(uid(1, 1, number), _VRS, **one) for number, one in enumerate(instances, 1)]
    json = document(*ones, patient=patient, study=study, series=series)
    found = encoded(json)
    assert [one.left_out for one in found] == [()] * len(found)
    theirs = _by_pydicom(json)
    assert [header_of(one).dicom_json() for one in found] == [
        parse_header(data_set, EXPLICIT_VR_LITTLE_ENDIAN).dicom_json() for data_set in theirs
    ]
    if b' "' not in orjson.dumps(json):  # pydicom takes padding away and puts its own there
        assert [one.data_set for one in found] == theirs


@settings(deadline=None, max_examples=100)
@given(_DATA_SETS.filter(bool))
def test_rows_are_those_of_pydicoms_data_set(attributes: Json) -> None:
    """And of what nothing came before."""
    json = document(instance(vrs=_VRS, **attributes))
    [one], [theirs] = encoded(json), _by_pydicom(json)
    rows_of = EntityRows(standard_registry())
    header = header_of(one)
    assert rows_of(header) == rows_of(parse_header(theirs, EXPLICIT_VR_LITTLE_ENDIAN))
    assert rows_of(header)[Level.PATIENT].columns["patient_id"] == header.text("PatientID")


def test_what_came_before_changes_nothing() -> None:
    """Series whose slices alternate in VRs, signs and values: each is encoded as it is alone."""
    chance = random.Random(5)
    pool: list[Any] = [1, 1.0, True, "1", None, [1], ["1", "2 "], 0.5]
    ones = []
    for number in range(1, 120):
        attributes = {
            key: chance.choice(pool) for key in ("Rows", "KVP", "ImageType", "SmallestImagePixelValue", "00191001")
        }
        attributes["PixelRepresentation"] = chance.choice([0, 1, None])
        attributes["SourceImageSequence"] = [{"Rows": chance.choice(pool), "00191001": chance.choice(pool)}]
        vrs = {"00191001": chance.choice(["US", "LO", "FD", "XX", "DS", "SS"])}
        ones.append(instance(uid(1, 1, number), vrs, **attributes))
    series = {"PixelPaddingValue": 3, "00191002": "x"}
    together = encoded(document(*ones, series=series))
    assert together == [encoded(document(one, series=series))[0] for one in ones]
    assert len({one.data_set for one in together}) == len(ones)


def test_no_more_than_some_layouts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    original = module._Alike.__init__

    def counted(self: Any, *arguments: Any) -> None:
        made.append(self)
        original(self, *arguments)

    monkeypatch.setattr(module._Alike, "__init__", counted)
    alternating = [instance(uid(1, 1, number), {"00191001": "DS" if number % 2 else "IS"}) for number in range(1, 9)]
    encoded(document(*alternating))
    assert len(made) == 2
