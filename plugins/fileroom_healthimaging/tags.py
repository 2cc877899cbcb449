"""Tags: attributes that the image sets of a series are to have, from the request until they have them, or cannot."""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from pydicom import config as pydicom_config
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.uid import RE_VALID_UID
from pydicom.valuerep import validate_value
from sqlalchemy import Connection, RowMapping, insert, select, update

from fileroom_storage.plugin import (
    Action,
    Actor,
    AuditEvent,
    AuditOutcome,
    EventId,
    PluginConnections,
    StorageError,
    utc_now,
)

from .due_work import DueWork, Pauses
from .tag_and_job_tables import TagAndJobTables

AttributeValue = str | int | float

# how long a tag is tried for before it is given up
PATIENCE = dt.timedelta(days=1)

# they name the entities of the hierarchy: with another one it would be another series
_IDENTIFIERS = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"})
_INTEGERS = frozenset({"SL", "SS", "SV", "UL", "US", "UV"})
_FLOATS = frozenset({"FD", "FL"})
_TEXTS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_SINGLE_TEXTS = frozenset({"LT", "ST", "UR", "UT"})
# UpdateImageSetMetadata changes these, and attributes of several values, by `force` alone
_FORCED = frozenset({"StudyID"})
_LONGEST_UPDATE = 30_000  # bytes, of `updatableAttributes` in the service model
_ID = re.compile(r"[0-9a-z]{32}")  # of data stores and image sets, by the service model


class TagState(StrEnum):
    REQUESTED = "requested"
    UPDATING = "updating"  # the service has taken the update and is at it
    APPLIED = "applied"
    FAILED = "failed"


PENDING = (TagState.REQUESTED, TagState.UPDATING)


class TagLevel(StrEnum):
    """Where the metadata of an image set have the attribute."""

    PATIENT = "patient"
    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


class InvalidTag(StorageError):
    """What no image set can be given."""


class TagNotFound(StorageError):
    """No tag has this number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRequest:
    """An attribute, by its keyword, that a series is to have in a data store.

    `sop_instance_uid` goes with the level INSTANCE alone. `image_set_id` names one of several image sets of the series;
    without it, it is the primary one. `forced` is the service's `force`. Values of several are parted by backslashes.
    Raises InvalidTag.
    """

    datastore_id: str
    series_instance_uid: str
    keyword: str
    value: str
    level: TagLevel = TagLevel.SERIES
    sop_instance_uid: str | None = None
    image_set_id: str | None = None
    forced: bool = False

    def __post_init__(self) -> None:
        for what, identifier in (("data store", self.datastore_id), ("image set", self.image_set_id)):
            if identifier is not None and not _ID.fullmatch(identifier):
                raise InvalidTag(f"the ID of the {what} is not 32 digits and small letters; copy it from the console")
        for uid in filter(None, (self.series_instance_uid, self.sop_instance_uid)):
            if len(uid) > 64 or not re.fullmatch(RE_VALID_UID, uid):  # PS3.5 9.1
                raise InvalidTag(f"{uid[:70]} is no UID")
        if (self.level is TagLevel.INSTANCE) != (self.sop_instance_uid is not None):
            raise InvalidTag("an attribute of an instance, and no other, needs the SOP Instance UID of the instance")
        value = attribute_value(self.keyword, self.value)
        if not self.forced and (isinstance(value, list) or self.keyword in _FORCED):
            raise InvalidTag(f"{self.keyword} with this number of values is updated by force alone; ask with --force")
        if len(self.updatable_attributes()) > _LONGEST_UPDATE:
            raise InvalidTag(f"the value is too long: the service takes updates of {_LONGEST_UPDATE} bytes")

    def updatable_attributes(self) -> bytes:
        """The update as UpdateImageSetMetadata takes it (developer guide, "Updating image set metadata")."""
        entity: dict[str, Any] = {"DICOM": {self.keyword: attribute_value(self.keyword, self.value)}}
        if self.level is TagLevel.PATIENT:
            return json.dumps({"SchemaVersion": "1.1", "Patient": entity}).encode()
        if self.level is TagLevel.INSTANCE:
            entity = {"Instances": {self.sop_instance_uid: entity}}
        if self.level is not TagLevel.STUDY:
            entity = {"Series": {self.series_instance_uid: entity}}
        return json.dumps({"SchemaVersion": "1.1", "Study": entity}).encode()

    @property
    def key(self) -> str:
        """A digest of what is to be changed, whatever to."""
        parts = (
            self.datastore_id,
            self.image_set_id or "",
            self.series_instance_uid,
            self.level.value,
            self.sop_instance_uid or "",
            self.keyword,
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag and what became of it. Times are UTC; `version` is the one that has it, where it was applied."""

    pk: int
    request: TagRequest
    state: TagState
    image_set_id: str | None
    base_version: int | None
    version: int | None
    attempts: int
    last_error: str | None
    requested_at: dt.datetime
    due_at: dt.datetime
    settled_at: dt.datetime | None

    @classmethod
    def of_row(cls, row: RowMapping) -> Self:
        request = TagRequest(
            datastore_id=row["datastore_id"],
            series_instance_uid=row["series_instance_uid"],
            keyword=row["keyword"],
            value=row["value"],
            level=TagLevel(row["level"]),
            sop_instance_uid=row["sop_instance_uid"],
            image_set_id=row["named_image_set_id"],
            forced=row["forced"],
        )
        copied: dict[str, Any] = {
            name: row[name] for name in cls.__dataclass_fields__ if name not in ("request", "state")
        }
        return cls(request=request, state=TagState(row["state"]), **copied)


def attribute_value(keyword: str, text: str) -> AttributeValue | list[AttributeValue]:
    """A value as an image set's metadata have it. Raises InvalidTag, whose text does not quote the value."""
    if keyword in _IDENTIFIERS:
        raise InvalidTag(f"{keyword} identifies what has it; copy or import under another one instead")
    if tag_for_keyword(keyword) is None:
        raise InvalidTag(f"{keyword[:64]} is no keyword of PS3.6; private attributes cannot be tags")
    vr = dictionary_VR(keyword)
    if vr not in _TEXTS | _INTEGERS | _FLOATS:
        raise InvalidTag(f"{keyword} has the VR {vr}; a tag is a text or a number")
    single = vr in _SINGLE_TEXTS or dictionary_VM(keyword) == "1"  # PS3.5 6.4
    values = [_one_value(keyword, vr, one) for one in ([text] if single else text.split("\\"))]
    return values[0] if len(values) == 1 else values


def _one_value(keyword: str, vr: str, text: str) -> AttributeValue:
    try:
        if vr in _INTEGERS:
            number = int(text)
            validate_value(vr, number, pydicom_config.RAISE)
            return number
        if vr in _FLOATS:
            return float(text)
        validate_value(vr, text, pydicom_config.RAISE)
    except (ValueError, OverflowError):
        raise InvalidTag(f"the value is none that {keyword} can have by its VR, {vr} (PS3.5 6.2)") from None
    return text


class Tags:
    """The tags of an index. Each method is a transaction of its own; all raise StorageUnavailable."""

    def __init__(self, database: PluginConnections, tables: TagAndJobTables, pauses: Pauses | None = None) -> None:
        self._database = database
        self._table = tables.tag
        self.work = DueWork(database, self._table, PENDING, pauses)

    def request(self, request: TagRequest, actor: Actor, patience: dt.timedelta = PATIENCE) -> Tag:
        """Takes a request in; where the same is asked for already and not settled, that one is returned.

        Raises InvalidTag where another value is asked for, and not settled.
        """

        def work(connection: Connection) -> tuple[Tag, Sequence[AuditEvent]]:
            table, now = self._table, utc_now()
            pending = connection.execute(select(table).where(table.c.pending_key == request.key)).mappings().first()
            if pending is not None:
                if (pending["value"], pending["forced"]) != (request.value, request.forced):
                    raise InvalidTag(f"tag {pending['pk']} asks for another value and is not settled; wait until it is")
                return Tag.of_row(pending), ()
            values = {
                "datastore_id": request.datastore_id,
                "series_instance_uid": request.series_instance_uid,
                "sop_instance_uid": request.sop_instance_uid,
                "level": request.level.value,
                "keyword": request.keyword,
                "value": request.value,
                "forced": request.forced,
                "named_image_set_id": request.image_set_id,
                "pending_key": request.key,
                "state": TagState.REQUESTED.value,
                "attempts": 0,
                "requested_at": now,
                "due_at": now,
                "give_up_at": now + patience,
            }
            key = connection.execute(insert(table), values).inserted_primary_key
            if key is None:
                raise RuntimeError("the database gave the new tag no key")
            row = connection.execute(select(table).where(table.c.pk == key[0])).mappings().one()
            return Tag.of_row(row), [self.event(connection, row, actor)]

        return self._database.audited(work)

    def read(self, pk: int) -> Tag:
        """Raises TagNotFound."""
        with self._database.read() as connection:
            return Tag.of_row(self._row(connection, pk))

    def all(self, states: Collection[TagState] = tuple(TagState)) -> Iterator[Tag]:
        """Newest first."""
        table = self._table
        statement = select(table).where(table.c.state.in_([state.value for state in states]))
        with self._database.read() as connection:
            for row in connection.execute(statement.order_by(table.c.pk.desc())).mappings():
                yield Tag.of_row(row)

    def retry(self, pk: int, actor: Actor, patience: dt.timedelta = PATIENCE) -> Tag:
        """Makes one that failed, or waits, due now. Raises TagNotFound, and InvalidTag where it cannot be."""

        def work(connection: Connection) -> tuple[Tag, Sequence[AuditEvent]]:
            table, now = self._table, utc_now()
            row = self._row(connection, pk, lock=True)
            tag = Tag.of_row(row)
            if tag.state is TagState.APPLIED:
                raise InvalidTag(f"tag {pk} is applied; request it again where it has to be applied anew")
            if row["claimed_by"] is not None and row["due_at"] > now:
                return tag, ()  # somebody is at it
            if tag.state is TagState.FAILED:
                other = select(table.c.pk).where(table.c.pending_key == tag.request.key)
                if (number := connection.execute(other).scalar()) is not None:
                    raise InvalidTag(f"tag {number} asks for the same attribute and is not settled; wait until it is")
            values: dict[str, Any] = {"due_at": now, "give_up_at": now + patience, "claimed_by": None}
            if tag.state is TagState.FAILED:
                values |= {
                    "state": TagState.REQUESTED.value,
                    "pending_key": tag.request.key,
                    "image_set_id": None,
                    "base_version": None,
                    "version": None,
                    "attempts": 0,
                    "settled_at": None,
                }
            connection.execute(update(table).where(table.c.pk == pk).values(values))
            row = self._row(connection, pk)
            return Tag.of_row(row), [self.event(connection, row, actor)]

        return self._database.audited(work)

    def event(self, connection: Connection, row: RowMapping, actor: Actor) -> AuditEvent:
        """What the audit log has of a tag in the state that it has come to; without its value."""
        state = TagState(row["state"])
        detail: dict[str, str | int] = {
            "tag": row["pk"],
            "state": state.value,
            "datastore": row["datastore_id"],
            "series_instance_uid": row["series_instance_uid"],
            "keyword": row["keyword"],
        }
        optional = ("sop_instance_uid", "image_set_id", "version")
        detail |= {name: row[name] for name in optional if row[name] is not None}
        return AuditEvent(
            EventId.DICOM_INSTANCES_ACCESSED,
            Action.UPDATE,
            actor,
            AuditOutcome.MINOR_FAILURE if state is TagState.FAILED else AuditOutcome.SUCCESS,
            study_instance_uid=self._study_of(connection, row["series_instance_uid"]),
            detail=detail,
        )

    def _study_of(self, connection: Connection, series_instance_uid: str) -> str | None:
        """The Study Instance UID of a series that the index has."""
        study, series = self._database.tables.study, self._database.tables.series
        statement = select(study.c.study_instance_uid).join(series, series.c.study_pk == study.c.pk)
        found: str | None = connection.execute(
            statement.where(series.c.series_instance_uid == series_instance_uid)
        ).scalar()
        return found

    def _row(self, connection: Connection, pk: int, *, lock: bool = False) -> RowMapping:
        statement = select(self._table).where(self._table.c.pk == pk)
        row = connection.execute(statement.with_for_update() if lock else statement).mappings().first()
        if row is None:
            raise TagNotFound(f"there is no tag {pk}; `fileroom healthimaging tag list --all` shows them")
        return row
