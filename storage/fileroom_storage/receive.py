"""An object on its way in: written down, its header read, handed to the index; each byte is touched once."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from io import BufferedIOBase, RawIOBase

from .attributes import Registry
from .errors import NotAuthorized
from .events import Event, InstanceDeleted, InstanceStored
from .header_object import is_marked
from .incoming_data_set import IncomingDataSet
from .index.arrival import Arrival, Extract, InstanceUids, Provenance, StoredObject, arrival_of, instance_uids
from .index.entity_rows import EntityRows
from .index.ingest import Outcome
from .index.rejection import rejection_of
from .index.scope import Authority
from .index.writer import IndexWriter, utc_now
from .monitor import UNWATCHED, Monitor, Stage, StoredAs
from .objects import ObjectStore, ObjectWriter
from .parse.header import Header, parse_header
from .parse.likeness import Models
from .parse.part10 import read_file_meta
from .ready_object import DIGESTED_MEANWHILE, ReadyObject, checked_uids, own_file_meta, ready_object, sha256_of
from .spool import Spool
from .store_outcome import StoreOutcome, store_outcome

Buffer = bytes | bytearray | memoryview

_THREADS = 4


class Receiver:
    """The one way in, for C-STORE, STOW-RS and import alike."""

    def __init__(
        self,
        objects: ObjectStore,
        writer: IndexWriter,
        registry: Registry,
        notify: Callable[[Event], None],
        extract: Extract,
        monitor: Monitor = UNWATCHED,
    ) -> None:
        self._objects = objects
        self.monitor = monitor
        self._writer = writer
        self.rows_of = EntityRows(registry)
        self.extract = extract
        self.models = Models()
        self._notify = notify
        # threads are made when there is something to do for them
        self._meanwhile = ThreadPoolExecutor(_THREADS, thread_name_prefix="fileroom-meanwhile")

    def begin(self, unread_size: int | None = None) -> "IncomingObject":
        return IncomingObject(self, self._objects.create(unread_size=unread_size))

    def spool(self) -> Spool:
        return Spool(self._objects.create())

    def store_data_set(
        self,
        data_set: Buffer,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        provenance: Provenance,
        authority: Authority | None = None,
    ) -> StoreOutcome:
        view = memoryview(data_set)
        header = self.header(view, transfer_syntax_uid, provenance.source)
        uids = instance_uids(header)
        with self._objects.create() as writer:
            outcome = self._write(writer, view, header, uids, transfer_syntax_uid, provenance, authority)
        return outcome.compared_with(sop_class_uid, sop_instance_uid)

    def begin_data_set(
        self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, provenance: Provenance
    ) -> IncomingDataSet:
        return IncomingDataSet(self, sop_class_uid, sop_instance_uid, transfer_syntax_uid, provenance)

    def create(self) -> ObjectWriter:
        return self._objects.create()

    def header(self, data_set: memoryview, transfer_syntax_uid: str, source: str) -> Header:
        begun = time.perf_counter()
        header = parse_header(data_set, transfer_syntax_uid, models=self.models)
        self.monitor.took(Stage.PARSE, source, time.perf_counter() - begun)
        return header

    def digest_meanwhile(self, data_set: memoryview) -> Callable[[], str]:
        """What gives the digest of it, which is worked out while the header is read and the disk writes."""
        if len(data_set) in DIGESTED_MEANWHILE:
            with suppress(RuntimeError):  # the process is about to end, and begins no threads any more
                return self._meanwhile.submit(sha256_of, data_set).result
        return partial(sha256_of, data_set)

    def _write(
        self,
        writer: ObjectWriter,
        data_set: memoryview,
        header: Header,
        uids: InstanceUids,
        transfer_syntax_uid: str,
        provenance: Provenance,
        authority: Authority | None = None,
    ) -> StoreOutcome:
        """Writes a bare data set as a Part 10 file and stores it."""
        meta = own_file_meta(uids.sop_class_uid, uids.sop_instance_uid, transfer_syntax_uid, provenance)
        begun = time.perf_counter()
        writer.write(meta, data_set)
        self.monitor.took(Stage.WRITE, provenance.source, time.perf_counter() - begun)
        ready = ready_object(writer, data_set, header, uids, transfer_syntax_uid, len(meta), provenance)
        return self.publish(ready, authority)

    def publish(self, ready: "ReadyObject", authority: Authority | None = None) -> StoreOutcome:
        """Makes the written object durable and visible, then the index (DESIGN §3.1). Raises NotAuthorized."""
        if authority is not None:
            is_note = rejection_of(ready.header, ready.uids.sop_class_uid) is not None
            authority.check(ready.header.text("IssuerOfPatientID"), is_rejection_note=is_note)
            ready = replace(ready, authority=authority)
        self._sync(ready)
        return self.submit(self._arrival(ready))

    def _sync(self, ready: "ReadyObject") -> None:
        begun = time.perf_counter()
        ready.writer.sync()
        self.monitor.took(Stage.SYNC, ready.provenance.source, time.perf_counter() - begun)

    def store_many(self, objects: "Sequence[IncomingObject]", provenance: Provenance) -> list[StoreOutcome | Exception]:
        """As `IncomingObject.store` for each of them, at a cost that they share; errors stand in for outcomes."""
        outcomes: dict[int, StoreOutcome | Exception] = {}
        ready: dict[int, ReadyObject] = {}
        synced: dict[int, Future[Exception | None]] = {}
        for number, incoming in enumerate(objects):
            incoming.is_received(provenance.source)
            try:
                ready[number] = incoming.ready(provenance)
            except Exception as error:  # noqa: BLE001  # one must not keep the others out
                outcomes[number] = error
            else:
                # the disk writes one while the next is read
                synced[number] = self._meanwhile.submit(_failure_of, partial(self._sync, ready[number]))
        outcomes |= {number: failure for number, one in synced.items() if (failure := one.result()) is not None}
        arrivals: dict[int, Arrival] = {}
        for number, one in ready.items():
            if number not in outcomes:
                try:
                    arrivals[number] = self._arrival(one)
                except Exception as error:  # noqa: BLE001  # as above
                    outcomes[number] = error
        for (number, arrival), outcome in zip(
            arrivals.items(), self._writer.submit_many(list(arrivals.values())), strict=True
        ):
            outcomes[number] = outcome if isinstance(outcome, Exception) else self._told(arrival, outcome)
        for number, incoming in enumerate(objects):
            if isinstance(outcomes[number], StoreOutcome):
                incoming.is_durable(provenance.source)
            incoming.discard()
        return [outcomes[number] for number in range(len(objects))]

    def _arrival(self, ready: "ReadyObject") -> Arrival:
        """Makes an object visible; from here on the index has to know of it."""
        size, digest = ready.writer.size, ready.digest()
        stored = StoredObject(
            ready.writer.publish(), size, digest, ready.transfer_syntax_uid, ready.data_set_offset, ready.layout
        )
        arrival = arrival_of(ready.header, ready.uids, stored, ready.provenance, utc_now(), self.rows_of, self.extract)
        return arrival if ready.authority is None else replace(arrival, authority=ready.authority)

    def submit(self, arrival: Arrival, *, adopted: bool = False) -> StoreOutcome:
        """Hands an arrival to the index. What is `adopted` was there before: only its finder may delete its object."""
        return self._told(arrival, self._writer.submit(arrival, adopted=adopted))

    def _told(self, arrival: Arrival, outcome: Outcome) -> StoreOutcome:
        """What has become of an arrival, after those who observe have heard of it. Raises NotAuthorized."""
        if outcome.outside_scope:
            raise NotAuthorized("its study, series or instance is outside of your scope")
        transfer = arrival.provenance.transfer
        if transfer is not None:
            study = outcome.study_instance_uid or arrival.study_instance_uid
            transfer.count(study, arrival.sop_class_uid, arrival.patient_id)
        if outcome.stored:
            self._notify(
                InstanceStored(
                    outcome.study_instance_uid,
                    outcome.series_instance_uid,
                    arrival.sop_instance_uid,
                    arrival.sop_class_uid,
                )
            )
        for gone in outcome.rejected:
            self._notify(InstanceDeleted(gone.study_instance_uid, gone.series_instance_uid, gone.sop_instance_uid))
        is_new = outcome.stored or outcome.kept
        stored_as = StoredAs.CONFLICT if outcome.conflicts else StoredAs.STORED if is_new else StoredAs.DUPLICATE
        self.monitor.stored(arrival.provenance.source, stored_as, arrival.stored_object.size)
        return store_outcome(arrival, outcome)

    def rewritten(
        self,
        writer: ObjectWriter,
        data_set: memoryview,
        uids: InstanceUids,
        transfer_syntax_uid: str,
        provenance: Provenance,
    ) -> ObjectWriter:
        """The object anew, under file meta information of our own."""
        anew = self._objects.create()
        meta = own_file_meta(uids.sop_class_uid, uids.sop_instance_uid, transfer_syntax_uid, provenance)
        anew.write(meta, data_set)
        writer.discard()
        return anew

    def rewrite(
        self,
        data_set: memoryview,
        transfer_syntax_uid: str,
        provenance: Provenance,
        study: str | None,
        authority: Authority | None = None,
    ) -> StoreOutcome:
        """Stores a data set under file meta information of our own."""
        header = self.header(data_set, transfer_syntax_uid, provenance.source)
        uids = checked_uids(header, study)
        with self._objects.create() as writer:
            return self._write(writer, data_set, header, uids, transfer_syntax_uid, provenance, authority)


class IncomingObject:
    """A Part 10 stream being received; write it, then store or discard it."""

    def __init__(self, receiver: Receiver, writer: ObjectWriter) -> None:
        self._receiver = receiver
        self._writer = writer
        self._begun = self._received = time.perf_counter()

    @property
    def size(self) -> int:
        return self._writer.size

    def write(self, chunk: Buffer) -> None:
        self._writer.write(chunk)
        self._received = time.perf_counter()

    def write_from(self, source: BufferedIOBase | RawIOBase) -> int:
        """Writes what `source` has next; how many bytes that were, 0 at its end."""
        return self._writer.write_from(source)

    def discard(self) -> None:
        self._writer.discard()

    def store(
        self,
        provenance: Provenance,
        *,
        study_instance_uid: str | None = None,
        authority: Authority | None = None,
    ) -> StoreOutcome:
        """Returns once the object is durable and indexed.

        `study_instance_uid` is the study it has to belong to, where the sender named one; `authority` what the sender
        may do. Raises UnusableObject, NotAuthorized, StorageUnavailable; the object is forgotten then.
        """
        self.is_received(provenance.source)
        with self._writer as writer:
            outcome = self._stored(writer, provenance, study_instance_uid, authority)
        self.is_durable(provenance.source)
        return outcome

    def is_received(self, source: str) -> None:
        self._receiver.monitor.took(Stage.RECEIVE, source, self._received - self._begun)

    def is_durable(self, source: str) -> None:
        self._receiver.monitor.took(Stage.TOTAL, source, time.perf_counter() - self._begun)

    def _stored(
        self,
        writer: ObjectWriter,
        provenance: Provenance,
        study_instance_uid: str | None,
        authority: Authority | None,
    ) -> StoreOutcome:
        buffer = memoryview(writer.buffer())
        meta = read_file_meta(buffer)
        data_set = buffer[meta.data_set_offset :]
        if not meta.has_preamble or is_marked(buffer):
            return self._receiver.rewrite(data_set, meta.transfer_syntax_uid, provenance, study_instance_uid, authority)
        digest = self._receiver.digest_meanwhile(data_set)
        syntax, offset = meta.transfer_syntax_uid, meta.data_set_offset
        header = self._receiver.header(data_set, syntax, provenance.source)
        uids = checked_uids(header, study_instance_uid)
        ready = ready_object(writer, data_set, header, uids, syntax, offset, provenance, digest)
        return self._receiver.publish(ready, authority)

    def ready(self, provenance: Provenance) -> ReadyObject:
        """What `store` would publish. Raises UnusableObject; the object is still to be discarded then."""
        buffer = memoryview(self._writer.buffer())
        meta = read_file_meta(buffer)
        data_set = buffer[meta.data_set_offset :]
        header = self._receiver.header(data_set, meta.transfer_syntax_uid, provenance.source)
        uids = instance_uids(header)
        if not meta.has_preamble or is_marked(buffer):
            self._writer = self._receiver.rewritten(self._writer, data_set, uids, meta.transfer_syntax_uid, provenance)
            return self.ready(provenance)
        return ready_object(
            self._writer, data_set, header, uids, meta.transfer_syntax_uid, meta.data_set_offset, provenance
        )


def _failure_of(step: Callable[[], None]) -> Exception | None:
    try:
        step()
    except Exception as error:  # noqa: BLE001  # told to whoever asked for it
        return error
    return None
