"""Whether fileroom can commit to having an instance: a look at its row and at its object, as they are on the disk."""

import logging
import os
from collections.abc import Sequence
from enum import Enum, auto

from .errors import ObjectMissing
from .index.commitments import Reference
from .objects import ObjectStore, content_digest
from .query.locate import StoredInstance
from .query.reader import IndexReader

_log = logging.getLogger(__name__)

_PAGE = 500


class NotCommitted(Enum):
    """Why there is no commitment to an instance."""

    NOT_STORED = auto()
    OTHER_SOP_CLASS = auto()
    ELSEWHERE = auto()  # its pixels are with somebody else, who may give them up
    LOST = auto()  # the index has it, the object store has it no more, or not as it came in


class CommitmentVerifier:
    """`sync`: what came in was not written to the disk yet for sure, so that is done here.

    `objects` has to be a store that syncs folders when it is asked to.
    """

    def __init__(self, objects: ObjectStore, index: IndexReader, *, sync: bool) -> None:
        self._objects = objects
        self._index = index
        self._sync = sync

    def verify(self, references: Sequence[Reference], *, read: bool) -> list[NotCommitted | None]:
        """For each reference why not, or None; with `read` every byte is compared. Raises StorageUnavailable."""
        found: list[NotCommitted | None] = []
        for start in range(0, len(references), _PAGE):
            found += self._verify_page(references[start : start + _PAGE], read)
        return found

    def _verify_page(self, references: Sequence[Reference], read: bool) -> list[NotCommitted | None]:
        wanted = "\\".join(reference.sop_instance_uid for reference in references)
        stored = {one.sop_instance_uid: one for one in self._index.locate({"SOPInstanceUID": wanted})}
        whole = {uid for uid, instance in stored.items() if self._is_whole(instance, read)}
        if self._sync:
            self._objects.sync_folders(stored[uid].location for uid in whole)
        return [self._judged(reference, stored.get(reference.sop_instance_uid), whole) for reference in references]

    @staticmethod
    def _judged(reference: Reference, instance: StoredInstance | None, whole: set[str]) -> NotCommitted | None:
        if instance is None:
            return NotCommitted.NOT_STORED
        if instance.sop_class_uid != reference.sop_class_uid:
            return NotCommitted.OTHER_SOP_CLASS
        if instance.origin is not None:
            return NotCommitted.ELSEWHERE
        return None if reference.sop_instance_uid in whole else NotCommitted.LOST

    def _is_whole(self, instance: StoredInstance, read: bool) -> bool:
        try:
            with self._objects.open_stretches(instance.location) as file:
                if file.size != instance.size:
                    _log.error("%s is not as long as it was when it came in; run `fileroom check`", instance.location)
                    return False
                if self._sync:
                    os.fsync(file.fileno())
            if not read or self._digest(instance) == instance.digest:
                return True
            _log.error("%s has other bytes than came in; run `fileroom check --verify`", instance.location)
        except ObjectMissing:
            _log.error("%s is lost; run `fileroom check`", instance.location)
        return False

    def _digest(self, instance: StoredInstance) -> str:
        return content_digest(self._objects, instance.location, instance.data_set_offset)
