"""What AWS HealthImaging is asked of image sets."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .aws import AwsClients
from .aws_errors import AwsNotFound, AwsUnavailable, translated
from .image_set_version import DELETED, ImageSetName, ImageSetVersion
from .invalid_document import InvalidDocument
from .json_text import MAXIMUM_SIZE

_PAGE = 50  # the most that SearchImageSets and ListImageSetVersions give at once
_CHUNK = 1 << 20
_ATTEMPTS_AT_A_BODY = 3
_PAUSE = 0.2  # seconds


@dataclass(frozen=True, slots=True)
class FoundImageSet:
    """One that the service has in a data store."""

    name: ImageSetName
    version_id: int


class ImageSetService:
    """Any thread may ask. What is asked raises AwsError, Boto3Missing."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    def image_sets(self, datastore_id: str) -> Iterator[FoundImageSet]:
        """All of a data store that are not deleted, in pages; those that are changed meanwhile may come twice."""
        token: dict[str, str] = {}
        while True:
            with translated(f"the list of image sets of data store {datastore_id}"):
                answer = self._clients.medical_imaging.search_image_sets(
                    datastoreId=datastore_id, maxResults=_PAGE, **token
                )
            for one in answer["imageSetsMetadataSummaries"]:
                yield FoundImageSet(ImageSetName(datastore_id, one["imageSetId"]), int(one.get("version", 1)))
            if "nextToken" not in answer:
                return
            token = {"nextToken": answer["nextToken"]}

    def latest(self, name: ImageSetName) -> ImageSetVersion | None:
        """The latest version, with its document unless it is deleted; None where the data store has no such image set.

        Raises InvalidDocument for one that is too large, AwsNotFound where there is no such data store.
        """
        version = self._properties(name)
        if version is None or version.state == DELETED:
            return version
        try:
            return replace(version, document=self._document(name, str(version.version_id)))
        except AwsNotFound:
            # it was deleted since
            version = self._properties(name)
            if version is None or version.state == DELETED:
                return version
            raise

    def check_datastore(self, datastore_id: str) -> None:
        """Raises AwsNotFound where there is no such data store, in this region."""
        with translated(f"data store {datastore_id}"):
            self._clients.medical_imaging.get_datastore(datastoreId=datastore_id)

    def versions(self, name: ImageSetName) -> list[ImageSetVersion]:
        """All versions without their documents, oldest first; none where the service tells of none any more."""
        found: list[ImageSetVersion] = []
        token: dict[str, str] = {}
        while True:
            try:
                with translated(f"the versions of image set {name}"):
                    client = self._clients.medical_imaging
                    answer = client.list_image_set_versions(**_parameters(name), maxResults=_PAGE, **token)
            except AwsNotFound:
                return []  # it is deleted
            # the model writes it with a capital here, and only here
            found += [
                _version(name, told, told.get("ImageSetWorkflowStatus")) for told in answer["imageSetPropertiesList"]
            ]
            if "nextToken" not in answer:
                return sorted(found, key=lambda version: version.version_id or 0)
            token = {"nextToken": answer["nextToken"]}

    def frame(self, name: ImageSetName, image_frame_id: str, maximum_size: int) -> bytes:
        """One frame as the service has it. Raises InvalidDocument for one of more than `maximum_size` bytes."""

        def ask() -> Any:
            client = self._clients.medical_imaging
            asked = {"imageFrameId": image_frame_id}
            return client.get_image_frame(**_parameters(name), imageFrameInformation=asked)["imageFrameBlob"]

        return _whole(f"frame {image_frame_id} of image set {name}", ask, maximum_size)

    def _properties(self, name: ImageSetName) -> ImageSetVersion | None:
        try:
            with translated(f"image set {name}"):
                told = self._clients.medical_imaging.get_image_set(**_parameters(name))
        except AwsNotFound:
            # in another region nothing is there, which says nothing
            self.check_datastore(name.datastore_id)
            return None
        return _version(name, told, told.get("imageSetWorkflowStatus"))

    def _document(self, name: ImageSetName, version_id: str) -> bytes:
        def ask() -> Any:
            client = self._clients.medical_imaging
            return client.get_image_set_metadata(**_parameters(name), versionId=version_id)["imageSetMetadataBlob"]

        return _whole(f"the metadata of image set {name}", ask, MAXIMUM_SIZE)


def _whole(what: str, ask: Callable[[], Any], maximum_size: int) -> bytes:
    """The body of an answer, asked for again where it breaks off: botocore tries again only until the body begins."""
    for attempt in range(_ATTEMPTS_AT_A_BODY):
        with translated(what):
            stream = ask()
        try:
            with translated(what):
                return _body(stream, maximum_size)
        except AwsUnavailable:
            if attempt + 1 == _ATTEMPTS_AT_A_BODY:
                raise
            time.sleep(_PAUSE * 2**attempt)
    raise AssertionError  # the last attempt has returned or raised


def _body(stream: Any, maximum_size: int) -> bytes:
    """All of an answer's body; botocore raises where there is less than was announced."""
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in stream.iter_chunks(_CHUNK):
            size += len(piece)
            if size > maximum_size:
                raise InvalidDocument("", f"has more than {maximum_size >> 20} MiB")
            pieces.append(piece)
    finally:
        stream.close()
    return b"".join(pieces)


def _parameters(name: ImageSetName) -> dict[str, str]:
    return {"datastoreId": name.datastore_id, "imageSetId": name.image_set_id}


def _version(name: ImageSetName, told: dict[str, Any], workflow_status: str | None) -> ImageSetVersion:
    moments: dict[str, datetime | None] = {key: told.get(key) for key in ("createdAt", "updatedAt", "deletedAt")}
    return ImageSetVersion(
        name.datastore_id,
        name.image_set_id,
        int(told["versionId"]),
        told["imageSetState"],
        workflow_status,
        told.get("isPrimary"),
        told.get("storageTier"),
        moments["createdAt"],
        moments["updatedAt"],
        moments["deletedAt"],
        told.get("message"),
    )
