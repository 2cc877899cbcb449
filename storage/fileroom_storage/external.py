"""Instances whose pixels are elsewhere, as their source brings them: their headers become objects here, then rows."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from .deletion import Deleter
from .errors import StorageError
from .events import Event, InstanceDeleted, InstanceStored
from .external_change import (
    ExternalChange,
    ExternalInstance,
    ExternalOutcome,
    ExternalOutcomes,
    ExternalSeries,
    ExternalStatus,
    Read,
    Told,
    read_change,
)
from .header_object import HeaderObject, checked_origin, encode_preamble
from .index.arrival import (
    Arrival,
    Extract,
    Origin,
    Provenance,
    StoredObject,
    arrival_of,
    external_arrival,
    external_frames,
)
from .index.audit.event import Actor
from .index.entity_rows import EntityRows
from .index.external import Companion, Contents, ExternalIndex, Replaced, Replacement
from .index.ingest import Outcome
from .index.writer import utc_now
from .objects import ObjectStore, ObjectWriter
from .parse.likeness import Models
from .parse.part10 import encode_file_meta

_log = logging.getLogger(__name__)

_OPEN_FILES = 64  # objects that are written before the first of them has its name
_SYNCING_THREADS = 4


class External:
    """One source's part of the index. Any number of threads and processes may change it at once."""

    def __init__(
        self,
        source: str,
        objects: ObjectStore,
        index: ExternalIndex,
        rows_of: EntityRows,
        extract: Extract,
        deleter: Deleter,
        notify: Callable[[Event], None],
        actor: Callable[[Actor | None], Actor | None],
    ) -> None:
        self._source = source
        self._objects = objects
        self._index = index
        self._rows_of = rows_of
        self._extract = extract
        self._deleter = deleter
        self._notify = notify
        self._actor = actor
        self._models = Models()

    def replace(
        self,
        key: str,
        instances: Sequence[ExternalInstance],
        *,
        takes_over: bool = False,
        companion: Companion | None = None,
    ) -> tuple[ExternalOutcome, ...]:
        """As `apply` with one change of instances."""
        return self.apply([ExternalChange(key, instances, takes_over=takes_over)], companion)[0].instances

    def replace_series(
        self, key: str, series: Sequence[ExternalSeries], *, companion: Companion | None = None
    ) -> tuple[ExternalOutcome, ...]:
        """As `apply` with one change of series whose instances get no rows."""
        return self.apply([ExternalChange(key, series=series)], companion)[0].series

    def remove(self, key: str, *, companion: Companion | None = None) -> None:
        """Nothing is under this key any more."""
        self.apply([ExternalChange(key)], companion)

    def apply(
        self, changes: Sequence[ExternalChange], companion: Companion | None = None, actor: Actor | None = None
    ) -> list[ExternalOutcomes]:
        """Makes all changes, each of another key, in one transaction; returns once that is durable.

        What is known under a key goes, and what is told comes in, by the rules of any object; what is told as it is
        known changes nothing. An instance of which the object itself is here stays as it is; of two changes that tell
        of one, the first has it. The `companion` runs last in the transaction, with the keys of all rows that are under
        the changed keys then; what it raises undoes all. Where the transaction has to be tried again, it runs again.
        Raises StorageUnavailable, and ValueError for keys that cannot be kept or come twice.
        """
        origins = [checked_origin(self._source, change.key) for change in changes]
        keys = [origin.key for origin in origins]
        if len(set(keys)) != len(keys):
            raise ValueError("each key can be changed once at a time")
        read = [read_change(change, self._models) for change in changes]
        known = self._index.contents(keys)
        unchanged: dict[int, list[ExternalOutcome]] = {}
        for number, change in enumerate(changes):
            if change.renews:
                continue
            outcomes = self._unchanged(change, read[number], known[change.key], origins[number])
            if outcomes is not None:
                unchanged[number] = outcomes
        self._wait_for_owners(unchanged, keys)
        changed = [number for number in range(len(changes)) if number not in unchanged]
        taken: dict[int, list[ExternalOutcome]] = {}
        if changed or companion is not None:
            arrivals = self._written([(origins[number], read[number]) for number in changed])
            replacements = [
                Replacement(keys[number], of_it, changes[number].takes_over)
                for number, of_it in zip(changed, arrivals, strict=True)
            ]
            replaced = self._replaced(replacements, keys, companion, actor)
            outcomes_of_all = iter(replaced.outcomes)
            for number, replacement in zip(changed, replacements, strict=True):
                taken[number] = [_outcome(one, next(outcomes_of_all)) for one in replacement.arrivals]
        return [
            _with_unusable(change, read[number], unchanged.get(number) or taken.get(number) or [])
            for number, change in enumerate(changes)
        ]

    # -- what is known already -----------------------------------------------------------------------------

    def _unchanged(
        self, change: ExternalChange, read: Sequence[Read], known: Contents, origin: Origin
    ) -> list[ExternalOutcome] | None:
        """The outcomes where all is as it is told; None where something has to be done."""
        usable = [one for one in read if isinstance(one, Told)]
        series = {one.uids.series_instance_uid: one.contents.digest for one in usable if one.contents is not None}
        instances = {one.uids.sop_instance_uid: one.facts for one in usable if one.contents is None}
        if known.series != series or any(instances.get(uid) != facts for uid, facts in known.instances.items()):
            return None
        owners = self._index.owners(instances.keys() - known.instances.keys())
        for uid in instances.keys() - known.instances.keys():
            owner = owners.get(uid, origin)
            if owner == origin or (owner is not None and owner.source == origin.source and change.takes_over):
                return None
        outcomes = []
        for one in usable:
            uids = one.uids
            uid = "" if one.contents is not None else uids.sop_instance_uid
            is_known = one.contents is not None or uid in known.instances
            status, owner = ExternalStatus.UNCHANGED, origin
            if not is_known:
                status, owner = _met(owners[uid]), owners[uid]
            outcomes.append(ExternalOutcome(status, uids.study_instance_uid, uids.series_instance_uid, uid, owner))
        return outcomes

    def _wait_for_owners(self, unchanged: dict[int, list[ExternalOutcome]], keys: Sequence[str]) -> None:
        """Takes out those with an instance of another key that is changed at once: it may let go of it."""
        while True:
            changing = {key for number, key in enumerate(keys) if number not in unchanged}
            waiting = [
                number
                for number, outcomes in unchanged.items()
                for owner in {outcome.owner for outcome in outcomes}
                if owner is not None and owner.source == self._source and owner.key in changing
            ]
            if not waiting:
                return
            for number in waiting:
                unchanged.pop(number, None)

    # -- writing -------------------------------------------------------------------------------------------

    def _written(self, told: Sequence[tuple[Origin, Sequence[Read]]]) -> list[list[Arrival]]:
        """The arrivals of each change; the objects of instances have their names, and are on the disk."""
        arrivals: list[list[Arrival]] = [[] for _ in told]
        pending = [
            (number, origin, one) for number, (origin, read) in enumerate(told) for one in read if isinstance(one, Told)
        ]
        locations: list[str] = []
        try:
            with ThreadPoolExecutor(_SYNCING_THREADS, thread_name_prefix="fileroom-sync") as syncing:
                for start in range(0, len(pending), _OPEN_FILES):
                    for number, arrival in self._written_page(pending[start : start + _OPEN_FILES], syncing):
                        arrivals[number].append(arrival)
                        if arrival.contents is None:
                            locations.append(arrival.stored_object.location)
            self._objects.sync_folders(locations)
        except BaseException:
            self._discard(locations)
            raise
        return arrivals

    def _written_page(
        self, page: Sequence[tuple[int, Origin, Told]], syncing: ThreadPoolExecutor
    ) -> Iterator[tuple[int, Arrival]]:
        with ExitStack() as unpublished:
            written = [self._write(origin, one, unpublished) for _, origin, one in page]
            # the disk writes several at a time
            list(syncing.map(_sync, (writer for writer, _ in filter(None, written))))
            for (number, origin, one), writer in zip(page, written, strict=True):
                yield number, self._arrival(origin, one, writer)

    def _write(self, origin: Origin, one: Told, unpublished: ExitStack) -> tuple[ObjectWriter, int] | None:
        if one.instance is None:
            return None
        meta = encode_file_meta(
            sop_class_uid=one.uids.sop_class_uid,
            sop_instance_uid=one.uids.sop_instance_uid,
            transfer_syntax_uid=one.instance.transfer_syntax_uid,
        )
        preamble = encode_preamble(HeaderObject(origin, one.instance.number_of_frames))
        writer = unpublished.enter_context(self._objects.create())
        writer.write(preamble, meta[len(preamble) :], one.instance.data_set)
        return writer, len(meta)

    def _arrival(self, origin: Origin, one: Told, written: tuple[ObjectWriter, int] | None) -> Arrival:
        digest, syntax, number_of_frames = one.facts
        if written is None:
            stored = StoredObject("", 0, digest, syntax, 0, None)
        else:
            writer, offset = written
            size = writer.size
            stored = StoredObject(writer.publish(), size, digest, syntax, offset, external_frames(number_of_frames))
        provenance = Provenance(self._source)
        arrival = arrival_of(one.header, one.uids, stored, provenance, utc_now(), self._rows_of, self._extract)
        return external_arrival(arrival, origin, number_of_frames, one.contents)

    def _replaced(
        self,
        replacements: Sequence[Replacement],
        keys: Sequence[str],
        companion: Companion | None,
        actor: Actor | None,
    ) -> Replaced:
        arrivals = [arrival for replacement in replacements for arrival in replacement.arrivals]
        locations = [arrival.stored_object.location for arrival in arrivals if arrival.contents is None]
        try:
            replaced = self._index.replace(replacements, keys, companion, self._actor(actor))
        except BaseException:
            # where the commit may have happened though its answer was lost, they have rows
            self._discard_unreferred(locations)
            raise
        kept = {
            arrival.stored_object.location
            for arrival, outcome in zip(arrivals, replaced.outcomes, strict=True)
            if outcome.kept
        }
        self._discard([location for location in locations if location not in kept])
        for deletion in replaced.deletions:
            try:
                self._deleter.purge(deletion)
            except StorageError as error:
                _log.warning("headers that were replaced are purged later: %s", error)
        self._tell(replaced, arrivals)
        return replaced

    def _tell(self, replaced: Replaced, arrivals: Sequence[Arrival]) -> None:
        there = {
            arrival.sop_instance_uid
            for arrival, outcome in zip(arrivals, replaced.outcomes, strict=True)
            if outcome.stored and arrival.contents is None
        }
        for gone in replaced.removed:
            if gone.sop_instance_uid not in there:
                self._notify(InstanceDeleted(gone.study_instance_uid, gone.series_instance_uid, gone.sop_instance_uid))
        for arrival, outcome in zip(arrivals, replaced.outcomes, strict=True):
            if outcome.stored and arrival.contents is None:
                self._notify(
                    InstanceStored(
                        outcome.study_instance_uid,
                        outcome.series_instance_uid,
                        arrival.sop_instance_uid,
                        arrival.sop_class_uid,
                    )
                )

    def _discard_unreferred(self, locations: Sequence[str]) -> None:
        try:
            self._discard(self._index.unreferred(locations))
        except StorageError as error:
            _log.warning("headers that were not taken are left for `fileroom check`: %s", error)

    def _discard(self, locations: Collection[str]) -> None:
        for location in locations:
            try:
                self._objects.delete(location)
            except StorageError as error:
                _log.warning("a superfluous header could not be removed: %s", error)


def _sync(writer: ObjectWriter) -> None:
    writer.sync()


def _met(owner: Origin | None) -> ExternalStatus:
    return ExternalStatus.LOCAL if owner is None else ExternalStatus.OTHER_KEY


def _outcome(arrival: Arrival, outcome: Outcome) -> ExternalOutcome:
    owner = arrival.origin
    if outcome.stored:
        status = ExternalStatus.STORED
    elif outcome.met is not None:
        status, owner = _met(outcome.met.origin), outcome.met.origin
    else:
        status = ExternalStatus.REJECTED
    return ExternalOutcome(
        status,
        outcome.study_instance_uid or arrival.study_instance_uid,
        outcome.series_instance_uid or arrival.series_instance_uid,
        "" if arrival.contents is not None else arrival.sop_instance_uid,
        owner,
        tuple(outcome.conflicts),
    )


def _with_unusable(change: ExternalChange, read: Sequence[Read], usable: Sequence[ExternalOutcome]) -> ExternalOutcomes:
    remaining = iter(usable)
    outcomes = tuple(
        next(remaining) if isinstance(one, Told) else ExternalOutcome(ExternalStatus.UNUSABLE, reason=str(one))
        for one in read
    )
    instances = len(change.instances)
    return ExternalOutcomes(outcomes[:instances], outcomes[instances:])
