"""What a source tells of instances whose pixels are with it, read; and what becomes of that."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .errors import UnusableObject, UnusableReason
from .index.arrival import InstanceUids, Origin, SeriesContents, instance_uids
from .index.conflicts import ConflictType
from .index.external import Facts
from .index.types import UID_LENGTH
from .parse.encoding import EXPLICIT_VR_LITTLE_ENDIAN, NATIVE_TRANSFER_SYNTAXES
from .parse.header import Header, parse_header
from .parse.likeness import Models


@dataclass(frozen=True, slots=True)
class ExternalInstance:
    """An instance as its source tells it.

    `data_set` is encoded in Explicit VR Little Endian and has no Pixel Data; `transfer_syntax_uid` is that of the
    frames as the source gives them: Explicit VR Little Endian, or one that encapsulates.
    """

    data_set: bytes
    transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN
    number_of_frames: int = 0


@dataclass(frozen=True, slots=True)
class ExternalSeries:
    """A series whose instances get no rows: the data set of one of them, for what it says of the series and above."""

    data_set: bytes
    sop_instance_uids: Collection[str]
    sop_class_uids: Collection[str]


@dataclass(frozen=True, slots=True)
class ExternalChange:
    """What a source has under a key from now on; without instances and series nothing.

    `takes_over` instances that another key of the same source has. `renews` makes its rows anew though nothing else is
    told: those that share a study, and disagree about it, come in together so that the first of them tells.
    """

    key: str
    instances: Sequence[ExternalInstance] = ()
    series: Sequence[ExternalSeries] = ()
    takes_over: bool = False
    renews: bool = False


class ExternalStatus(StrEnum):
    STORED = "stored"
    UNCHANGED = "unchanged"  # it was there, as it is told again
    LOCAL = "stored locally"  # the object itself is here, and stays
    OTHER_KEY = "of another key"  # another key, or another source, has it
    REJECTED = "rejected"  # by a rejection note, as it is
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True)
class ExternalOutcome:
    """What became of an instance, or of a told series; `reason` where it cannot be indexed, without patient data."""

    status: ExternalStatus
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    owner: Origin | None = None
    conflicts: tuple[ConflictType, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ExternalOutcomes:
    """For one change, in its order."""

    instances: tuple[ExternalOutcome, ...] = ()
    series: tuple[ExternalOutcome, ...] = ()


@dataclass(slots=True)
class Told:
    """An instance or a series that a change tells of, read."""

    header: Header
    uids: InstanceUids
    instance: ExternalInstance | None
    contents: SeriesContents | None

    @property
    def facts(self) -> Facts:
        if self.instance is None:
            return "", "", 0
        digest = hashlib.sha256(self.instance.data_set).hexdigest()
        return digest, self.instance.transfer_syntax_uid, self.instance.number_of_frames


Read = Told | UnusableObject


def read_change(change: ExternalChange, models: Models) -> list[Read]:
    """The instances of a change, then its series; an error for each that cannot be indexed."""
    read: list[Read] = []
    seen: set[str] = set()
    both: list[ExternalInstance | ExternalSeries] = [*change.instances, *change.series]
    for one in both:
        try:
            told = _instance(one, models) if isinstance(one, ExternalInstance) else _series(one, models)
            uid = told.uids.sop_instance_uid if told.contents is None else told.uids.series_instance_uid
            if uid in seen:
                raise UnusableObject(UnusableReason.INVALID_UID, f"{uid} is told of twice under one key")
            seen.add(uid)
            read.append(told)
        except UnusableObject as error:
            read.append(error)
    return read


def _instance(instance: ExternalInstance, models: Models) -> Told:
    syntax = instance.transfer_syntax_uid
    if syntax in NATIVE_TRANSFER_SYNTAXES and syntax != EXPLICIT_VR_LITTLE_ENDIAN:
        raise UnusableObject(
            UnusableReason.MALFORMED, "frames that are not compressed have to be Explicit VR Little Endian"
        )
    header = _header(instance.data_set, syntax, models)
    return Told(header, instance_uids(header), instance, None)


def _series(series: ExternalSeries, models: Models) -> Told:
    header = _header(series.data_set, EXPLICIT_VR_LITTLE_ENDIAN, models)
    uids, classes = frozenset(series.sop_instance_uids), frozenset(series.sop_class_uids)
    if not uids or any(not 0 < len(uid) <= UID_LENGTH or not uid.isascii() or "\\" in uid for uid in uids):
        raise UnusableObject(UnusableReason.INVALID_UID, "a series needs the UIDs of its instances")
    digest = hashlib.sha256(series.data_set)
    digest.update("\\".join(("", *sorted(uids), "", *sorted(classes))).encode("ascii", "replace"))
    return Told(header, instance_uids(header), None, SeriesContents(uids, classes, digest.hexdigest()))


def _header(data_set: bytes, transfer_syntax_uid: str, models: Models) -> Header:
    header = parse_header(data_set, transfer_syntax_uid, models=models)
    if header.data_set.encoding.implicit or header.data_set.encoding.big_endian:
        raise UnusableObject(UnusableReason.MALFORMED, "the data set is not in Explicit VR Little Endian")
    if header.pixel_data is not None:
        raise UnusableObject(UnusableReason.MALFORMED, "the data set of something external has no Pixel Data")
    return header
