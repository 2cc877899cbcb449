"""What one writer remembers of the hierarchy while others change it: the index is as if it remembered nothing."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fileroom_storage.attributes import Level
from fileroom_storage.index import writer
from fileroom_storage.index.ingest import Outcome, ingest
from fileroom_storage.index.known_hierarchy import KnownHierarchy
from fileroom_storage.storage import Query, Resolution, Storage, StorageSettings
from tests.databases import Databases
from tests.made import made, uid
from tests.storage.stored import exact_counts, store, tables_of, values_of


@pytest.fixture
def two(index_url: str, tmp_path: Path) -> Iterator[tuple[Storage, Storage]]:
    """Two processes' storages over one index."""
    with ExitStack() as stack:
        settings = StorageSettings(tmp_path / "data", index_url)
        first, second = (stack.enter_context(Storage.open(settings)) for _ in range(2))
        yield first, second


def test_two_writers_take_turns(two: tuple[Storage, Storage]) -> None:
    for number in range(12):
        store(two[number % 2], made(SOPInstanceUID=uid(1, 1, number)))
    assert exact_counts(two[0])
    [study] = two[0].find(Query(Level.STUDY))
    assert values_of(study)["NumberOfStudyRelatedInstances"] == 12


def test_a_study_that_another_has_deleted_and_sent_again(two: tuple[Storage, Storage]) -> None:
    """Its rows may even have the old keys again."""
    first, second = two
    store(first, made())
    second.delete({"StudyInstanceUID": uid(1)})
    store(second, made(SOPInstanceUID=uid(1, 1, 2), PatientID="P2"))
    outcome = store(first, made(SOPInstanceUID=uid(1, 1, 3)))
    assert outcome.status == "stored"
    # the study is P2's now, and the object names P1
    assert [conflict.value for conflict in outcome.conflicts] == ["study patient"]
    assert exact_counts(first)


def test_a_lost_object_that_came_again_may_have_its_study_under_another_key(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the writer knew of it is no longer so: the next batch must not fail once for it."""
    store(sqlite_storage, made())
    [lost] = sqlite_storage.locate({"StudyInstanceUID": uid(1)})
    store(sqlite_storage, made(StudyInstanceUID=uid(2), SeriesInstanceUID=uid(2, 1), SOPInstanceUID=uid(2, 1, 1)))
    (sqlite_storage.settings.data / "objects" / lost.location).unlink()
    assert store(sqlite_storage, made()).status == "stored"
    tries = []

    def counted(*arguments: Any) -> list[Outcome]:
        tries.append(arguments)
        return ingest(*arguments)

    monkeypatch.setattr(writer, "ingest", counted)
    assert store(sqlite_storage, made(SOPInstanceUID=uid(1, 1, 2))).status == "stored"
    assert len(tries) == 1
    assert exact_counts(sqlite_storage)


def test_keys_that_became_those_of_other_entities(two: tuple[Storage, Storage]) -> None:
    first, second = two
    store(first, made())
    second.delete({"StudyInstanceUID": uid(1)})
    store(second, made(StudyInstanceUID=uid(2), SeriesInstanceUID=uid(2, 1), SOPInstanceUID=uid(2, 1, 1)))
    store(first, made(SOPInstanceUID=uid(1, 1, 2)))
    assert sorted(values_of(study)["StudyInstanceUID"] for study in first.find(Query(Level.STUDY))) == [uid(1), uid(2)]
    assert exact_counts(first)


def test_a_patient_who_was_renamed_by_another(two: tuple[Storage, Storage]) -> None:
    first, second = two
    store(first, made())
    store(second, made(SOPInstanceUID=uid(1, 1, 2), PatientName="Roe^Richard"))
    [conflict] = second.conflicts()
    second.resolve_conflict(conflict.pk, Resolution.ACCEPT)
    outcome = store(first, made(SOPInstanceUID=uid(1, 1, 3)))
    assert [conflict.value for conflict in outcome.conflicts] == ["demographics"]
    [patient] = first.find(Query(Level.PATIENT))
    assert values_of(patient)["PatientName"] == "Roe^Richard"


def test_what_was_empty_is_filled_once_and_not_overwritten(two: tuple[Storage, Storage]) -> None:
    first, second = two
    store(first, made())
    store(second, made(SOPInstanceUID=uid(1, 1, 2), StudyDescription="second"))
    store(first, made(SOPInstanceUID=uid(1, 1, 3), StudyDescription="first"))
    store(first, made(SOPInstanceUID=uid(1, 1, 4)))
    [study] = first.find(Query(Level.STUDY))
    assert values_of(study)["StudyDescription"] == "second"
    assert exact_counts(first)


def test_nothing_is_believed_of_a_batch_that_failed(sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    store(sqlite_storage, made())
    keep = KnownHierarchy.keep
    failed: list[bool] = []

    def failing(self: KnownHierarchy, *arguments: Any) -> None:
        keep(self, *arguments)
        if not failed:
            failed.append(True)
            raise RuntimeError("after all is written, before it is committed")

    with monkeypatch.context() as patch:
        patch.setattr(KnownHierarchy, "keep", failing)
        with pytest.raises(Exception, match="send it again later"):
            store(sqlite_storage, made(SOPInstanceUID=uid(1, 1, 2)))
    store(sqlite_storage, made(SOPInstanceUID=uid(1, 1, 2)))
    assert sqlite_storage.count(Query(Level.IMAGE)) == 2
    assert exact_counts(sqlite_storage)


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["store", "store", "store", "delete study", "delete series", "delete instance", "restore"]),
        st.integers(0, 1),  # which storage
        st.integers(1, 2),  # study
        st.integers(1, 2),  # series
        st.integers(1, 3),  # instance
        st.sampled_from(["P1", "P2", None]),
    ),
    max_size=25,
)


@pytest.mark.parametrize("kind", ["sqlite", "mariadb", "postgresql"])
def test_the_same_as_a_writer_that_remembers_nothing(kind: str, databases: Databases, tmp_path: Path) -> None:
    """Random steps through two storages; the oracle opens a new one for each step."""
    number = 0

    @settings(deadline=None, max_examples=6 if kind != "sqlite" else 15, suppress_health_check=list(HealthCheck))
    @given(_STEPS)
    def run(steps: Any) -> None:
        nonlocal number
        number += 1
        results = []
        for remembering in (True, False):
            folder = tmp_path / f"{number}-{remembering}"
            folder.mkdir()
            with databases.fresh_index(kind, folder) as url, ExitStack() as stack:
                options = StorageSettings(folder / "data", url, durability="relaxed")
                storages = [stack.enter_context(Storage.open(options)) for _ in range(2)]
                for step in steps:
                    if not remembering:
                        storages[step[1]]._writer._known.clear()
                    _do(storages[step[1]], step)
                assert exact_counts(storages[0])
                results.append(_shown(storages[0]))
        assert results[0] == results[1]

    run()


def _do(storage: Storage, step: tuple[str, int, int, int, int, str | None]) -> None:
    what, _, study, series, instance, patient = step
    uids = {"StudyInstanceUID": uid(study), "SeriesInstanceUID": uid(study, series)}
    sop = {"SOPInstanceUID": uid(study, series, instance)}
    try:
        if what == "store":
            store(storage, made(**uids, **sop, PatientID=patient))
        elif what == "restore":
            newest = next(iter(storage.deletions()), None)
            if newest is not None:
                storage.restore(newest.pk)
        else:
            keys = {"study": {"StudyInstanceUID": uid(study)}, "series": uids, "instance": {**uids, **sop}}
            storage.delete(keys[what.removeprefix("delete ")])
    except LookupError:
        pass
    except Exception as error:
        if type(error).__name__ != "InstanceNotFound":
            raise


def _shown(storage: Storage) -> Any:
    """All entities and conflicts, without keys and times."""
    entities = {
        level: sorted(map(repr, (values_of(answer) for answer in storage.find(Query(level))))) for level in Level
    }
    conflicts = sorted(
        (row["type"], row["state"], row["sop_instance_uid"], row["differences"], row["occurrences"])
        for row in tables_of(storage)["conflict"]
    )
    return entities, conflicts
