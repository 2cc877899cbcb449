"""STOW-RS of metadata and bulk data: what becomes of every kind of value, and which parts are found."""

import base64
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydicom.encaps import generate_fragments, generate_frames

from fileroom_storage.parse.native_model import native_model
from fileroom_storage.storage import Storage
from tests.dicomweb.metadata_messages import (
    JSON,
    OCTETS,
    PIXELS,
    PRIVATE,
    STUDIES,
    XML,
    back,
    body,
    failures,
    located,
    metadata,
    send,
    send_xml,
)
from tests.dicomweb.objects import json_of
from tests.dicomweb.test_stow import stored


def test_metadata_and_pixels_make_an_object(client: FlaskClient, storage: Storage) -> None:
    image = metadata()
    answer = send(client, [image], located(PIXELS))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Location"] == json_of(answer)["00081190"]["Value"][0]
    ds = back(storage, image)
    assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID == image["00080018"]["Value"][0]
    assert (ds.PatientName, ds.PixelData, ds.Rows) == ("Doe^Jane", PIXELS, 8)
    assert "SpecificCharacterSet" not in ds


@pytest.mark.parametrize("name", [JSON, "application/json"])
@pytest.mark.parametrize("as_array", [True, False])
def test_a_body_that_is_metadata_alone(client: FlaskClient, storage: Storage, name: str, *, as_array: bool) -> None:
    image = metadata(**{"7FE00010": {"vr": "OW", "InlineBinary": base64.b64encode(PIXELS).decode()}})
    answer = client.post(STUDIES, data=json.dumps([image] if as_array else image), content_type=name)
    assert answer.status_code == 200, answer.text
    assert back(storage, image).PixelData == PIXELS


def test_an_xml_body_alone(client: FlaskClient, storage: Storage) -> None:
    image = metadata(**{"7FE00010": {"vr": "OW", "InlineBinary": base64.b64encode(PIXELS).decode()}})
    answer = client.post(STUDIES, data=native_model(image), content_type=XML, headers={"Accept": XML})
    assert answer.status_code == 200, answer.text
    assert answer.content_type == XML
    assert b'keyword="ReferencedSOPSequence"' in answer.data
    assert back(storage, image).PixelData == PIXELS


EVERY_KIND: dict[str, tuple[dict[str, Any], Any]] = {
    "00080005": ({"vr": "CS", "Value": ["ISO_IR 100"]}, "ISO_IR 192"),
    "00081030": ({"vr": "LO", "Value": ["Kopf Schädel 頭"]}, "Kopf Schädel 頭"),
    "00080008": ({"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]}, ["ORIGINAL", "", "AXIAL"]),
    "00080050": ({"vr": "SH"}, ""),
    "00081070": (
        {
            "vr": "PN",
            "Value": [
                {"Alphabetic": "A^B", "Ideographic": "山田^太郎", "Phonetic": "ヤマダ"},
                None,
                {"Alphabetic": "C"},
            ],
        },
        ["A^B=山田^太郎=ヤマダ", "", "C"],
    ),
    "00104000": ({"vr": "LT", "Value": ["a\\b\r\nc"]}, "a\\b\r\nc"),
    "00180050": ({"vr": "DS", "Value": [1.25]}, 1.25),
    "00200032": ({"vr": "DS", "Value": [-1e-7, "2.50", 1234567890.123456789]}, [-1e-7, 2.5, 1234567890.12346]),
    "00200013": ({"vr": "IS", "Value": ["7"]}, 7),
    "00280008": ({"vr": "IS", "Value": [1]}, 1),
    "00280030": ({"vr": "DS", "Value": [None, 2]}, ["", 2]),
    "00189306": ({"vr": "FD", "Value": [1e300]}, 1e300),
    "00189073": ({"vr": "FD", "Value": ["inf"]}, float("inf")),
    "00280106": ({"vr": "SS", "Value": [-5]}, -5),
    "00081161": ({"vr": "UL", "Value": [1, 4294967295]}, [1, 4294967295]),
    "00280009": ({"vr": "AT", "Value": ["00181063"]}, 0x00181063),
    "00430010": ({"vr": "LO", "Value": ["ACME 2"]}, "ACME 2"),
    "00431001": ({"vr": "SV", "Value": ["-9223372036854775808", 5]}, [-(2**63), 5]),
    "00431002": ({"vr": "UN", "InlineBinary": "AAEC"}, b"\0\1\2\0"),
    "00431003": ({"vr": "OB"}, None),
    "00431004": ({"vr": "UV", "Value": [18446744073709551615]}, 2**64 - 1),
    "00431005": ({"vr": "OD", "BulkDataURI": "doubles"}, b"12345678"),
}


@pytest.mark.parametrize("xml", [False, True])
def test_values_of_every_kind(client: FlaskClient, storage: Storage, *, xml: bool) -> None:
    nested = {"00080100": {"vr": "SH", "Value": ["1"]}, "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]}}
    sequence = {"vr": "SQ", "Value": [{"00081140": {"vr": "SQ", "Value": [nested, {}]}, **PRIVATE}, {}]}
    image = metadata(**{tag: element for tag, (element, _) in EVERY_KIND.items()}, **{"00081110": sequence})
    image |= {"00081115": {"vr": "SQ"}, "00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2"]}}
    image |= {"00083002": {"vr": "UI", "Value": ["1.2.840.10008.1.2"]}, "00080000": {"vr": "UL", "Value": [9]}}
    bulk = (located(PIXELS), located(b"12345678", "doubles"))
    answer = send_xml(client, native_model(image), parts=bulk) if xml else send(client, [image], *bulk)
    assert answer.status_code == 200, answer.text
    ds = back(storage, image)
    for tag, (element, value) in EVERY_KIND.items():
        found = ds[int(tag, 16)]
        assert element["vr"] == found.VR, tag
        assert (list(found.value) if isinstance(value, list) else found.value) == value, tag
    first, second = ds.ReferencedStudySequence
    assert (first[0x00091001].value, first[0x00090010].value) == (1.5, "ACME 1.1")
    assert [item.get("CodeValue") for item in first.ReferencedImageSequence] == ["1", None]
    assert first.ReferencedImageSequence[0].SpecificCharacterSet == "ISO_IR 192"
    assert len(second) == 0
    assert len(ds.ReferencedSeriesSequence) == 0
    assert 0x00083002 not in ds
    assert 0x00080000 not in ds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.1", "0.1"),
        ("2.50", "2.50"),
        ("-0.0000001", "-0.0000001"),
        ("1234567890123456789", "1.23456789012e18"),
        ("0.12345678901234567", "0.12345678901235"),
        ("-123.45678901234567", "-123.45678901235"),
        ("1e-300", "1e-300"),
        ("1e16", "1e16"),
        ("0", "0"),
    ],
)
def test_decimals_keep_their_digits_as_far_as_there_is_room(
    client: FlaskClient, storage: Storage, value: str, text: str
) -> None:
    image = metadata(**{"7FE00010": None})
    content = json.dumps([{**image, "00180050": {"vr": "DS", "Value": ["NUMBER"]}}]).replace('"NUMBER"', value)
    assert send(client, content.encode()).status_code == 200
    found = back(storage, image).SliceThickness
    assert found.original_string == text
    assert float(found) == pytest.approx(float(value), rel=1e-10)


def test_names_that_are_texts(client: FlaskClient, storage: Storage) -> None:
    image = metadata(**{"7FE00010": None, "00100010": {"vr": "PN", "Value": ["Doe^Jane=ä"]}})
    assert send(client, [image]).status_code == 200
    assert back(storage, image).PatientName == "Doe^Jane=ä"


def test_values_too_long_for_their_vr_become_unknown(client: FlaskClient, storage: Storage) -> None:
    # PS3.5 6.2.2
    image = metadata(**{"30060050": {"vr": "DS", "Value": [0.5] * 40_000}})
    assert send(client, [image], located(PIXELS)).status_code == 200
    (instance,) = storage.locate({"SOPInstanceUID": image["00080018"]["Value"][0]})
    assert storage.header(instance).dicom_json(bulk_data_threshold=1 << 20)["30060050"]["Value"] == [0.5] * 40_000


# -- bulk data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "headers"),
    [
        ("pixels", "Content-Location: pixels"),
        ("0123456789abcdef", "Content-Location: 0123456789abcdef "),  # as stowrs of dcm4che writes it
        ("bulk/1", "Content-Location: http://localhost/dicom-web/bulk/1"),
        ("http://localhost/dicom-web/bulk/1", "Content-Location: bulk/1"),
        ("http://example.org/x?y=1&z=%2F", "content-location: http://example.org/x?y=1&z=%2F"),
        ("/absolute/path", "Content-Location: /absolute/path"),
        ("cid:1@example.org", "Content-ID: <1@example.org>"),
        ("cid:a%20b@example.org", "Content-ID: <a b@example.org>"),
        (
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "Content-Location: urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        ),
        ("http://[", "Content-Location: http://["),
    ],
)
def test_bulk_data_is_found(client: FlaskClient, storage: Storage, uri: str, headers: str) -> None:
    image = metadata(**{"7FE00010": {"vr": "OW", "BulkDataURI": uri}})
    answer = send(client, [image], (OCTETS, "Content-Location: other\r\n", b"xx"), (OCTETS, f"{headers}\r\n", PIXELS))
    assert answer.status_code == 202, answer.text
    assert back(storage, image).PixelData == PIXELS
    assert "1 parts of bulk data are dropped" in answer.headers["Warning"]


def test_missing_bulk_data_fails_one_instance_only(client: FlaskClient, storage: Storage) -> None:
    missing, good = metadata(**{"7FE00010": {"vr": "OW", "BulkDataURI": "elsewhere"}}), metadata()
    answer = send(client, [missing, good], located(PIXELS))
    assert answer.status_code == 202
    assert failures(answer) == ["(7FE0,0010): no part of the request is at its BulkDataURI"]
    uid = missing["00080018"]["Value"][0]
    assert json_of(answer)["00081198"]["Value"][0]["00081155"]["Value"] == [uid]
    assert stored(storage, uid, good["00080018"]["Value"][0]) == [good["00080018"]["Value"][0]]


def test_one_part_for_several_instances(client: FlaskClient, storage: Storage) -> None:
    images = [metadata(), metadata()]
    assert send(client, images, located(PIXELS)).status_code == 200
    assert [back(storage, image).PixelData for image in images] == [PIXELS, PIXELS]


JPEG_BASELINE = b"\xff\xd8\xff\xdb\x00\x04\x00\x00\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00\xff\xda"
JPEG_LOSSLESS = b"\xff\xd8\xff\xc3\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00"


@pytest.mark.parametrize(
    ("kind", "start", "elements", "expected"),
    [
        ("image/jpeg", JPEG_BASELINE, {}, "1.2.840.10008.1.2.4.50"),
        ("image/jpeg", JPEG_LOSSLESS, {}, "1.2.840.10008.1.2.4.70"),
        ("image/jpeg", b"?", {}, "1.2.840.10008.1.2.4.70"),
        ("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.57", JPEG_LOSSLESS, {}, "1.2.840.10008.1.2.4.57"),
        ("image/jpeg", JPEG_LOSSLESS, {"00083002": "1.2.840.10008.1.2.4.57"}, "1.2.840.10008.1.2.4.57"),
        ("image/jpeg", JPEG_BASELINE, {"00083002": "1.2.840.10008.1.2.4.80"}, "1.2.840.10008.1.2.4.50"),
        ("image/jls", b"x", {}, "1.2.840.10008.1.2.4.80"),
        ("image/jls", b"x", {"00020010": "1.2.840.10008.1.2.4.81"}, "1.2.840.10008.1.2.4.81"),
        ("image/jp2", b"x", {}, "1.2.840.10008.1.2.4.90"),
        ("image/dicom-rle", b"x", {}, "1.2.840.10008.1.2.5"),
        ("image/jphc", b"x", {}, "1.2.840.10008.1.2.4.201"),
        ("video/mp4", b"x", {"00280008": "12"}, "1.2.840.10008.1.2.4.102"),
        (f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.4.80", b"x", {}, "1.2.840.10008.1.2.4.80"),
        (OCTETS, b"x", {"00020010": "1.2.840.10008.1.2.4.90"}, "1.2.840.10008.1.2.4.90"),
    ],
)
def test_compressed_pixel_data(
    client: FlaskClient, storage: Storage, kind: str, start: bytes, elements: dict[str, str], expected: str
) -> None:
    vrs = {"00280008": "IS"}
    image = metadata(**{tag: {"vr": vrs.get(tag, "UI"), "Value": [value]} for tag, value in elements.items()})
    answer = send(client, [image], located(start + b"...", kind=kind))
    assert answer.status_code == 200, answer.text
    ds = back(storage, image)
    assert ds.file_meta.TransferSyntaxUID == expected
    assert ds["PixelData"].VR == "OB"
    offset_table, (frame,) = ds.PixelData[:12], list(generate_frames(ds.PixelData, number_of_frames=1))
    assert frame.rstrip(b"\0") == start + b"..."
    assert offset_table == b"\xfe\xff\x00\xe0\x04\0\0\0\0\0\0\0"


@pytest.mark.parametrize("locations", [("pixels",) * 3, tuple(f"pixels/frames/{number}" for number in (2, 1, 3))])
def test_a_part_for_each_frame(client: FlaskClient, storage: Storage, locations: tuple[str, ...]) -> None:
    image = metadata(**{"00280008": {"vr": "IS", "Value": [3]}})
    frames = [b"first", b"second", b"third"]
    ordered = frames if locations[0] == "pixels" else [frames[1], frames[0], frames[2]]
    parts = [located(frame, place, "image/jls") for frame, place in zip(ordered, locations, strict=True)]
    assert send(client, [image], *parts).status_code == 200
    ds = back(storage, image)
    assert [frame.rstrip(b"\0") for frame in generate_frames(ds.PixelData, number_of_frames=3)] == frames
    url = client.get(
        f"{STUDIES}/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}/frames/3"
    )
    assert b"third" in url.data


def test_parts_that_are_no_frames(client: FlaskClient) -> None:
    image = metadata(**{"00280008": {"vr": "IS", "Value": [3]}})
    answer = send(client, [image], located(b"one", kind="image/jls"), located(b"two", kind="image/jls"))
    assert failures(answer) == ["(7FE0,0010): 3 frames, but 2 parts; give a part for each"]


def test_several_parts_of_one_frame_are_its_fragments(client: FlaskClient, storage: Storage) -> None:
    image = metadata()
    assert send(client, [image], *(located(bytes([65]) * 3, kind="image/jp2"),) * 2).status_code == 200
    assert [bytes(one) for one in generate_fragments(back(storage, image).PixelData)][1:] == [b"AAA\0", b"AAA\0"]


@pytest.mark.parametrize("delimiter", [b"", b"\xfe\xff\xdd\xe0\0\0\0\0"])
@pytest.mark.parametrize("kind", [OCTETS, f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.5"])
def test_pixel_data_that_is_encapsulated_already(
    client: FlaskClient, storage: Storage, delimiter: bytes, kind: str
) -> None:
    image = metadata(**{"00280008": {"vr": "IS", "Value": [2]}})
    image["00083002"] = {"vr": "UI", "Value": ["1.2.840.10008.1.2.5"]}
    items = b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0\x02\0\0\0ab" + b"\xfe\xff\x00\xe0\x02\0\0\0cd"
    part = located(items + delimiter, kind=kind)
    assert send(client, [image], part).status_code == 200
    assert back(storage, image).PixelData == items


@pytest.mark.parametrize(("name", "write"), [("application/json", json.dumps), (XML, native_model)])
def test_the_form_of_stowrs_of_dcm4che(client: FlaskClient, storage: Storage, name: str, write: Any) -> None:
    location, syntax = "0123456789abcdef0123456789abcdef", "1.2.840.10008.1.2.4.50"
    image = metadata(**{"7FE00010": {"vr": "OB", "BulkDataURI": location}})
    text = write(image)
    content = body(
        (f"{name}; transfer-syntax={syntax} ", "", text if isinstance(text, bytes) else text.encode()),
        ("image/jpeg ", f"Content-Location: {location} \r\n", b"?" * 100),
    )
    content_type = f'multipart/related; type="{name}"; boundary=B'
    answer = client.post(STUDIES, data=content, content_type=content_type, headers={"Accept": XML})
    assert (answer.status_code, answer.content_type) == (200, XML), answer.text
    assert back(storage, image).file_meta.TransferSyntaxUID == syntax


def test_native_frames_in_parts_are_joined(client: FlaskClient, storage: Storage) -> None:
    image = metadata(**{"00280008": {"vr": "IS", "Value": [2]}})
    assert send(client, [image], located(PIXELS), located(PIXELS[::-1])).status_code == 200
    assert back(storage, image).PixelData == PIXELS + PIXELS[::-1]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("image/png", "a media type that is not of DICOM pixel data"),
        ("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.80", "media type and transfer-syntax of its part disagree"),
    ],
)
def test_parts_that_are_no_pixel_data(client: FlaskClient, kind: str, reason: str) -> None:
    answer = send(client, [metadata()], located(b"x", kind=kind))
    assert answer.status_code == 409
    assert failures(answer) == [f"(7FE0,0010): {reason}"]
