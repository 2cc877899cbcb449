"""The matching table, put to storage itself; tests/conformance puts it through C-FIND and QIDO-RS."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fileroom_storage.attributes import Level
from fileroom_storage.errors import InvalidQuery
from fileroom_storage.query.query import MatchValue
from fileroom_storage.storage import Query, Storage, StorageSettings
from tests.conformance.matching_table import ROWS, Row
from tests.conformance.stored_objects import objects, target
from tests.databases import DATABASES, Databases
from tests.made import made, uid
from tests.storage.stored import store, values_of


@pytest.fixture(scope="module", params=DATABASES)
def filled(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storage]:
    folder = tmp_path_factory.mktemp("matching")
    with databases.fresh(request.param, folder) as url, Storage.open(_settings(folder, url)) as storage:
        storage.create_schema_if_empty()
        for dataset in objects():
            store(storage, dataset)
        yield storage


def _settings(folder: Path, url: str) -> StorageSettings:
    return StorageSettings(data=folder / "data", database=url, durability="relaxed")


def test_every_row_of_the_table(filled: Storage) -> None:
    wrong = [row.id for row in ROWS if _found(filled, row) is not row.found]
    assert wrong == []


def _found(storage: Storage, row: Row) -> bool:
    place = target(row)
    matches = {**place.unique_keys, **dict(row.also), row.keyword: row.query}
    query = Query(place.level, matches, fuzzy=row.fuzzy, combined_datetime=row.combined)
    return [answer["0020000D"]["Value"] for answer in storage.find(query)] == [[place.study_instance_uid]]


@pytest.mark.parametrize(
    ("level", "keyword", "value"),
    [
        (Level.STUDY, "StudyDate", "yesterday"),
        (Level.STUDY, "StudyDate", "-"),
        (Level.STUDY, "StudyDate", "20240101-20240102-20240103"),
        (Level.STUDY, "StudyTime", "25"),
        (Level.STUDY, "StudyTime", "noon-"),
        (Level.IMAGE, "AcquisitionDateTime", "20241301"),
        (Level.IMAGE, "InstanceNumber", "first"),
        (Level.IMAGE, "SliceThickness", "nan"),
        (Level.STUDY, "Modality", "CT"),
        (Level.STUDY, "PatientID", {"CodeValue": "x"}),
        (Level.SERIES, "RequestAttributesSequence", "x"),
        (Level.STUDY, "PixelData", "x"),
    ],
)
def test_a_key_that_cannot_be_matched_is_named(sqlite_storage: Storage, level: Level, keyword: str, value: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        sqlite_storage.find(Query(level, {keyword: value}))
    assert caught.value.keyword == keyword


@pytest.mark.parametrize(
    ("keyword", "value", "found"),
    [
        # the same for all that is here, and compared as exactly as what differs
        ("RetrieveAETitle", "FILEROOM", True),
        ("RetrieveAETitle", "FILE*", True),
        ("RetrieveAETitle", "fileroom", False),
        ("RetrieveAETitle", "file*", False),
        ("InstanceAvailability", "ON?INE", True),
        # what no database takes
        ("StudyInstanceUID", "é", False),
        ("StudyInstanceUID", f"é\\{uid(1)}", True),
        ("SOPClassesInStudy", "é", False),
        ("PatientID", "P\x001", True),
        ("PatientID", "\ud800", False),
        ("PatientName", "Do\0e*", True),
        ("PatientName", "\ud800*", False),
        ("ProcedureCodeSequence", {"CodeValue": "X\0"}, True),
        ("ImageType", "ORIG\0*", True),
        # any number of components may be left out
        ("PatientName", "Doe^Jane^^*", True),
        ("PatientName", "Doe^Jane^^^*^", True),
        ("AcquisitionDateTime", "999912", False),
        ("AcquisitionDateTime", "-999912", True),
    ],
)
def test_a_value_is_compared_alike_everywhere(storage: Storage, keyword: str, value: MatchValue, found: bool) -> None:
    code = {"CodeValue": "X", "CodingSchemeDesignator": "99X", "CodeMeaning": "x"}
    store(
        storage,
        made(ImageType=["ORIGINAL", "PRIMARY"], AcquisitionDateTime="20240131", ProcedureCodeSequence=[code]),
    )
    assert storage.count(Query(Level.IMAGE, {keyword: value})) == found


def test_a_uid_that_none_can_be_is_located_nowhere(storage: Storage) -> None:
    store(storage, made())
    assert list(storage.locate({"StudyInstanceUID": "é"})) == []
    assert len(list(storage.locate({"StudyInstanceUID": f"é\\{uid(1)}", "PatientID": "P1\\\ud800"}))) == 1


def test_pages_follow_one_another_newest_first(storage: Storage) -> None:
    dates = ["20240105", None, "20240101", "20240105", "20231231", "20240102"]
    for number, date in enumerate(dates, 1):
        unique = {
            "StudyInstanceUID": uid(number),
            "SeriesInstanceUID": uid(number, 1),
            "SOPInstanceUID": uid(number, 1, 1),
        }
        store(storage, made(**unique, StudyDate=date))
    whole = [values_of(answer) for answer in storage.find(Query(Level.STUDY))]
    assert [study.get("StudyDate") for study in whole] == [
        "20240105", "20240105", "20240102", "20240101", "20231231", None,
    ]  # fmt: skip
    pages = [
        values_of(answer)
        for offset in range(0, 8, 2)
        for answer in storage.find(Query(Level.STUDY, limit=2, offset=offset))
    ]
    assert pages == whole
    assert [values_of(answer) for answer in storage.find(Query(Level.STUDY, offset=4))] == whole[4:]
    assert storage.count(Query(Level.STUDY, {"StudyDate": "20240105"})) == 2


def test_only_what_is_asked_for_is_answered(storage: Storage) -> None:
    store(storage, made(StudyDescription="x"))
    query = Query(Level.SERIES, return_keys=frozenset({"Modality", "StudyDescription", "PatientID", "RetrieveAETitle"}))
    [answer] = storage.find(query)
    assert values_of(answer) == {
        "PatientID": "P1",
        "StudyDescription": "x",
        "Modality": "CT",
        "RetrieveAETitle": "FILEROOM",
    }


def test_answers_come_from_a_cursor_that_may_be_left(storage: Storage) -> None:
    for number in range(1, 30):
        store(storage, made(SOPInstanceUID=uid(1, 1, number), InstanceNumber=number))
    answers = storage.find(Query(Level.IMAGE))
    assert values_of(next(answers))["InstanceNumber"] == 1
    answers.close()
    assert storage.count(Query(Level.IMAGE)) == 29
