"""Instances whose pixels are elsewhere in the index: replaced and removed as a whole, beside objects of our own."""

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from fileroom_storage.attributes import Level
from fileroom_storage.errors import InstanceNotFound
from fileroom_storage.events import Event, InstanceDeleted, InstanceStored
from fileroom_storage.external_change import ExternalChange, ExternalInstance, ExternalStatus
from fileroom_storage.header_object import HeaderObject, encode_preamble
from fileroom_storage.index.arrival import Origin
from fileroom_storage.storage import (
    ConflictType,
    FindingKind,
    NotCommitted,
    Provenance,
    Query,
    Reference,
    Resolution,
    Storage,
    StorageSettings,
)
from tests.external import SOURCE, header, series
from tests.made import CT_IMAGE_STORAGE, encoded, made, part10, uid
from tests.storage.stored import exact_counts, store, tables_of, values_of

HOUR = 3600.0


@pytest.fixture
def storage(emptied_storage: Storage) -> Storage:
    return emptied_storage


def instances(storage: Storage) -> dict[str, str | None]:
    """Every instance, and under which external key it is."""
    return {row["sop_instance_uid"]: row["external_key"] for row in tables_of(storage)["dicom_instance"]}


def found(storage: Storage, level: Level, **matches: str) -> list[dict[str, Any]]:
    return [values_of(answer) for answer in storage.find(Query(level, matches))]


def files(storage: Storage) -> list[Path]:
    return sorted((storage.settings.data / "objects").rglob("*.dcm"))


def actions(storage: Storage) -> list[tuple[str, str]]:
    return [(row["action"], row["sop_instance_uid"]) for row in tables_of(storage)["change"]]


def test_an_instance_answers_as_an_object_of_our_own_would(storage: Storage, tmp_path: Path) -> None:
    whole = made(InstanceNumber="3", StudyDescription="Thorax")
    [outcome] = storage.external(SOURCE).replace("a/1", [ExternalInstance(encoded(whole))])
    assert outcome.status is ExternalStatus.STORED
    assert outcome.owner == Origin(SOURCE, "a/1")
    with Storage.open(StorageSettings(tmp_path / "own")) as own:
        own.create_schema_if_empty()
        store(own, whole)
        for level in Level:
            assert list(storage.find(Query(level, {}))) == list(own.find(Query(level, {})))
    [instance] = storage.locate({"SOPInstanceUID": uid(1, 1, 1)})
    assert instance.origin == Origin(SOURCE, "a/1")
    assert exact_counts(storage)
    assert list(storage.check(verify=True)) == []


def test_a_number_of_frames_that_only_the_source_knows_is_found(storage: Storage) -> None:
    told = ExternalInstance(encoded(made()), "1.2.840.10008.1.2.4.202", 7)
    storage.external(SOURCE).replace("a", [told])
    [answer] = found(storage, Level.IMAGE, SOPInstanceUID=uid(1, 1, 1))
    assert answer["NumberOfFrames"] == 7
    assert answer["AvailableTransferSyntaxUID"] == "1.2.840.10008.1.2.4.202"


def test_what_is_told_again_changes_nothing(storage: Storage) -> None:
    events: list[Event] = []
    external = storage.external(SOURCE)
    external.replace("a", [header(), header(SOPInstanceUID=uid(1, 1, 2))])
    before, objects = tables_of(storage), files(storage)
    storage.observe(events.append)
    outcomes = external.replace("a", [header(), header(SOPInstanceUID=uid(1, 1, 2))])
    assert [outcome.status for outcome in outcomes] == [ExternalStatus.UNCHANGED] * 2
    assert (tables_of(storage), files(storage), events) == (before, objects, [])


def test_another_version_takes_the_place_of_all_that_was_there(storage: Storage) -> None:
    external = storage.external(SOURCE)
    external.replace("a", [header(PatientName="Doe^Jane"), header(SOPInstanceUID=uid(1, 1, 2))])
    events: list[Event] = []
    storage.observe(events.append)
    external.replace(
        "a",
        [
            header(PatientName="Roe^Jane", SOPInstanceUID=uid(1, 1, 2)),
            header(PatientName="Roe^Jane", SOPInstanceUID=uid(1, 1, 3)),
        ],
    )
    assert instances(storage) == {uid(1, 1, 2): "a", uid(1, 1, 3): "a"}
    [patient] = found(storage, Level.PATIENT)
    assert patient["PatientName"] == "Roe^Jane"
    assert storage.count_conflicts() == 0
    assert exact_counts(storage)
    assert [type(event) for event in events] == [InstanceDeleted, InstanceStored, InstanceStored]
    assert actions(storage)[2:4] == [("deleted", uid(1, 1, 1)), ("deleted", uid(1, 1, 2))]
    # the headers of the version before are gone, and nothing is to be undone
    assert len(files(storage)) == 2
    assert list(storage.deletions()) == []
    assert list(storage.check(verify=True)) == []


def test_what_is_removed_leaves_nothing(storage: Storage) -> None:
    external = storage.external(SOURCE)
    external.replace("a", [header()])
    external.replace_series("b", [series([uid(2, 1, 1)], StudyInstanceUID=uid(2), SeriesInstanceUID=uid(2, 1))])
    for key in ("a", "b", "a", "never"):
        external.remove(key)
    rows = tables_of(storage)
    assert {name for name in rows if name.startswith("dicom_") and rows[name]} == {"dicom_issuer"}
    assert not rows["deletion"]
    assert not rows["deleted_object"]
    assert files(storage) == []


def test_an_object_of_our_own_is_not_touched(storage: Storage) -> None:
    store(storage, made())
    before = tables_of(storage)
    [outcome] = storage.external(SOURCE).replace("a", [header(PatientName="Roe^Jane", InstanceNumber="9")])
    assert (outcome.status, outcome.owner) == (ExternalStatus.LOCAL, None)
    after = tables_of(storage)
    assert after == before
    assert len(files(storage)) == 1
    [again] = storage.external(SOURCE).replace("a", [header(PatientName="Roe^Jane", InstanceNumber="9")])
    assert again.status is ExternalStatus.LOCAL
    storage.external(SOURCE).remove("a")
    assert tables_of(storage) == before


def test_an_object_takes_the_place_of_its_header(storage: Storage) -> None:
    external = storage.external(SOURCE)
    external.replace("a", [header(), header(SOPInstanceUID=uid(1, 1, 2))])
    outcome = store(storage, made(InstanceNumber="5"))
    assert (outcome.status, outcome.conflicts) == ("stored", ())
    assert instances(storage) == {uid(1, 1, 1): None, uid(1, 1, 2): "a"}
    assert exact_counts(storage)
    storage.purge_expired()
    assert len(files(storage)) == 2
    assert list(storage.deletions()) == []
    # a later version leaves the object where it is
    outcomes = external.replace("a", [header(StudyDescription="new"), header(SOPInstanceUID=uid(1, 1, 2))])
    assert [outcome.status for outcome in outcomes] == [ExternalStatus.LOCAL, ExternalStatus.UNCHANGED]
    external.remove("a")
    assert instances(storage) == {uid(1, 1, 1): None}
    assert exact_counts(storage)
    # and more of the same series comes in, whatever the writer remembers of it
    assert store(storage, made(SOPInstanceUID=uid(1, 1, 3))).status == "stored"
    assert exact_counts(storage)


def test_the_writer_does_not_believe_what_it_knew_before_a_header_went(storage: Storage) -> None:
    for number in range(1, 4):
        series_uid = uid(number, 1)
        own = {"StudyInstanceUID": uid(number), "SeriesInstanceUID": series_uid}
        storage.external(SOURCE).replace(f"{number}", [header(SOPInstanceUID=uid(number, 1, 1), **own)])
        store(storage, made(SOPInstanceUID=uid(number, 1, 2), **own))
        store(storage, made(SOPInstanceUID=uid(number, 1, 1), **own))
        store(storage, made(SOPInstanceUID=uid(number, 1, 3), **own))
        assert exact_counts(storage)


def test_an_object_takes_the_place_of_the_only_header_of_its_patient(storage: Storage) -> None:
    storage.external(SOURCE).replace("a", [header(PatientName="Roe^Jane", Modality="OT")])
    store(storage, made())
    [study] = found(storage, Level.STUDY)
    assert (study["PatientName"], study["ModalitiesInStudy"]) == ("Doe^Jane", "CT")
    assert storage.count_conflicts() == 0
    assert exact_counts(storage)


def test_which_key_owns_an_instance_is_for_the_source_to_decide(storage: Storage) -> None:
    external = storage.external(SOURCE)
    external.replace("a", [header()])
    [outcome] = external.replace("b", [header(InstanceNumber="2")])
    assert (outcome.status, outcome.owner) == (ExternalStatus.OTHER_KEY, Origin(SOURCE, "a"))
    assert instances(storage) == {uid(1, 1, 1): "a"}
    [outcome] = external.replace("b", [header(InstanceNumber="2")], takes_over=True)
    assert (outcome.status, outcome.owner) == (ExternalStatus.STORED, Origin(SOURCE, "b"))
    assert instances(storage) == {uid(1, 1, 1): "b"}
    [outcome] = storage.external("another").replace("c", [header()], takes_over=True)
    assert (outcome.status, outcome.owner) == (ExternalStatus.OTHER_KEY, Origin(SOURCE, "b"))
    # the owner goes, and the other comes in, at once
    external.apply([ExternalChange("b"), ExternalChange("a", [header()])])
    assert instances(storage) == {uid(1, 1, 1): "a"}
    assert exact_counts(storage)
    assert len(files(storage)) == 1


def test_a_study_never_moves_to_another_patient(storage: Storage) -> None:
    store(storage, made())
    external = storage.external(SOURCE)
    for version in ("1", "2"):
        told = header(SOPInstanceUID=uid(1, 2, 1), SeriesInstanceUID=uid(1, 2), PatientID="P2", InstanceNumber=version)
        [outcome] = external.replace("a", [told])
        assert outcome.conflicts == (ConflictType.STUDY_PATIENT,)
    [study] = found(storage, Level.STUDY)
    assert (study["PatientID"], study["NumberOfStudyRelatedInstances"]) == ("P1", 2)
    [conflict] = storage.conflicts()
    assert conflict.occurrences == 2
    storage.resolve_conflict(conflict.pk, Resolution.ACCEPT)
    [study] = found(storage, Level.STUDY)
    assert study["PatientID"] == "P2"
    assert exact_counts(storage)


def test_nothing_is_overwritten_with_nothing(storage: Storage) -> None:
    store(storage, made(StudyDescription="Thorax", PatientSex="F"))
    told = header(SOPInstanceUID=uid(1, 1, 2), StudyDescription="", PatientSex=None, AccessionNumber="A1")
    storage.external(SOURCE).replace("a", [told])
    [study] = found(storage, Level.STUDY)
    assert (study["StudyDescription"], study["PatientSex"], study["AccessionNumber"]) == ("Thorax", "F", "A1")


def test_what_cannot_be_indexed_keeps_nothing_else_out(storage: Storage) -> None:
    pixels = encoded(made(SOPInstanceUID=uid(1, 1, 2), Rows=1, Columns=1, BitsAllocated=8, PixelData=b"\0\0"))
    told = [
        header(),
        ExternalInstance(pixels),
        header(SOPInstanceUID=None),
        header(),
        ExternalInstance(encoded(made(), implicit=True)),
        ExternalInstance(encoded(made()), "1.2.840.10008.1.2", 1),
    ]
    outcomes = storage.external(SOURCE).replace("a", told)
    assert [outcome.status for outcome in outcomes] == [ExternalStatus.STORED] + [ExternalStatus.UNUSABLE] * 5
    assert instances(storage) == {uid(1, 1, 1): "a"}


def test_keys_that_cannot_be_kept_are_refused(sqlite_storage: Storage) -> None:
    for key in ("", "x" * 81, "ü"):
        with pytest.raises(ValueError, match="key"):
            sqlite_storage.external(SOURCE).replace(key, [])
    with pytest.raises(ValueError, match="source"):
        sqlite_storage.external("a source of a long name").remove("a")
    with pytest.raises(ValueError, match="once"):
        sqlite_storage.external(SOURCE).apply([ExternalChange("a"), ExternalChange("a")])


# -- the companion ---------------------------------------------------------------------------------------------


def test_a_companion_runs_in_the_transaction(storage: Storage) -> None:
    seen: list[Mapping[str, int]] = []

    def companion(connection: Connection, pks: Mapping[str, int]) -> None:
        seen.append(pks)
        connection.execute(
            text("UPDATE dicom_series SET residue = :mark WHERE pk = :pk"), {"mark": "{}", "pk": pks[uid(1, 1)]}
        )

    external = storage.external(SOURCE)
    external.replace("a", [header(), header(SOPInstanceUID=uid(1, 1, 2))], companion=companion)
    rows = tables_of(storage)
    expected = {row["sop_instance_uid"]: row["pk"] for row in rows["dicom_instance"]}
    assert seen == [{**expected, uid(1, 1): rows["dicom_series"][0]["pk"]}]
    assert rows["dicom_series"][0]["residue"] == "{}"
    # told again: nothing changes, and it runs all the same
    external.replace("a", [header(), header(SOPInstanceUID=uid(1, 1, 2))], companion=companion)
    assert seen[1] == seen[0]
    external.remove("a", companion=lambda _, pks: seen.append(pks))
    assert seen[2] == {}


def test_what_a_companion_raises_undoes_everything(storage: Storage) -> None:
    external = storage.external(SOURCE)
    external.replace("a", [header()])
    before, objects = tables_of(storage), files(storage)

    def companion(_: Connection, __: Mapping[str, int]) -> None:
        raise LookupError("a later version is known")

    with pytest.raises(LookupError):
        external.replace("a", [header(InstanceNumber="2")], companion=companion)
    assert (tables_of(storage), files(storage)) == (before, objects)


# -- series without rows for their instances -------------------------------------------------------------------


def counts(storage: Storage) -> tuple[int, int, int]:
    [a_series] = found(storage, Level.SERIES)
    [study] = found(storage, Level.STUDY)
    [patient] = found(storage, Level.PATIENT)
    return (
        a_series["NumberOfSeriesRelatedInstances"],
        study["NumberOfStudyRelatedInstances"],
        patient["NumberOfPatientRelatedInstances"],
    )


def test_a_series_counts_without_rows(storage: Storage) -> None:
    external = storage.external(SOURCE)
    uids = [uid(1, 1, number) for number in range(1, 6)]
    [outcome] = external.replace_series("a", [series(uids, StudyDescription="Thorax")])
    assert outcome.status is ExternalStatus.STORED
    assert instances(storage) == {}
    assert counts(storage) == (5, 5, 5)
    [study] = found(storage, Level.STUDY, SOPClassesInStudy=CT_IMAGE_STORAGE)
    assert (study["ModalitiesInStudy"], study["NumberOfStudyRelatedSeries"]) == ("CT", 1)
    assert exact_counts(storage)
    [again] = external.replace_series("a", [series(uids, StudyDescription="Thorax")])
    assert again.status is ExternalStatus.UNCHANGED


def test_an_object_takes_over_its_weight_and_gives_it_back(storage: Storage) -> None:
    external = storage.external(SOURCE)
    external.replace_series("a", [series([uid(1, 1, 1), uid(1, 1, 2)])])
    store(storage, made())
    assert counts(storage) == (2, 2, 2)
    store(storage, made(SOPInstanceUID=uid(1, 1, 9)))
    assert counts(storage) == (3, 3, 3)
    store(storage, made(SOPInstanceUID=uid(1, 1, 2)))
    assert counts(storage) == (3, 3, 3)
    assert exact_counts(storage)
    storage.delete({"SOPInstanceUID": uid(1, 1, 1)})
    assert counts(storage) == (3, 3, 3)
    storage.delete({"SOPInstanceUID": uid(1, 1, 9)})
    assert counts(storage) == (2, 2, 2)
    external.remove("a")
    assert counts(storage) == (1, 1, 1)
    assert exact_counts(storage)


def test_an_instance_that_two_keys_tell_of_counts_once(storage: Storage) -> None:
    external = storage.external(SOURCE)
    external.replace_series("a", [series([uid(1, 1, 1), uid(1, 1, 2)])])
    external.replace_series("b", [series([uid(1, 1, 2), uid(1, 1, 3)])])
    external.replace("c", [header(SOPInstanceUID=uid(1, 1, 3))])
    assert counts(storage) == (3, 3, 3)
    external.remove("a")
    assert counts(storage) == (2, 2, 2)
    assert exact_counts(storage)


def test_a_level_is_raised_and_lowered(storage: Storage) -> None:
    external = storage.external(SOURCE)
    uids = [uid(1, 1, number) for number in (1, 2)]
    for _ in range(2):
        external.replace_series("a", [series(uids)])
        assert (instances(storage), counts(storage)) == ({}, (2, 2, 2))
        external.replace("a", [header(SOPInstanceUID=one) for one in uids])
        assert (instances(storage), counts(storage)) == (dict.fromkeys(uids, "a"), (2, 2, 2))
        assert exact_counts(storage)


def test_a_deletion_leaves_what_has_no_rows(storage: Storage) -> None:
    storage.external(SOURCE).replace_series("a", [series([uid(1, 1, 1)])])
    with pytest.raises(InstanceNotFound):
        storage.delete({"StudyInstanceUID": uid(1)})
    store(
        storage, made(SOPClassUID="1.2.840.10008.5.1.4.1.1.4", SOPInstanceUID=uid(1, 2, 1), SeriesInstanceUID=uid(1, 2))
    )
    storage.delete({"StudyInstanceUID": uid(1)})
    assert counts(storage) == (1, 1, 1)
    assert exact_counts(storage)


# -- deletion, restoration, consistency, commitment, audit -----------------------------------------------------


def test_what_is_deleted_can_be_restored(storage: Storage) -> None:
    told = ExternalInstance(encoded(made()), "1.2.840.10008.1.2.4.202", 7)
    storage.external(SOURCE).replace("a/b", [told])
    before = list(storage.find(Query(Level.IMAGE, {})))
    deletion = storage.delete({"StudyInstanceUID": uid(1)})
    assert instances(storage) == {}
    assert storage.restore(deletion.pk).restored == 1
    assert list(storage.find(Query(Level.IMAGE, {}))) == before
    [instance] = storage.locate({"SOPInstanceUID": uid(1, 1, 1)})
    assert (instance.origin, instance.number_of_frames) == (Origin(SOURCE, "a/b"), 7)
    assert exact_counts(storage)


def test_a_header_that_is_restored_does_not_displace_its_object(storage: Storage) -> None:
    storage.external(SOURCE).replace("a", [header()])
    deletion = storage.delete({"StudyInstanceUID": uid(1)})
    store(storage, made(InstanceNumber="4"))
    restoration = storage.restore(deletion.pk)
    assert (restoration.restored, restoration.already_stored) == (0, 1)
    assert instances(storage) == {uid(1, 1, 1): None}


def test_an_object_that_is_restored_displaces_its_header(storage: Storage) -> None:
    store(storage, made(InstanceNumber="4"))
    deletion = storage.delete({"StudyInstanceUID": uid(1)})
    storage.external(SOURCE).replace("a", [header()])
    assert storage.restore(deletion.pk).restored == 1
    assert instances(storage) == {uid(1, 1, 1): None}
    assert exact_counts(storage)


def test_what_is_rejected_stays_so(storage: Storage) -> None:
    external = storage.external(SOURCE)
    external.replace("a", [header()])
    storage.reject({"SOPInstanceUID": uid(1, 1, 1)}, "113001", Provenance("test"))
    [outcome] = external.replace("a", [header()])
    assert outcome.status is ExternalStatus.REJECTED
    assert [row["sop_class_uid"] for row in tables_of(storage)["dicom_instance"]] != [CT_IMAGE_STORAGE]


def test_a_header_that_a_crash_left_is_not_adopted(storage: Storage) -> None:
    storage.external(SOURCE).replace("a", [header()])
    [path] = files(storage)
    left = path.with_name(path.name[:2] + "0" * 29 + "a.dcm")
    left.write_bytes(path.read_bytes())
    os.utime(left, (time.time() - HOUR, time.time() - HOUR))
    [finding] = storage.check(repair=True)
    assert finding.kind is FindingKind.ORPHAN
    assert finding.is_repaired
    assert files(storage) == [path]
    assert instances(storage) == {uid(1, 1, 1): "a"}


def test_a_header_that_is_lost_is_found(storage: Storage) -> None:
    storage.external(SOURCE).replace("a", [header(), header(SOPInstanceUID=uid(1, 1, 2))])
    files(storage)[0].unlink()
    [finding] = storage.check(repair=True)
    assert finding.kind is FindingKind.MISSING
    assert len(instances(storage)) == 1
    # its source tells of it again
    outcomes = storage.external(SOURCE).replace("a", [header(), header(SOPInstanceUID=uid(1, 1, 2))])
    assert [outcome.status for outcome in outcomes] == [ExternalStatus.STORED] * 2
    assert exact_counts(storage)


def test_there_is_no_commitment_to_what_is_elsewhere(storage: Storage) -> None:
    storage.external(SOURCE).replace("a", [header()])
    reference = Reference(CT_IMAGE_STORAGE, uid(1, 1, 1))
    assert storage.verify_commitment([reference]) == [NotCommitted.ELSEWHERE]
    store(storage, made())
    assert storage.verify_commitment([reference]) == [None]


def test_the_audit_log_has_what_a_source_brings_and_takes(database_url: str, tmp_path: Path) -> None:
    with Storage.open(StorageSettings(tmp_path / "data", database_url, audit=True)) as storage:
        storage.create_schema_if_empty()
        external = storage.external(SOURCE)
        external.replace("a", [header(), header(SOPInstanceUID=uid(1, 1, 2))])
        external.replace("a", [header()])
        rows = list(storage.audit.rows())
        assert [(row.action, row.study_instance_uid) for row in rows] == [("C", uid(1)), ("C", uid(1)), ("D", uid(1))]
        assert storage.audit.verify().is_unbroken


# -- several at once -------------------------------------------------------------------------------------------


def test_several_processes_change_the_same_keys(database_url: str, tmp_path: Path) -> None:
    settings = StorageSettings(tmp_path / "data", database_url)
    with Storage.open(settings) as first, Storage.open(settings) as second:
        first.create_schema_if_empty()

        def change(number: int) -> None:
            storage = (first, second)[number % 2]
            key = f"{number % 3}"
            own = {"SeriesInstanceUID": uid(1, number % 3), "InstanceNumber": str(number)}
            told = [header(SOPInstanceUID=uid(1, number % 3, one), **own) for one in range(1, 4)]
            if number % 4 == 3:
                storage.external(SOURCE).remove(key)
            else:
                storage.external(SOURCE).replace(key, told)
            store(storage, made(SOPInstanceUID=uid(1, number % 3, 1), SeriesInstanceUID=uid(1, number % 3)))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(change, range(16)))
        assert exact_counts(first)
        assert {uid(1, number, 1) for number in range(3)} <= instances(first).keys()
        first.purge_expired()
        assert len(files(first)) == len(instances(first))
        assert list(first.check(verify=True)) == []


def test_what_comes_in_cannot_pass_for_a_header_of_a_source(sqlite_storage: Storage) -> None:
    """Else its sender could have it taken for nothing of ours when it is restored, or removed as an orphan."""
    preamble = encode_preamble(HeaderObject(Origin(SOURCE, "a"), 3))
    disguised = preamble + part10(made())[len(preamble) :]
    incoming, many = sqlite_storage.receive(), sqlite_storage.receive()
    incoming.write(disguised)
    assert incoming.store(Provenance("STOW-RS")).status == "stored"
    many.write(preamble + part10(made(SOPInstanceUID=uid(1, 1, 2)))[len(preamble) :])
    [outcome] = sqlite_storage.store_many([many], Provenance("import"))
    assert getattr(outcome, "status", outcome) == "stored"
    deletion = sqlite_storage.delete({"StudyInstanceUID": uid(1)})
    sqlite_storage.restore(deletion.pk)
    restored = list(sqlite_storage.locate({"StudyInstanceUID": uid(1)}))
    assert [instance.origin for instance in restored] == [None, None]
    assert sqlite_storage.read_data_set(restored[0]) == encoded(made())
