"""What the index makes of objects as they come: hierarchy, identity, counts, conflicts."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fileroom_storage.attributes import Level
from fileroom_storage.errors import InstanceNotFound, InvalidQuery, UnusableObject, UnusableReason
from fileroom_storage.events import Event, InstanceDeleted, InstanceStored
from fileroom_storage.storage import ConflictState, ConflictType, Query, Resolution, Storage
from tests.made import made, uid
from tests.storage.stored import exact_counts, store, tables_of, values_of


def find(storage: Storage, level: Level, **matches: Any) -> list[dict[str, Any]]:
    return [values_of(answer) for answer in storage.find(Query(level, matches))]


def test_an_object_is_found_at_every_level(storage: Storage) -> None:
    outcome = store(storage, made(StudyDate="20240131", SeriesNumber="3", InstanceNumber="7"))
    assert outcome.status == "stored"
    assert outcome.conflicts == ()
    assert find(storage, Level.PATIENT)[0]["PatientName"] == "Doe^Jane"
    assert find(storage, Level.STUDY)[0]["StudyDate"] == "20240131"
    assert find(storage, Level.SERIES)[0]["SeriesNumber"] == 3
    assert find(storage, Level.IMAGE)[0]["InstanceNumber"] == 7


def test_the_same_object_again_changes_nothing(storage: Storage) -> None:
    store(storage, made())
    before = tables_of(storage)
    outcome = store(storage, made())
    assert (outcome.status, outcome.conflicts) == ("already stored", ())
    assert tables_of(storage) == before
    assert list(storage.check(verify=True)) == []


def test_counts_and_sets_follow_what_comes(storage: Storage) -> None:
    store(storage, made())
    store(storage, made(SOPInstanceUID=uid(1, 1, 2)))
    store(storage, made(SOPInstanceUID=uid(1, 2, 1), SeriesInstanceUID=uid(1, 2), Modality="MR"))
    store(storage, made(SOPInstanceUID=uid(2, 1, 1), SeriesInstanceUID=uid(2, 1), StudyInstanceUID=uid(2)))
    study = find(storage, Level.STUDY, StudyInstanceUID=uid(1))[0]
    assert study["ModalitiesInStudy"] == ["CT", "MR"]
    assert (study["NumberOfStudyRelatedSeries"], study["NumberOfStudyRelatedInstances"]) == (2, 3)
    patient = find(storage, Level.PATIENT)[0]
    numbers = [patient[f"NumberOfPatientRelated{what}"] for what in ("Studies", "Series", "Instances")]
    assert numbers == [2, 3, 4]
    assert exact_counts(storage)


def test_a_later_object_fills_what_was_missing_and_overwrites_nothing(storage: Storage) -> None:
    store(storage, made(StudyDescription="first", PatientSex=None, ReferringPhysicianName=None))
    later = made(
        SOPInstanceUID=uid(1, 1, 2),
        StudyDescription="second",
        PatientSex="F",
        ReferringPhysicianName="Müller^Uwe",
        ProcedureCodeSequence=[{"CodeValue": "X", "CodingSchemeDesignator": "99", "CodeMeaning": "x"}],
    )
    assert store(storage, later).conflicts == ()
    store(storage, made(SOPInstanceUID=uid(1, 1, 3), StudyDescription=None, PatientSex=None))
    study = find(storage, Level.STUDY, ReferringPhysicianName="muller*")[0]
    assert (study["StudyDescription"], study["PatientSex"]) == ("first", "F")
    assert find(storage, Level.STUDY, ProcedureCodeSequence={"CodeValue": "X"})


def test_no_issuer_is_the_default_domain(storage: Storage) -> None:
    store(storage, made())
    store(
        storage,
        made(StudyInstanceUID=uid(2), SeriesInstanceUID=uid(2, 1), SOPInstanceUID=uid(2, 1, 1), IssuerOfPatientID="B"),
    )
    issuers = [patient["IssuerOfPatientID"] for patient in find(storage, Level.PATIENT, PatientID="P1")]
    assert issuers == ["DEFAULT_DOMAIN", "B"]


def test_studies_without_a_patient_id_never_share_a_patient(storage: Storage) -> None:
    for study in (1, 2):
        store(
            storage,
            made(
                PatientID=None,
                StudyInstanceUID=uid(study),
                SeriesInstanceUID=uid(study, 1),
                SOPInstanceUID=uid(study, 1, 1),
            ),
        )
    store(storage, made(PatientID="", SOPInstanceUID=uid(1, 1, 2)))
    patients = find(storage, Level.PATIENT)
    assert [patient["PatientID"] for patient in patients] == ["NO_PID", "NO_PID"]
    assert [patient["NumberOfPatientRelatedInstances"] for patient in patients] == [2, 1]


def test_a_patient_who_is_called_no_pid_is_somebody(storage: Storage) -> None:
    store(storage, made(PatientID=None))
    store(
        storage,
        made(PatientID="NO_PID", StudyInstanceUID=uid(2), SeriesInstanceUID=uid(2, 1), SOPInstanceUID=uid(2, 1, 1)),
    )
    assert len(find(storage, Level.PATIENT, PatientID="NO_PID")) == 2
    assert len(find(storage, Level.PATIENT, PatientID='""')) == 1


# -- conflicts -----------------------------------------------------------------------------------------------


def test_other_bytes_under_the_same_uid_are_kept_as_a_conflict(storage: Storage) -> None:
    store(storage, made(InstanceNumber="1"))
    outcome = store(storage, made(InstanceNumber="2"))
    assert (outcome.status, outcome.conflicts) == ("stored", (ConflictType.CONTENT,))
    again = store(storage, made(InstanceNumber="2"))
    assert again.conflicts == (ConflictType.CONTENT,)
    [conflict] = storage.conflicts()
    assert conflict.differences == {"InstanceNumber": (1, 2)}
    assert conflict.occurrences == 2
    assert find(storage, Level.IMAGE)[0]["InstanceNumber"] == 1
    assert list(storage.check(verify=True)) == []


@pytest.mark.parametrize(("resolution", "number"), [(Resolution.KEEP, 1), (Resolution.ACCEPT, 2)])
def test_a_content_conflict_is_resolved_either_way(storage: Storage, resolution: Resolution, number: int) -> None:
    store(storage, made(InstanceNumber="1"))
    store(storage, made(InstanceNumber="2"))
    [conflict] = storage.conflicts()
    storage.resolve_conflict(conflict.pk, resolution)
    assert list(storage.conflicts()) == []
    assert [answer["InstanceNumber"] for answer in find(storage, Level.IMAGE)] == [number]
    [instance] = storage.locate({"SOPInstanceUID": uid(1, 1, 1)})
    assert storage.header(instance).text("InstanceNumber") == str(number)
    assert list(storage.check(verify=True)) == []
    assert exact_counts(storage)
    assert [conflict.state for conflict in storage.conflicts(None)] == [ConflictState.RESOLVED]
    with pytest.raises(InvalidQuery, match="resolved already"):
        storage.resolve_conflict(conflict.pk, resolution)


def test_a_resolved_conflict_opens_again_when_it_comes_back(storage: Storage) -> None:
    store(storage, made(InstanceNumber="1"))
    store(storage, made(InstanceNumber="2"))
    [conflict] = storage.conflicts()
    storage.resolve_conflict(conflict.pk, Resolution.KEEP)
    store(storage, made(InstanceNumber="2"))
    assert [again.pk for again in storage.conflicts()] == [conflict.pk]
    assert list(storage.check(verify=True)) == []


def test_a_study_that_names_another_patient_stays_and_says_so(storage: Storage) -> None:
    store(storage, made())
    outcome = store(storage, made(SOPInstanceUID=uid(1, 1, 2), PatientID="P2", PatientName="Roe^Jim"))
    assert (outcome.status, outcome.conflicts) == ("stored", (ConflictType.STUDY_PATIENT,))
    store(storage, made(SOPInstanceUID=uid(1, 1, 3), PatientID="P2", PatientName="Roe^Jim"))
    [conflict] = storage.conflicts()
    assert conflict.differences == {"PatientID": ("P1", "P2")}
    assert conflict.occurrences == 2
    assert [patient["PatientID"] for patient in find(storage, Level.PATIENT)] == ["P1"]
    assert len(find(storage, Level.IMAGE, StudyInstanceUID=uid(1))) == 3

    storage.resolve_conflict(conflict.pk, Resolution.ACCEPT)
    [patient] = find(storage, Level.PATIENT)
    assert (patient["PatientID"], patient["PatientName"]) == ("P2", "Roe^Jim")
    assert find(storage, Level.STUDY, PatientName="roe*")
    assert exact_counts(storage)


@pytest.mark.parametrize("other", [{"PatientID": None}, {"IssuerOfPatientID": None}])
def test_an_object_that_names_nobody_names_no_other_patient(storage: Storage, other: dict[str, Any]) -> None:
    store(storage, made(IssuerOfPatientID="A"))
    dataset = made(SOPInstanceUID=uid(1, 1, 2), **({"IssuerOfPatientID": "A"} | other))
    assert store(storage, dataset).conflicts == ()
    assert len(find(storage, Level.PATIENT)) == 1


def test_a_series_that_names_another_study_stays_and_says_so(storage: Storage) -> None:
    store(storage, made())
    outcome = store(storage, made(SOPInstanceUID=uid(1, 1, 2), StudyInstanceUID=uid(2)))
    assert outcome.conflicts == (ConflictType.SERIES_STUDY,)
    assert outcome.study_instance_uid == uid(1)
    assert [study["StudyInstanceUID"] for study in find(storage, Level.STUDY)] == [uid(1)]
    [conflict] = storage.conflicts()
    assert conflict.differences == {"StudyInstanceUID": (uid(1), uid(2))}

    storage.resolve_conflict(conflict.pk, Resolution.ACCEPT)
    [study] = find(storage, Level.STUDY)
    assert (study["StudyInstanceUID"], study["NumberOfStudyRelatedInstances"]) == (uid(2), 2)
    assert exact_counts(storage)


def test_demographics_that_differ_are_a_conflict_once(storage: Storage) -> None:
    store(storage, made(PatientBirthDate="19700101"))
    other = {"PatientName": "Roe^Jane", "PatientBirthDate": "19700102"}
    for study in (2, 3):
        dataset = made(
            StudyInstanceUID=uid(study), SeriesInstanceUID=uid(study, 1), SOPInstanceUID=uid(study, 1, 1), **other
        )
        assert store(storage, dataset).conflicts == (ConflictType.DEMOGRAPHICS,)
    [conflict] = storage.conflicts()
    assert conflict.occurrences == 2
    assert set(conflict.differences) == {"PatientName", "PatientBirthDate"}
    assert find(storage, Level.PATIENT)[0]["PatientName"] == "Doe^Jane"

    storage.resolve_conflict(conflict.pk, Resolution.ACCEPT)
    [patient] = find(storage, Level.PATIENT, PatientName="roe^jane")
    assert (patient["PatientName"], patient["PatientBirthDate"]) == ("Roe^Jane", "19700102")
    assert find(storage, Level.PATIENT, PatientName="doe*") == []


@pytest.mark.parametrize("name", ["DOE^JANE", "Doe^Jane^^", "Dou^Jane"])
def test_a_name_written_otherwise_is_the_same_name(storage: Storage, name: str) -> None:
    store(storage, made())
    expected = () if name != "Dou^Jane" else (ConflictType.DEMOGRAPHICS,)
    assert store(storage, made(SOPInstanceUID=uid(1, 1, 2), PatientName=name)).conflicts == expected


def test_an_unknown_conflict_is_named(storage: Storage) -> None:
    with pytest.raises(InstanceNotFound, match="conflicts list"):
        storage.resolve_conflict(7, Resolution.KEEP)


# -- what cannot be kept -------------------------------------------------------------------------------------


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_an_object_without_its_uids_is_refused(storage: Storage, keyword: str) -> None:
    with pytest.raises(UnusableObject, match=keyword) as caught:
        store(storage, made(**{keyword: None}))
    assert caught.value.reason is UnusableReason.MISSING_UID
    assert tables_of(storage)["dicom_instance"] == []
    assert list(storage.check()) == []


@pytest.mark.parametrize("bad", ["../../etc/passwd", "1/2", "..", "1.2.3 4", "1." * 33 + "1", "1.2\n3", "é"])
def test_a_uid_that_is_none_is_refused(sqlite_storage: Storage, bad: str) -> None:
    with pytest.raises(UnusableObject) as caught:
        store(sqlite_storage, made(StudyInstanceUID=bad))
    assert caught.value.reason is UnusableReason.INVALID_UID


# -- deletion, events, several writers -----------------------------------------------------------------------


def test_delete_takes_all_that_is_left_empty(storage: Storage) -> None:
    store(storage, made())
    store(storage, made(SOPInstanceUID=uid(1, 2, 1), SeriesInstanceUID=uid(1, 2), Modality="MR"))
    events: list[Event] = []
    storage.observe(events.append)
    assert storage.delete({"SeriesInstanceUID": uid(1, 2)}).number_of_objects == 1
    [study] = find(storage, Level.STUDY)
    assert (study["ModalitiesInStudy"], study["NumberOfStudyRelatedInstances"]) == ("CT", 1)
    assert exact_counts(storage)
    assert storage.delete({"StudyInstanceUID": uid(1)}).number_of_objects == 1
    rows = tables_of(storage)
    assert all(not rows[name] for name in rows if name.startswith("dicom_") and name != "dicom_issuer")
    assert [row["action"] for row in rows["change"]] == ["stored", "stored", "deleted", "deleted"]
    assert list(storage.check()) == []
    assert events == [
        InstanceDeleted(uid(1), uid(1, 2), uid(1, 2, 1)),
        InstanceDeleted(uid(1), uid(1, 1), uid(1, 1, 1)),
    ]


def test_observers_are_told_after_the_commit(storage: Storage) -> None:
    seen: list[tuple[Event, int]] = []
    storage.observe(lambda event: seen.append((event, storage.count(Query(Level.IMAGE)))))
    outcome = store(storage, made())
    stored = InstanceStored(uid(1), uid(1, 1), uid(1, 1, 1), outcome.sop_class_uid)
    assert seen == [(stored, 1)]


def test_many_senders_of_one_study_lose_no_count(storage: Storage) -> None:
    """Two writers on one index, as two processes would have, four senders each, all into the same study."""
    with Storage.open(storage.settings) as second, ThreadPoolExecutor(8) as senders:
        objects = [
            made(SOPInstanceUID=uid(1, series, number), SeriesInstanceUID=uid(1, series))
            for series in range(4)
            for number in range(20)
        ]
        outcomes = list(senders.map(store, [storage, second] * (len(objects) // 2), objects))
        again = list(senders.map(store, [second, storage] * (len(objects) // 2), objects))
    assert {outcome.status for outcome in outcomes} == {"stored"}
    assert {outcome.status for outcome in again} == {"already stored"}
    [study] = find(storage, Level.STUDY)
    assert (study["NumberOfStudyRelatedSeries"], study["NumberOfStudyRelatedInstances"]) == (4, 80)
    assert exact_counts(storage)
    assert list(storage.check(verify=True)) == []


def test_the_same_object_from_all_sides_is_stored_once(storage: Storage) -> None:
    with Storage.open(storage.settings) as second, ThreadPoolExecutor(8) as senders:
        outcomes = list(senders.map(store, [storage, second] * 20, [made()] * 40))
    assert sorted(outcome.status for outcome in outcomes) == ["already stored"] * 39 + ["stored"]
    assert storage.count(Query(Level.IMAGE)) == 1
    assert list(storage.check()) == []
