"""Conflicts between what the index says and what an object says: recorded once each, left to a person."""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import Connection, insert, select, update

from ..attributes import Level
from ..parse.folding import fold_person_name
from .arrival import Arrival, entity_attributes
from .rows import Element, from_column, load_residue
from .tables import DEFAULT_ISSUER, Tables


class ConflictType(StrEnum):
    CONTENT = "content"  # the same SOP Instance UID with other bytes
    STUDY_PATIENT = "study patient"  # a study that names another patient
    SERIES_STUDY = "series study"  # a series that names another study
    DEMOGRAPHICS = "demographics"  # the same patient with another name, birth date or sex


class ConflictState(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"


Differences = dict[str, tuple[Any, Any]]  # keyword → what the index says, what the object says

DEMOGRAPHIC_KEYWORDS = ("PatientName", "PatientBirthDate", "PatientSex")


@dataclass(frozen=True, slots=True)
class NewConflict:
    type: ConflictType
    arrival: Arrival
    differences: Differences
    subject: str  # what the conflict is about: the same subject and differences are the same conflict

    @property
    def fingerprint(self) -> str:
        parts = [self.type, self.subject, orjson.dumps(self.differences, option=orjson.OPT_SORT_KEYS).decode()]
        if self.type is ConflictType.CONTENT:
            parts.append(self.arrival.stored_object.digest)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def content_differences(
    tables: Tables, existing: Mapping[Level, Mapping[str, Any]], issuer: str, arrival: Arrival
) -> Differences:
    """What the indexed attributes of the same SOP Instance differ in, over all levels."""
    differences: Differences = {}
    for level in Level:
        row = existing[level]
        residue = load_residue(row["residue"])
        for attribute in entity_attributes(tables.registry, level):
            said = arrival.rows[level]
            old = residue.get(attribute.tag_hex) or from_column(attribute, row.get(attribute.column))
            new = said.residue.get(attribute.tag_hex) or from_column(attribute, said.columns.get(attribute.column))
            if attribute.keyword == "PatientID" and arrival.patient_id is None:
                continue
            if _plain(old) != _plain(new):
                differences[attribute.keyword] = (_plain(old), _plain(new))
    if (arrival.issuer_of_patient_id or DEFAULT_ISSUER) != issuer:
        differences["IssuerOfPatientID"] = (issuer, arrival.issuer_of_patient_id)
    syntax = existing[Level.IMAGE]["available_transfer_syntax_uid"]
    if syntax != arrival.stored_object.transfer_syntax_uid:
        differences["TransferSyntaxUID"] = (syntax, arrival.stored_object.transfer_syntax_uid)
    return differences


def demographic_differences(tables: Tables, patient: Mapping[str, Any], arrival: Arrival) -> Differences:
    differences: Differences = {}
    columns = arrival.rows[Level.PATIENT].columns
    for keyword in DEMOGRAPHIC_KEYWORDS:
        attribute = tables.registry[keyword]
        old, new = patient[attribute.column], columns.get(attribute.column)
        if old is None or new is None or old == new:
            continue
        if attribute.vr == "PN" and _folded_groups(old) == _folded_groups(new):
            continue  # the same name, written in another case or without its accents
        differences[keyword] = (_plain(from_column(attribute, old)), _plain(from_column(attribute, new)))
    return differences


def record(connection: Connection, tables: Tables, conflicts: Iterable[NewConflict], now: dt.datetime) -> set[str]:
    """Writes conflicts. Returns the locations that a conflict row now holds on to.

    A conflict met again is counted, not repeated; one that was resolved opens again.
    """
    table = tables.conflict
    held: set[str] = set()
    for conflict in conflicts:
        keeps_object = conflict.type is ConflictType.CONTENT
        known = connection.execute(
            select(table.c.pk, table.c.state, table.c.occurrences, table.c.location)
            .where(table.c.fingerprint == conflict.fingerprint)
            .with_for_update()
        ).one_or_none()
        stored = conflict.arrival.stored_object
        copy = {
            "location": stored.location,
            "transfer_syntax_uid": stored.transfer_syntax_uid,
            "data_set_offset": stored.data_set_offset,
            "digest": stored.digest,
            "size": stored.size,
        }
        if known is None:
            connection.execute(
                insert(table),
                {
                    "type": conflict.type.value,
                    "state": ConflictState.OPEN.value,
                    "fingerprint": conflict.fingerprint,
                    "study_instance_uid": conflict.arrival.study_instance_uid,
                    "series_instance_uid": conflict.arrival.series_instance_uid,
                    "sop_instance_uid": conflict.arrival.sop_instance_uid,
                    "differences": orjson.dumps(conflict.differences).decode(),
                    "occurrences": 1,
                    "detected_at": now,
                    **(copy if keeps_object else {}),
                },
            )
            if keeps_object:
                held.add(stored.location)
            continue
        if keeps_object and known.location == stored.location:
            # this very copy: an earlier try did commit, though its answer was lost, or another process was faster
            held.add(stored.location)
            continue
        changes: dict[str, Any] = {"occurrences": known.occurrences + 1}
        if known.state == ConflictState.RESOLVED:
            changes |= {"state": ConflictState.OPEN.value, "resolved_at": None, "resolution": None, "detected_at": now}
        if keeps_object and known.location is None:
            changes |= copy
            held.add(stored.location)
        connection.execute(update(table).where(table.c.pk == known.pk), changes)
    return held


def _plain(element: Element | None) -> Any:
    values = (element or {}).get("Value")
    if not values:
        return None
    return values[0] if len(values) == 1 else values


def _folded_groups(name: str) -> list[str]:
    return [fold_person_name(group) for group in name.split("=")]
