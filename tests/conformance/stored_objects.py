"""The objects that the matching table asks for: one for each attribute, stored value and character set."""

from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from fileroom_storage.attributes import Level, standard_registry
from tests.conformance.matching_table import ROWS, Row
from tests.made import made, uid


@dataclass(frozen=True)
class Target:
    """Which object a row is about, and at which level to ask for it."""

    level: Level
    study_instance_uid: str
    series_instance_uid: str

    @property
    def unique_keys(self) -> dict[str, str]:
        """What a hierarchical query has to name above its level, and the study itself at its own."""
        keys = {"StudyInstanceUID": self.study_instance_uid}
        if self.level is Level.IMAGE:
            keys["SeriesInstanceUID"] = self.series_instance_uid
        return keys


def _key(row: Row) -> tuple[str, str, Any, Any]:
    level = standard_registry()[row.keyword].level
    counted = row.stored == ""
    return ("" if counted else row.keyword, repr(row.stored), row.character_set, (row.also_stored, level))


def _numbers() -> dict[Any, int]:
    numbers: dict[Any, int] = {}
    for row in ROWS:
        numbers.setdefault(_key(row), len(numbers) + 1)
    return numbers


_NUMBERS = _numbers()


def target(row: Row) -> Target:
    number = _NUMBERS[_key(row)]
    level = standard_registry()[row.keyword].level
    # QIDO-RS has no resource for patients: they are matched through their studies
    return Target(Level.STUDY if level is Level.PATIENT else level, uid(7, number), uid(7, number, 1))


def objects() -> list[Dataset]:
    by_number = {_NUMBERS[_key(row)]: row for row in reversed(ROWS)}
    return [_object(number, row) for number, row in sorted(by_number.items())]


def _object(number: int, row: Row) -> Dataset:
    character_set = row.character_set if isinstance(row.character_set, str) else list(row.character_set)
    values: dict[str, Any] = {
        "SpecificCharacterSet": character_set,
        "StudyInstanceUID": uid(7, number),
        "SeriesInstanceUID": uid(7, number, 1),
        "SOPInstanceUID": uid(7, number, 1, 1),
        "PatientID": f"T{number}",
    }
    if row.stored != "":
        values[row.keyword] = row.stored
    return made(**(values | dict(row.also_stored)))
