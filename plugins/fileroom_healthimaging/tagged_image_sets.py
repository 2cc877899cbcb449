"""Image sets as the service has them: their properties, metadata, updates; errors are those of service_errors."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .service_errors import service_errors

Properties = Mapping[str, Any]  # as GetImageSet answers

_ATTEMPTS = 5  # of one request, by botocore, with growing pauses where it is throttled


@dataclass(frozen=True, slots=True)
class CurrentImageSet:
    """An image set at its latest version: what GetImageSet says of it, and its metadata document."""

    datastore_id: str
    image_set_id: str
    version: int
    properties: Properties
    document: bytes  # of JSON, compressed by gzip


# Has the index take an image set in; told the same again it changes nothing. Raises StorageUnavailable.
Tell = Callable[[CurrentImageSet], None]


def service_client(service: str, *, region: str | None = None, endpoint_url: str | None = None) -> Any:
    """A client of boto3, configured as any tool of AWS is where nothing is given. Raises NoAccess."""
    import boto3  # takes half a second, which other commands do without
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=10,
        read_timeout=60,
        # botocore puts "runtime-" before the host, which no other endpoint has; None leaves that to the environment
        inject_host_prefix=False if endpoint_url else None,
    )
    with service_errors(f"the client of {service}"):
        return boto3.client(service, region_name=region, endpoint_url=endpoint_url, config=config)


class TaggedImageSets:
    """The image sets of any data store, by a boto3 client for `medical-imaging`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def properties(self, datastore_id: str, image_set_id: str, version: int | None = None) -> Properties:
        """Of the latest version, or of one."""
        of_version = {} if version is None else {"versionId": str(version)}
        with service_errors("GetImageSet"):
            found: Properties = self._client.get_image_set(
                datastoreId=datastore_id, imageSetId=image_set_id, **of_version
            )
        return found

    def document(self, datastore_id: str, image_set_id: str, version: int) -> bytes:
        with service_errors("GetImageSetMetadata"):
            answer = self._client.get_image_set_metadata(
                datastoreId=datastore_id, imageSetId=image_set_id, versionId=str(version)
            )
            found: bytes = answer["imageSetMetadataBlob"].read()
        return found

    def current(self, datastore_id: str, image_set_id: str) -> CurrentImageSet:
        properties = self.properties(datastore_id, image_set_id)
        version = int(properties["versionId"])
        document = self.document(datastore_id, image_set_id, version)
        return CurrentImageSet(datastore_id, image_set_id, version, properties, document)

    def of_series(self, datastore_id: str, series_instance_uid: str) -> Iterator[tuple[str, bool]]:
        """The IDs of the image sets of a series, each with whether it is primary."""
        criteria = {"filters": [{"operator": "EQUAL", "values": [{"DICOMSeriesInstanceUID": series_instance_uid}]}]}
        with service_errors("SearchImageSets"):
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
        Raises VersionConflict where there is a later version, or another operation has locked it.
        """
        with service_errors("UpdateImageSetMetadata"):
            answer = self._client.update_image_set_metadata(
                datastoreId=datastore_id,
                imageSetId=image_set_id,
                latestVersionId=str(latest_version),
                updateImageSetMetadataUpdates={"DICOMUpdates": {"updatableAttributes": updatable_attributes}},
                **({"force": True} if forced else {}),
                **({"includeStudyImageSets": True} if with_study else {}),
            )
        return int(answer["latestVersionId"])
