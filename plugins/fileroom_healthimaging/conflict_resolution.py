"""Ending a conflict of two image sets in the service: one is promoted, copied into the other, or discarded."""

import time
from typing import Any

from fileroom_storage.plugin import Action, Actor, AuditEvent, EventId, StorageError

from .aws_errors import AwsNotFound, translated
from .image_set_conflicts import Conflict, ConflictState, Resolution
from .image_set_index import ImageSetIndex
from .image_set_version import DELETED, LOCKED, ImageSetName
from .intake import Status
from .tagged_image_sets import TaggedImageSets, TakeIn

_PATIENCE = 120.0  # seconds for the service to do what it has agreed to
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class CannotResolve(StorageError):
    """A conflict that is not open, or an image set that is none of its two, or what the service could not do."""


class ConflictResolver:
    """`client` is boto3's; `take` has the index take image sets in. Raises CannotResolve and AwsError.

    Where it is ended between the service's part and the index's, events tell of it, or the same is asked for again.
    """

    def __init__(self, client: Any, index: ImageSetIndex, take: TakeIn, actor: Actor) -> None:
        self._client = client
        self._image_sets = TaggedImageSets(client)
        self._index = index
        self._take = take
        self._actor = actor

    def resolve(self, pk: int, resolution: Resolution, image_set_id: str) -> ImageSetName:
        """Returns the image set that has come of it, or that is left; the conflict is resolved then, and audited."""
        conflict = self._open_conflict(pk)
        chosen, other = _chosen(conflict, image_set_id)
        if resolution is Resolution.DISCARD:
            self._discard(chosen)
            # before its cause is gone, so that how it has ended is kept
            self._resolved(conflict, resolution, chosen)
            self._taken(chosen, other)
            return other
        result = self._copied(chosen, other if resolution is Resolution.COPY else None)
        self._taken(chosen, other, result)
        self._resolved(conflict, resolution, chosen)
        return result

    def _open_conflict(self, pk: int) -> Conflict:
        for conflict in self._index.conflicts():
            if conflict.pk == pk:
                if conflict.state is not ConflictState.OPEN:
                    raise CannotResolve(f"conflict {pk} is not open: it is {conflict.state.value}")
                return conflict
        raise CannotResolve(f"there is no conflict {pk}; `fileroom healthimaging conflicts list --all` shows them")

    def _discard(self, name: ImageSetName) -> None:
        with translated("DeleteImageSet", quoting=True):
            self._client.delete_image_set(datastoreId=name.datastore_id, imageSetId=name.image_set_id)
        self._settled(name)

    def _copied(self, source: ImageSetName, into: ImageSetName | None) -> ImageSetName:
        """Into another, or into the primary image set of its series, which it becomes where there is none."""
        told: dict[str, Any] = {"sourceImageSet": {"latestVersionId": self._version_of(source)}}
        if into is not None:
            if into.datastore_id != source.datastore_id:
                raise CannotResolve("the two are in different data stores, and the service copies within one only")
            told["destinationImageSet"] = {
                "imageSetId": into.image_set_id,
                "latestVersionId": self._version_of(into),
            }
        with translated("CopyImageSet", quoting=True):
            answer = self._client.copy_image_set(
                datastoreId=source.datastore_id,
                sourceImageSetId=source.image_set_id,
                copyImageSetInformation=told,
                **({"promoteToPrimary": True} if into is None else {}),
            )
        result = ImageSetName(source.datastore_id, answer["destinationImageSetProperties"]["imageSetId"])
        for name in (source, result):
            self._settled(name)
        return result

    def _version_of(self, name: ImageSetName) -> str:
        return str(self._image_sets.properties(*name)["versionId"])

    def _settled(self, name: ImageSetName) -> None:
        """Waits for the service to be done with an image set."""
        pause, deadline = _PAUSE, time.monotonic() + _PATIENCE
        while True:
            try:
                told = self._image_sets.properties(*name)
            except AwsNotFound:
                return
            if told["imageSetState"] != LOCKED:
                break
            if time.monotonic() > deadline:
                raise CannotResolve(f"the service is still at image set {name}; look at the conflict again later")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        status = str(told.get("imageSetWorkflowStatus", ""))
        if told["imageSetState"] != DELETED and status.endswith("FAILED"):
            raise CannotResolve(f"the service could not do it: {status} of image set {name}: {told.get('message', '')}")

    def _taken(self, *names: ImageSetName) -> None:
        for name, taken in self._take(dict.fromkeys(names)).items():
            if taken.status is not Status.TAKEN:
                raise CannotResolve(
                    f"the service has done it, but image set {name} could not be indexed ({taken.reason}); "
                    f"import it: fileroom healthimaging import datastore:{name}"
                )

    def _resolved(self, conflict: Conflict, resolution: Resolution, chosen: ImageSetName) -> None:
        event = AuditEvent(
            EventId.DICOM_INSTANCES_ACCESSED,
            Action.DELETE if resolution is Resolution.DISCARD else Action.UPDATE,
            self._actor,
            detail={
                "conflict": conflict.pk,
                "resolution": resolution.value,
                "datastore": chosen.datastore_id,
                "image_set_id": chosen.image_set_id,
                "series_instance_uid": conflict.series_instance_uid,
            },
        )
        self._index.resolve(conflict.pk, resolution, [event])


def _chosen(conflict: Conflict, image_set_id: str) -> tuple[ImageSetName, ImageSetName]:
    """The one that something is done with, and the other."""
    both = (conflict.first, conflict.second)
    for chosen, other in (both, both[::-1]):
        if image_set_id in (chosen.image_set_id, str(chosen)):
            return chosen, other
    raise CannotResolve(f"conflict {conflict.pk} is between image sets {both[0]} and {both[1]}; name one of them")
