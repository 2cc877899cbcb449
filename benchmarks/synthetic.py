"""Synthetic but realistic studies, as rows of the index: names in several scripts, skewed dates and modalities."""

import datetime as dt
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import tag_for_keyword

from fileroom_storage.attributes import Level
from fileroom_storage.index.tables import Tables
from fileroom_storage.parse.folding import fold_person_name, name_words, phonetic

_ROOT = "1.2.826.0.1.3680043.10.1593"
_PATIENT_NAME = tag_for_keyword("PatientName") or 0
_REFERRING = tag_for_keyword("ReferringPhysicianName") or 0
_NEWEST = dt.date(2026, 6, 30)
_NOW = dt.datetime(2026, 6, 30, 12)
_FAMILY = (
    "Müller",
    "Schmidt",
    "Nguyễn",
    "García",
    "Röntgen",
    "O'Brien",
    "Ångström",
    "Novák",
    "Kowalski",
    "Øst",
    "Smith",
    "Jones",
    "Brown",
    "Taylor",
    "Wilson",
    "Dvořák",
    "Иванов",
    "Петров",
    "Παπαδόπουλος",
    "Yılmaz",
    "Özdemir",
    "山田",
    "佐藤",
    "김",
    "이",
    "王",
    "李",
    "حسن",
    "כהן",
    "Fernández",
    "Čapek",
    "Łukasik",
    "Müllner",
    "Schneider",
)
_GIVEN = (
    "Anna",
    "José",
    "Björn",
    "Zoë",
    "Marie",
    "Jean",
    "Thomas",
    "Peter",
    "Olga",
    "Иван",
    "Мария",
    "Νίκος",
    "Ayşe",
    "太郎",
    "花子",
    "민준",
    "伟",
    "Mohammed",
    "Sara",
    "Lucía",
    "Jiří",
    "Małgorzata",
    "François",
    "Renée",
    "Nicolò",
    "Agnès",
    "Søren",
    "Jürgen",
    "Chloé",
    "Inês",
    "Márton",
    "Ilse",
)
_MODALITIES = {"CT": 30, "MR": 22, "CR": 15, "DX": 14, "US": 9, "MG": 5, "PT": 2, "NM": 1, "XA": 2}
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
}
_DESCRIPTIONS = ("Thorax", "Abdomen", "Schädel nativ", "Knie rechts", "Whole body", "Mammographie", "LWS", "Herz")


@dataclass(frozen=True)
class Example:
    """What is looked for: one study somewhere in the middle, by all its names."""

    study_instance_uid: str
    patient_id: str
    accession_number: str
    family_name: str
    modality: str
    study_date: dt.date


def study_rows(tables: Tables, number: int) -> tuple[Example, Iterator[tuple[Any, dict[str, Any]]]]:
    """The rows of one study with its patient, each with the table it goes into. `number` counts from 1."""
    chance = random.Random(number)
    family = chance.choice(_FAMILY)
    name = f"{family}{chance.choice(('', '', '-' + chance.choice(_FAMILY)))}^{chance.choice(_GIVEN)}"
    modality = chance.choices(list(_MODALITIES), list(_MODALITIES.values()))[0]
    # most studies are young
    date = _NEWEST - dt.timedelta(days=int(chance.expovariate(1 / 900)))
    example = Example(f"{_ROOT}.1.{number}", f"P{number:08d}", f"ACC{number:09d}", family, modality, date)
    return example, _rows(tables, number, chance, name, example)


def _rows(
    tables: Tables, number: int, chance: random.Random, name: str, example: Example
) -> Iterator[tuple[Any, dict[str, Any]]]:
    stamps = {"created_at": _NOW, "updated_at": _NOW}
    instances_of = [chance.randint(10, 30) for _ in range(3)]
    size = 526_000
    patient: dict[str, Any] = {
        "pk": number,
        "issuer_pk": 1,
        "unidentified_study_uid": "",
        "patient_id": example.patient_id,
        "patient_name": name,
        "patient_birth_date": dt.date(1930, 1, 1) + dt.timedelta(days=chance.randrange(33_000)),
        "patient_sex": chance.choice("MF"),
        "number_of_patient_related_studies": 1,
        "number_of_patient_related_series": 3,
        "number_of_patient_related_instances": sum(instances_of),
        **stamps,
    }
    yield tables.patient, patient
    yield from _names(tables, Level.PATIENT, number, _PATIENT_NAME, name)
    referring = f"{chance.choice(_FAMILY)}^{chance.choice(_GIVEN)}"
    yield (
        tables.study,
        {
            "pk": number,
            "patient_pk": number,
            "study_instance_uid": example.study_instance_uid,
            "study_date": example.study_date,
            "study_time": dt.time(chance.randrange(6, 22), chance.randrange(60), chance.randrange(60)),
            "accession_number": example.accession_number,
            "study_id": str(number),
            "study_description": chance.choice(_DESCRIPTIONS),
            "referring_physician_name": referring,
            "modalities_in_study": example.modality,
            "sop_classes_in_study": _SOP_CLASSES[example.modality],
            "number_of_study_related_series": 3,
            "number_of_study_related_instances": sum(instances_of),
            "size": size * sum(instances_of),
            **stamps,
        },
    )
    yield from _names(tables, Level.STUDY, number, _REFERRING, referring)
    for index, count in enumerate(instances_of):
        pk = 3 * number + index
        series_instance_uid = f"{_ROOT}.2.{number}.{index + 1}"
        yield (
            tables.series,
            {
                "pk": pk,
                "study_pk": number,
                "series_instance_uid": series_instance_uid,
                "modality": example.modality,
                "series_number": index + 1,
                "series_description": chance.choice(_DESCRIPTIONS),
                "number_of_series_related_instances": count,
                "size": size * count,
                **stamps,
            },
        )
        for instance in range(count):
            uid = f"{_ROOT}.3.{number}.{index + 1}.{instance + 1}"
            digest = hashlib.sha256(uid.encode()).hexdigest()
            yield (
                tables.instance,
                {
                    "series_pk": pk,
                    "sop_instance_uid": uid,
                    "sop_class_uid": _SOP_CLASSES[example.modality],
                    "instance_number": instance + 1,
                    "available_transfer_syntax_uid": "1.2.840.10008.1.2.1",
                    "rows": 512,
                    "columns": 512,
                    "size": size,
                    "location": f"2026/06/30/{digest[:2]}/{digest[:32]}.dcm",
                    "digest": digest,
                    "data_set_offset": 350,
                    "pixel_data_offset": 1700,
                    "pixel_data_length": 524_288,
                    "frame_count": 1,
                    "frame_length": 8 * 524_288,
                    "source": "C-STORE",
                    "received_at": _NOW,
                },
            )


def _names(tables: Tables, level: Level, owner: int, tag: int, name: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    of_level = tables.by_level[level]
    key = {f"{level.entity}_pk": owner, "tag": tag}
    yield of_level.names, {**key, "ordinal": tag % 97, "folded": fold_person_name(name)}
    for ordinal, word in enumerate(sorted(set(name_words(name)))):
        yield (
            of_level.words,
            {**key, "ordinal": tag % 97 * 100 + ordinal, "word": word[:64], "phonetic": phonetic(word)[:64]},
        )
