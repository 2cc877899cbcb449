"""Image sets in the index: their rows in the core, their own, frames and conflicts, in one transaction."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, func, or_, select

from fileroom_storage.plugin import (
    AuditEvent,
    ExternalChange,
    ExternalInstance,
    ExternalOutcomes,
    ExternalSeries,
    ExternalStatus,
    PluginContext,
    StorageUnavailable,
)

from .document import FrameChecksum, ImageFrame, ImageSetDocument, read_document
from .encoded_instances import EncodedInstance, encoded_instances
from .frame_source import FramesOfInstance
from .image_set_conflicts import Conflict, ConflictRows, ConflictState, Resolution
from .image_set_rows import ImageSet, ImageSetRows
from .image_set_version import DELETED, ImageSetName, ImageSetVersion
from .index_plan import Plan, plan
from .invalid_document import InvalidDocument
from .plugin_tables import TABLES
from .read_versions import ReadVersion, read_version

_BATCH = 40
_ATTEMPTS = 12
_SERIES, _FRAME = "series", "frame"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a version: `error` says why it was not taken at all, `unusable` which parts of it have no rows.

    Neither holds a value of an attribute.
    """

    error: str | None = None
    unusable: tuple[str, ...] = ()


class _Moved(Exception):
    """Somebody else has changed what the plan was made from."""


class ImageSetIndex:
    """Any number of threads and processes may use the same at once. All raise StorageUnavailable."""

    def __init__(self, context: PluginContext) -> None:
        self._database = context.database
        self._external = context.storage.external(context.name)
        self._level: str = context.section.index_level

    def tell(self, versions: Sequence[ImageSetVersion]) -> list[Outcome]:
        """Takes all in one transaction, and returns once that is durable: an outcome for each, in their order.

        In which order versions are told, and how often, changes nothing. Of a document that cannot be read nothing is
        taken; the others are.
        """
        outcomes: list[Outcome | None] = []
        read: list[ReadVersion] = []
        for version in versions:
            try:
                read.append(read_version(version))
                outcomes.append(None)
            except InvalidDocument as error:
                outcomes.append(Outcome(str(error)))
        unusable = self._take(read, ())
        return [
            Outcome(None, unusable.get(version.name, ())) if outcome is None else outcome
            for version, outcome in zip(versions, outcomes, strict=True)
        ]

    def adapt(self) -> int:
        """Brings what is indexed at another level to that of the section, from the documents that are kept.

        A batch at a time; one that is ended goes on where it was. Returns how many image sets were brought there.
        """
        number = 0
        while names := self._of_other_levels():
            self._take([], names)
            number += len(names)
        return number

    def known_versions(self, datastore_id: str) -> dict[str, int | None]:
        """By id, of the image sets that are not deleted: the version whose document is known."""
        table = TABLES.image_set
        statement = select(table.c.image_set_id, table.c.document_version_id)
        with self._database.read() as connection:
            rows = connection.execute(statement.where(table.c.datastore_id == datastore_id, table.c.state != DELETED))
            return {row.image_set_id: row.document_version_id for row in rows}

    def frames_of(self, origin_key: str, sop_instance_uid: str) -> FramesOfInstance | None:
        """The frames of an instance, by the key that its row in the core has; None where they are not known."""
        datastore, _, image_set = origin_key.partition("/")
        name = ImageSetName(datastore, image_set)
        with self._database.read() as connection:
            rows = ImageSetRows(connection, TABLES)
            known = rows.named([name]).get(name)
            if known is None or not known.is_live:
                return None
            frames = self._frames(connection, known.pk, sop_instance_uid)
            if frames:
                return FramesOfInstance(name, frames)
            document = self._metadata(rows, known)
        for _, instance in document.instances():
            if instance.sop_instance_uid == sop_instance_uid:
                return FramesOfInstance(name, instance.frames)
        return None

    def conflicts(self, state: ConflictState | None = None) -> list[Conflict]:
        with self._database.read() as connection:
            return ConflictRows(connection, TABLES).all(state)

    def resolve(self, pk: int, resolution: Resolution, events: Sequence[AuditEvent] = ()) -> bool:
        """Says how a person has ended a conflict in the service; whether there was an open one with this key.

        The events are in the audit log with it.
        """
        return self._database.audited(
            lambda connection: (ConflictRows(connection, TABLES).resolve(pk, resolution, _now()), events)
        )

    def status(self) -> dict[str, int]:
        table = TABLES.image_set
        is_live = table.c.state != DELETED
        other = is_live & or_(table.c.index_level != self._level, table.c.index_level.is_(None))
        conditions = {"image_sets": is_live, "deleted_image_sets": table.c.state == DELETED}
        conditions["other_level"] = other & table.c.document_digest.is_not(None)
        counted = {name: select(func.count()).select_from(table).where(one) for name, one in conditions.items()}
        counted["frames"] = select(func.count()).select_from(TABLES.frame)
        conflict = TABLES.conflict
        is_open = conflict.c.state == ConflictState.OPEN
        counted["open_conflicts"] = select(func.count()).select_from(conflict).where(is_open)
        with self._database.read() as connection:
            return {name: int(connection.execute(one).scalar_one()) for name, one in counted.items()}

    # -- taking --------------------------------------------------------------------------------------------

    def _take(
        self, read: Sequence[ReadVersion], again: Sequence[ImageSetName]
    ) -> Mapping[ImageSetName, tuple[str, ...]]:
        if not read and not again:
            return {}
        for attempt in range(_ATTEMPTS):
            with self._database.read() as connection:
                rows = ImageSetRows(connection, TABLES)
                made = plan(rows, read, self._level, again)
                encoded = {name: self._encoded(rows, made, name) for name in made.applied if made.after[name].is_live}
            if not made.written and not made.applied and not made.told:
                return {}
            try:
                return self._apply(made, encoded)
            except _Moved:
                time.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, 6)))  # noqa: S311  # jitter, no secret
        raise StorageUnavailable("others change the same image sets; try again later")

    def _apply(
        self, made: Plan, encoded: Mapping[ImageSetName, list[EncodedInstance]]
    ) -> dict[ImageSetName, tuple[str, ...]]:
        changes = [self._change(str(name), encoded.get(name, []), renews=name in made.renewed) for name in made.applied]

        def companion(connection: Connection, pks: Mapping[str, int]) -> None:
            _write(connection, made, self._frame_rows(encoded, pks) if self._level == _FRAME else {})

        outcomes = self._external.apply(changes, companion)
        return {name: _unusable(one) for name, one in zip(made.applied, outcomes, strict=True)}

    def _change(self, key: str, instances: Sequence[EncodedInstance], *, renews: bool) -> ExternalChange:
        if self._level == _SERIES:
            return ExternalChange(key, series=list(_by_series(instances)), renews=renews)
        told = [ExternalInstance(one.data_set, one.transfer_syntax_uid, len(one.frames)) for one in instances]
        return ExternalChange(key, told, renews=renews)

    def _encoded(self, rows: ImageSetRows, made: Plan, name: ImageSetName) -> list[EncodedInstance]:
        """The instances that the image set has to itself."""
        one = made.after[name]
        document = made.documents.get(name)
        instances = encoded_instances(self._metadata(rows, one)) if document is None else iter(document.instances)
        own = made.own[one.key]
        return [instance for instance in instances if instance.sop_instance_uid in own]

    def _metadata(self, rows: ImageSetRows, one: ImageSet) -> ImageSetDocument:
        content = rows.document(one.pk)
        if content is None:
            raise StorageUnavailable(f"image set {one.key} is being changed; try again later")
        return read_document(content)

    def _frame_rows(
        self, encoded: Mapping[ImageSetName, list[EncodedInstance]], pks: Mapping[str, int]
    ) -> dict[ImageSetName, list[dict[str, Any]]]:
        return {
            name: [
                {"instance_pk": pks[one.sop_instance_uid], **_frame_row(number, frame)}
                for one in instances
                if one.sop_instance_uid in pks
                for number, frame in enumerate(one.frames, 1)
            ]
            for name, instances in encoded.items()
        }

    def _frames(self, connection: Connection, pk: int, sop_instance_uid: str) -> list[ImageFrame]:
        frame, instance = TABLES.frame, self._database.tables.instance
        columns = ("image_frame_id", "minimum_pixel_value", "maximum_pixel_value", "frame_size", "checksums")
        statement = (
            select(*(frame.c[name] for name in columns))
            .join(instance, instance.c.pk == frame.c.instance_pk)
            .where(frame.c.image_set_pk == pk, instance.c.sop_instance_uid == sop_instance_uid)
            .order_by(frame.c.frame_number)
        )
        return [
            ImageFrame(
                row.image_frame_id,
                row.minimum_pixel_value,
                row.maximum_pixel_value,
                row.frame_size,
                tuple(FrameChecksum(*one) for one in orjson.loads(row.checksums)),
            )
            for row in connection.execute(statement)
        ]

    def _of_other_levels(self) -> list[ImageSetName]:
        table = TABLES.image_set
        other = or_(table.c.index_level != self._level, table.c.index_level.is_(None))
        statement = select(table.c.datastore_id, table.c.image_set_id).order_by(table.c.pk).limit(_BATCH)
        statement = statement.where(table.c.state != DELETED, table.c.document_digest.is_not(None), other)
        with self._database.read() as connection:
            return [ImageSetName(*row) for row in connection.execute(statement)]


def _write(connection: Connection, made: Plan, frames: Mapping[ImageSetName, list[dict[str, Any]]]) -> None:
    rows = ImageSetRows(connection, TABLES)
    rows.take_turn()
    if rows.changes(made.neighbourhood) != {name: one.change for name, one in made.before.items()}:
        raise _Moved
    if rows.patient_digests(made.patient_keys) != made.patients:
        raise _Moved  # others, who are no neighbours, say something else of a patient now
    now = _now()
    members = dict(made.after)
    for name in sorted({*made.written, *made.told}):
        document = made.documents.get(name)
        content = None if document is None else document.content
        pk = rows.write(made.after[name], content, made.told.get(name, []), now)
        members[name] = replace(made.after[name], pk=pk)
    frame_rows = [row | {"image_set_pk": members[name].pk} for name, of_it in frames.items() for row in of_it]
    rows.replace_frames([members[name].pk for name in made.applied], frame_rows)

    def metadata_of(one: ImageSet) -> ImageSetDocument:
        document = made.documents.get(one.name)
        return read_document(rows.document(one.pk) or b"") if document is None else document.metadata

    changed = [members[name].pk for name in made.documents]
    ConflictRows(connection, TABLES).settle(members.values(), changed, metadata_of, now)


def _by_series(instances: Sequence[EncodedInstance]) -> Iterator[ExternalSeries]:
    by_series: dict[str, list[EncodedInstance]] = {}
    for one in instances:
        by_series.setdefault(one.series_instance_uid, []).append(one)
    for of_it in by_series.values():
        uids = [one.sop_instance_uid for one in of_it]
        yield ExternalSeries(of_it[0].data_set, uids, {one.sop_class_uid for one in of_it} - {""})


def _frame_row(number: int, frame: ImageFrame) -> dict[str, Any]:
    checksums = [[one.width, one.height, one.checksum] for one in frame.checksums]
    return {
        "frame_number": number,
        "image_frame_id": frame.image_frame_id,
        "minimum_pixel_value": frame.minimum_pixel_value,
        "maximum_pixel_value": frame.maximum_pixel_value,
        "frame_size": frame.frame_size,
        "checksums": orjson.dumps(checksums).decode(),
    }


def _unusable(outcomes: ExternalOutcomes) -> tuple[str, ...]:
    return tuple(one.reason for one in (*outcomes.instances, *outcomes.series) if one.status is ExternalStatus.UNUSABLE)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
