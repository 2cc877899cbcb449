"""Rendered resources and thumbnails: what is answered to whom, and how it is chosen, cut, scaled and coloured."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flask.testing import FlaskClient
from PIL import Image, ImageCms, ImageSequence
from pydicom.uid import MPEG4HP41, JPEGBaseline8Bit
from werkzeug.test import TestResponse

from tests.corpus import PYDICOM
from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import encapsulated, json_of, part10, parts
from tests.made import uid

BROWSER_IMAGE = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
BROWSER_PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
_UIDS: dict[str, Any] = {"StudyInstanceUID": uid(1), "SeriesInstanceUID": uid(1, 1), "SOPInstanceUID": uid(1, 1, 1)}
_STUDY = f"/dicom-web/studies/{uid(1)}"
_SERIES = f"{_STUDY}/series/{uid(1, 1)}"
_INSTANCE = f"{_SERIES}/instances/{uid(1, 1, 1)}"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_COLOUR = {
    "SOPClassUID": _SECONDARY_CAPTURE,
    "SamplesPerPixel": 3,
    "PhotometricInterpretation": "RGB",
    "PlanarConfiguration": 0,
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
}


@pytest.fixture
def put(store: Store) -> Any:
    """Stores an 8 × 8 image under the UIDs of these tests; what is given replaces."""

    def put(data: bytes | None = None, **attributes: Any) -> None:
        answer = store(part10(**_UIDS | attributes) if data is None else data)
        assert answer.status_code == 200, answer.data

    return put


def _pixels(answer: TestResponse) -> npt.NDArray[np.uint8]:
    assert answer.status_code == 200, answer.data
    return np.asarray(Image.open(io.BytesIO(answer.data)))


def _png(client: FlaskClient, query: str = "", path: str = f"{_INSTANCE}/rendered") -> npt.NDArray[np.uint8]:
    answer = client.get(path + query, headers={"Accept": "image/png"})
    assert answer.content_type == "image/png", answer.data
    return _pixels(answer)


def _words(*values: int) -> bytes:
    return np.array(values, "<i4").astype("<u2").tobytes()


def _grey(values: list[int], **attributes: Any) -> dict[str, Any]:
    return {"Rows": 1, "Columns": len(values), "PixelData": _words(*values), **attributes}


# -- negotiation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "image/jpeg"),
        ("*/*", "image/jpeg"),
        (BROWSER_IMAGE, "image/jpeg"),
        (BROWSER_PAGE, "image/jpeg"),
        ("image/png", "image/png"),
        ("image/gif;q=0.9, image/jpeg;q=0.1", "image/gif"),
        ("multipart/related; type=image/png", 'multipart/related; type="image/png"'),
        ('multipart/related; type="image/*"', 'multipart/related; type="image/jpeg"'),
    ],
)
def test_an_image_is_what_accept_asks_for(client: FlaskClient, put: Any, accept: str | None, expected: str) -> None:
    put()
    for path in ("rendered", "frames/1/rendered", "thumbnail", "frames/1/thumbnail"):
        answer = client.get(f"{_INSTANCE}/{path}", headers={} if accept is None else {"Accept": accept})
        assert answer.status_code == 200, answer.data
        assert answer.content_type.startswith(expected), path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_accept_parameter_stands_before_the_header(client: FlaskClient, put: Any) -> None:
    put()
    answer = client.get(f"{_INSTANCE}/rendered?accept=image/png", headers={"Accept": "image/jpeg"})
    assert answer.content_type == "image/png"


def test_a_refusal_lists_what_would_do(client: FlaskClient, put: Any) -> None:
    put()
    answer = client.get(f"{_INSTANCE}/rendered", headers={"Accept": "video/mp4"})
    assert answer.status_code == 406
    assert json_of(answer)["acceptable"][:3] == ["image/jpeg", "image/png", "image/gif"]


@pytest.mark.parametrize("frames", ["3", "1,3", "1-4", "0", "x"])
def test_frames_that_are_not_there(client: FlaskClient, put: Any, frames: str) -> None:
    put(NumberOfFrames=2, PixelData=bytes(256))
    for kind in ("rendered", "thumbnail"):
        answer = client.get(f"{_INSTANCE}/frames/{frames}/{kind}")
        assert answer.status_code == (400 if frames in ("0", "x") else 404)
        assert json_of(answer)["detail"]


def test_nothing_there(client: FlaskClient, put: Any) -> None:
    put()
    for path in (f"{_SERIES}/instances/1.2.3", f"{_STUDY}/series/1.2.3", "/dicom-web/studies/1.2.3"):
        for kind in ("rendered", "thumbnail"):
            assert client.get(f"{path}/{kind}").status_code == 404


# -- several frames, series, studies -------------------------------------------------------------------------


def _frames(*levels: int) -> dict[str, Any]:
    one = [np.full((8, 8), level, np.uint8).tobytes() for level in levels]
    eight_bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    return {"NumberOfFrames": len(levels), "PixelData": b"".join(one), **eight_bits}


def test_a_part_for_each_frame(client: FlaskClient, put: Any) -> None:
    put(**_frames(10, 20, 30))
    for path, expected in (("rendered", [10, 20, 30]), ("frames/3,1/rendered", [30, 10])):
        answer = client.get(f"{_INSTANCE}/{path}", headers={"Accept": "multipart/related; type=image/png"})
        found = parts(answer.content_type, answer.data)
        assert [name for name, _ in found] == ["image/png"] * len(expected)
        assert [int(np.asarray(Image.open(io.BytesIO(data)))[0, 0]) for _, data in found] == expected


def test_one_picture_of_many_frames_is_the_representative_one(client: FlaskClient, put: Any) -> None:
    put(**_frames(10, 20, 30))
    assert _png(client)[0, 0] == 10
    assert _png(client, path=f"{_INSTANCE}/thumbnail")[0, 0] == 20
    assert _png(client, path=f"{_INSTANCE}/frames/3/thumbnail")[0, 0] == 30


def test_an_object_names_its_representative_frame(client: FlaskClient, put: Any) -> None:
    put(**_frames(10, 20, 30), RepresentativeFrameNumber=3)
    assert _png(client)[0, 0] == 30
    assert _png(client, path=f"{_INSTANCE}/thumbnail")[0, 0] == 30


def test_a_gif_moves_at_the_speed_of_the_object(client: FlaskClient, put: Any) -> None:
    put(**_frames(10, 200, 30), FrameTime="80")
    answer = client.get(f"{_INSTANCE}/rendered", headers={"Accept": "image/gif"})
    moving = Image.open(io.BytesIO(answer.data))
    shown = [(int(np.asarray(one.convert("L"))[0, 0]), one.info["duration"]) for one in ImageSequence.Iterator(moving)]
    assert shown == [(10, 80), (200, 80), (30, 80)]
    assert moving.info["loop"] == 0
    two = client.get(f"{_INSTANCE}/frames/1,2/rendered", headers={"Accept": "image/gif"})
    assert getattr(Image.open(io.BytesIO(two.data)), "n_frames", 1) == 2


def test_frames_of_a_gif_do_not_flicker(client: FlaskClient, put: Any) -> None:
    dark, bright = np.full(64, 100, "<u2"), np.full(64, 1100, "<u2")
    bright[0] = 600
    put(NumberOfFrames=2, PixelData=dark.tobytes() + bright.tobytes())
    answer = client.get(f"{_INSTANCE}/rendered", headers={"Accept": "image/gif"})
    first, second = (
        np.asarray(one.convert("L")) for one in ImageSequence.Iterator(Image.open(io.BytesIO(answer.data)))
    )
    assert first[0, 0] == 0
    assert abs(int(second[0, 0]) - 128) <= 1
    assert second[1, 1] == 255


def test_a_series_in_parts_and_in_one_picture(client: FlaskClient, store: Store) -> None:
    levels = [10, 20, 30]
    for number, level in enumerate(levels, 1):
        uids = _UIDS | {"SOPInstanceUID": uid(1, 1, number)}
        assert store(part10(**uids, InstanceNumber=number, **_frames(level))).status_code == 200
    report = _UIDS | {"SeriesInstanceUID": uid(1, 2), "SOPInstanceUID": uid(1, 2, 1)}
    plan = {"Rows": None, "Columns": None, "PixelData": None, "Modality": "RTPLAN", "SeriesNumber": "2"}
    assert store(part10(**report | plan)).status_code == 200
    for resource in (_SERIES, _STUDY):
        answer = client.get(f"{resource}/rendered", headers={"Accept": "multipart/related; type=image/png"})
        pictures = [np.asarray(Image.open(io.BytesIO(data))) for _, data in parts(answer.content_type, answer.data)]
        assert [int(picture[0, 0]) for picture in pictures] == levels
        for kind in ("rendered", "thumbnail"):
            assert _png(client, path=f"{resource}/{kind}")[0, 0] == 20
        browser = client.get(f"{resource}/rendered", headers={"Accept": BROWSER_IMAGE})
        assert browser.content_type == "image/jpeg"
    assert client.get(f"{_SERIES}/rendered").content_type.startswith("multipart/related")
    nothing = client.get(f"{_STUDY}/series/{uid(1, 2)}/rendered")
    assert nothing.status_code == 406
    assert "retrieve it" in json_of(nothing)["detail"]
    assert client.get(f"{_STUDY}/series/{uid(1, 2)}/thumbnail").content_type == "image/jpeg"


# -- what is not an image ------------------------------------------------------------------------------------


def test_an_encapsulated_pdf(client: FlaskClient, put: Any) -> None:
    no_image = dict.fromkeys(("Rows", "Columns", "PixelData", "SamplesPerPixel", "PhotometricInterpretation"))
    put(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1",
        MIMETypeOfEncapsulatedDocument="application/pdf",
        EncapsulatedDocument=b"%PDF-1.7 odd\0",
        EncapsulatedDocumentLength=13 - 1,
        **no_image,
    )
    for accept in (BROWSER_PAGE, "application/pdf", "*/*"):
        answer = client.get(f"{_INSTANCE}/rendered", headers={"Accept": accept})
        assert answer.content_type == "application/pdf"
        assert answer.data.startswith(b"%PDF-1.7 odd")
    refused = client.get(f"{_INSTANCE}/rendered", headers={"Accept": "image/jpeg"})
    assert refused.status_code == 406
    assert json_of(refused)["acceptable"][0] == "application/pdf"
    assert _png(client, path=f"{_INSTANCE}/thumbnail").shape == (256, 256)


def test_a_document_does_not_say_that_it_is_a_page(client: FlaskClient, put: Any) -> None:
    put(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.104.2",
        MIMETypeOfEncapsulatedDocument="text/html",
        EncapsulatedDocument=b"<script>alert(1)</script>",
        Rows=None,
        PixelData=None,
    )
    answer = client.get(f"{_INSTANCE}/rendered")
    assert answer.content_type.startswith("text/xml")
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_a_video_is_called_what_it_is(client: FlaskClient, put: Any) -> None:
    mp4 = b"\0\0\0\x18ftypmp42" + bytes(range(200))
    put(encapsulated([mp4], MPEG4HP41, **_UIDS, **_COLOUR))
    for accept in ("video/mp4", "*/*"):
        answer = client.get(f"{_INSTANCE}/rendered", headers={"Accept": accept})
        assert answer.content_type == "video/mp4"
        assert answer.data == mp4
    assert _png(client, path=f"{_INSTANCE}/thumbnail").shape == (256, 256)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"\x47" + bytes(187) + b"\x47" + bytes(99), "video/mp2t"),
        (b"\0\0\0\1\x67" + bytes(99), "video/h264"),
        (bytes(300), ""),
    ],
)
def test_a_video_that_is_no_mp4(client: FlaskClient, put: Any, stream: bytes, expected: str) -> None:
    put(encapsulated([stream], MPEG4HP41, **_UIDS, **_COLOUR))
    answer = client.get(f"{_INSTANCE}/rendered")
    assert answer.status_code == (200 if expected else 406)
    if expected:
        assert answer.content_type == expected
        assert client.get(f"{_INSTANCE}/rendered", headers={"Accept": "video/mp4"}).status_code == 406


def _code(value: str, meaning: str) -> list[dict[str, Any]]:
    return [{"CodeValue": value, "CodingSchemeDesignator": "99T", "CodeMeaning": meaning}]


def test_a_structured_report_is_a_page(client: FlaskClient, put: Any) -> None:
    units = _code("mm", "millimeter")
    content: list[dict[str, Any]] = [
        {"ValueType": "TEXT", "ConceptNameCodeSequence": _code("1", "Finding"), "TextValue": "<b>a & b</b>\nsecond"},
        {
            "ValueType": "NUM",
            "ConceptNameCodeSequence": _code("2", "Diameter"),
            "MeasuredValueSequence": [{"NumericValue": "12.5", "MeasurementUnitsCodeSequence": units}],
        },
        {
            "ValueType": "CONTAINER",
            "ConceptNameCodeSequence": _code("3", "Inner"),
            "ContentSequence": [
                {"ValueType": "IMAGE", "ReferencedSOPSequence": [{"ReferencedSOPInstanceUID": uid(7)}]},
                {"ValueType": "CODE", "ConceptCodeSequence": _code("M", "Mass")},
            ],
        },
    ]
    put(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33",
        Modality="SR",
        Rows=None,
        Columns=None,
        PixelData=None,
        ValueType="CONTAINER",
        ConceptNameCodeSequence=_code("0", "A <Report>"),
        ContentSequence=content,
    )
    page = client.get(f"{_INSTANCE}/rendered", headers={"Accept": BROWSER_PAGE})
    assert page.content_type == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    text = page.get_data(as_text=True)
    for expected in (
        "<h1>A &lt;Report&gt;</h1>",
        "&lt;b&gt;a &amp; b&lt;/b&gt;",
        "12.5 millimeter",
        ">Inner</abbr></h2>",
        uid(7),
        "Mass",
        "Doe Jane",
    ):
        assert expected in text
    assert "<b>" not in text
    plain = client.get(f"{_INSTANCE}/rendered", headers={"Accept": "text/plain"})
    assert plain.content_type == "text/plain; charset=utf-8"
    assert "\nFinding: <b>a & b</b>\n    second\nDiameter: 12.5 millimeter\nInner\n" in plain.get_data(as_text=True)
    assert client.get(f"{_INSTANCE}/rendered", headers={"Accept": "image/png"}).status_code == 406
    assert client.get(f"{_INSTANCE}/thumbnail", headers={"Accept": BROWSER_IMAGE}).content_type == "image/jpeg"


def test_a_waveform_is_drawn(client: FlaskClient, store: Store) -> None:
    data = (PYDICOM / "test_files" / "waveform_ecg.dcm").read_bytes()
    assert store(data).status_code == 200
    [study] = json_of(client.get("/dicom-web/studies"))
    path = f"/dicom-web/studies/{study['0020000D']['Value'][0]}"
    drawn = _png(client, path=f"{path}/rendered")
    # twelve channels, each with a line that is no more than a part of its lane
    assert drawn.shape == (12 * 96, 1600, 3)
    dark = (drawn.max(axis=2) < 60)[:, 100:].reshape(12, 96, 1500).sum(axis=1)
    assert (dark.max(axis=1) >= 6).all()
    assert (dark.mean(axis=1) < 8).all()
    assert _png(client, path=f"{path}/thumbnail").shape == (184, 256, 3)


@pytest.mark.parametrize("name", ["YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422"])
def test_brightness_and_colour_in_samples_of_their_own(client: FlaskClient, put: Any, name: str) -> None:
    # two pixels of one red: ITU-R BT.601, at full range and from 16 to 235 and 240
    brightness, blue, red = (81, 90, 240) if "PARTIAL" in name else (76, 85, 255)
    pixels = [brightness, brightness, blue, red] if "422" in name else [brightness, blue, red] * 2
    put(**_COLOUR | {"PhotometricInterpretation": name}, Rows=1, Columns=2, PixelData=bytes(pixels))
    assert np.abs(_png(client).astype(int) - [255, 0, 0]).max() <= 2


def test_floating_point_pixels(client: FlaskClient, put: Any) -> None:
    values = np.array([-1.5, 0.0, 1.5, np.nan], "<f4")
    put(
        **dict.fromkeys(("PixelData", "BitsStored", "HighBit", "PixelRepresentation")),
        FloatPixelData=values.tobytes(),
        BitsAllocated=32,
        Rows=1,
        Columns=4,
    )
    assert _png(client).tolist() == [[0, 128, 255, 0]]


def test_pixels_that_cannot_be_decoded(client: FlaskClient, put: Any) -> None:
    put(encapsulated([b"no JPEG at all"], JPEGBaseline8Bit, **_UIDS, **_COLOUR))
    for path in (_INSTANCE, _SERIES, _STUDY):
        for accept in ("image/jpeg", "multipart/related; type=image/jpeg", "image/gif"):
            answer = client.get(f"{path}/rendered", headers={"Accept": accept})
            assert answer.status_code == 406, (path, accept)
            assert "damaged" in json_of(answer)["detail"]
        assert client.get(f"{path}/thumbnail").status_code == 200


# -- grey values ---------------------------------------------------------------------------------------------


def test_without_a_window_the_values_go_from_black_to_white(client: FlaskClient, put: Any) -> None:
    put(**_grey([-1000, 0, 1000], PixelRepresentation=1))
    assert _png(client).tolist() == [[0, 128, 255]]


def test_eight_bits_are_shown_as_they_are(client: FlaskClient, put: Any) -> None:
    put(Rows=1, Columns=4, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=bytes([20, 30, 40, 50]))
    assert _png(client).tolist() == [[20, 30, 40, 50]]


def test_padding_is_black_and_does_not_count(client: FlaskClient, put: Any) -> None:
    put(**_grey([5000, 0, 1000], PixelPaddingValue=5000, PhotometricInterpretation="MONOCHROME1"))
    assert _png(client).tolist() == [[0, 255, 0]]


def test_the_window_of_the_object_and_that_of_the_client(client: FlaskClient, put: Any) -> None:
    values = {"RescaleSlope": "2", "RescaleIntercept": "-100", "WindowCenter": ["50", "0"], "WindowWidth": ["101", "1"]}
    put(**_grey([0, 75, 100, 200], **values))
    # -100, 50, 100 and 300 in the window from 0 to 100
    assert _png(client).tolist() == [[0, 129, 255, 255]]
    # PS3.3 C.11.2.1.2.1 and C.11.2.1.3
    assert _png(client, "?window=100,400,LINEAR_EXACT").tolist() == [[0, 96, 128, 255]]
    assert _png(client, "?window=100,400,sigmoid").tolist() == [[30, 96, 128, 225]]
    assert _png(client, "?window=100,401").tolist() == [[0, 96, 128, 255]]


def test_a_voi_lut_stands_before_a_window(client: FlaskClient, put: Any) -> None:
    table = [{"LUTDescriptor": [3, 10, 8], "LUTData": _words(0, 100, 255)}]
    put(**_grey([0, 10, 11, 99], VOILUTSequence=table, WindowCenter="0", WindowWidth="1"))
    assert _png(client).tolist() == [[0, 0, 100, 255]]


def test_an_inverse_presentation(client: FlaskClient, put: Any) -> None:
    put(**_grey([0, 1000], PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"))
    assert _png(client).tolist() == [[255, 0]]


def test_each_frame_has_its_own_functional_groups(client: FlaskClient, put: Any) -> None:
    def group(center: int) -> dict[str, Any]:
        return {"FrameVOILUTSequence": [{"WindowCenter": str(center), "WindowWidth": "101"}]}

    shared = {"PixelValueTransformationSequence": [{"RescaleSlope": "10", "RescaleIntercept": "0"}]}
    put(
        Rows=1,
        Columns=1,
        NumberOfFrames=2,
        PixelData=_words(7, 7),
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=[group(70), group(200)],
    )
    assert _png(client, path=f"{_INSTANCE}/frames/1/rendered").tolist() == [[129]]
    assert _png(client, path=f"{_INSTANCE}/frames/2/rendered").tolist() == [[0]]


# -- colour --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planar_configuration", [0, 1])
def test_red_green_and_blue(client: FlaskClient, put: Any, planar_configuration: int) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    stored = pixels if planar_configuration == 0 else pixels.transpose(2, 0, 1)
    put(**_COLOUR | {"PlanarConfiguration": planar_configuration}, Rows=2, Columns=4, PixelData=stored.tobytes())
    assert np.array_equal(_png(client), pixels)


def test_a_missing_palette(client: FlaskClient, put: Any) -> None:
    put(PhotometricInterpretation="PALETTE COLOR")
    answer = client.get(f"{_INSTANCE}/rendered")
    assert answer.status_code == 406
    assert "palette" in json_of(answer)["detail"]


@pytest.mark.parametrize("name", ["yes", "srgb", "adobergb", "rommrgb"])
def test_a_profile_that_is_asked_for(client: FlaskClient, put: Any, name: str) -> None:
    put(**_COLOUR, Rows=1, Columns=2, PixelData=bytes([200, 30, 30, 120, 120, 120]))
    plain = Image.open(io.BytesIO(client.get(f"{_INSTANCE}/rendered", headers={"Accept": "image/png"}).data))
    assert "icc_profile" not in plain.info
    answer = client.get(f"{_INSTANCE}/rendered?iccprofile={name}", headers={"Accept": "image/png"})
    shown = Image.open(io.BytesIO(answer.data))
    profile = ImageCms.getOpenProfile(io.BytesIO(shown.info["icc_profile"]))
    # back in sRGB it is what it was
    back = ImageCms.profileToProfile(shown, profile, ImageCms.createProfile("sRGB"))
    assert back is not None
    assert np.abs(np.asarray(back).astype(int) - np.asarray(plain)).max() <= 3
    assert (name in ("yes", "srgb")) == np.array_equal(np.asarray(shown), np.asarray(plain))


# -- size ----------------------------------------------------------------------------------------------------


def test_a_viewport_keeps_the_shape(client: FlaskClient, put: Any) -> None:
    put(Rows=4, Columns=8, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=bytes(range(32)))
    for query, shape in (
        ("?viewport=16,16", (8, 16)),
        ("?viewport=4,", (2, 4)),
        ("?viewport=,8", (8, 16)),
        ("?viewport=100,4", (4, 8)),
        ("?viewport=,,2,1,4,2", (2, 4)),
        ("?viewport=8,8,,,4,", (8, 8)),
    ):
        assert _png(client, query).shape == shape, query


def test_a_region_and_a_flip(client: FlaskClient, put: Any) -> None:
    pixels = np.arange(32, dtype=np.uint8).reshape(4, 8)
    put(Rows=4, Columns=8, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=pixels.tobytes())
    assert np.array_equal(_png(client, "?viewport=,,2,1,3,2"), pixels[1:3, 2:5])
    assert np.array_equal(_png(client, "?viewport=,,2,1,-3,2"), pixels[1:3, 2:5][:, ::-1])
    assert np.array_equal(_png(client, "?viewport=,,,,,-4"), pixels[::-1])
    outside = client.get(f"{_INSTANCE}/rendered?viewport=,,8,0,1,1")
    assert outside.status_code == 400
    assert json_of(outside)["parameter"] == "viewport"


def test_pixels_that_are_not_square(client: FlaskClient, put: Any) -> None:
    put(PixelAspectRatio=["2", "1"])
    assert _png(client).shape == (8, 8)
    assert _png(client, "?viewport=16,16").shape == (16, 8)


def test_a_thumbnail_is_small(client: FlaskClient, put: Any) -> None:
    put(Rows=600, Columns=300, PixelData=bytes(360_000))
    assert _png(client, path=f"{_INSTANCE}/thumbnail").shape == (256, 128)
    assert _png(client, "?viewport=50,50", f"{_INSTANCE}/thumbnail").shape == (50, 25)


# -- the other parameters ------------------------------------------------------------------------------------


def test_quality_is_a_matter_of_bytes(client: FlaskClient, put: Any) -> None:
    noise = np.random.default_rng(1).integers(0, 256, 4096, np.uint8)
    put(Rows=64, Columns=64, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=noise.tobytes())
    sizes = [len(client.get(f"{_INSTANCE}/rendered?quality={quality}").data) for quality in (1, 30, 80, 100)]
    assert sizes == sorted(set(sizes))


def test_annotation_is_burnt_in(client: FlaskClient, put: Any) -> None:
    put(Rows=64, Columns=256, PatientName="Yamada^Tarou=山田", PixelData=bytes(32768))
    assert _png(client).max() == 0
    patient, both = _png(client, "?annotation=patient"), _png(client, "?annotation=patient,technique")
    assert patient[:32].max() > 200
    assert (both > 0).sum() > (patient > 0).sum()


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("viewport=0,10", "viewport"),
        ("viewport=10", "viewport"),
        ("viewport=99999,10", "viewport"),
        ("viewport=nan,10", "viewport"),
        ("viewport=10,10,0,0,0,5", "viewport"),
        ("window=40", "window"),
        ("window=40,0", "window"),
        ("window=40,1e999", "window"),
        ("window=40,400,BENT", "window"),
        ("quality=0", "quality"),
        ("quality=101", "quality"),
        ("quality=99999999999999999999", "quality"),
        ("iccprofile=cmyk", "iccprofile"),
        ("annotation=patient,weather", "annotation"),
    ],
)
def test_a_bad_value_is_named(client: FlaskClient, put: Any, query: str, parameter: str) -> None:
    put()
    answer = client.get(f"{_INSTANCE}/rendered?{query}")
    assert answer.status_code == 400
    assert json_of(answer)["parameter"] == parameter
    assert f"{parameter}=" in json_of(answer)["detail"]


def test_a_thumbnail_takes_a_size_only(client: FlaskClient, put: Any) -> None:
    put()
    assert client.get(f"{_INSTANCE}/thumbnail?viewport=9,9,0,0,1,1").status_code == 400
    assert client.get(f"{_INSTANCE}/thumbnail?window=nonsense").status_code == 200
