"""One transfer of instances, such as an association: what it brings or takes is counted by study and SOP Class.

Its first instance of a study makes a row of its own, "Begin Transferring", at once; the counts follow when it ends, or
every minute while it goes on. Whatever happens between, the log has the first.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .event import Action, Actor, AuditEvent, EventId, Outcome


class Recorder(Protocol):
    """What writes events to the log."""

    def record(self, event: AuditEvent) -> None: ...

    def forget(self, transfer: "Transfer") -> None: ...


@dataclass(slots=True)
class _Counts:
    sop_classes: Counter[str] = field(default_factory=Counter)
    reason: str | None = None


class Transfer:
    """Any thread may count."""

    def __init__(
        self, recorder: Recorder, actor: Actor, event: EventId, action: Action, detail: Mapping[str, str | int]
    ) -> None:
        self.actor = actor
        self._recorder = recorder
        self._event = event
        self._action = action
        self._detail = detail
        self._lock = threading.Lock()
        self._has_ended = False
        self._begun: set[str] = set()
        self._counts: dict[tuple[str | None, Outcome], _Counts] = {}
        self._patient_ids: dict[str, str | None] = {}

    def has_begun(self, study: str) -> bool:
        return study in self._begun

    def set_begun(self, studies: Iterable[str]) -> None:
        """To be called once their opening events are durable, or will be soon."""
        self._begun.update(studies)

    def opening(self, study: str, patient_id: str | None = None) -> AuditEvent:
        # PS3.15 A.5.3.3
        event = EventId.BEGIN_TRANSFERRING_DICOM_INSTANCES
        return AuditEvent(
            event,
            Action.EXECUTE,
            self.actor,
            study_instance_uid=study,
            patient_id=patient_id,
            detail={"transfer": self._event.value, **self._detail},
        )

    def begin(self, studies: Iterable[str]) -> None:
        """For what only leaves the server: the opening rows need not be there before."""
        for study in studies:
            if not self.has_begun(study):
                self.set_begun([study])
                self._recorder.record(self.opening(study))

    def count(self, study: str, sop_class_uid: str, patient_id: str | None = None) -> None:
        key = (study, Outcome.SUCCESS)
        with self._lock:
            counts = self._counts.get(key)
            if counts is None:
                counts = self._counts[key] = _Counts()
                self._patient_ids[study] = patient_id
            counts.sop_classes[sop_class_uid] += 1
        if self._has_ended:
            self.report()  # what was on its way when the connection was lost

    def count_failed(
        self, outcome: Outcome, reason: str, study: str | None = None, sop_class_uid: str | None = None
    ) -> None:
        """`reason` tells of the last one; it names no patient."""
        with self._lock:
            counts = self._counts.setdefault((study, outcome), _Counts())
            counts.sop_classes[sop_class_uid or ""] += 1
            counts.reason = reason

    def report(self) -> None:
        """Records what has been counted since the last report."""
        with self._lock:
            counted, self._counts = self._counts, {}
        for (study, outcome), counts in counted.items():
            detail = {**self._detail, **({"reason": counts.reason} if counts.reason else {})}
            self._recorder.record(
                AuditEvent(
                    self._event,
                    self._action,
                    self.actor,
                    outcome,
                    study_instance_uid=study,
                    patient_id=self._patient_ids.get(study or ""),
                    sop_classes=counts.sop_classes,
                    detail=detail,
                )
            )

    def end(self) -> None:
        """May be called again."""
        self._has_ended = True
        self._recorder.forget(self)
        self.report()
