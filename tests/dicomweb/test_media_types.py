"""Accept and Content-Type, in the forms seen in the wild."""

import pytest

from fileroom_dicomweb.media_types import DICOM, DICOM_JSON, OCTET_STREAM, Offer, accept_ranges, choose, media_type

JPEG_LS = "1.2.840.10008.1.2.4.80"
DICOM_PARTS = Offer(DICOM, multipart=True, transfer_syntax_uid=JPEG_LS)
DICOM_SINGLE = Offer(DICOM, transfer_syntax_uid=JPEG_LS)
JLS_PARTS = Offer("image/jls", multipart=True, transfer_syntax_uid=JPEG_LS)
OCTET_PARTS = Offer(OCTET_STREAM, multipart=True, transfer_syntax_uid=JPEG_LS)
OCTET_SINGLE = Offer(OCTET_STREAM, transfer_syntax_uid=JPEG_LS)
RETRIEVE = (DICOM_PARTS, DICOM_SINGLE)
FRAMES = (JLS_PARTS, OCTET_PARTS, OCTET_SINGLE)


@pytest.mark.parametrize(
    ("header", "offers", "chosen"),
    [
        (None, RETRIEVE, DICOM_PARTS),
        ("", RETRIEVE, DICOM_PARTS),
        ("*/*", RETRIEVE, DICOM_PARTS),
        ('multipart/related; type="application/dicom"', RETRIEVE, DICOM_PARTS),
        ("multipart/related; type=application/dicom", RETRIEVE, DICOM_PARTS),
        ("multipart/related;type=application/dicom;transfer-syntax=*", RETRIEVE, DICOM_PARTS),
        ('multipart/related; type="application/dicom"; transfer-syntax="*"', RETRIEVE, DICOM_PARTS),
        (f"multipart/related; type=application/dicom; transfer-syntax={JPEG_LS}", RETRIEVE, DICOM_PARTS),
        ('MULTIPART/Related; TYPE="Application/DICOM"', RETRIEVE, DICOM_PARTS),
        ("multipart/related", RETRIEVE, DICOM_PARTS),
        ('multipart/related; type="*/*"', RETRIEVE, DICOM_PARTS),
        ("multipart/*", RETRIEVE, DICOM_PARTS),
        ("application/dicom", RETRIEVE, DICOM_SINGLE),
        ("application/dicom; transfer-syntax=*", RETRIEVE, DICOM_SINGLE),
        ("application/*", RETRIEVE, DICOM_SINGLE),
        ("application/dicom;q=0.2, multipart/related;type=application/dicom;q=0.9", RETRIEVE, DICOM_PARTS),
        ("application/dicom, */*;q=0.1", RETRIEVE, DICOM_SINGLE),
        ("multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.1", RETRIEVE, None),
        ("text/html", RETRIEVE, None),
        ("*/*;q=0", RETRIEVE, None),
        ("*/*, multipart/related;q=0", RETRIEVE, DICOM_SINGLE),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", FRAMES, OCTET_PARTS),
        (
            "multipart/related; type=image/jls; q=0.5, multipart/related; type=application/octet-stream",
            FRAMES,
            OCTET_PARTS,
        ),
        ("multipart/related; type=image/*", FRAMES, JLS_PARTS),
        ("application/octet-stream", FRAMES, OCTET_SINGLE),
        ("application/dicom+json, multipart/related; type=application/octet-stream", FRAMES, OCTET_PARTS),
        (
            "application/dicom+json, multipart/related; type=application/octet-stream",
            (Offer(DICOM_JSON),),
            Offer(DICOM_JSON),
        ),
        ("application/dicom+xml", (Offer(DICOM_JSON),), None),
        ("nonsense", (Offer(DICOM_JSON),), Offer(DICOM_JSON)),
        ("application/dicom+json;q=much", (Offer(DICOM_JSON),), Offer(DICOM_JSON)),
        ("application/dicom+json;q*=utf-8''1", (Offer(DICOM_JSON),), Offer(DICOM_JSON)),
        ("application/dicom+json;q*0*=utf-8''0", (Offer(DICOM_JSON),), None),
        (f"application/dicom+json;a*{'9' * 5000}=1", (Offer(DICOM_JSON),), Offer(DICOM_JSON)),
    ],
)
def test_accept(header: str | None, offers: tuple[Offer, ...], chosen: Offer | None) -> None:
    assert choose(accept_ranges(header), offers) == chosen


def test_the_query_parameter_stands_before_the_header() -> None:
    ranges = accept_ranges("text/html", "limit=3&accept=application/dicom+json")
    assert [one.name for one in ranges] == ["application/dicom+json"]
    ranges = accept_ranges("text/html", "accept=multipart%2Frelated%3B%20type%3D%22application%2Fdicom%22")
    assert (ranges[0].name, ranges[0].parameters["type"]) == ("multipart/related", "application/dicom")


@pytest.mark.parametrize(
    "header",
    [
        'multipart/related; type="application/dicom"; boundary="b 1:x"',
        'Multipart/Related;boundary="b 1:x";type=application/dicom;charset=utf-8',
    ],
)
def test_content_type(header: str) -> None:
    declared = media_type(header)
    assert declared is not None
    assert declared.name == "multipart/related"
    assert declared.parameters["type"] == "application/dicom"
    assert declared.parameters["boundary"] == "b 1:x"


@pytest.mark.parametrize("header", [None, "", "multipart"])
def test_no_content_type(header: str | None) -> None:
    assert media_type(header) is None


def test_offers_are_shown_as_they_would_be_asked_for() -> None:
    assert str(OCTET_PARTS) == f'multipart/related; type="application/octet-stream"; transfer-syntax={JPEG_LS}'
    assert choose(accept_ranges(str(OCTET_PARTS)), FRAMES) == OCTET_PARTS
