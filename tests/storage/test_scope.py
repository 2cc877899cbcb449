"""Whoever sees some issuers' patients only: for them there is nothing else, to find, to get, to delete or to add to."""

import threading
from typing import Any

import pytest
from pydicom.dataset import Dataset

from fileroom_storage.attributes import Level
from fileroom_storage.errors import InstanceNotFound, NotAuthorized
from fileroom_storage.storage import Authority, Provenance, Query, Scope, Storage, StoreOutcome
from tests.made import made, part10, uid
from tests.storage.stored import exact_counts, store, tables_of, values_of
from tests.storage.test_rejection import HERE, note

NORTH, SOUTH = frozenset({"NORTH"}), frozenset({"SOUTH"})
BOTH = NORTH | SOUTH
NO_ISSUER = frozenset({"DEFAULT_DOMAIN"})
# study → issuer
ISSUERS = {1: "NORTH", 2: "SOUTH", 3: None, 4: "NORTH"}
SCOPES: list[tuple[Scope, set[int]]] = [
    (None, {1, 2, 3, 4}),
    (NORTH, {1, 4}),
    (SOUTH, {2}),
    (BOTH, {1, 2, 4}),
    (NO_ISSUER, {3}),
    (frozenset(), set()),
    (frozenset({"north", "NORT%", "NORTH ", "*", "' OR 1=1 --"}), set()),
    (NORTH | {f"OTHER{number}" for number in range(100)}, {1, 4}),
]
scopes = pytest.mark.parametrize(("scope", "seen"), SCOPES)


def instance(study: int, number: int = 1, **attributes: Any) -> Dataset:
    values = {
        "StudyInstanceUID": uid(study),
        "SeriesInstanceUID": uid(study, 1),
        "SOPInstanceUID": uid(study, 1, number),
        "PatientID": "P1",  # the same with every issuer
        "IssuerOfPatientID": ISSUERS.get(study, "SOUTH"),
        "StudyDate": f"2024010{study}",
    }
    return made(**{**values, **attributes})


@pytest.fixture
def filled(storage: Storage) -> Storage:
    for study in ISSUERS:
        for number in (1, 2):
            store(storage, instance(study, number))
    return storage


def bring(storage: Storage, dataset: Dataset, authority: Authority) -> StoreOutcome:
    incoming = storage.receive()
    incoming.write(part10(dataset))
    return incoming.store(Provenance("STOW-RS"), authority=authority)


def studies(storage: Storage, scope: Scope, level: Level = Level.STUDY, **more: Any) -> list[int]:
    """Of which studies the answers are, in their order; of patients, the issuers."""
    answers = [values_of(answer) for answer in storage.find(Query(level, scope=scope, **more))]
    return [int(answer["StudyInstanceUID"].rpartition(".")[2]) for answer in answers]


def objects(storage: Storage) -> int:
    return len(list((storage.settings.data / "objects").rglob("*.dcm")))


@scopes
def test_find(filled: Storage, scope: Scope, seen: set[int]) -> None:
    assert studies(filled, scope) == sorted(seen, reverse=True)
    for level, each in ((Level.SERIES, 1), (Level.IMAGE, 2)):
        assert sorted(studies(filled, scope, level)) == sorted([*seen] * each)
        assert filled.count(Query(level, scope=scope)) == each * len(seen)
    assert len(list(filled.find(Query(Level.PATIENT, scope=scope)))) == len({ISSUERS[study] for study in seen})
    for matches in (
        {"PatientID": "P1"},
        {"PatientID": "P*"},
        {"PatientName": "doe*"},
        {"Modality": "CT"},
        {"ModalitiesInStudy": "CT"},
        {"StudyDate": "20240101-"},
        {"StudyInstanceUID": "\\".join(uid(study) for study in ISSUERS)},
        {"IssuerOfPatientID": "*"},
    ):
        level = Level.SERIES if "Modality" in matches else Level.STUDY
        for limit in (None, 3, 100):
            found = studies(filled, scope, level, matches=matches, limit=limit)
            assert set(found) <= seen, matches
            assert len(found) == min(len(seen), limit or 100), (matches, limit)
    pages = [studies(filled, scope, limit=1, offset=offset) for offset in range(4)]
    assert [study for page in pages for study in page] == sorted(seen, reverse=True)


def test_a_scope_is_no_key_that_a_query_could_widen(filled: Storage) -> None:
    assert studies(filled, NORTH, matches={"IssuerOfPatientID": "SOUTH"}) == []
    assert studies(filled, NORTH, matches={"IssuerOfPatientID": "SOUTH\\NORTH"}) == [4, 1]


@scopes
def test_locate(filled: Storage, scope: Scope, seen: set[int]) -> None:
    for study in ISSUERS:
        there = 2 if study in seen else 0
        keys = {"StudyInstanceUID": uid(study), "SeriesInstanceUID": uid(study, 1)}
        assert len(list(filled.locate({"StudyInstanceUID": uid(study)}, scope))) == there
        assert len(list(filled.locate(keys, scope))) == there
        assert len(list(filled.locate({**keys, "SOPInstanceUID": uid(study, 1, 1)}, scope))) == bool(there)
    everything = {"StudyInstanceUID": "\\".join(uid(study) for study in ISSUERS)}
    assert len(list(filled.locate(everything, scope))) == 2 * len(seen)
    assert len(list(filled.locate({"PatientID": "P1"}, scope))) == 2 * len(seen)


def test_delete_and_restore(filled: Storage) -> None:
    with pytest.raises(InstanceNotFound):
        filled.delete({"StudyInstanceUID": uid(2)}, scope=NORTH)
    with pytest.raises(InstanceNotFound):
        filled.delete({"StudyInstanceUID": uid(2)}, scope=frozenset())
    north = filled.delete({"StudyInstanceUID": uid(1)}, scope=NORTH)
    south = filled.delete({"StudyInstanceUID": uid(2)}, scope=SOUTH)
    unknown = filled.delete({"StudyInstanceUID": uid(3)})
    assert [deletion.pk for deletion in filled.deletions(NORTH)] == [north.pk]
    assert [deletion.pk for deletion in filled.deletions(BOTH)] == [south.pk, north.pk]
    assert [deletion.pk for deletion in filled.deletions(NO_ISSUER)] == [unknown.pk]
    assert [deletion.pk for deletion in filled.deletions(frozenset())] == []
    assert len(list(filled.deletions())) == 3
    for call in (filled.deletion, filled.restore):
        with pytest.raises(InstanceNotFound, match="there is no deletion"):
            call(south.pk, scope=NORTH)
    assert filled.deletion(north.pk, NORTH) == north
    assert filled.restore(north.pk, scope=NORTH).restored == 2
    assert filled.restore(south.pk, scope=BOTH).restored == 2
    assert studies(filled, None) == [4, 2, 1]
    assert exact_counts(filled)


def test_what_came_in_again_as_anothers_is_not_added_to(filled: Storage) -> None:
    deletion = filled.delete({"StudyInstanceUID": uid(1)}, scope=NORTH)
    store(filled, instance(1, 9, IssuerOfPatientID="SOUTH"))
    with pytest.raises(InstanceNotFound):
        filled.restore(deletion.pk, scope=NORTH)
    assert list(filled.deletions(NORTH)) == []
    assert studies(filled, SOUTH, Level.IMAGE).count(1) == 1
    assert filled.restore(deletion.pk).restored == 2


def test_what_was_deleted_before_scopes_were_known_is_for_those_who_see_all(filled: Storage) -> None:
    from sqlalchemy import text

    from fileroom_storage.index.engine import create_engine

    deletion = filled.delete({"StudyInstanceUID": uid(1)})
    engine = create_engine(filled.settings.database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE deleted_object SET issuer_of_patient_id = NULL"))
    engine.dispose()
    assert list(filled.deletions(NORTH)) == []
    assert [one.pk for one in filled.deletions()] == [deletion.pk]


def test_store(filled: Storage) -> None:
    before, rows = objects(filled), tables_of(filled)
    refused = [
        # it says so itself
        instance(9),
        instance(9, IssuerOfPatientID=None),
        instance(9, IssuerOfPatientID="north"),
        # its study, its series, itself is somebody else's, whatever it says
        instance(2, 9, IssuerOfPatientID="NORTH"),
        instance(2, 9, IssuerOfPatientID="NORTH", SeriesInstanceUID=uid(2, 9)),
        instance(2, 9, IssuerOfPatientID="NORTH", StudyInstanceUID=uid(1)),
        instance(2, 1, IssuerOfPatientID="NORTH"),
        instance(2, 1, IssuerOfPatientID="NORTH", StudyInstanceUID=uid(1), SeriesInstanceUID=uid(1, 1)),
    ]
    for dataset in refused:
        with pytest.raises(NotAuthorized):
            bring(filled, dataset, Authority(NORTH))
        with pytest.raises(NotAuthorized):
            bring(filled, dataset, Authority(frozenset()))
    assert objects(filled) == before
    assert tables_of(filled) == rows
    assert list(filled.conflicts()) == []
    for dataset in (instance(9, IssuerOfPatientID="NORTH"), instance(1, 9), instance(1, 1)):
        bring(filled, dataset, Authority(NORTH))
    assert sorted(studies(filled, NORTH, Level.IMAGE)) == [1, 1, 1, 4, 4, 9]
    assert exact_counts(filled)
    assert list(filled.check(verify=True)) == []


def test_a_batch_is_not_hurt_by_one_that_is_refused(filled: Storage) -> None:
    outcomes: dict[int, str] = {}

    def send(number: int) -> None:
        try:
            bring(filled, instance(20 + number, IssuerOfPatientID=("NORTH", "SOUTH")[number % 2]), Authority(NORTH))
            bring(filled, instance(2, 20 + number, IssuerOfPatientID="NORTH"), Authority(NORTH))
        except NotAuthorized:
            outcomes[number] = "refused"

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 8
    assert set(studies(filled, NORTH)) == {1, 4, 20, 22, 24, 26}
    assert studies(filled, SOUTH, Level.IMAGE) == [2, 2]
    assert exact_counts(filled)
    assert list(filled.check()) == []


def of_south(**attributes: Any) -> Dataset:
    """A rejection note of NORTH's that names an instance of SOUTH's too."""
    dataset = note(1, IssuerOfPatientID="NORTH", PatientID="P1", **attributes)
    references = note(1).CurrentRequestedProcedureEvidenceSequence[0]
    references.StudyInstanceUID = uid(2)
    references.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = uid(2, 1, 1)
    dataset.CurrentRequestedProcedureEvidenceSequence.append(references)
    return dataset


def test_a_rejection_note_reaches_no_further_than_its_sender(filled: Storage) -> None:
    with pytest.raises(NotAuthorized, match="permission delete"):
        bring(filled, of_south(), Authority(None, may_reject=False))
    assert len(list(filled.locate({"StudyInstanceUID": uid(1)}))) == 2
    bring(filled, of_south(), Authority(NORTH))
    assert {one.sop_instance_uid for one in filled.locate({"StudyInstanceUID": uid(1)})} == {
        uid(1, 1, 2),
        uid(1, 9, 1),
    }
    assert len(list(filled.locate({"StudyInstanceUID": uid(2)}))) == 2
    [deletion] = filled.deletions(NORTH)
    assert filled.restore(deletion.pk, scope=NORTH).restored == 1


def test_reject(filled: Storage) -> None:
    with pytest.raises(InstanceNotFound):
        filled.reject({"StudyInstanceUID": uid(2)}, "113001", HERE, NORTH)
    deletion = filled.reject({"StudyInstanceUID": uid(1)}, "113001", HERE, NORTH)
    assert deletion.number_of_objects == 2
    assert [one.pk for one in filled.deletions(NORTH)] == [deletion.pk]
    assert list(filled.deletions(SOUTH)) == []


def test_a_note_about_patients_of_several_issuers_is_for_those_who_see_all_of_them(filled: Storage) -> None:
    store(filled, of_south())
    assert list(filled.deletions(NORTH)) == list(filled.deletions(SOUTH)) == []
    assert len(list(filled.deletions(BOTH))) == 1
