"""Image sets as the service has them: their properties, metadata, updates; errors are those of aws_errors."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .aws_errors import translated
from .due_work import NotYet
from .image_set_version import ImageSetName
from .intake import Status, Taken

_log = logging.getLogger(__name__)

Properties = Mapping[str, Any]  # as GetImageSet answers

# Has the index take image sets in as the service has them then, each with a version that it has at least: Intake.take.
TakeIn = Callable[[Mapping[ImageSetName, int | None]], Mapping[ImageSetName, Taken]]


def take_in(take: TakeIn, versions: Mapping[ImageSetName, int | None]) -> None:
    """Returns once the index has them. Raises NotYet where the service or the index is away."""
    for name, taken in take(versions).items():
        if taken.status is Status.UNAVAILABLE:
            raise NotYet(taken.reason)
        if taken.status is Status.UNUSABLE:
            _log.warning("image set %s cannot be taken into the index: %s", name, taken.reason)


class TaggedImageSets:
    """The image sets of any data store, by a boto3 client for `medical-imaging`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def properties(self, datastore_id: str, image_set_id: str, version: int | None = None) -> Properties:
        """Of the latest version, or of one."""
        of_version = {} if version is None else {"versionId": str(version)}
        with translated("GetImageSet", quoting=True):
            found: Properties = self._client.get_image_set(
                datastoreId=datastore_id, imageSetId=image_set_id, **of_version
            )
        return found

    def document(self, datastore_id: str, image_set_id: str, version: int) -> bytes:
        with translated("GetImageSetMetadata", quoting=True):
            answer = self._client.get_image_set_metadata(
                datastoreId=datastore_id, imageSetId=image_set_id, versionId=str(version)
            )
            found: bytes = answer["imageSetMetadataBlob"].read()
        return found

    def of_series(self, datastore_id: str, series_instance_uid: str) -> Iterator[tuple[str, bool]]:
        """The IDs of the image sets of a series, each with whether it is primary."""
        criteria = {"filters": [{"operator": "EQUAL", "values": [{"DICOMSeriesInstanceUID": series_instance_uid}]}]}
        with translated("SearchImageSets", quoting=True):
            pages = self._client.get_paginator("search_image_sets").paginate(
                datastoreId=datastore_id, searchCriteria=criteria
            )
            for page in pages:
                for one in page["imageSetsMetadataSummaries"]:
                    yield one["imageSetId"], bool(one.get("isPrimary"))

    def update(
        self,
        datastore_id: str,
        image_set_id: str,
        latest_version: int,
        updatable_attributes: bytes,
        *,
        forced: bool,
        with_study: bool,
    ) -> int:
        """Begins an update of the version that is the latest; returns the version that it makes.

        `with_study` has the other image sets of the study get the same attributes of the study.
        Raises AwsConflict where there is a later version, or another operation has locked it.
        """
        with translated("UpdateImageSetMetadata", quoting=True):
            answer = self._client.update_image_set_metadata(
                datastoreId=datastore_id,
                imageSetId=image_set_id,
                latestVersionId=str(latest_version),
                updateImageSetMetadataUpdates={"DICOMUpdates": {"updatableAttributes": updatable_attributes}},
                **({"force": True} if forced else {}),
                **({"includeStudyImageSets": True} if with_study else {}),
            )
        return int(answer["latestVersionId"])
