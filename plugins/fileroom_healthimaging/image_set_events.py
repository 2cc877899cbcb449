"""Events of HealthImaging as EventBridge puts them into a queue (developer guide, "Using Amazon EventBridge")."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from .document import IDENTIFIER
from .image_set_version import ImageSetName

_SOURCE = "aws.medical-imaging"
_OF_IMAGE_SETS = "Image Set "
# what has only begun: another event tells how it ended
_BEGUN = ("ing", "Copying With Read Only Access")


class InvalidEvent(Exception):
    """A message that is no event of HealthImaging; the text holds nothing of it."""


@dataclass(frozen=True, slots=True)
class ImageSetEvent:
    """Something has become of an image set; what, is asked of the service, for events come late and out of order."""

    name: ImageSetName
    version_id: int | None
    kind: str  # "Created", "Copied", "Updated", "Deleted", "Update Failed", …


def read_event(body: str) -> ImageSetEvent | None:
    """None for an event that says nothing of what an image set has become. Raises InvalidEvent."""
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidEvent("it is no JSON") from None
    if not isinstance(event, dict):
        raise InvalidEvent("it is no JSON object")
    if event.get("source") != _SOURCE:
        raise InvalidEvent(f"its source is not {_SOURCE}; look at the rule of EventBridge that fills the queue")
    kind = event.get("detail-type")
    detail = event.get("detail")
    if not isinstance(kind, str) or not isinstance(detail, dict):
        raise InvalidEvent("it has no detail-type or no detail")
    if not kind.startswith(_OF_IMAGE_SETS) or kind.endswith(_BEGUN):
        return None
    # the guide's page of events writes imagesetId, all else imageSetId
    name = ImageSetName(_identifier(detail, "datastoreId"), _identifier(detail, "imageSetId", "imagesetId"))
    return ImageSetEvent(name, _version_id(detail), kind.removeprefix(_OF_IMAGE_SETS))


def _identifier(detail: Mapping[str, Any], *keys: str) -> str:
    value = next((detail[key] for key in keys if key in detail), None)
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise InvalidEvent(f"its detail has no {keys[0]}")
    return value


def _version_id(detail: Mapping[str, Any]) -> int | None:
    value = detail.get("imageSetVersion")
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 else None
