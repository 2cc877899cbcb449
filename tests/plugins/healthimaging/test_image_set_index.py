"""Image sets in the index: levels, versions, conflicts, and the faults that AWS's sample has in each of them."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from fileroom_healthimaging.image_set_conflicts import ConflictState, ConflictType, Resolution
from fileroom_healthimaging.image_set_version import DELETED
from fileroom_healthimaging.plugin_tables import TABLES
from fileroom_healthimaging.views import VIEWS
from fileroom_storage.attributes import Level
from fileroom_storage.storage import Query, Storage
from tests.made import made, uid
from tests.plugins.healthimaging.documents import SERIES, STUDY, Json, document, instance
from tests.plugins.healthimaging.indexed import (
    DATASTORE,
    contents,
    image_set_id,
    index_of,
    of_study,
    opened,
    version,
)
from tests.storage.stored import exact_counts, store, values_of

LEVELS = ("series", "instance", "frame")


@pytest.fixture
def storage(tmp_path: Path, database_url: str) -> Iterator[Storage]:
    with opened(tmp_path, database_url) as storage:
        yield storage


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Storage]:
    with opened(tmp_path, f"sqlite:///{tmp_path}/index.db") as storage:
        yield storage


def images(*numbers: int, series: int = 1, **levels: Json) -> Json:
    of_it = [instance(uid(1, series, number), InstanceNumber=str(number)) for number in numbers]
    return of_study(document(*of_it, **levels), STUDY, uid(1, series))


def answers(storage: Storage, level: Level, *keywords: str) -> list[tuple[Any, ...]]:
    found = [values_of(one) for one in storage.find(Query(level, {}, frozenset(keywords)))]
    return sorted(tuple(one.get(keyword) for keyword in keywords) for one in found)


def instances(storage: Storage) -> list[str]:
    return [uid for (uid,) in answers(storage, Level.IMAGE, "SOPInstanceUID")]


def column(storage: Storage, statement: Any) -> list[Any]:
    with storage.plugins.context("healthimaging").database.read() as connection:
        return list(connection.execute(statement).scalars())


def test_several_image_sets_at_once_of_which_one_cannot_be_read(storage: Storage) -> None:
    """Fault: the second image set of a batch hits a closed connection."""
    index = index_of(storage)
    broken = version("b", 1, document() | {"SchemaVersion": "9"})
    outcomes = index.tell([version("a", 1, images(1, 2)), broken, version("c", 1, images(1, series=2))])
    assert [one.error for one in outcomes] == [None, "SchemaVersion: is none of the 1.x that are known", None]
    assert instances(storage) == [uid(1, 1, 1), uid(1, 1, 2), uid(1, 2, 1)]
    assert index.known_versions(DATASTORE) == {image_set_id("a"): 1, image_set_id("c"): 1}
    assert index.status() == {
        "image_sets": 2,
        "deleted_image_sets": 0,
        "other_level": 0,
        "frames": 3,
        "open_conflicts": 0,
    }


def test_counts_are_right_at_every_level_and_levels_change_from_the_kept_documents(
    tmp_path: Path, database_url: str
) -> None:
    """Faults: both level switches off crash; counts are zero without the instance level."""
    number_of_rows = {"series": (0, 0), "instance": (3, 0), "frame": (3, 3)}
    for turn, level in enumerate([*LEVELS, "series", "frame", "instance"]):
        with opened(tmp_path, database_url, level) as storage:
            index = index_of(storage)
            if turn == 0:
                index.tell([version("a", 1, images(1, 2)), version("b", 1, images(1, series=2))])
            else:
                assert index.status()["other_level"] == 2
                assert (index.adapt(), index.adapt()) == (2, 0)
            counts = answers(storage, Level.STUDY, "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")
            assert counts == [(2, 3)]
            by_series = answers(storage, Level.SERIES, "SeriesInstanceUID", "NumberOfSeriesRelatedInstances")
            assert by_series == [(uid(1, 1), 2), (uid(1, 2), 1)]
            assert (len(instances(storage)), index.status()["frames"]) == number_of_rows[level]
            found = index.frames_of(f"{DATASTORE}/{image_set_id('a')}", uid(1, 1, 2))
            assert found is not None
            assert [frame.image_frame_id for frame in found.frames] == ["5" * 32]
            assert [one.checksum for one in found.frames[0].checksums] == [2598394845, 1227709180]
            assert exact_counts(storage)


def test_values_are_kept_whole(on_sqlite: Storage) -> None:
    """Faults: fractional times become NULL; multi-values are Python lists in text; names are cut at 64."""
    name = "Ideographic^" + "N" * 80
    one = instance(ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    index_of(on_sqlite).tell(
        [version("a", 1, document(one, study={"StudyTime": "101500.25"}, patient={"PatientName": name}))]
    )
    [found] = on_sqlite.find(Query(Level.IMAGE, {}, frozenset({"ImageType", "StudyTime", "PatientName"})))
    assert found["00080008"]["Value"] == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert found["00080030"]["Value"] == ["101500.25"]
    assert found["00100010"]["Value"] == [{"Alphabetic": name}]
    table = on_sqlite.plugins.context("healthimaging").database.tables.instance
    assert column(on_sqlite, select(table.c.image_type)) == ["ORIGINAL\\PRIMARY\\AXIAL"]


def test_an_older_version_and_unknown_values_overwrite_nothing(storage: Storage) -> None:
    """Fault: the last writer wins, with NULLs."""
    index = index_of(storage)
    newer = version(
        "a", 3, images(1, study={"StudyDescription": "new"}), is_primary=True, storage_tier="FREQUENT_ACCESS"
    )
    older = version("a", 2, images(1, 2, study={"StudyDescription": "old"}))
    for told in (newer, older, version("a", 3), version("a", None), older):
        index.tell([told])
        assert answers(storage, Level.STUDY, "StudyDescription") == [("new",)]
    assert instances(storage) == [uid(1, 1, 1)]
    assert index.known_versions(DATASTORE) == {image_set_id("a"): 3}
    image_set = TABLES.image_set
    assert column(storage, select(image_set.c.is_primary)) == [True]
    assert column(storage, select(image_set.c.storage_tier)) == ["FREQUENT_ACCESS"]
    # each was told once
    assert sorted(column(storage, select(TABLES.version.c.version_id)), key=str) == [2, 3, 3, None]


def test_what_is_deleted_stays_deleted_and_in_the_history(storage: Storage) -> None:
    index = index_of(storage)
    index.tell([version("a", 1, images(1, 2)), version("b", 1, images(1, series=2))])
    index.tell([version("a", 2, images(2))])
    assert instances(storage) == [uid(1, 1, 2), uid(1, 2, 1)]
    index.tell([version("a", 3, state=DELETED)])
    for _ in range(2):
        assert instances(storage) == [uid(1, 2, 1)]
        assert answers(storage, Level.STUDY, "NumberOfStudyRelatedInstances") == [(1,)]
        assert index.known_versions(DATASTORE) == {image_set_id("b"): 1}
        assert index.frames_of(f"{DATASTORE}/{image_set_id('a')}", uid(1, 1, 2)) is None
        index.tell([version("a", 1, images(1, 2)), version("a", 4, images(1, 2))])
    assert sorted(column(storage, select(TABLES.version.c.version_id))) == [1, 1, 2, 3, 4]
    assert column(storage, select(TABLES.image_set.c.document).where(TABLES.image_set.c.state == DELETED)) == [None]


def test_a_study_moves_to_another_patient_only_as_a_whole_and_leaves_nothing(storage: Storage) -> None:
    """Fault: a study silently moves to another patient: here the primary says whose it is, and a conflict says so."""
    index = index_of(storage)
    of_other = images(1, patient={"PatientID": "P2", "PatientName": "Roe^Jane"})
    index.tell([version("a", 1, images(1), is_primary=True)])
    index.tell([version("b", 1, of_other, is_primary=False)])
    assert answers(storage, Level.STUDY, "PatientID", "NumberOfStudyRelatedInstances") == [("P1", 1)]
    [conflict] = index.conflicts(ConflictState.OPEN)
    assert conflict.type is ConflictType.INSTANCES
    assert conflict.differing_attributes == {"PatientID": ["P1", "P2"], "PatientName": ["Doe^Jane", "Roe^Jane"]}
    # promoted in the service
    index.tell([version("a", 2, is_primary=False), version("b", 2, is_primary=True)])
    assert answers(storage, Level.STUDY, "PatientID", "NumberOfStudyRelatedInstances") == [("P2", 1)]
    assert answers(storage, Level.PATIENT, "PatientID") == [("P2",)]


def test_a_conflict_is_one_row_for_a_pair_until_its_cause_is_gone(storage: Storage) -> None:
    """Fault: redelivered events duplicate conflicts."""
    index = index_of(storage)
    told = [version("a", 1, images(1)), version("b", 1, images(2)), version("c", 1, images(1, 3))]
    for _ in range(2):
        for one in reversed(told):
            index.tell([one])
    conflicts = index.conflicts(ConflictState.OPEN)
    assert {(one.first.image_set_id[0], one.second.image_set_id[0], str(one.type)) for one in conflicts} == {
        ("a", "b", "divided"),
        ("a", "c", "instances"),
        ("b", "c", "divided"),
    }
    [with_both] = [one for one in conflicts if one.type is ConflictType.INSTANCES]
    assert index.resolve(with_both.pk, Resolution.PROMOTE)
    assert not index.resolve(with_both.pk, Resolution.PROMOTE)
    index.tell(told)
    assert len(index.conflicts(ConflictState.OPEN)) == 2
    # it is another one when what they have changes
    index.tell([version("c", 2, images(1, 3, series=1, study={"StudyDescription": "x"}))])
    assert len(index.conflicts(ConflictState.OPEN)) == 3
    index.tell([version("c", 3, state=DELETED)])
    assert [one.first.image_set_id[0] for one in index.conflicts(ConflictState.OPEN)] == ["a"]
    index.tell([version("b", 2, images(1, series=2))])
    assert index.conflicts(ConflictState.OPEN) == []
    assert {one.state for one in index.conflicts()} == {ConflictState.GONE}


def test_nothing_is_taken_where_the_transaction_fails(on_sqlite: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: no transaction across levels."""
    from fileroom_healthimaging.image_set_conflicts import ConflictRows

    index = index_of(on_sqlite)
    index.tell([version("a", 1, images(1))])
    before = contents(on_sqlite)

    def fails(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(ConflictRows, "settle", fails)
        with pytest.raises(RuntimeError):
            index.tell([version("a", 2, images(2)), version("b", 1, images(3, series=2))])
    assert contents(on_sqlite) == before
    assert list(on_sqlite.check(verify=True)) == []
    index.tell([version("a", 2, images(2))])
    assert instances(on_sqlite) == [uid(1, 1, 2)]


def test_no_patient_is_in_logs_or_errors(on_sqlite: Storage, caplog: pytest.LogCaptureFixture) -> None:
    """Fault: PHI is printed to logs."""
    caplog.set_level(logging.DEBUG)
    secret = "Verysecret^Jane"
    broken = document(patient={"PatientName": secret}) | {"ImageSetID": None}
    outcomes = index_of(on_sqlite).tell(
        [
            version("a", 1, images(1, patient={"PatientName": secret})),
            version("b", 1, images(1, patient={"PatientName": secret, "PatientID": "P9"})),
            version("c", 1, {**broken, "Study": {}}),
        ]
    )
    assert outcomes[2].error is not None
    assert "Verysecret" not in caplog.text + repr(outcomes)


def test_an_object_that_is_here_and_there_is_one(storage: Storage) -> None:
    index = index_of(storage)
    store(storage, made(StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, SOPInstanceUID=uid(1, 1, 1), PatientID="P1"))
    index.tell([version("a", 1, images(1, 2))])
    assert answers(storage, Level.STUDY, "NumberOfStudyRelatedInstances") == [(2,)]
    index.tell([version("a", 2, state=DELETED)])
    assert instances(storage) == [uid(1, 1, 1)]


def test_views_have_what_image_sets_have(storage: Storage) -> None:
    index_of(storage).tell([version("a", 1, images(1, 2)), version("b", 1, images(2))])
    database = storage.plugins.context("healthimaging").database
    with database.read() as connection:
        quote = connection.dialect.identifier_preparer.quote_identifier
        is_folded = connection.dialect.name == "postgresql"
        counts = {
            name: connection.execute(
                text(f"SELECT count(*) FROM {quote(name.lower() if is_folded else name)}")
            ).scalar_one()
            for name in VIEWS
        }
        rows = connection.execute(text("SELECT ImageSetID, StudyInstanceUID, PatientID FROM full_series_view")).all()
    assert counts.pop("Issuer") >= 1
    assert counts == {
        "Instance": 2,
        "Frame": 2,
        "ImageSet": 2,
        "ImageSetConflict": 1,
        "Tag": 0,
        "ImportJob": 0,
        "full_study_view": 1,
        "full_series_view": 2,
    }
    assert sorted(map(tuple, rows)) == [(image_set_id(letter), STUDY, "P1") for letter in "ab"]
