"""What the index has to know of one object that came in: its rows at every level, where its bytes are, who sent it."""

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..attributes import Attribute, Level, Registry
from ..errors import UnusableObject, UnusableReason
from ..parse.folding import fold_person_name, name_words, phonetic
from ..parse.frames import FrameLayout
from ..parse.header import Header
from .audit.transfer import Transfer
from .rejection import Rejection, rejection_of
from .rows import Element, to_column, to_row, without_nul
from .scope import Authority
from .tables import WORD_LENGTH
from .types import TEXT_LENGTH, UID_LENGTH

# PS3.5 9.1 allows digits and dots; a device that writes letters is kept too, one that writes a path is not
_UID = re.compile(r"[0-9A-Za-z._-]+")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who sent an object, and how."""

    source: str  # "C-STORE", "STOW-RS", "import"
    called_ae_title: str | None = None
    calling_ae_title: str | None = None
    association: str | None = None
    remote_address: str | None = None
    transfer: Transfer | None = field(default=None, compare=False, repr=False)  # for the audit log


# what of a Provenance is kept in the index
PROVENANCE_COLUMNS = ("source", "called_ae_title", "calling_ae_title", "association", "remote_address")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the frames of an instance are: a source by name, and the key by which it knows what they belong to."""

    source: str
    key: str


@dataclass(frozen=True, slots=True)
class SeriesContents:
    """What a source tells of a series whose instances get no rows."""

    sop_instance_uids: frozenset[str]
    sop_class_uids: frozenset[str]
    digest: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Where the bytes of an object are, and what they are."""

    location: str
    size: int
    digest: str
    transfer_syntax_uid: str
    data_set_offset: int
    frames: FrameLayout | None


@dataclass(frozen=True, slots=True)
class EntityRow:
    """One entity's values as one object tells them."""

    columns: dict[str, Any]
    residue: dict[str, Element]
    names: tuple[tuple[int, str], ...] = ()  # tag, folded component group
    words: tuple[tuple[int, str, str], ...] = ()  # tag, folded word, its sound
    items: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)  # by the sequence's keyword


RowsOf = Callable[[Header], dict[Level, EntityRow]]
# What a plugin makes of a header, by the name of the table; the key of the instance is added when it has one.
ExtractedRows = Mapping[str, Sequence[Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class Extracted:
    """What one plugin has made of one header: rows, or the type of the error."""

    plugin: str
    rows: ExtractedRows | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One object on its way into the index."""

    issuer_of_patient_id: str | None
    patient_id: str | None
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    rows: dict[Level, EntityRow]
    stored_object: StoredObject
    provenance: Provenance
    received_at: dt.datetime
    rejection: Rejection | None = None  # what it says where it is a rejection note
    authority: Authority | None = None  # of whoever sent it; None: all that can be done
    origin: Origin | None = None  # of its frames where the object is only its header
    contents: SeriesContents | None = None  # it stands for its series, and is no instance itself
    extracted: tuple[Extracted, ...] = ()  # by plugins


# What all plugins make of the header of an instance of this SOP Class.
Extract = Callable[[Header, str], tuple[Extracted, ...]]


@dataclass(frozen=True, slots=True)
class InstanceUids:
    """The UIDs without which nothing can be indexed."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str


def instance_uids(header: Header) -> InstanceUids:
    """The four UIDs of a composite instance. Raises UnusableObject where one is missing or cannot be used."""
    return InstanceUids(
        _uid(header, "StudyInstanceUID"),
        _uid(header, "SeriesInstanceUID"),
        _uid(header, "SOPInstanceUID"),
        _uid(header, "SOPClassUID"),
    )


def arrival_of(
    header: Header,
    uids: InstanceUids,
    stored_object: StoredObject,
    provenance: Provenance,
    received_at: dt.datetime,
    rows_of: RowsOf,
    extract: Extract,
) -> Arrival:
    return Arrival(
        issuer_of_patient_id=_short_text(header, "IssuerOfPatientID"),
        patient_id=_short_text(header, "PatientID"),
        study_instance_uid=uids.study_instance_uid,
        series_instance_uid=uids.series_instance_uid,
        sop_instance_uid=uids.sop_instance_uid,
        sop_class_uid=uids.sop_class_uid,
        rows=rows_of(header),
        stored_object=stored_object,
        provenance=provenance,
        received_at=received_at,
        rejection=rejection_of(header, uids.sop_class_uid),
        extracted=extract(header, uids.sop_class_uid),
    )


def external_arrival(
    arrival: Arrival, origin: Origin, number_of_frames: int, contents: SeriesContents | None = None
) -> Arrival:
    """An object that is only a header, on its way into the index: its frames are counted by their source."""
    rows = arrival.rows
    image = rows[Level.IMAGE]
    if contents is None and number_of_frames > 1 and image.columns.get("number_of_frames") != number_of_frames:
        rows = {**rows, Level.IMAGE: replace(image, columns={**image.columns, "number_of_frames": number_of_frames})}
    stored = replace(arrival.stored_object, frames=external_frames(number_of_frames))
    return replace(arrival, rows=rows, stored_object=stored, origin=origin, contents=contents)


def external_frames(number_of_frames: int) -> FrameLayout | None:
    return FrameLayout(number_of_frames, 0, 0, None, None) if number_of_frames else None


def entity_attributes(registry: Registry, level: Level) -> tuple[Attribute, ...]:
    """What an entity's own row keeps; the issuer has a table of its own."""
    return tuple(attribute for attribute in registry.in_header(level) if attribute.keyword != "IssuerOfPatientID")


def name_rows(attribute: Attribute, element: Element | None) -> Iterator[tuple[int, str]]:
    """Every component group of every name, folded: all three groups match alike (PS3.5 6.2.1)."""
    for value in (element or {}).get("Value") or ():
        if isinstance(value, dict):
            for group in value.values():
                folded = fold_person_name(without_nul(group))[:TEXT_LENGTH]
                if folded:
                    yield attribute.tag, folded


def word_rows(attribute: Attribute, element: Element | None) -> Iterator[tuple[int, str, str]]:
    words = {
        word[:WORD_LENGTH]
        for value in (element or {}).get("Value") or ()
        if isinstance(value, dict)
        for group in value.values()
        for word in name_words(without_nul(group))
    }
    for word in sorted(words):
        yield attribute.tag, word, phonetic(word)[:WORD_LENGTH]


def item_rows(attribute: Attribute, element: Element | None) -> tuple[dict[str, Any], ...]:
    return tuple(
        {item.column: to_column(item, value.get(item.tag_hex)) for item in attribute.item_attributes}
        for value in (element or {}).get("Value") or ()
        if isinstance(value, dict)
    )


def entity_row(header: Header, attributes: tuple[Attribute, ...]) -> EntityRow:
    """What an object tells of one entity."""
    columns, residue = to_row(attributes, header.element)
    person_names = [
        (attribute, header.element(attribute.tag))
        for attribute in attributes
        if attribute.vr == "PN" and columns[attribute.column] is not None
    ]
    return EntityRow(
        columns,
        residue,
        tuple(row for attribute, element in person_names for row in name_rows(attribute, element)),
        tuple(row for attribute, element in person_names for row in word_rows(attribute, element)),
        {
            attribute.keyword: item_rows(attribute, residue[attribute.tag_hex])
            for attribute in attributes
            if attribute.items and attribute.tag_hex in residue
        },
    )


def _short_text(header: Header, keyword: str) -> str | None:
    text = header.text(keyword)
    return text.replace("\0", "")[:TEXT_LENGTH] or None if text else None


def _uid(header: Header, keyword: str) -> str:
    uid = header.text(keyword)
    if not uid:
        raise UnusableObject(UnusableReason.MISSING_UID, f"the object has no {keyword}; without it, it cannot be found")
    if len(uid) > UID_LENGTH:
        # PS3.5 9.1
        raise UnusableObject(UnusableReason.INVALID_UID, f"{keyword} has {len(uid)} characters; a UID has 64 at most")
    if not _UID.fullmatch(uid) or not uid.strip("."):
        raise UnusableObject(UnusableReason.INVALID_UID, f"{keyword} has characters that no UID has (PS3.5 9.1)")
    return uid
