"""The facade of the index and the object store: what the DIMSE and DICOMweb services call."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Self

from .attributes import standard_registry
from .commitment import CommitmentVerifier, NotCommitted
from .conflict_resolution import ConflictResolution
from .consistency import Checker, Finding, FindingKind
from .deletion import Deleter, Restoration
from .errors import InstanceNotFound, SchemaNotCurrent, StorageError
from .events import Event
from .external import External
from .frame_source import FrameSource, FrameSources
from .incoming_data_set import IncomingDataSet
from .index import schema
from .index.api_keys import PREFIX as API_KEY_PREFIX
from .index.api_keys import ApiKey, ApiKeys
from .index.arrival import Provenance
from .index.audit.event import Actor
from .index.audit.recorder import AuditLog
from .index.commitments import (
    Claim,
    CommitmentRequest,
    CommitmentState,
    Reference,
    StorageCommitment,
    StorageCommitments,
)
from .index.conflicts import ConflictState, ConflictType
from .index.deletions import Deletion, DeletionReason, Retention
from .index.engine import ConnectionPool, create_engine, unavailable_errors
from .index.external import ExternalIndex
from .index.import_jobs import ImportedFile, ImportJobs, ImportOutcome, ImportState, file_digest
from .index.index_version import IndexVersion
from .index.maintenance import Maintenance
from .index.plugin_connections import PluginConnections
from .index.plugin_database import extracted_tables
from .index.rejection import KEY_OBJECT_SELECTION_DOCUMENT, REJECTION_MEANINGS, REJECTION_SCHEME, known_rejection_code
from .index.resolution import Conflict, Resolution
from .index.schema import IndexSchema
from .index.scope import Authority, Scope
from .index.tables import standard_tables
from .index.traced_statements import trace_statements
from .index.trash import Trash
from .index.writability import check_writable
from .index.writer import IndexWriter
from .monitor import UNWATCHED, Monitor, Stage, StoredAs
from .objects import FilesystemObjectStore, ObjectFile
from .parse.encoding import EXPLICIT_VR_LITTLE_ENDIAN
from .plugins import Plugins, extraction_of, plugin_databases
from .query import Query
from .query.locate import StoredInstance
from .query.reader import IndexReader
from .reading import Reading
from .receive import Buffer, IncomingObject, Receiver
from .rejection_note import rejection_note
from .retrieve import FramePieces, Piece, Retriever, Stretch
from .settings import StorageSettings
from .spool import Spool, Spooled
from .store_outcome import StoreOutcome

_log = logging.getLogger(__name__)

# an object without a row is an orphan only when it is older than any store can take
ORPHAN_SECONDS = 600.0

Observer = Callable[[Event], None]


class Storage(Reading, ConflictResolution):
    """One index and one object store. Any number of processes may open the same; each opens its own after a fork."""

    def __init__(self, settings: StorageSettings, monitor: Monitor = UNWATCHED) -> None:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.settings = settings
        self.monitor = monitor
        registry, self._tables = standard_registry(), standard_tables()
        self._engine = create_engine(settings.database_url, durability=settings.durability, pool=settings.pool)
        self._objects = FilesystemObjectStore(settings.data, durability=settings.durability)
        self._observers: list[Observer] = []
        self.extraction = extraction_of(settings.plugins)
        self._plugin_databases = plugin_databases(settings.plugins)
        self._tables.of_plugins = {name: extracted_tables(one) for name, one in self._plugin_databases.items()}
        retention = Retention(settings.undo_time, settings.purge_rejected)
        # connections of its own: readers that hold all others must not keep objects from coming in
        writing = replace(settings.pool, size=1, overflow=1)
        self._writer_engine = create_engine(
            settings.database_url, durability=settings.durability, pool=writing, writer=True
        )
        self._writer = IndexWriter(self._writer_engine, self._tables, self._objects, retention, monitor)
        self._receiver = Receiver(self._objects, self._writer, registry, self._notify, self.extraction, monitor)
        # PS3.4 C.4.1.1.3.2: all that is here can be had at once
        server_values = {"InstanceAvailability": "ONLINE", "RetrieveAETitle": settings.retrieve_ae_title}
        self._reader = IndexReader(self._engine, self._tables, server_values, monitor)
        self._frame_sources = FrameSources()
        self._retriever = Retriever(self._objects, self._frame_sources, settings.data / "incoming")
        self._version = IndexVersion(self._engine)
        self.audit = AuditLog(self._engine, self._tables, enabled=settings.audit)
        self._maintenance = Maintenance(self._engine, self._tables, retention)
        self._trash = Trash(self._engine, self._tables, retention)
        self._checker = Checker(
            self._objects, self._reader, self._maintenance, self._trash, self._receiver, self.audit, ORPHAN_SECONDS
        )
        self._deleter = Deleter(self._objects, self._trash, self._checker, retention, self._notify)
        # A commitment is on the disk whatever the durability: on SQLite and PostgreSQL its transaction takes with it
        # what was committed before without waiting for the disk.
        self._commitment_engine = create_engine(settings.database_url, durability="full", pool=writing)
        if monitor.traces_statements:
            for engine in (self._engine, self._writer_engine, self._commitment_engine):
                trace_statements(engine, monitor)
        self._verifier = CommitmentVerifier(
            FilesystemObjectStore(settings.data, durability="full"),
            self._reader,
            sync=settings.durability != "full",
        )

        connections = PluginConnections(self._engine, self._tables, audit=settings.audit)
        self.plugins = Plugins(self, settings.plugins, connections)

    @classmethod
    def open(cls, settings: StorageSettings, monitor: Monitor = UNWATCHED) -> Self:
        """`monitor` hears what is done and how long it takes. Raises PluginUnusable."""
        storage = cls(settings, monitor)
        try:
            storage.plugins.start()
        except BaseException:
            storage.close()
            raise
        return storage

    def close(self) -> None:
        """Commits what has been accepted, then lets go of the database."""
        self._writer.close()
        self.audit.close()
        self._version.close()
        self._commitment_engine.dispose()
        self._writer_engine.dispose()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def import_jobs(self) -> ImportJobs:
        """The record of imports: what is done of each, so that it can go on."""
        return ImportJobs(self._engine, self._tables)

    @property
    def api_keys(self) -> ApiKeys:
        """The keys by which machines get in over HTTP."""
        return ApiKeys(self._engine, self._tables)

    @property
    def commitments(self) -> StorageCommitments:
        """The requests for storage commitment."""
        return StorageCommitments(self._commitment_engine, self._tables)

    def verify_commitment(self, references: Sequence[Reference], *, read: bool = False) -> list[NotCommitted | None]:
        """Why fileroom cannot commit to having these instances, or None for each that it can.

        An instance has to be in the index and its object on the disk, complete; with `read` every byte is compared.
        """
        return self._verifier.verify(references, read=read)

    def observe(self, observer: Observer) -> None:
        """Calls `observer` after every change that has become durable, in the thread that made it."""
        self._observers.append(observer)

    # -- schema and readiness ------------------------------------------------------------------------------

    def create_schema_if_empty(self) -> None:
        with IndexSchema(self.settings.database_url, self._plugin_databases) as index:
            index.create_if_empty()

    def schema_current(self) -> bool:
        try:
            with unavailable_errors():
                schema.check_current(self._engine, self._plugin_databases)
        except SchemaNotCurrent:
            return False
        return True

    def check_ready(self) -> None:
        """Raises StorageUnavailable or SchemaNotCurrent when an object could not be stored now."""
        with unavailable_errors():
            schema.check_current(self._engine, self._plugin_databases)
        check_writable(self._engine)
        self._objects.writable()

    # -- receive -------------------------------------------------------------------------------------------

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
        """Stores an encoded data set without preamble and file meta information, as C-STORE brings it.

        Returns once it is durable. Raises UnusableObject, NotAuthorized, StorageUnavailable.
        """
        return self._receiver.store_data_set(
            data_set,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            provenance=provenance,
            authority=authority,
        )

    def receive_data_set(
        self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, provenance: Provenance
    ) -> IncomingDataSet:
        """Begins to receive what `store_data_set` takes whole, piece by piece. Raises StorageUnavailable."""
        return self._receiver.begin_data_set(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            provenance=provenance,
        )

    def receive(self, unread_size: int | None = None) -> IncomingObject:
        """Begins to receive a Part 10 stream; one of `unread_size` bytes where nobody waits to read it."""
        return self._receiver.begin(unread_size)

    def store_many(self, objects: Sequence[IncomingObject], provenance: Provenance) -> list[StoreOutcome | Exception]:
        """Stores what `receive` has received, in as few transactions as can be; errors stand in for outcomes."""
        return self._receiver.store_many(objects, provenance)

    def spool(self) -> Spool:
        """Room on the disk for parts of a request, to be closed. Raises StorageUnavailable."""
        return self._receiver.spool()

    # -- what is elsewhere ---------------------------------------------------------------------------------

    def external(self, source: str) -> External:
        """What a source of this name has told of instances whose pixels are with it, to be changed."""
        return External(
            source,
            self._objects,
            ExternalIndex(self._engine, self._tables, source),
            self._receiver.rows_of,
            self.extraction,
            self._deleter,
            self._notify,
            self.audit.actor,
        )

    def register_frame_source(self, name: str, source: FrameSource) -> None:
        """Who gives the frames of what `external(name)` has brought."""
        self._frame_sources.register(name, source)

    # -- delete --------------------------------------------------------------------------------------------

    def delete(self, unique_keys: Mapping[str, str], actor: Actor | None = None, scope: Scope = None) -> Deletion:
        """Takes all instances under these unique keys, by keyword, out of use, at once and all together.

        Their bytes stay until the undo time is over. Raises InstanceNotFound where there is nothing of the scope.
        The audit log names the `actor`, here and below.
        """
        return self._deleter.delete(unique_keys, self.audit.actor(actor), scope)

    def reject(
        self, unique_keys: Mapping[str, str], code: str, provenance: Provenance, scope: Scope = None
    ) -> Deletion:
        """Stores a rejection note about these instances, which takes them out of use (IHE IOCM).

        `code` is one of REJECTION_MEANINGS, bare or as `113001^DCM`. Raises InvalidQuery, InstanceNotFound.
        """
        code = known_rejection_code(code)
        instances = list(self.locate(unique_keys, scope))
        if not instances:
            raise InstanceNotFound("Nothing is stored under these UIDs; a search tells what is.")
        note, uid = rejection_note(self.header(instances[0]), instances, code)
        self.store_data_set(
            note,
            sop_class_uid=KEY_OBJECT_SELECTION_DOCUMENT,
            sop_instance_uid=uid,
            transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
            provenance=provenance,
            authority=None if scope is None else Authority(scope),
        )
        return self._trash.rejection(uid)

    def deletions(self, scope: Scope = None) -> Iterator[Deletion]:
        """What can be restored, newest first. Of a scope is what keeps nothing of others' patients."""
        return self._trash.deletions(scope)

    def deletion(self, pk: int, scope: Scope = None) -> Deletion:
        """Raises InstanceNotFound where it was restored or purged, or is not of the scope."""
        return self._trash.deletion(pk, scope)

    def restore(self, pk: int, actor: Actor | None = None, scope: Scope = None) -> Restoration:
        """Undoes a deletion; a rejection is revoked, and its note goes. Raises InstanceNotFound."""
        return self._deleter.restore(pk, self.audit.actor(actor), scope)

    def purge(self, pk: int, actor: Actor | None = None) -> int:
        """Ends the undo time of a deletion now; returns how many objects are gone for good. Raises InstanceNotFound."""
        self._trash.deletion(pk)
        return self._deleter.purge(pk, self.audit.actor(actor))

    def purge_expired(self, actor: Actor | None = None) -> int:
        """Purges what has outlived its undo time; to be called now and then by one process or many."""
        return self._deleter.purge_expired(self.audit.actor(actor))

    # -- consistency ---------------------------------------------------------------------------------------

    def check(
        self,
        *,
        repair: bool = False,
        verify: bool = False,
        actor: Actor | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Finding]:
        """Holds the index against the object store, both ways; `verify` reads every byte."""
        return self._checker.check(repair=repair, verify=verify, actor=actor, progress=progress)

    def adopt_orphans(self) -> int:
        """Indexes what a crash left without a row; to be called once after a start."""
        self._objects.remove_stale_temporary()
        return self._checker.adopt_recent()

    # -- inside --------------------------------------------------------------------------------------------

    def _notify(self, event: Event) -> None:
        for observer in self._observers:
            try:
                observer(event)
            except Exception:  # noqa: BLE001  # an observer must not turn a durable store into a failure
                _log.exception("an observer failed on %s", type(event).__name__)


__all__ = [
    "API_KEY_PREFIX",
    "ORPHAN_SECONDS",
    "REJECTION_MEANINGS",
    "REJECTION_SCHEME",
    "ApiKey",
    "ApiKeys",
    "Authority",
    "Claim",
    "CommitmentRequest",
    "CommitmentState",
    "Conflict",
    "ConflictState",
    "ConflictType",
    "ConnectionPool",
    "Deletion",
    "DeletionReason",
    "Finding",
    "FindingKind",
    "FramePieces",
    "ImportJobs",
    "ImportOutcome",
    "ImportState",
    "ImportedFile",
    "IncomingDataSet",
    "IncomingObject",
    "IndexSchema",
    "Monitor",
    "NotCommitted",
    "ObjectFile",
    "Piece",
    "Provenance",
    "Query",
    "Reference",
    "Resolution",
    "Restoration",
    "Scope",
    "Spool",
    "Spooled",
    "Stage",
    "Storage",
    "StorageCommitment",
    "StorageCommitments",
    "StorageError",
    "StorageSettings",
    "StoreOutcome",
    "StoredAs",
    "StoredInstance",
    "Stretch",
    "file_digest",
    "plugin_databases",
]
