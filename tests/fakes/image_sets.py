"""Data stores and image sets of the fake service: versions, states, which image set is primary, frames, events."""

import copy
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from tests.fakes.image_set_events import ACCOUNT, ImageSetEvents
from tests.fakes.image_set_metadata import Document, agree, levels, merged, only_series, study_instance_uid
from tests.fakes.wire import ServiceError

Step = Callable[[], None]


class Clock:
    """The time, always a millisecond or more later than when it was last asked."""

    def __init__(self) -> None:
        self._last = datetime.fromtimestamp(0, UTC)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            told = datetime.now(UTC)
            told = told.replace(microsecond=told.microsecond // 1000 * 1000)
            self._last = max(told, self._last + timedelta(milliseconds=1))
            return self._last


@dataclass(frozen=True)
class Version:
    """One version of an image set; a new state of it is a new value in its place."""

    number: int
    state: str
    workflow: str
    document: Document
    is_primary: bool
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    message: str | None = None
    forced: bool | None = None


@dataclass
class ImageSet:
    """An image set; the last of its versions is the one that counts."""

    datastore_id: str
    image_set_id: str
    versions: list[Version]
    frames: dict[str, bytes]
    storage_tier: str = "FREQUENT_ACCESS"
    last_accessed_at: datetime | None = None
    source_arn: str | None = None

    @property
    def latest(self) -> Version:
        return self.versions[-1]

    @property
    def active(self) -> bool:
        return self.latest.state != "DELETED"

    def version(self, number: str | None) -> Version:
        for version in self.versions:
            if number is None or version.number == int(number):
                return self.latest if number is None else version
        raise ServiceError("ResourceNotFoundException", "the image set has no such version")


@dataclass
class Datastore:
    """A data store with its image sets."""

    datastore_id: str
    name: str
    created_at: datetime
    updated_at: datetime
    lossless_storage_format: str = "HTJ2K"
    status: str = "ACTIVE"
    image_sets: dict[str, ImageSet] = field(default_factory=dict)


class Transitions:
    """What the service goes on doing after it has answered: at once, or step by step when a test says so."""

    def __init__(self) -> None:
        self.held = False
        self._pending: list[Iterator[None]] = []
        self._fails: list[str] = []
        self.lock = threading.RLock()

    def begin(self, steps: Iterator[None]) -> None:
        """Take up work that goes on at each `next`."""
        with self.lock:
            if self.held:
                self._pending.append(steps)
            else:
                self._exhaust(steps)

    def advance(self) -> None:
        """Let all pending work go one step on."""
        with self.lock:
            self._pending = [steps for steps in self._pending if next(steps, self) is None]

    def finish(self) -> None:
        """Do what is pending to its end, and no longer hold."""
        with self.lock:
            self.held = False
            pending, self._pending = self._pending, []
            for steps in pending:
                self._exhaust(steps)

    def fail_next(self, message: str) -> None:
        """Let the next update, copy or import job fail with this message."""
        self._fails.append(message)

    def failure(self) -> str | None:
        """The message with which the work that asks has to fail."""
        return self._fails.pop(0) if self._fails else None

    @staticmethod
    def _exhaust(steps: Iterator[None]) -> None:
        for _ in steps:
            pass


class ImageSets:
    """All data stores; a test looks into them and puts image sets in, the service's operations work on them."""

    def __init__(self, events: ImageSetEvents) -> None:
        self.clock = Clock()
        self.events = events
        self.transitions = Transitions()
        self.datastores: dict[str, Datastore] = {}
        self.tags: dict[str, dict[str, str]] = {}

    @property
    def lock(self) -> threading.RLock:
        """The service does one thing at a time."""
        return self.transitions.lock

    def arn(self, datastore_id: str, image_set_id: str | None = None) -> str:
        below = "" if image_set_id is None else f"/imageset/{image_set_id}"
        return f"arn:aws:medical-imaging:{self.events.region}:{ACCOUNT}:datastore/{datastore_id}{below}"

    def create_datastore(
        self, name: str = "store", lossless_storage_format: str = "HTJ2K", datastore_id: str | None = None
    ) -> Datastore:
        """A new empty data store."""
        now = self.clock.now()
        store = Datastore(datastore_id or uuid.uuid4().hex, name, now, now, lossless_storage_format)
        with self.lock:
            self.datastores[store.datastore_id] = store
        self._publish_datastore("Data Store Creating", store, "CREATING")
        self._publish_datastore("Data Store Created", store, "ACTIVE")
        return store

    def delete_datastore(self, store: Datastore) -> None:
        if any(one.active for one in store.image_sets.values()):
            raise ServiceError("ConflictException", "the data store is not empty")
        store.status, store.updated_at = "DELETED", self.clock.now()
        self._publish_datastore("Data Store Deleting", store, "DELETING")
        self._publish_datastore("Data Store Deleted", store, "DELETED")

    def datastore(self, datastore_id: str) -> Datastore:
        store = self.datastores.get(datastore_id)
        if store is None or store.status == "DELETED":
            raise ServiceError("ResourceNotFoundException", "there is no such data store")
        return store

    def image_set(self, datastore_id: str, image_set_id: str) -> ImageSet:
        image_set = self.datastore(datastore_id).image_sets.get(image_set_id)
        if image_set is None:
            raise ServiceError("ResourceNotFoundException", "there is no such image set")
        return image_set

    def writable(self, datastore_id: str, image_set_id: str, latest_version: str) -> ImageSet:
        """An image set that may be changed by somebody who knows it as it is."""
        image_set = self.image_set(datastore_id, image_set_id)
        if image_set.latest.state == "DELETED":
            raise ServiceError("ResourceNotFoundException", "the image set is deleted")
        if image_set.latest.state == "LOCKED":
            raise ServiceError("ConflictException", "the image set is LOCKED by another operation")
        if image_set.latest.number != int(latest_version):
            raise ServiceError("ConflictException", "latestVersionId is not the latest version")
        return image_set

    def add(
        self,
        datastore_id: str,
        document: Document,
        frames: Mapping[str, bytes],
        *,
        image_set_id: str | None = None,
        is_primary: bool | None = None,
    ) -> ImageSet:
        """Put a new image set in; it is primary if its series is so nowhere else and it agrees with its study."""
        with self.lock:
            store = self.datastore(datastore_id)
            primary = self.may_be_primary(store, document) if is_primary is None else is_primary
            created = self.new(
                store, document, frames, "ACTIVE", "CREATED", is_primary=primary, image_set_id=image_set_id
            )
            self.publish(created, "Image Set Created")
            return created

    def import_series(self, store: Datastore, document: Document, frames: Mapping[str, bytes]) -> ImageSet:
        """What an import does with a series: it joins the primary image set that it agrees with, or is a new one."""
        with self.lock:
            uid, _ = only_series(document)
            home = self.primary_of(store, uid)
            if home is None or not agree(home.latest.document, document) or home.latest.state != "ACTIVE":
                return self.add(store.datastore_id, document, frames)
            home.frames.update(frames)
            self.next_version(home, "ACTIVE", "UPDATED", document=merged(home.latest.document, document))
            self.publish(home, "Image Set Updated")
            return home

    def new(
        self,
        store: Datastore,
        document: Document,
        frames: Mapping[str, bytes],
        state: str,
        workflow: str,
        *,
        is_primary: bool,
        image_set_id: str | None = None,
    ) -> ImageSet:
        """A new image set of one version, of which no event tells yet."""
        image_set_id = image_set_id or uuid.uuid4().hex
        now = self.clock.now()
        own = self._named(document, store.datastore_id, image_set_id)
        first = Version(1, state, workflow, own, is_primary, now, now)
        image_set = ImageSet(store.datastore_id, image_set_id, [first], dict(frames))
        store.image_sets[image_set_id] = image_set
        return image_set

    def next_version(
        self, image_set: ImageSet, state: str, workflow: str, *, document: Document, forced: bool | None = None
    ) -> None:
        """Give an image set a new version."""
        own = self._named(document, image_set.datastore_id, image_set.image_set_id)
        image_set.versions.append(
            replace(
                image_set.latest,
                number=image_set.latest.number + 1,
                state=state,
                workflow=workflow,
                document=own,
                updated_at=self.clock.now(),
                message=None,
                forced=forced,
            )
        )

    def put_document(self, image_set: ImageSet, document: Document) -> None:
        """Give the latest version of an image set, which is LOCKED, its contents."""
        own = self._named(document, image_set.datastore_id, image_set.image_set_id)
        image_set.versions[-1] = replace(image_set.latest, document=own)

    def become(self, image_set: ImageSet, state: str, workflow: str, message: str | None = None) -> None:
        """Give the latest version of an image set another state."""
        now = self.clock.now()
        deleted_at = now if state == "DELETED" else None
        image_set.versions[-1] = replace(
            image_set.latest, state=state, workflow=workflow, updated_at=now, deleted_at=deleted_at, message=message
        )

    @staticmethod
    def _named(document: Document, datastore_id: str, image_set_id: str) -> Document:
        return {**copy.deepcopy(document), "DatastoreID": datastore_id, "ImageSetID": image_set_id}

    def primaries(self, store: Datastore) -> Iterator[ImageSet]:
        return (one for one in store.image_sets.values() if one.active and one.latest.is_primary)

    def primary_of(self, store: Datastore, series_instance_uid: str) -> ImageSet | None:
        """The primary image set of a series."""
        found = (one for one in self.primaries(store) if only_series(one.latest.document)[0] == series_instance_uid)
        return next(found, None)

    def may_be_primary(self, store: Datastore, document: Document) -> bool:
        """Whether nothing primary has the same series, or tells otherwise of patient and study."""
        uid, _ = only_series(document)
        study = study_instance_uid(document)
        others = [one.latest.document for one in self.primaries(store)]
        return self.primary_of(store, uid) is None and all(
            levels(other) == levels(document) for other in others if study_instance_uid(other) == study
        )

    def publish(self, image_set: ImageSet, detail_type: str) -> None:
        """Tell of an image set as it is now. The page of AWS writes `imagesetId`, with a small s."""
        latest = image_set.latest
        detail: dict[str, object] = {
            "isPrimary": latest.is_primary,
            "imageSetVersion": str(latest.number),
            "datastoreId": image_set.datastore_id,
            "imagesetId": image_set.image_set_id,
            "imageSetState": latest.state,
            "imageSetWorkflowStatus": latest.workflow,
        }
        if detail_type == "Image Set Copying" and image_set.source_arn is not None:
            detail["sourceImageSetArn"] = image_set.source_arn
        self.events.publish(detail_type, self.arn(image_set.datastore_id, image_set.image_set_id), detail)

    def _publish_datastore(self, detail_type: str, store: Datastore, status: str) -> None:
        detail = {"datastoreId": store.datastore_id, "datastoreName": store.name, "datastoreStatus": status}
        self.events.publish(detail_type, self.arn(store.datastore_id), detail)
