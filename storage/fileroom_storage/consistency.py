"""Holds the index against the object store, both ways, and brings them together again."""

import hashlib
import logging
import mmap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice

from .errors import ObjectMissing, StorageError, UnusableObject
from .header_object import PREAMBLE_LENGTH, read_preamble
from .index.arrival import Arrival, Provenance, StoredObject, arrival_of, external_arrival, instance_uids
from .index.audit.event import SERVER, Action, Actor, EventId
from .index.audit.recorder import AuditLog
from .index.audit.transfer import Transfer
from .index.maintenance import Maintenance
from .index.trash import Trash
from .index.writer import utc_now
from .objects import ObjectStore, content_digest
from .parse.frames import frame_layout
from .parse.header import parse_header
from .parse.part10 import read_file_meta
from .query.inventory import IndexedObject
from .query.reader import IndexReader
from .receive import Receiver

_log = logging.getLogger(__name__)

_PAGE = 1000
_LEFT = "left as it is: "


class FindingKind(StrEnum):
    ORPHAN = "object without an index row"
    YOUNG = "object too young to have an index row for sure"
    MISSING = "index row without its object"
    WRONG_SIZE = "object with another size"
    WRONG_DIGEST = "object with other bytes"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong, and what was done about it (None: nothing)."""

    kind: FindingKind
    location: str
    sop_instance_uid: str | None
    repair: str | None = None

    @property
    def is_repaired(self) -> bool:
        return self.repair is not None and not self.repair.startswith(_LEFT)


class Checker:
    """Compares one index with one object store. `young` seconds: how long an object may wait for its row."""

    def __init__(
        self,
        objects: ObjectStore,
        index: IndexReader,
        maintenance: Maintenance,
        trash: Trash,
        receiver: Receiver,
        audit: AuditLog,
        young: float,
    ) -> None:
        self._objects = objects
        self._index = index
        self._maintenance = maintenance
        self._trash = trash
        self._receiver = receiver
        self._audit = audit
        self._young = young

    def check(
        self,
        *,
        repair: bool,
        verify: bool,
        actor: Actor | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Finding]:
        """All that is wrong. `repair` adopts orphans and drops rows whose object is gone; damaged objects stay."""
        with self._adoption(actor) if repair else nullcontext() as transfer:
            yield from self._findings(transfer, repair=repair, verify=verify, actor=actor, progress=progress)

    def _findings(
        self,
        transfer: Transfer | None,
        *,
        repair: bool,
        verify: bool,
        actor: Actor | None,
        progress: Callable[[int], None] | None,
    ) -> Iterator[Finding]:
        for seen, indexed in enumerate(self._index.objects(), 1):
            finding = self._compare(indexed, verify=verify)
            if finding is not None:
                yield self._repaired(finding, indexed, actor) if repair else finding
            if progress is not None:
                progress(seen)
        for location in self._without_row():
            if self._is_young(location):
                yield Finding(FindingKind.YOUNG, location, None)
            else:
                yield Finding(FindingKind.ORPHAN, location, None, self.adopt(location, transfer) if repair else None)

    def orphans(self, *, since: str = "") -> Iterator[str]:
        """Objects nothing refers to, of keys from `since` on; those just written may still be on their way."""
        return (location for location in self._without_row(since) if not self._is_young(location))

    def _without_row(self, since: str = "") -> Iterator[str]:
        keys = (key for key in self._objects.keys() if key >= since)  # noqa: SIM118  # a store, not a mapping
        while page := list(islice(keys, _PAGE)):
            yield from self._index.unknown_locations(page)

    def adopt_recent(self) -> int:
        """Adopts what a crash left without a row: it can only be as old as the last change of the index."""
        last = self._index.last_change()
        since = (last - timedelta(days=1)).strftime("%Y/%m/%d") if last else ""
        adopted = 0
        with self._adoption(None) as transfer:
            for location in self.orphans(since=since):
                self.adopt(location, transfer)
                adopted += 1
        return adopted

    @contextmanager
    def _adoption(self, actor: Actor | None) -> Iterator[Transfer | None]:
        """What the audit log is told of the orphans that are adopted meanwhile, and by whom."""
        event = (EventId.DICOM_INSTANCES_TRANSFERRED, Action.CREATE, {"by": "adoption"})
        transfer = self._audit.transfer(actor or SERVER, *event)
        try:
            yield transfer
        finally:
            if transfer is not None:
                transfer.end()

    def adopt(self, location: str, transfer: Transfer | None = None) -> str:
        """Indexes an orphan, or removes it where the index has its bytes already. Says which."""
        try:
            arrival = self.arrival(location)
            written = datetime.fromtimestamp(self._objects.modified(location), UTC).replace(tzinfo=None)
        except UnusableObject as error:
            _log.warning("%s cannot be indexed and is left as it is: %s", location, error)
            return f"{_LEFT}{error}"
        except ObjectMissing:
            return "gone meanwhile"
        if arrival.origin is not None:
            # its source brings all that belongs together, or nothing
            if self._index.unknown_locations([location]):
                self._objects.delete(location)
            return "removed: a header whose source tells of it again"
        # a crash between a commit and the removal of a superfluous file must not bring back what was deleted since
        if self._index.unknown_locations([location]) and self._trash.keep_orphan(arrival, written):
            return "left to the purge: what it holds has been deleted"
        told = replace(arrival, provenance=replace(arrival.provenance, transfer=transfer))
        self._receiver.submit(told, adopted=True)
        if not self._index.unknown_locations([location]):
            return "adopted"
        for twin in self._index.locations_of(arrival.sop_instance_uid, arrival.stored_object.digest):
            with suppress(ObjectMissing, UnusableObject):
                if self.arrival(twin).stored_object.digest == arrival.stored_object.digest:
                    self._objects.delete(location)
                    return "removed: a copy of what is stored already"
        return f"{_LEFT}it is the only copy of what the index has elsewhere; run `fileroom check --repair`"

    def _is_young(self, location: str) -> bool:
        try:
            return time.time() - self._objects.modified(location) < self._young
        except StorageError:
            return True  # gone since it was listed

    def arrival(self, location: str) -> Arrival:
        """The object at this location as if it had just come in."""
        with self._objects.open(location) as file:
            empty = not self._objects.size(location)  # what cannot be mapped
            buffer = memoryview(b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        meta = read_file_meta(buffer)
        data_set = buffer[meta.data_set_offset :]
        header = parse_header(data_set, meta.transfer_syntax_uid)
        stored = StoredObject(
            location,
            len(buffer),
            hashlib.sha256(data_set).hexdigest(),
            meta.transfer_syntax_uid,
            meta.data_set_offset,
            None if header.is_deflated else frame_layout(data_set, header),
        )
        sender = (meta.source_application_entity_title or "").replace("\0", "")[:16]  # PS3.5 6.2 AE
        provenance = Provenance("recovery", calling_ae_title=sender or None)
        made_by = self._receiver
        arrival = arrival_of(
            header, instance_uids(header), stored, provenance, utc_now(), made_by.rows_of, made_by.extract
        )
        mark = read_preamble(bytes(buffer[:PREAMBLE_LENGTH]))
        if mark is None or header.pixel_data is not None:
            return arrival
        return external_arrival(arrival, mark.origin, mark.number_of_frames)

    def _compare(self, indexed: IndexedObject, *, verify: bool) -> Finding | None:
        kind = None
        try:
            if self._objects.size(indexed.location) != indexed.size:
                kind = FindingKind.WRONG_SIZE
            elif verify and content_digest(self._objects, indexed.location, indexed.data_set_offset) != indexed.digest:
                kind = FindingKind.WRONG_DIGEST
        except ObjectMissing:
            # deleted since it was listed?
            kind = None if self._index.unknown_locations([indexed.location]) else FindingKind.MISSING
        return Finding(kind, indexed.location, indexed.sop_instance_uid) if kind else None

    def _repaired(self, finding: Finding, indexed: IndexedObject, actor: Actor | None) -> Finding:
        repair = None
        if finding.kind is FindingKind.MISSING and indexed.pk is not None:
            if self._maintenance.remove_lost(indexed.location, self._audit.actor(actor)):
                repair = "row removed"
        elif finding.kind is not FindingKind.MISSING:
            repair = f"{_LEFT}restore the object from a backup, or {self._without(indexed)}"
        return Finding(finding.kind, finding.location, finding.sop_instance_uid, repair)

    def _without(self, indexed: IndexedObject) -> str:
        """What to run where there is no backup."""
        if indexed.pk is None:
            return (
                "give it up: `fileroom conflicts list` shows the conflict, `fileroom conflicts resolve ID keep` ends it"
            )
        instance = next(iter(self._index.locate({"SOPInstanceUID": indexed.sop_instance_uid})), None)
        if instance is None:
            return "nothing: it has just been deleted"
        uids = (instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid)
        return f"delete the instance and send it again: `fileroom delete {' '.join(uids)}`"
