"""A synthetic but realistic index, rows only: names in several scripts, young studies, patients who come again."""

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import tag_for_keyword
from sqlalchemy import BigInteger, Insert, String, Table, cast, insert, literal, select, union_all

from benchmarks.synthetic_names import person_name
from fileroom_storage.attributes import Level
from fileroom_storage.index.name_suffixes import suffixes
from fileroom_storage.index.tables import DEFAULT_ISSUER, WORD_LENGTH, Tables
from fileroom_storage.parse.folding import fold_person_name, name_words, phonetic

_ROOT = "1.2.826.0.1.3680043.10.1593"
_PATIENT_NAME = tag_for_keyword("PatientName") or 0
_REFERRING = tag_for_keyword("ReferringPhysicianName") or 0
_NEWEST = dt.date(2026, 6, 30)
_MEAN_AGE = 900  # days: most studies are young
_NOW = dt.datetime(2026, 6, 30, 12)
_ISSUERS = (DEFAULT_ISSUER, *(f"HOSPITAL {number}" for number in range(1, 20)))
_STUDIES_OF = (1, 1, 1, 1, 2, 2, 4, 8)  # of the patients of a group: most come once, some come for years
STUDIES_OF_A_GROUP = sum(_STUDIES_OF)
_SERIES_OF_A_STUDY = 3
_PHYSICIANS = 2000
_OBJECT_SIZE = 526_000
_MODALITIES = {"CT": 300, "MR": 220, "CR": 150, "DX": 140, "US": 90, "MG": 50, "PT": 20, "XA": 19, "NM": 10, "OPT": 1}
_SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "NM": "1.2.840.10008.5.1.4.1.1.20",
    "XA": "1.2.840.10008.5.1.4.1.1.12.1",
    "OPT": "1.2.840.10008.5.1.4.1.1.77.1.5.4",
    "SR": "1.2.840.10008.5.1.4.1.1.88.33",
}
_DESCRIPTIONS = ("Thorax", "Abdomen", "Schädel nativ", "Knie rechts", "Whole body", "Mammographie", "LWS", "Herz")

Rows = dict[Table, list[dict[str, Any]]]


@dataclass(frozen=True)
class Example:
    """A study to look for, by all its names."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    patient_id: str
    patient_name: str
    birth_date: dt.date
    accession_number: str
    referring_physician_name: str
    study_date: dt.date
    newest: dt.date  # of all studies


class SyntheticIndex:
    """Makes the same rows for the same numbers. `words` are those that the index knows already."""

    def __init__(self, tables: Tables, words: Iterable[str] = ()) -> None:
        self._tables = tables
        self._words = set(words)
        self._physicians = [person_name(random.Random(f"physician {number}")) for number in range(_PHYSICIANS)]

    def issuers(self) -> tuple[Insert, list[dict[str, Any]]]:
        """To be inserted before all else."""
        rows = [{"pk": pk, "issuer_of_patient_id": name} for pk, name in enumerate(_ISSUERS, 1)]
        return insert(self._tables.issuer), rows

    def rows(self, first: int, last: int, instances: tuple[int, int]) -> Rows:
        """All rows but instances of some groups of patients, parents first. `instances`: fewest, most of a series."""
        rows: Rows = defaultdict(list)
        levels = (Level.PATIENT, Level.STUDY)
        for table in (self._tables.patient, self._tables.study, self._tables.series):
            rows[table] = []
        for group in range(first, last):
            self._add_group(rows, group, instances)
        new_words = {
            row["word"] for level in levels for row in rows[self._words_of(level)] if row["word"] not in self._words
        }
        self._words |= new_words
        rows[self._tables.name_suffix] = sorted(
            ({"suffix": suffix, "word": word} for word in new_words for suffix in suffixes(word)),
            key=lambda row: (row["suffix"], row["word"]),
        )
        return rows

    def _add_group(self, rows: Rows, group: int, instances: tuple[int, int]) -> None:
        chance = random.Random(group)
        study = group * STUDIES_OF_A_GROUP
        for index, studies in enumerate(_STUDIES_OF):
            patient = group * len(_STUDIES_OF) + index + 1
            name = person_name(chance)
            counted = 0
            for _ in range(studies):
                study += 1
                counted += self._add_study(rows, chance, study, patient, instances)
            rows[self._tables.patient].append(
                {
                    "pk": patient,
                    "issuer_pk": chance.choice((1, 1, 1, *range(1, len(_ISSUERS) + 1))),
                    "unidentified_study_uid": "",
                    "patient_id": f"P{patient:08d}",
                    "patient_name": name,
                    "patient_birth_date": dt.date(1930, 1, 1) + dt.timedelta(days=chance.randrange(33_000)),
                    "patient_sex": chance.choice("MF"),
                    "number_of_patient_related_studies": studies,
                    "number_of_patient_related_series": studies * _SERIES_OF_A_STUDY,
                    "number_of_patient_related_instances": counted,
                    **_stamps(),
                }
            )
            self._add_name(rows, Level.PATIENT, patient, _PATIENT_NAME, name)

    def _add_study(
        self, rows: Rows, chance: random.Random, number: int, patient: int, instances: tuple[int, int]
    ) -> int:
        """Adds a study with its series; returns how many instances it has."""
        modality = chance.choices(list(_MODALITIES), list(_MODALITIES.values()))[0]
        modalities = [modality] * _SERIES_OF_A_STUDY
        if chance.randrange(10) == 0:
            modalities[-1] = "CT" if modality == "PT" else "SR"
        # of a chance of its own, so that all else is the same however many instances are asked for
        counter = random.Random(-number)
        counts = [counter.randint(*instances) for _ in modalities]
        different = sorted(set(modalities))
        referring = self._physicians[int(_PHYSICIANS * chance.random() ** 3)]
        rows[self._tables.study].append(
            {
                "pk": number,
                "patient_pk": patient,
                "study_instance_uid": f"{_ROOT}.1.{number:09d}",
                "study_date": _NEWEST - dt.timedelta(days=int(chance.expovariate(1 / _MEAN_AGE))),
                "study_time": dt.time(chance.randrange(6, 22), chance.randrange(60), chance.randrange(60)),
                "accession_number": f"ACC{number:09d}",
                "study_id": str(number),
                "study_description": chance.choice(_DESCRIPTIONS),
                "referring_physician_name": referring,
                "modalities_in_study": "\\".join(different),
                "sop_classes_in_study": "\\".join(sorted(_SOP_CLASSES[one] for one in different)),
                "number_of_study_related_series": _SERIES_OF_A_STUDY,
                "number_of_study_related_instances": sum(counts),
                "size": _OBJECT_SIZE * sum(counts),
                **_stamps(),
            }
        )
        self._add_name(rows, Level.STUDY, number, _REFERRING, referring)
        for index, (of_series, count) in enumerate(zip(modalities, counts, strict=True), 1):
            rows[self._tables.series].append(
                {
                    "pk": (number - 1) * _SERIES_OF_A_STUDY + index,
                    "study_pk": number,
                    "series_instance_uid": f"{_ROOT}.2.{number:09d}.{index}",
                    "modality": of_series,
                    "series_number": index,
                    "series_description": chance.choice(_DESCRIPTIONS),
                    "number_of_series_related_instances": count,
                    "size": _OBJECT_SIZE * count,
                    **_stamps(),
                }
            )
        return sum(counts)

    def _add_name(self, rows: Rows, level: Level, owner: int, tag: int, name: str) -> None:
        names = self._tables.by_level[level].names
        if names is None:
            raise ValueError(f"no names are kept at {level}")
        key = {f"{level.entity}_pk": owner, "tag": tag}
        rows[names] += [
            {**key, "ordinal": ordinal, "folded": fold_person_name(group)}
            for ordinal, group in enumerate(name.split("="))
        ]
        words = sorted({word[:WORD_LENGTH] for word in name_words(name)})
        rows[self._words_of(level)] += [
            {**key, "ordinal": ordinal, "word": word, "phonetic": phonetic(word)[:WORD_LENGTH]}
            for ordinal, word in enumerate(words)
        ]

    def _words_of(self, level: Level) -> Table:
        words = self._tables.by_level[level].words
        if words is None:
            raise ValueError(f"no words are kept at {level}")
        return words


def instance_rows(tables: Tables, first_series: int, last_series: int, most: int) -> Insert:
    """Makes the instances of these series, as many as each says it has, inside the database: there are too many."""
    series, instance = tables.series, tables.instance
    numbers = union_all(*(select(literal(number).label("number")) for number in range(1, most + 1))).subquery()
    # every key in a form of one length that ascends, as it is with objects that come in one after the other
    key = cast(series.c.pk * 1000 + numbers.c.number + 10**15, String(16))
    values: dict[str, Any] = {
        "series_pk": series.c.pk,
        "sop_instance_uid": literal(f"{_ROOT}.3.") + key,
        "sop_class_uid": literal(_SOP_CLASSES["CT"]),
        "instance_number": numbers.c.number,
        "available_transfer_syntax_uid": literal("1.2.840.10008.1.2.1"),
        "rows": cast(literal(512), BigInteger),
        "columns": cast(literal(512), BigInteger),
        "size": cast(literal(_OBJECT_SIZE), BigInteger),
        "location": literal("2026/06/30/5a/5a3cbb0e00f1d2c4") + key + literal(".dcm"),
        "digest": literal("5a3cbb0e00f1d2c47a8e95613f20b7de6b1c49a0d85e2f37") + key,
        "data_set_offset": cast(literal(350), BigInteger),
        "pixel_data_offset": cast(literal(1700), BigInteger),
        "pixel_data_length": cast(literal(524_288), BigInteger),
        "frame_count": literal(1),
        "frame_length": cast(literal(8 * 524_288), BigInteger),
        "source": literal("C-STORE"),
        "received_at": literal(_NOW),
    }
    chosen = (
        select(*values.values())
        .select_from(series.join(numbers, numbers.c.number <= series.c.number_of_series_related_instances))
        .where(series.c.pk >= first_series, series.c.pk <= last_series)
        .order_by(series.c.pk, numbers.c.number)
    )
    return insert(instance).from_select(list(values), chosen)


def series_of_groups(first: int, last: int) -> tuple[int, int]:
    """The first and the last series of some groups of patients."""
    per_group = STUDIES_OF_A_GROUP * _SERIES_OF_A_STUDY
    return first * per_group + 1, last * per_group


def example(tables: Tables, group: int) -> Example:
    """The last study of a group, of the patient who came most often."""
    rows = SyntheticIndex(tables).rows(group, group + 1, (1, 1))
    patient, study, series = (rows[table][-1] for table in (tables.patient, tables.study, tables.series))
    return Example(
        study["study_instance_uid"],
        series["series_instance_uid"],
        f"{_ROOT}.3.{series['pk'] * 1000 + 1 + 10**15}",
        patient["patient_id"],
        patient["patient_name"],
        patient["patient_birth_date"],
        study["accession_number"],
        study["referring_physician_name"],
        study["study_date"],
        _NEWEST,
    )


def batches(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """Groups from the first up to the last, some at a time."""
    yield from ((start, min(start + size, last)) for start in range(first, last, size))


def _stamps() -> dict[str, dt.datetime]:
    return {"created_at": _NOW, "updated_at": _NOW}
