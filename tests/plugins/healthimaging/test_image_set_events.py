"""Events as they stand in the queue."""

import json
from typing import Any

import pytest

from fileroom_healthimaging.image_set_events import ImageSetEvent, InvalidEvent, read_event
from fileroom_healthimaging.image_set_version import ImageSetName
from tests.fakes.image_set_events import ImageSetEvents

STORE, IMAGE_SET = "1" * 32, "2" * 32
DETAIL = {"datastoreId": STORE, "imagesetId": IMAGE_SET, "imageSetVersion": "3", "imageSetState": "ACTIVE"}


def event(detail_type: str = "Image Set Updated", **detail: Any) -> str:
    """As the fake of the service makes it."""
    events = ImageSetEvents("us-east-1")
    events.publish(detail_type, "arn:aws:medical-imaging:us-east-1:111122223333:datastore/1", {**DETAIL, **detail})
    return json.dumps(events.sent[0])


@pytest.mark.parametrize("kind", ["Created", "Copied", "Updated", "Deleted", "Update Failed", "Copy Failed"])
def test_read(kind: str) -> None:
    assert read_event(event(f"Image Set {kind}")) == ImageSetEvent(ImageSetName(STORE, IMAGE_SET), 3, kind)


def test_both_spellings_of_the_image_set() -> None:
    other = json.loads(event())
    other["detail"]["imageSetId"] = other["detail"].pop("imagesetId")
    assert read_event(json.dumps(other)) == read_event(event())


@pytest.mark.parametrize("version", ["", "x", None, True, "-1", "9" * 20, []])
def test_version_that_is_none(version: object) -> None:
    read = read_event(event(imageSetVersion=version))
    assert read is not None
    assert read.version_id is None


@pytest.mark.parametrize(
    "kind",
    [
        "Image Set Creating",
        "Image Set Copying",
        "Image Set Copying With Read Only Access",
        "Image Set Updating",
        "Image Set Deleting",
        "Data Store Created",
        "Import Job Completed",
    ],
)
def test_what_has_only_begun_or_is_of_something_else(kind: str) -> None:
    assert read_event(event(kind)) is None


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ("{}", "source"),
        ('{"source": "aws.s3"}', "source"),
        ('{"source": "aws.medical-imaging"}', "detail-type"),
        ('{"source": "aws.medical-imaging", "detail-type": "Image Set Created", "detail": {}}', "datastoreId"),
        (event(imagesetId="../../etc"), "imageSetId"),
        (event(datastoreId=5), "datastoreId"),
    ],
)
def test_no_event(body: str, what: str) -> None:
    with pytest.raises(InvalidEvent, match=what):
        read_event(body)
