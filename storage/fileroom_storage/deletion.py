"""Deleted objects until they are restored or purged: the index first, the bytes only when nothing can be undone."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .consistency import Checker
from .errors import ObjectMissing, StorageUnavailable, UnusableObject
from .events import Event, InstanceDeleted, InstanceStored
from .index.arrival import Arrival
from .index.audit.event import Actor
from .index.deletions import DeletedObject, Deletion, Retention
from .index.removal import RemovedInstance
from .index.scope import Scope
from .index.trash import Trash
from .objects import ObjectStore

_log = logging.getLogger(__name__)

_RESTORE_PAGE = 100  # objects in one transaction: short enough for receivers to come between
_PURGE_PAGE = 500


@dataclass(slots=True)
class Restoration:
    """What became of the objects of a deletion that was undone."""

    restored: int = 0
    already_stored: int = 0  # the same came in again meanwhile
    in_conflict: int = 0  # something else came in under the same UID meanwhile
    lost: int = 0  # the object store does not have them any more, or cannot read them


class Deleter:
    """Deletes, restores and purges objects of one index and one object store."""

    def __init__(
        self,
        objects: ObjectStore,
        trash: Trash,
        checker: Checker,
        retention: Retention,
        notify: Callable[[Event], None],
    ) -> None:
        self._objects = objects
        self._trash = trash
        self._checker = checker
        self._retention = retention
        self._notify = notify

    def delete(self, unique_keys: Mapping[str, str], actor: Actor | None = None, scope: Scope = None) -> Deletion:
        deletion, removed = self._trash.delete(unique_keys, actor, scope)
        self.tell_deleted(removed)
        if not self._retention.undo_time:
            try:
                self.purge(deletion.pk, actor)
            except StorageUnavailable as error:
                _log.warning("what was deleted is purged later: %s", error)
        return deletion

    def tell_deleted(self, removed: Sequence[RemovedInstance]) -> None:
        for gone in removed:
            self._notify(InstanceDeleted(gone.study_instance_uid, gone.series_instance_uid, gone.sop_instance_uid))

    def restore(self, pk: int, actor: Actor | None = None, scope: Scope = None) -> Restoration:
        """Brings back what can be brought back; cut short, it goes on where it was. Raises InstanceNotFound."""
        self._trash.begin_restoration(pk, actor, scope)
        restoration = Restoration()
        after = -1
        while page := self._trash.objects(pk, after, _RESTORE_PAGE):
            after = page[-1].pk
            for group in _of_different_instances(self._readable(page, restoration)):
                self._take_back(pk, group, restoration)
        self.tell_deleted(self._trash.end_restoration(pk))
        return restoration

    def _readable(
        self, page: Sequence[DeletedObject], restoration: Restoration
    ) -> Iterator[tuple[DeletedObject, Arrival]]:
        for kept in page:
            try:
                arrival = self._checker.arrival(kept.location)
            except (ObjectMissing, UnusableObject) as error:
                _log.warning("%s cannot be restored: %s", kept.location, error)
                restoration.lost += 1
                continue
            received_at = kept.received_at or arrival.received_at
            yield kept, replace(arrival, provenance=kept.provenance, received_at=received_at)

    def _take_back(self, pk: int, group: list[tuple[DeletedObject, Arrival]], restoration: Restoration) -> None:
        arrivals = [arrival for _, arrival in group]
        by_uid = {arrival.sop_instance_uid: arrival for arrival in arrivals}
        for uid, outcome in self._trash.take_back(pk, [kept for kept, _ in group], arrivals):
            if outcome.stored:
                restoration.restored += 1
                self._notify(
                    InstanceStored(
                        outcome.study_instance_uid, outcome.series_instance_uid, uid, by_uid[uid].sop_class_uid
                    )
                )
            elif outcome.conflicts:
                restoration.in_conflict += 1
            else:
                restoration.already_stored += 1

    def purge(self, pk: int, actor: Actor | None = None, *, only_expired: bool = False) -> int:
        """Removes the bytes of a deletion, then its record, so that nothing comes back; returns how many objects."""
        if not self._trash.claim_for_purge(pk, only_expired=only_expired, actor=actor):
            return 0
        purged = 0
        while True:
            page = self._trash.objects(pk, -1, _PURGE_PAGE)
            self._remove([kept.location for kept in page])
            self._trash.forget(pk, page)
            purged += len(page)
            if not page:
                return purged

    def purge_expired(self, actor: Actor | None = None) -> int:
        """Purges all whose undo time is over, and what a crash left of earlier purges; returns how many objects."""
        return sum(self.purge(pk, actor, only_expired=True) for pk in self._trash.expired())

    def _remove(self, locations: Sequence[str]) -> None:
        """Returns once the files are gone even after a power failure: without a row they would be adopted."""
        # nothing should refer to them; if something does, its bytes are worth more than the space
        unreferred = set(locations) - self._trash.referred_locations(locations)
        there = []
        for location in sorted(unreferred):
            try:
                self._objects.size(location)
            except ObjectMissing:
                continue
            self._objects.delete(location)
            there.append(location)
        self._objects.sync_folders(there)


def _of_different_instances(
    objects: Iterator[tuple[DeletedObject, Arrival]],
) -> Iterator[list[tuple[DeletedObject, Arrival]]]:
    """Groups in which no SOP Instance is twice: its second copy has to meet the first as a row."""
    group: list[tuple[DeletedObject, Arrival]] = []
    for kept, arrival in objects:
        if any(arrival.sop_instance_uid == other.sop_instance_uid for _, other in group):
            yield group
            group = []
        group.append((kept, arrival))
    if group:
        yield group
