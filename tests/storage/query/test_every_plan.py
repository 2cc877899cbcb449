"""However a query is run, its answers are those that a person would find by going through all names."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import select

from fileroom_storage.attributes import Level
from fileroom_storage.index.engine import create_engine
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.parse.folding import fold_person_name
from fileroom_storage.query import plan
from fileroom_storage.storage import Query, Storage
from tests.databases import DATABASES, Databases
from tests.made import made, uid
from tests.storage.query.synthetic_storage import synthetic_storage
from tests.storage.stored import store

_GROUPS = 30
_PATTERNS = 120
_LONG = "x" * 40 + "needle" + "y" * 40
_UNUSUAL = (
    "O'Neill-Müller^Ann  Marie",
    "van der Berg^Jan",
    "Fernández Núñez^José",
    f"{_LONG}^Long",
    "A*b?c^100%_!",
    "D’Arcy^Jean–Luc",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "^Nofamily",
    "A",
    f"{'Word ' * 60}^End",
)
_LONG_PATTERNS = (
    "*needle*",
    f"*{'x' * 35}*",
    f"*{_LONG[30:]}*",
    "*y^long",
    f"{_LONG[:50]}*",
    f"*^{_LONG[:50]}*",
    "*yyyy^*",
    "*word*word*",
)


@dataclass(frozen=True)
class _Study:
    uid: str
    order: tuple[Any, ...]
    names: tuple[str, ...]


@pytest.fixture(scope="module", params=DATABASES)
def filled(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storage]:
    folder = tmp_path_factory.mktemp("every_plan")
    with databases.fresh(request.param, folder) as url, synthetic_storage(url, folder, _GROUPS) as storage:
        for number, name in enumerate(_UNUSUAL, 1):
            names = {"PatientName": name, "PatientID": f"U{number}", "StudyDate": None if number == 3 else "20240229"}
            unique = {
                "StudyInstanceUID": uid(number),
                "SeriesInstanceUID": uid(number, 1),
                "SOPInstanceUID": uid(number, 1, 1),
            }
            store(storage, made(**unique, **names, SpecificCharacterSet="ISO_IR 192"))
        yield storage


@pytest.fixture(params=["as planned", "from candidates", "newest first"])
def planned(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "from candidates":
        monkeypatch.setattr(plan, "_FEW", 10**6)
    elif request.param == "newest first":
        monkeypatch.setattr(plan, "_with_fewest", lambda *_: None)


@pytest.mark.usefixtures("planned")
def test_names_are_found_whatever_the_plan(filled: Storage) -> None:
    studies = _studies(filled)
    patterns = [*_LONG_PATTERNS, *_patterns([name for study in studies for name in study.names])]
    for pattern in patterns:
        expected = [study.uid for study in studies if any(_matches(pattern, name) for name in study.names)]
        query = Query(Level.STUDY, {"PatientName": pattern}, frozenset({"StudyInstanceUID"}))
        assert _found(filled, query) == expected, pattern
        assert filled.count(query) == len(expected), pattern
        assert _found(filled, replace(query, limit=7)) == expected[:7], pattern
        assert _found(filled, replace(query, limit=7, offset=5)) == expected[5:12], pattern


def test_most_patterns_find_something_and_some_find_much(filled: Storage) -> None:
    studies = _studies(filled)
    found = [
        sum(any(_matches(pattern, name) for name in study.names) for study in studies)
        for pattern in _patterns([name for study in studies for name in study.names])
    ]
    assert sum(number > 0 for number in found) > _PATTERNS / 2
    assert sum(number > 200 for number in found) > 2
    assert sum(0 < number < 10 for number in found) > 20


@pytest.mark.usefixtures("planned")
def test_keys_together_are_found_whatever_the_plan(filled: Storage) -> None:
    tables = standard_tables()
    study, patient, series = tables.study, tables.patient, tables.series
    engine = create_engine(filled.settings.database_url)
    with engine.connect() as connection:
        joined = select(study, patient.c.patient_birth_date, patient.c.patient_sex).join(
            patient, study.c.patient_pk == patient.c.pk
        )
        rows = [dict(row) for row in connection.execute(joined).mappings()]
        modalities: dict[int, set[str]] = {}
        for study_pk, modality in connection.execute(select(series.c.study_pk, series.c.modality)):
            modalities.setdefault(study_pk, set()).add(modality)
    engine.dispose()
    for matches, right in (
        ({"ModalitiesInStudy": "CT"}, lambda row: "CT" in modalities[row["pk"]]),
        ({"ModalitiesInStudy": "C*\\SR"}, lambda row: modalities[row["pk"]] & {"CT", "CR", "SR"}),
        ({"ModalitiesInStudy": "?T"}, lambda row: modalities[row["pk"]] & {"CT", "PT"}),
        (
            {"StudyDate": "20240101-20251231", "ModalitiesInStudy": "MR"},
            lambda row: row["study_date"] and 2024 <= row["study_date"].year <= 2025 and "MR" in modalities[row["pk"]],
        ),
        ({"StudyDescription": "Thorax\\Kn*"}, lambda row: row["study_description"] in ("Thorax", "Knie rechts")),
        (
            {"StudyDescription": "*e*", "PatientSex": "F"},
            lambda row: "e" in (row["study_description"] or "") and row["patient_sex"] == "F",
        ),
        (
            {"PatientBirthDate": "19500101-19701231"},
            lambda row: row["patient_birth_date"] and 1950 <= row["patient_birth_date"].year <= 1970,
        ),
        ({"StudyDate": '""'}, lambda row: row["study_date"] is None),
        ({"AccessionNumber": "ACC00000000?"}, lambda row: re.fullmatch("ACC00000000.", row["accession_number"] or "")),
    ):
        expected = [row["study_instance_uid"] for row in sorted(rows, key=_order, reverse=True) if right(row)]
        query = Query(Level.STUDY, matches, frozenset({"StudyInstanceUID"}))
        assert expected
        assert _found(filled, query) == expected, matches
        assert _found(filled, replace(query, limit=9, offset=2)) == expected[2:11], matches
        assert filled.count(query) == len(expected), matches


@pytest.mark.usefixtures("planned")
def test_series_are_those_of_the_studies_that_match(filled: Storage) -> None:
    """ModalitiesInStudy is about the study, whatever the series' own modality (PS3.4 C.3.4)."""
    for matches in ({"ModalitiesInStudy": "SR"}, {"ModalitiesInStudy": "S*"}, {"ModalitiesInStudy": "SR\\PT"}):
        studies = set(_found(filled, Query(Level.STUDY, matches)))
        everything = list(filled.find(Query(Level.SERIES)))
        expected = [answer for answer in everything if answer["0020000D"]["Value"][0] in studies]
        modalities = {answer["00080060"]["Value"][0] for answer in expected}
        assert len(modalities) > 2
        for level in (Level.SERIES, Level.IMAGE):  # of one instance each
            query = Query(level, matches)
            found = [answer["0020000E"] for answer in filled.find(query)]
            assert found == [answer["0020000E"] for answer in expected]
            assert [answer["0020000E"] for answer in filled.find(replace(query, limit=6, offset=3))] == found[3:9]


@pytest.mark.usefixtures("planned")
def test_other_levels_page_as_they_list(filled: Storage) -> None:
    for level, matches in (
        (Level.PATIENT, {"PatientName": "*an*"}),
        (Level.SERIES, {"Modality": "C*"}),
        (Level.SERIES, {"PatientName": "*an*", "ModalitiesInStudy": "CT"}),
        (Level.IMAGE, {"Modality": "CT", "StudyDate": "20250101-"}),
        (Level.IMAGE, {"PatientName": "m*"}),
    ):
        query = Query(level, matches)
        whole = list(filled.find(query))
        assert len(whole) == filled.count(query) > 20
        pages = [list(filled.find(replace(query, limit=8, offset=offset))) for offset in (0, 8, 16)]
        assert [answer for page in pages for answer in page] == whole[:24]


def _studies(storage: Storage) -> list[_Study]:
    """All studies, newest first, with the folded component groups of their patients' names."""
    tables = standard_tables()
    study, patient = tables.study, tables.patient
    engine = create_engine(storage.settings.database_url)
    with engine.connect() as connection:
        joined = select(study, patient.c.patient_name).join(patient, study.c.patient_pk == patient.c.pk)
        rows = [dict(row) for row in connection.execute(joined).mappings()]
    engine.dispose()
    return [
        _Study(
            row["study_instance_uid"],
            _order(row),
            tuple(fold_person_name(group)[:255] for group in (row["patient_name"] or "").split("=")),
        )
        for row in sorted(rows, key=_order, reverse=True)
    ]


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    date, time = row["study_date"], row["study_time"]
    return (date is not None, date, time is not None, time, row["pk"])


def _matches(pattern: str, folded: str) -> bool:
    """PS3.4 C.2.2.2.4, as the index has it: folded, and trailing components may be left out."""
    patterns = [fold_person_name(pattern)]
    while patterns[-1].endswith("^*") and len(patterns) <= 5:
        patterns.append(patterns[-1][:-2].rstrip("^"))
    return any(
        re.fullmatch(re.escape(one).replace(r"\*", ".*").replace(r"\?", "."), folded, re.DOTALL)
        for one in patterns
        if one
    )


def _patterns(names: list[str]) -> list[str]:
    """Pieces of real names with wild cards between them."""
    chance = random.Random(4)
    patterns = []
    for _ in range(_PATTERNS):
        name = chance.choice(names)
        pieces = []
        position = 0
        for _ in range(chance.randint(1, 3)):
            start = min(position + chance.choice((0, 0, 1, 2, 4)), len(name))
            end = min(start + chance.choice((1, 1, 2, 3, 5, 30)), len(name))
            gap = "" if start == position else chance.choice(("*", "*", "?" * (start - position)))
            pieces.append(gap + name[start:end])
            position = end
        patterns.append("".join(pieces) + (chance.choice(("*", "*", "")) if position < len(name) else ""))
    return [pattern for pattern in patterns if pattern.strip(" ^*")]


def _found(storage: Storage, query: Query) -> list[str]:
    return [answer["0020000D"]["Value"][0] for answer in storage.find(query)]
