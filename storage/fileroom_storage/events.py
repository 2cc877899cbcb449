"""What storage tells others about, once it is durable."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InstanceStored:
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str


@dataclass(frozen=True, slots=True)
class InstanceDeleted:
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


Event = InstanceStored | InstanceDeleted
