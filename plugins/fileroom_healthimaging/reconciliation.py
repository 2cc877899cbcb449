"""The service's own list of image sets, held against the index: what events missed, and what there was before them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from threading import Event

from fileroom_storage.plugin import StorageUnavailable

from .image_set_index import ImageSetIndex
from .image_set_service import ImageSetService
from .image_set_version import ImageSetName
from .intake import BATCH, Intake, Status, Taken


@dataclass(slots=True)
class Reconciled:
    """Of a data store: image sets that the service lists, and of those that were asked for what became of each kind."""

    listed: int = 0
    taken: int = 0
    gone: int = 0  # the index had them, the service's list does not
    failures: dict[str, str] = field(default_factory=dict)  # the reason, by name

    @property
    def differed(self) -> int:
        return self.taken + len(self.failures)


Progress = Callable[[Reconciled], None]


class Reconciliation:
    """Nothing is taken for gone unless the whole list was had, and the service itself says so of it."""

    def __init__(self, service: ImageSetService, index: ImageSetIndex, intake: Intake, stopping: Event) -> None:
        self._service = service
        self._index = index
        self._intake = intake
        self._stopping = stopping

    def run(self, datastore_id: str, progress: Progress | None = None) -> Reconciled:
        """Raises AwsError, StorageUnavailable; what was taken until then is durable."""
        known = dict(self._index.known_versions(datastore_id))
        seen: set[str] = set()
        done = Reconciled()

        def told(taken: dict[ImageSetName, Taken]) -> None:
            for name, one in taken.items():
                if one.status is Status.TAKEN:
                    done.taken += 1
                else:
                    done.failures[str(name)] = one.reason
            if progress is not None:
                progress(done)

        def differing() -> Iterator[tuple[ImageSetName, int | None]]:
            for found in self._service.image_sets(datastore_id):
                if found.name.image_set_id in seen:
                    continue
                seen.add(found.name.image_set_id)
                done.listed += 1
                if known.get(found.name.image_set_id) != found.version_id:
                    yield found.name, found.version_id

        for page in _pages(differing()):
            self._check()
            told(self._intake.take(dict(page)))
        gone = [(ImageSetName(datastore_id, one), known[one]) for one in sorted(known.keys() - seen)]
        done.gone = len(gone)
        for page in _pages(iter(gone)):
            self._check()
            told(self._intake.take(dict(page)))
        if progress is not None:
            progress(done)
        return done

    def _check(self) -> None:
        if self._stopping.is_set():
            raise StorageUnavailable("the reconciliation was ended before it was done; it begins anew next time")


def _pages(
    names: Iterator[tuple[ImageSetName, int | None]],
) -> Iterator[Sequence[tuple[ImageSetName, int | None]]]:
    while page := list(islice(names, BATCH)):
        yield page
