"""What became of an object that was sent, in the words of those who sent it."""

from dataclasses import dataclass, replace
from typing import Literal

from .index.arrival import Arrival
from .index.conflicts import ConflictType
from .index.ingest import Outcome


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """What became of an object that was sent. `conflicts` are recorded; the object is kept all the same."""

    status: Literal["stored", "already stored"]
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    conflicts: tuple[ConflictType, ...] = ()
    mismatched: tuple[str, ...] = ()  # what the request said otherwise than the data set, by keyword

    def compared_with(self, sop_class_uid: str, sop_instance_uid: str) -> "StoreOutcome":
        """With what the request said otherwise than the data set."""
        said = {"SOPClassUID": sop_class_uid, "SOPInstanceUID": sop_instance_uid}
        found = {"SOPClassUID": self.sop_class_uid, "SOPInstanceUID": self.sop_instance_uid}
        mismatched = tuple(keyword for keyword in said if said[keyword] != found[keyword])
        return replace(self, mismatched=mismatched) if mismatched else self


def store_outcome(arrival: Arrival, outcome: Outcome) -> StoreOutcome:
    return StoreOutcome(
        status="stored" if outcome.stored or outcome.kept else "already stored",
        sop_class_uid=arrival.sop_class_uid,
        sop_instance_uid=arrival.sop_instance_uid,
        study_instance_uid=outcome.study_instance_uid,
        series_instance_uid=outcome.series_instance_uid,
        conflicts=tuple(outcome.conflicts),
    )
