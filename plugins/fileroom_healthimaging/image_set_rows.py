"""The rows of image sets, read and written; each as one value."""

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update

from .allotment import Holder
from .image_set_version import DELETED, ImageSetName
from .tables import HealthImagingTables
from .told_versions import Told

_PAGE = 500
Key = TypeVar("Key")
_TOLD = tuple(one.name for one in fields(Told))
_DOCUMENT = (
    "document_version_id",
    "document_digest",
    "study_instance_uid",
    "patient_key",
    "patient_digest",
    "study_digest",
)


@dataclass(frozen=True, slots=True)
class ImageSet:
    """A row, and the series of it. `pk` 0: it is new; `index_level` None: nothing of it is in the core."""

    name: ImageSetName
    told: Told
    pk: int = 0
    document_version_id: int | None = None
    document_digest: str | None = None
    study_instance_uid: str | None = None
    patient_key: str | None = None
    patient_digest: str | None = None
    study_digest: str | None = None
    index_level: str | None = None
    change: str = ""
    series: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return str(self.name)

    @property
    def is_live(self) -> bool:
        return self.told.state != DELETED and self.document_digest is not None

    @property
    def holder(self) -> Holder:
        return Holder(self.pk, self.key, self.told.is_primary, self.told.created_at, self.series)


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """By what image sets have to do with each other."""

    names: frozenset[ImageSetName]
    studies: frozenset[str]
    series: frozenset[str]
    patients: frozenset[str]


class ImageSetRows:
    """Statements on one connection."""

    def __init__(self, connection: Connection, tables: HealthImagingTables) -> None:
        self._connection = connection
        self._tables = tables

    # -- reading -------------------------------------------------------------------------------------------

    def take_turn(self) -> None:
        """The rest of this transaction is alone with the rows of image sets."""
        turn = self._tables.turn
        if self._connection.execute(select(turn.c.pk).with_for_update()).first() is None:
            self._connection.execute(insert(turn).values(pk=1))

    def named(self, names: Collection[ImageSetName]) -> dict[ImageSetName, ImageSet]:
        return self._image_sets(self._of_names(names))

    def neighbours(self, of: Neighbourhood) -> dict[ImageSetName, ImageSet]:
        """All that have to do with it, the named ones included."""
        return self._image_sets(self._conditions(of))

    def changes(self, of: Neighbourhood) -> dict[ImageSetName, str]:
        """As they are now, whatever this transaction has seen before."""
        table = self._tables.image_set
        found = {}
        for condition in self._conditions(of):
            columns = (table.c.datastore_id, table.c.image_set_id, table.c.change)
            # MariaDB reads anew only what it locks
            rows = self._connection.execute(select(*columns).where(condition).with_for_update())
            found.update({ImageSetName(datastore, image_set): change for datastore, image_set, change in rows})
        return found

    def patient_digests(self, patient_keys: Collection[str]) -> dict[str, frozenset[str]]:
        """What image sets that are not deleted say of each patient, by its digests."""
        table = self._tables.image_set
        found: dict[str, set[str]] = {}
        for page in pages(sorted(patient_keys)):
            statement = select(table.c.patient_key, table.c.patient_digest).distinct()
            live = (table.c.state != DELETED) & table.c.patient_key.in_(page)
            for key, digest in self._connection.execute(statement.where(live)):
                found.setdefault(key, set()).add(digest)
        return {key: frozenset(digests) for key, digests in found.items()}

    def told(self, pks: Collection[int]) -> dict[int, list[Told]]:
        """The history of each."""
        table = self._tables.version
        found: dict[int, list[Told]] = {pk: [] for pk in pks}
        for page in pages(pks):
            columns = (table.c.image_set_pk, *(table.c[name] for name in _TOLD))
            for pk, *values in self._connection.execute(select(*columns).where(table.c.image_set_pk.in_(page))):
                found[pk].append(Told(*values))
        return found

    def document(self, pk: int) -> bytes | None:
        table = self._tables.image_set
        content: bytes | None = self._connection.execute(select(table.c.document).where(table.c.pk == pk)).scalar()
        return content

    def _image_sets(self, conditions: Iterable[ColumnElement[bool]]) -> dict[ImageSetName, ImageSet]:
        table, series = self._tables.image_set, self._tables.series
        columns = ("datastore_id", "image_set_id", *_TOLD, "pk", *_DOCUMENT, "index_level", "change")
        found: dict[int, Any] = {}
        for condition in conditions:
            for row in self._connection.execute(select(*(table.c[name] for name in columns)).where(condition)):
                found[row.pk] = row
        of_them: dict[int, dict[str, frozenset[str]]] = {pk: {} for pk in found}
        for page in pages(found):
            statement = select(series.c.image_set_pk, series.c.series_instance_uid, series.c.sop_instance_uids)
            for pk, uid, uids in self._connection.execute(statement.where(series.c.image_set_pk.in_(page))):
                of_them[pk][uid] = _expanded(uids)
        image_sets = (
            ImageSet(
                ImageSetName(row.datastore_id, row.image_set_id),
                Told(*(getattr(row, name) for name in _TOLD)),
                pk,
                **{name: getattr(row, name) for name in _DOCUMENT},
                index_level=row.index_level,
                change=row.change,
                series=of_them[pk],
            )
            for pk, row in found.items()
        )
        return {one.name: one for one in image_sets}

    def _of_names(self, names: Collection[ImageSetName]) -> Iterator[ColumnElement[bool]]:
        table = self._tables.image_set
        by_datastore: dict[str, list[str]] = {}
        for name in sorted(names):
            by_datastore.setdefault(name.datastore_id, []).append(name.image_set_id)
        for datastore, all_of_it in by_datastore.items():
            for page in pages(all_of_it):
                yield (table.c.datastore_id == datastore) & table.c.image_set_id.in_(page)

    def _conditions(self, of: Neighbourhood) -> Iterator[ColumnElement[bool]]:
        table, series = self._tables.image_set, self._tables.series
        is_live = table.c.state != DELETED
        yield from self._of_names(of.names)
        for page in pages(sorted(of.studies)):
            yield is_live & table.c.study_instance_uid.in_(page)
        for page in pages(sorted(of.patients)):
            yield is_live & table.c.patient_key.in_(page)
        for page in pages(sorted(of.series)):
            having = select(series.c.image_set_pk).where(series.c.series_instance_uid.in_(page))
            yield is_live & or_(table.c.pk.in_(having))

    # -- writing -------------------------------------------------------------------------------------------

    def write(self, one: ImageSet, document: bytes | None, new: Sequence[Told], now: datetime) -> int:
        """Returns the key. `document` None: it stays, but for those of deleted ones."""
        table, series, version = self._tables.image_set, self._tables.series, self._tables.version
        values = one.told.values() | {name: getattr(one, name) for name in _DOCUMENT}
        values |= {"index_level": one.index_level, "change": one.change}
        if document is not None or not one.is_live:
            values["document"] = document if one.is_live else None
        pk = one.pk
        if pk:
            self._connection.execute(update(table).where(table.c.pk == pk).values(values))
        else:
            names = one.name._asdict()
            [pk] = self._connection.execute(insert(table).values(values | names)).inserted_primary_key or [0]
        if new:
            rows = [{**told.values(), "image_set_pk": pk, "digest": told.digest, "told_at": now} for told in new]
            self._connection.execute(insert(version), rows)
        if document is not None or not one.is_live:
            self._connection.execute(delete(series).where(series.c.image_set_pk == pk))
            rows = [
                {"image_set_pk": pk, "series_instance_uid": uid, "sop_instance_uids": _compressed(uids)}
                for uid, uids in one.series.items()
                if one.is_live
            ]
            if rows:
                self._connection.execute(insert(series), rows)
        return int(pk)

    def replace_frames(self, pks: Collection[int], rows: Sequence[dict[str, Any]]) -> None:
        frame = self._tables.frame
        for page in pages(pks):
            self._connection.execute(delete(frame).where(frame.c.image_set_pk.in_(page)))
        for some in pages(rows):
            self._connection.execute(insert(frame), some)


def pages(keys: Collection[Key]) -> Iterator[list[Key]]:
    wanted = list(keys)
    for start in range(0, len(wanted), _PAGE):
        yield wanted[start : start + _PAGE]


def _compressed(uids: Iterable[str]) -> bytes:
    return zlib.compress("\\".join(sorted(uids)).encode())


def _expanded(uids: bytes) -> frozenset[str]:
    return frozenset(zlib.decompress(uids).decode().split("\\"))
