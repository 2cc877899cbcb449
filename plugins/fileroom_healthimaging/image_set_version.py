"""A version of an image set, as whoever tells of it knows it."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

ACTIVE, LOCKED, DELETED = "ACTIVE", "LOCKED", "DELETED"  # API reference of GetImageSet, imageSetState


class ImageSetName(NamedTuple):
    """What an image set is found by in the service."""

    datastore_id: str
    image_set_id: str

    def __str__(self) -> str:
        return f"{self.datastore_id}/{self.image_set_id}"


@dataclass(frozen=True, slots=True)
class ImageSetVersion:
    """None is what is not known: a document that came as a file says nothing of its version.

    `document` is its metadata as it came, JSON or JSON compressed by gzip. Times have a zone.
    """

    datastore_id: str
    image_set_id: str
    version_id: int | None
    state: str = ACTIVE
    workflow_status: str | None = None
    is_primary: bool | None = None
    storage_tier: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    message: str | None = None
    document: bytes | None = None

    @property
    def name(self) -> ImageSetName:
        return ImageSetName(self.datastore_id, self.image_set_id)
