"""What the audit log keeps of one event, in the terms of PS3.15 A.5."""

import base64
import datetime as dt
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from functools import cache
from typing import Any

from ..types import TEXT_LENGTH, UID_LENGTH

# of a query: a C-FIND identifier may be 4 MiB, and MariaDB takes 16 MiB in one statement at most
_LONGEST_QUERY = 64 * 1024


class EventId(StrEnum):
    """PS3.16 CID 400; the names are the meanings of the codes."""

    APPLICATION_ACTIVITY = "110100"
    AUDIT_LOG_USED = "110101"
    BEGIN_TRANSFERRING_DICOM_INSTANCES = "110102"
    DICOM_INSTANCES_ACCESSED = "110103"
    DICOM_INSTANCES_TRANSFERRED = "110104"
    DICOM_STUDY_DELETED = "110105"
    EXPORT = "110106"
    IMPORT = "110107"
    QUERY = "110112"
    SECURITY_ALERT = "110113"
    USER_AUTHENTICATION = "110114"


class EventType(StrEnum):
    """PS3.16 CID 401, as far as these events happen here."""

    APPLICATION_START = "110120"
    APPLICATION_STOP = "110121"
    LOGIN = "110122"
    NODE_AUTHENTICATION = "110126"
    USE_OF_RESTRICTED_FUNCTION = "110132"


class Action(StrEnum):
    """PS3.15 A.5.1: EventActionCode."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class Outcome(IntEnum):
    """PS3.15 A.5.1: EventOutcomeIndicator."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, from where. `user_id` is a login, the name behind a token, or an AE title."""

    source: str  # "DIMSE", "HTTP", "command line", "server"
    user_id: str | None = None
    remote_address: str | None = None
    called_ae_title: str | None = None


SERVER = Actor("server")


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One event. `sop_classes` counts instances by SOP Class UID, under "" those whose class is not known."""

    event: EventId
    action: Action
    actor: Actor
    outcome: Outcome = Outcome.SUCCESS
    type: EventType | None = None
    study_instance_uid: str | None = None
    patient_id: str | None = None  # None: the one that the index has for the study when it is written
    sop_classes: Mapping[str, int] = field(default_factory=dict)
    query: bytes | None = None
    detail: Mapping[str, str | int] = field(default_factory=dict)
    at: dt.datetime | None = None  # UTC; None: when it is recorded

    def of_now(self) -> "AuditEvent":
        return self if self.at is not None else replace(self, at=dt.datetime.now(dt.UTC).replace(tzinfo=None))

    def columns(self, patient_id: str | None) -> dict[str, Any]:
        """What it is in the table, without its place in the chain. What came from a peer may be any text."""
        return {
            "at": self.of_now().at,
            "event": self.event.value,
            "type": self.type.value if self.type else None,
            "action": self.action.value,
            "outcome": int(self.outcome),
            "source": self.actor.source,
            "user_id": _storable(self.actor.user_id),
            "remote_address": _storable(self.actor.remote_address),
            "called_ae_title": _storable(self.actor.called_ae_title),
            "study_instance_uid": _uid(self.study_instance_uid),
            "patient_id": _storable(patient_id),
            "detail": self._detail(),
        }

    def _detail(self) -> str:
        detail: dict[str, Any] = {"host": _host(), "process": os.getpid(), **self.detail}
        if self.sop_classes:
            detail["sop_classes"] = dict(self.sop_classes)
        if self.query is not None:
            # PS3.15 A.5.3.10 has it in base64; so it is no text that a log or a terminal shows by accident
            detail["query"] = base64.b64encode(self.query[:_LONGEST_QUERY]).decode()
            if len(self.query) > _LONGEST_QUERY:
                detail["query_length"] = len(self.query)
        # in ASCII, so that no database can change it
        return json.dumps(detail, separators=(",", ":"), sort_keys=True)


def _storable(text: str | None) -> str | None:
    """As every database gives it back: short, without NUL and halves of surrogate pairs."""
    if text is None:
        return None
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:TEXT_LENGTH]


def _uid(uid: str | None) -> str | None:
    """What a request named may be no UID."""
    return None if uid is None else uid.replace("\0", "").encode("ascii", "replace").decode()[:UID_LENGTH]


@cache
def _host() -> str:
    return socket.gethostname()
