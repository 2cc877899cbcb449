"""STOW-RS of metadata that is wrong, JSON and XML: what is refused and why, and what is stored all the same."""

import gzip
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from fileroom_storage.parse import json_reading
from fileroom_storage.parse.native_model import native_model
from fileroom_storage.storage import Storage
from tests.dicomweb.metadata_messages import (
    JSON,
    PIXELS,
    STUDIES,
    XML,
    Elements,
    back,
    body,
    failures,
    located,
    metadata,
    object_count,
    send,
    send_xml,
)
from tests.dicomweb.objects import json_of
from tests.dicomweb.test_stow import stored


def deep(levels: int) -> dict[str, Any]:
    element: dict[str, Any] = {"vr": "SQ"}
    for _ in range(levels - 1):
        element = {"vr": "SQ", "Value": [{"00081140": element}]}
    return element


@pytest.mark.parametrize(
    ("tag", "element", "reason"),
    [
        ("00280010", {"vr": "US", "Value": ["512"]}, "(0028,0010): US needs whole numbers"),
        ("00280010", {"vr": "US", "Value": [70000]}, "(0028,0010): US needs numbers from 0 to 65535"),
        ("00280010", {"vr": "US", "Value": [-1]}, "(0028,0010): US needs numbers from 0 to 65535"),
        ("00280010", {"vr": "US", "Value": [1.5]}, "(0028,0010): US needs whole numbers"),
        ("00280010", {"vr": "US", "Value": [True]}, "(0028,0010): US needs whole numbers"),
        ("00280010", {"vr": "US", "Value": [None]}, "(0028,0010): US needs whole numbers"),
        ("00280010", {"vr": "US", "Value": 8}, "(0028,0010): Value needs an array"),
        (
            "00280010",
            {"vr": "US", "Value": [8], "InlineBinary": "AAA="},
            "(0028,0010): Value, InlineBinary, BulkDataURI: give one",
        ),
        ("00280010", {"vr": "XX", "Value": [8]}, "(0028,0010): the vr is none of PS3.5 6.2"),
        ("00280010", {"vr": ["US"], "Value": [8]}, "(0028,0010): the vr is none of PS3.5 6.2"),
        ("00280010", {"Value": [8]}, "(0028,0010): no vr is given"),
        ("00280010", [8], "(0028,0010): an attribute needs an object with its vr"),
        ("00280010", {"vr": "US", "Values": [8]}, "(0028,0010): only vr, Value, InlineBinary, BulkDataURI are known"),
        ("00280010", {"vr": "US", "InlineBinary": "CAA="}, "(0028,0010): US has no InlineBinary; give Value"),
        ("00200013", {"vr": "IS", "Value": [1.5]}, "(0020,0013): IS needs whole numbers"),
        (
            "00200013",
            {"vr": "IS", "Value": [3000000000]},
            "(0020,0013): IS needs numbers from -2147483648 to 2147483647",
        ),
        ("00180050", {"vr": "DS", "Value": [{}]}, "(0018,0050): DS needs decimal numbers"),
        ("00180050", {"vr": "FL", "Value": [1e300]}, "(0018,0050): FL a number is too large"),
        ("00180050", {"vr": "FD", "Value": ["1.5"]}, "(0018,0050): FD needs numbers"),
        ("00081030", {"vr": "LO", "Value": [5]}, "(0008,1030): LO needs texts"),
        (
            "00081030",
            {"vr": "LO", "Value": ["a\\b"]},
            "(0008,1030): LO a backslash parts values; give an array of values",
        ),
        ("00104000", {"vr": "LT", "Value": ["a", "b"]}, "(0010,4000): LT needs one text"),
        (
            "00100010",
            {"vr": "PN", "Value": [{"Family": "x"}]},
            "(0010,0010): PN a name is an object of Alphabetic, Ideographic, Phonetic",
        ),
        (
            "00100010",
            {"vr": "PN", "Value": [{"Alphabetic": "a=b"}]},
            "(0010,0010): PN an equals sign parts component groups; name them",
        ),
        ("00280009", {"vr": "AT", "Value": ["0018"]}, "(0028,0009): AT needs tags of 8 hexadecimal digits"),
        ("7FE00010", {"vr": "OW", "InlineBinary": "?"}, "(7FE0,0010): InlineBinary is no base64"),
        ("7FE00010", {"vr": "OW", "InlineBinary": ["AA=="]}, "(7FE0,0010): InlineBinary needs one text in base64"),
        ("7FE00010", {"vr": "OW", "Value": [1]}, "(7FE0,0010): OW has no Value; give InlineBinary"),
        ("7FE00010", {"vr": "OW", "BulkDataURI": 5}, "(7FE0,0010): BulkDataURI needs a text"),
        ("00081140", {"vr": "SQ", "Value": [5]}, "(0008,1140): SQ needs data sets"),
        ("00081140", {"vr": "SQ", "BulkDataURI": "x"}, "(0008,1140): SQ has no BulkDataURI; give Value"),
        (
            "00081140",
            {"vr": "SQ", "Value": [{"0028001": {}}]},
            "an attribute's name is no tag: 8 hexadecimal digits, in capitals",
        ),
        (
            "00081140",
            {"vr": "SQ", "Value": [{"00020010": {"vr": "UI"}}]},
            "(0002,0010): this group is not of data sets",
        ),
        ("00000002", {"vr": "UI"}, "(0000,0002): this group is not of data sets"),
        ("FFFEE000", {"vr": "UN"}, "(FFFE,E000): this group is not of data sets"),
        ("PatientName", {"vr": "PN"}, "an attribute's name is no tag: 8 hexadecimal digits, in capitals"),
        ("00081140", deep(81), "sequences are nested more than 80 levels deep"),
        ("00081140", deep(3000), "sequences are nested more than 80 levels deep"),
        ("00080018", None, "the metadata has no SOPInstanceUID; without it, it cannot be"),
        ("0020000D", None, "the object has no StudyInstanceUID"),
        ("00080018", {"vr": "UI", "Value": ["../../x"]}, "SOPInstanceUID has characters that no UID has (PS3.5 9.1)"),
        ("00080018", {"vr": "UI", "Value": ["1.2.ä"]}, "the metadata has no SOPInstanceUID"),
    ],
)
def test_wrong_metadata_fails_alone(client: FlaskClient, storage: Storage, tag: str, element: Any, reason: str) -> None:
    wrong, good = metadata(**{tag: element}), metadata()
    if element is not None:
        wrong[tag] = element
    content = f"[{dumps(wrong)},{json.dumps(good)}]".encode()
    answer = send(client, content, located(PIXELS))
    assert answer.status_code == 202, answer.text
    assert len(failures(answer)) == 1
    assert failures(answer)[0].startswith(reason[:64].partition(";")[0])
    assert stored(storage, good["00080018"]["Value"][0])
    assert object_count(storage) == 1


def dumps(value: Any) -> str:
    """Without recursion where there is none: Python's own writer has no 3000 levels."""
    if value.get("00081140", {}) == {"vr": "SQ"} or "00081140" not in value:
        return json.dumps(value)
    levels, element = [], value["00081140"]
    while (items := element.get("Value")) and isinstance(items[0], dict) and set(items[0]) == {"00081140"}:
        levels.append(1)
        element = items[0]["00081140"]
    inner = '{"vr":"SQ","Value":[{"00081140":' * len(levels) + json.dumps(element) + "}]}" * len(levels)
    return json.dumps({**value, "00081140": "HERE"}).replace('"HERE"', inner)


def test_the_deepest_that_is_kept(client: FlaskClient, storage: Storage) -> None:
    image = metadata(**{"00081140": deep(80)})
    answer = send(client, dumps_all([image]), located(PIXELS))
    assert answer.status_code == 200, answer.text
    ds, levels = back(storage, image), 1
    while ds.ReferencedImageSequence:
        ds, levels = ds.ReferencedImageSequence[0], levels + 1
    assert levels == 80


def dumps_all(images: list[Elements]) -> bytes:
    return f"[{','.join(map(dumps, images))}]".encode()


@pytest.mark.parametrize(
    "content", [b"", b"no JSON", b'"text"', b"5", b"null", b"{", b"[{]", b"\xff\xfe", b"<xml/>", b"[" * 10_000, b"[]"]
)
def test_no_json_at_all(client: FlaskClient, storage: Storage, content: bytes) -> None:
    for answer in (
        send(client, content, located(PIXELS)),
        client.post(STUDIES, data=content, content_type=JSON),
    ):
        assert answer.status_code == 400, answer.text
        assert answer.content_type == "application/problem+json"
    assert object_count(storage) == 0


def test_json_that_breaks_off_keeps_what_was_whole(client: FlaskClient, storage: Storage) -> None:
    image = metadata()
    answer = send(client, json.dumps([image])[:-1].encode() + b',{"0008', located(PIXELS))
    assert answer.status_code == 400
    assert json_of(answer)["stored"] == stored(storage, *image["00080018"]["Value"]) == image["00080018"]["Value"]


def test_an_attribute_given_twice(client: FlaskClient) -> None:
    content = json.dumps(metadata())[:-1] + ', "00280010": {"vr": "US", "Value": [9]}}'
    assert failures(send(client, content.encode(), located(PIXELS))) == ["an attribute is there twice in one data set"]


def test_other_things_than_data_sets(client: FlaskClient, storage: Storage) -> None:
    good = metadata()
    content = f'[5, [], "x", null, {json.dumps(good)}]'.encode()
    answer = send(client, content, located(PIXELS))
    assert (answer.status_code, len(failures(answer))) == (202, 4)
    assert stored(storage, *good["00080018"]["Value"])


def test_metadata_that_is_too_large(client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_reading, "MAXIMUM_TEXT", 200_000)
    monkeypatch.setattr(json_reading, "MAXIMUM_EVENTS", 10_000)
    monkeypatch.setattr(json_reading, "_CHUNK_SIZE", 1 << 16)  # or all of it were one chunk, and none of it read
    small = metadata()
    many = metadata(**{"00081161": {"vr": "UL", "Value": [1] * 20_000}})
    answer = send(client, [many, small], located(PIXELS))
    assert answer.status_code == 202
    assert failures(answer) == ["the metadata has too many values; send them as bulk data"]
    huge = metadata(**{"00104000": {"vr": "LT", "Value": ["x" * 400_000]}})
    answer = send(client, [metadata(), huge, metadata()], located(PIXELS))
    assert answer.status_code == 413
    assert len(json_of(answer)["stored"]) == 1
    assert "in parts of their own" in json_of(answer)["detail"]


def test_metadata_of_another_study(client: FlaskClient) -> None:
    mine, foreign = metadata(), metadata()
    study = mine["0020000D"]["Value"][0]
    answer = send(client, [mine, foreign], located(PIXELS), path=f"{STUDIES}/{study}")
    assert answer.status_code == 202
    assert [item["00081197"]["Value"] for item in json_of(answer)["00081198"]["Value"]] == [[0xA900]]


def test_a_part_without_content_type_is_the_root(client: FlaskClient, storage: Storage) -> None:
    image = metadata()
    content = b"--B\r\n\r\n" + json.dumps([image]).encode() + b"\r\n--B\r\nContent-Location: pixels\r\n\r\n" + PIXELS
    content_type = f"multipart/related; type={JSON}; boundary=B"
    assert client.post(STUDIES, data=content + b"\r\n--B--", content_type=content_type).status_code == 200
    assert back(storage, image).PixelData == PIXELS


def test_the_first_part_tells_where_the_type_is_not_given(client: FlaskClient, storage: Storage) -> None:
    image = metadata()
    content = body((JSON, "", json.dumps([image]).encode()), located(PIXELS))
    assert client.post(STUDIES, data=content, content_type="multipart/related; boundary=B").status_code == 200
    assert back(storage, image).PixelData == PIXELS


def test_nothing_is_left_of_a_body_that_breaks_off(client: FlaskClient, storage: Storage) -> None:
    content = body((JSON, "", json.dumps([metadata()]).encode()), located(PIXELS))[:-30]
    content_type = f'multipart/related; type="{JSON}"; boundary=B'
    answer = client.post(STUDIES, data=content, content_type=content_type)
    assert answer.status_code == 400
    assert json_of(answer)["stored"] == []
    assert object_count(storage) == 0


def test_gzip(client: FlaskClient, storage: Storage) -> None:
    image = metadata(**{"7FE00010": None})
    content = gzip.compress(json.dumps([image]).encode())
    headers = {"Content-Encoding": "gzip"}
    assert client.post(STUDIES, data=content, content_type=JSON, headers=headers).status_code == 200
    assert stored(storage, *image["00080018"]["Value"])


# -- XML ---------------------------------------------------------------------------------------------------------

ROOT = b'<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'


def document(*attributes: str, image: Elements | None = None) -> bytes:
    whole = native_model(image or metadata())
    return whole.replace(b"</NativeDicomModel>", "".join(attributes).encode() + b"</NativeDicomModel>")


def attribute(tag: str, vr: str, content: str, more: str = "") -> str:
    return f'<DicomAttribute tag="{tag}" vr="{vr}"{more}>{content}</DicomAttribute>'


def test_a_document_for_each_instance(client: FlaskClient, storage: Storage) -> None:
    images = [metadata(), metadata()]
    answer = send_xml(client, *(native_model(image) for image in images), parts=(located(PIXELS),))
    assert answer.status_code == 200, answer.text
    assert [back(storage, image).PixelData for image in images] == [PIXELS, PIXELS]


def test_private_creators_get_a_block(client: FlaskClient, storage: Storage) -> None:
    image = metadata()
    private = [
        attribute("00090010", "LO", '<Value number="1">TAKEN</Value>'),
        attribute("00090002", "US", '<Value number="1">2</Value>', ' privateCreator="NEW"'),
        attribute("00090001", "US", '<Value number="1">1</Value>', ' privateCreator="TAKEN"'),
        attribute("00090003", "US", '<Value number="1">3</Value>', ' privateCreator="NEW"'),
    ]
    answer = send_xml(client, document(*private, image=image), parts=(located(PIXELS),))
    assert answer.status_code == 200, answer.text
    ds = back(storage, image)
    assert ds[0x00090011].value == "NEW"
    assert [ds[tag].value for tag in (0x00091001, 0x00091102, 0x00091103)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (attribute("00200013", "US", '<Value number="1">x</Value>'), "(0020,0013): US needs whole numbers"),
        (attribute("002000", "US", ""), "an attribute's tag is not 8 hexadecimal digits"),
        (attribute("00280010", "US", ""), "(0028,0010) is there twice in one data set"),
        (
            attribute("00200013", "IS", '<Value number="9999999">1</Value>'),
            "values are not numbered in ascending order from 1",
        ),
        (
            attribute("00200013", "IS", '<Value number="0">1</Value>'),
            "values are not numbered in ascending order from 1",
        ),
        (attribute("00281201", "OW", "<InlineBinary>?</InlineBinary>"), "(0028,1201): InlineBinary is no base64"),
        (attribute("00281201", "OW", "<BulkData/>"), "(0028,1201): BulkDataURI needs a text"),
        (
            '<DicomAttribute tag="00081140" vr="SQ"><Item number="1">' * 81 + "</Item></DicomAttribute>" * 81,
            "sequences are nested more than 80 levels deep",
        ),
    ],
)
def test_wrong_documents_fail_alone(client: FlaskClient, storage: Storage, content: str, reason: str) -> None:
    good = metadata()
    answer = send_xml(client, document(content), native_model(good), parts=(located(PIXELS),))
    assert answer.status_code == 202, answer.text
    assert failures(answer) == [reason]
    assert stored(storage, *good["00080018"]["Value"])


BOMB = b'<!DOCTYPE x [<!ENTITY a "' + b"x" * 1000 + b'"><!ENTITY b "' + b"&a;" * 1000 + b'">]>'
BROKEN = [
    b"",
    b"no XML",
    b"<a/>",
    ROOT,
    ROOT + b"<Value/></NativeDicomModel>",
    BOMB + ROOT + b'<DicomAttribute tag="00104000" vr="LT"><Value>&b;</Value></DicomAttribute></NativeDicomModel>',
    b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">' + ROOT + b"</NativeDicomModel>",
    b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + ROOT + b"&e;</NativeDicomModel>",
    ROOT + b"&e;</NativeDicomModel>",
]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_no_native_model_at_all(client: FlaskClient, storage: Storage, content: bytes) -> None:
    for answer in (send_xml(client, content), client.post(STUDIES, data=content, content_type=XML)):
        assert answer.status_code == 400, answer.text
        assert answer.content_type == "application/problem+json"
    good = metadata()
    answer = send_xml(client, content, native_model(good), parts=(located(PIXELS),))
    assert (answer.status_code, len(failures(answer))) == (202, 1)
    assert stored(storage, *good["00080018"]["Value"])
