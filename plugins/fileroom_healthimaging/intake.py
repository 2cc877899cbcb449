"""Image sets as the service has them now → the index; by events, by reconciliation and by import alike."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from threading import Event
from typing import Protocol

from fileroom_storage.plugin import StorageError, StorageUnavailable

from .aws_errors import AwsConflict, AwsNotAllowed, AwsNotFound
from .image_set_service import ImageSetService
from .image_set_version import DELETED, ImageSetName, ImageSetVersion
from .invalid_document import InvalidDocument
from .metrics import IMAGE_SETS, UNMEASURED, Measuring

_log = logging.getLogger(__name__)

BATCH = 40  # image sets of one transaction
_BATCH_SIZE = 64 << 20  # bytes of documents, compressed as they are, of one transaction


class Outcome(Protocol):
    """What became of a version that the index was told, as ImageSetIndex says it."""

    @property
    def error(self) -> str | None: ...
    @property
    def unusable(self) -> Sequence[str]: ...


class Index(Protocol):
    """Who takes versions of image sets: ImageSetIndex."""

    def tell(self, versions: Sequence[ImageSetVersion]) -> Sequence[Outcome]:
        """Takes all in one transaction, and returns once that is durable. Raises StorageUnavailable."""
        ...


class Status(StrEnum):
    TAKEN = "taken"  # it is durable
    UNAVAILABLE = "unavailable"  # something is away: the same may succeed later
    UNUSABLE = "unusable"  # it will not succeed until somebody has changed something


@dataclass(frozen=True, slots=True)
class Taken:
    status: Status
    reason: str = ""


class Intake:
    """Asks the service for several image sets at once. `stopping` lets it end before all are asked for."""

    def __init__(
        self,
        service: ImageSetService,
        index: Index,
        threads: int,
        stopping: Event,
        measuring: Measuring = UNMEASURED,
    ) -> None:
        self._service = service
        self._measuring = measuring
        self._index = index
        self._threads = threads
        self._stopping = stopping

    def take(self, told_versions: Mapping[ImageSetName, int | None]) -> dict[ImageSetName, Taken]:
        """What has become of each image set; of one that the service does not know any more, it is told as deleted.

        By name, with the version that somebody told of it, if any.
        """
        results: dict[ImageSetName, Taken] = {}
        with ThreadPoolExecutor(self._threads, thread_name_prefix="healthimaging") as pool:
            asked = {name: pool.submit(self._versions, name, version) for name, version in told_versions.items()}
            batch: list[ImageSetVersion] = []
            for name, future in asked.items():
                batch += _result(name, future, results)
                if is_full(batch):
                    results |= self._tell(batch)
                    batch = []
            results |= self._tell(batch)
        return self._counted(results)

    def tell(self, versions: Sequence[ImageSetVersion]) -> dict[ImageSetName, Taken]:
        """In one transaction; of several versions of an image set the last one decides what has become of it."""
        return self._counted(self._tell(versions))

    def _counted(self, results: dict[ImageSetName, Taken]) -> dict[ImageSetName, Taken]:
        for taken in results.values():
            self._measuring.count(IMAGE_SETS, taken.status)
        return results

    def _tell(self, versions: Sequence[ImageSetVersion]) -> dict[ImageSetName, Taken]:
        if not versions:
            return {}
        try:
            outcomes = self._index.tell(versions)
        except StorageUnavailable as error:
            return {version.name: Taken(Status.UNAVAILABLE, str(error)) for version in versions}
        for version, outcome in zip(versions, outcomes, strict=True):
            if outcome.unusable:
                number = len(outcome.unusable)
                _log.warning("image set %s: %d instances have no rows: %s", version.name, number, outcome.unusable[0])
        return {
            version.name: Taken(Status.TAKEN) if outcome.error is None else Taken(Status.UNUSABLE, outcome.error)
            for version, outcome in zip(versions, outcomes, strict=True)
        }

    def _versions(self, name: ImageSetName, told_version: int | None) -> list[ImageSetVersion]:
        """The latest version, and before it those that went before, for the history."""
        if self._stopping.is_set():
            raise StorageUnavailable("it was not asked for, as all is to end")
        version = self._service.latest(name)
        if version is None:
            return [ImageSetVersion(name.datastore_id, name.image_set_id, told_version, DELETED)]
        latest = version.version_id or 1
        before = self._service.versions(name) if latest > 1 else []
        return [*(one for one in before if (one.version_id or 0) < latest), version]


def is_full(batch: Sequence[ImageSetVersion]) -> bool:
    """Whether so much is one transaction."""
    return len(batch) >= BATCH or sum(len(version.document or b"") for version in batch) >= _BATCH_SIZE


def batches(versions: Iterator[ImageSetVersion]) -> Iterator[list[ImageSetVersion]]:
    """Each of a transaction's size, with no image set twice."""
    batch: list[ImageSetVersion] = []
    names: set[ImageSetName] = set()
    for version in versions:
        if version.name in names or is_full(batch):
            yield batch
            batch, names = [], set()
        batch.append(version)
        names.add(version.name)
    if batch:
        yield batch


def _result(
    name: ImageSetName, future: Future[list[ImageSetVersion]], results: dict[ImageSetName, Taken]
) -> list[ImageSetVersion]:
    try:
        return future.result()
    except (StorageUnavailable, AwsConflict, AwsNotAllowed, AwsNotFound) as error:
        # what the service does not tell of at all, or not now, is no fault of the image set
        results[name] = Taken(Status.UNAVAILABLE, str(error))
    except (StorageError, InvalidDocument) as error:
        results[name] = Taken(Status.UNUSABLE, str(error))
    return []
