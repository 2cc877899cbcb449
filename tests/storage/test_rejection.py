"""Rejection notes (IHE RAD IOCM), made here or sent by others."""

import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from fileroom_storage.attributes import Level
from fileroom_storage.errors import InstanceNotFound, InvalidQuery
from fileroom_storage.events import Event, InstanceDeleted, InstanceStored
from fileroom_storage.index.rejection import KEY_OBJECT_SELECTION_DOCUMENT
from fileroom_storage.storage import (
    REJECTION_MEANINGS,
    DeletionReason,
    Provenance,
    Query,
    Restoration,
    Storage,
    StorageSettings,
)
from tests.made import CT_IMAGE_STORAGE, made, part10, uid
from tests.storage.stored import exact_counts, store, tables_of
from tests.storage.test_deletion import actions, count, fill, make_old, objects

STUDY = {"StudyInstanceUID": uid(1)}
SERIES = {**STUDY, "SeriesInstanceUID": uid(1, 2)}
HERE = Provenance("test")


def note(*instances: int, code: str = "113001", scheme: str = "DCM", **attributes: Any) -> Dataset:
    """A rejection note of instances of `fill`, as another archive would send it."""
    references = [
        {"ReferencedSOPClassUID": CT_IMAGE_STORAGE, "ReferencedSOPInstanceUID": uid(1, 1, number)}
        for number in instances
    ]
    series = [{"SeriesInstanceUID": uid(1, 1), "ReferencedSOPSequence": references}]
    values: dict[str, Any] = {
        "SOPClassUID": KEY_OBJECT_SELECTION_DOCUMENT,
        "SOPInstanceUID": uid(1, 9, 1),
        "SeriesInstanceUID": uid(1, 9),
        "Modality": "KO",
        "ConceptNameCodeSequence": [
            {"CodeValue": code, "CodingSchemeDesignator": scheme, "CodeMeaning": "Rejected for Quality Reasons"}
        ],
        "CurrentRequestedProcedureEvidenceSequence": [{"StudyInstanceUID": uid(1), "ReferencedSeriesSequence": series}],
    }
    return made(**{**values, **attributes})


def found(storage: Storage) -> set[str]:
    return {instance.sop_instance_uid for instance in storage.locate(STUDY)}


def test_what_is_rejected_is_out_of_use_until_it_is_revoked(storage: Storage) -> None:
    fill(storage)
    deletion = storage.reject(SERIES, "113001^DCM", HERE)
    assert (deletion.reason, deletion.code, deletion.number_of_objects) == (DeletionReason.REJECTION, "113001", 2)
    assert deletion.purge_at is None
    assert deletion.series_instance_uid == uid(1, 2)
    assert found(storage) == {uid(1, 1, 2), deletion.rejection_note_uid}
    assert exact_counts(storage)
    make_old(storage)
    assert list(storage.check(verify=True)) == []
    assert storage.purge_expired() == 0

    assert storage.restore(deletion.pk) == Restoration(restored=2)
    assert found(storage) == {uid(1, 1, number) for number in (1, 2, 3)}
    assert exact_counts(storage)
    [of_note] = storage.deletions()
    assert of_note.sop_instance_uid == deletion.rejection_note_uid


def test_the_note_says_what_it_rejects(sqlite_storage: Storage) -> None:
    fill(sqlite_storage)
    deletion = sqlite_storage.reject(STUDY, "113037", HERE)
    [instance] = sqlite_storage.locate(STUDY)
    with sqlite_storage.open_object(instance) as file:
        ko = dcmread(BytesIO(file.read()))
    assert ko.SOPClassUID == KEY_OBJECT_SELECTION_DOCUMENT
    assert ko.SOPInstanceUID == deletion.rejection_note_uid
    assert (ko.Modality, ko.PatientID, ko.PatientName, ko.ValueType) == ("KO", "P1", "Doe^Jane", "CONTAINER")
    [title] = ko.ConceptNameCodeSequence
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113037", "DCM")
    assert title.CodeMeaning == "Rejected for Patient Safety Reasons"
    assert ko.ContentTemplateSequence[0].TemplateIdentifier == "2010"
    content = {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in ko.ContentSequence}
    assert {item.ValueType for item in ko.ContentSequence} == {"IMAGE"}
    [study] = ko.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == uid(1)
    evidence = {
        series.SeriesInstanceUID: {reference.ReferencedSOPInstanceUID for reference in series.ReferencedSOPSequence}
        for series in study.ReferencedSeriesSequence
    }
    assert evidence == {uid(1, 1): {uid(1, 1, 2)}, uid(1, 2): {uid(1, 1, 1), uid(1, 1, 3)}}
    assert content == set.union(*evidence.values())


@pytest.mark.parametrize("code", ["113002^DCM", "113001^SRT", "", "x"])
def test_a_code_that_rejects_nothing_is_refused(sqlite_storage: Storage, code: str) -> None:
    fill(sqlite_storage, 1)
    with pytest.raises(InvalidQuery) as refusal:
        sqlite_storage.reject(STUDY, code, HERE)
    assert all(known in str(refusal.value) for known in REJECTION_MEANINGS)
    with pytest.raises(InstanceNotFound):
        sqlite_storage.reject({"StudyInstanceUID": uid(7)}, "113001", HERE)
    assert count(sqlite_storage) == 1


@pytest.mark.parametrize("code", REJECTION_MEANINGS)
def test_a_note_that_is_sent_rejects(storage: Storage, code: str) -> None:
    events: list[Event] = []
    fill(storage)
    storage.observe(events.append)
    assert store(storage, note(1, 3, 77, code=code)).status == "stored"
    assert found(storage) == {uid(1, 1, 2), uid(1, 9, 1)}
    assert [type(event) for event in events] == [InstanceStored, InstanceDeleted, InstanceDeleted]
    assert exact_counts(storage)
    [deletion] = storage.deletions()
    assert (deletion.code, deletion.number_of_objects, deletion.rejection_note_uid) == (code, 2, uid(1, 9, 1))
    assert (deletion.purge_at is not None) is (code == "113039")
    assert store(storage, note(1, 3, 77, code=code)).status == "already stored"
    assert len(list(storage.deletions())) == 1


@pytest.mark.parametrize(
    "other",
    [
        note(1, code="113000"),
        note(1, scheme="99ACME"),
        note(1, SOPClassUID=CT_IMAGE_STORAGE),
        note(1, ConceptNameCodeSequence=None),
        note(1, CurrentRequestedProcedureEvidenceSequence=None),
        note(1, CurrentRequestedProcedureEvidenceSequence=[{"StudyInstanceUID": uid(2)}]),
        note(77),
    ],
)
def test_what_is_no_rejection_of_what_is_here_rejects_nothing(sqlite_storage: Storage, other: Dataset) -> None:
    fill(sqlite_storage)
    assert store(sqlite_storage, other).status == "stored"
    assert count(sqlite_storage) == 4
    assert list(sqlite_storage.deletions()) == []


def test_what_was_rejected_stays_so_when_it_is_sent_again(storage: Storage) -> None:
    fill(storage)
    deletion = storage.reject(SERIES, "113038", HERE)
    first = made(SOPInstanceUID=uid(1, 1, 1), SeriesInstanceUID=uid(1, 2))
    assert store(storage, first).status == "already stored"
    assert uid(1, 1, 1) not in found(storage)
    assert len(objects(storage)) == 4
    # other bytes are another object, whoever gave it the same UID
    first.InstanceNumber = "7"
    assert store(storage, first).status == "stored"
    assert storage.restore(deletion.pk) == Restoration(restored=1, in_conflict=1)
    assert exact_counts(storage)


def test_what_retention_has_expired_of_may_come_again(storage: Storage) -> None:
    fill(storage, 1)
    storage.reject(STUDY, "113039", HERE)
    assert store(storage, made(SOPInstanceUID=uid(1, 1, 1), SeriesInstanceUID=uid(1, 2))).status == "stored"
    assert uid(1, 1, 1) in found(storage)


def test_rejected_objects_are_purged_where_it_is_wanted(storage: Storage) -> None:
    settings = StorageSettings(storage.settings.data, storage.settings.database, purge_rejected=True)
    with Storage.open(settings) as other:
        fill(other)
        deletion = other.reject(STUDY, "113001", HERE)
        assert deletion.purge_at is not None
        assert other.purge(deletion.pk) == 3
    assert len(objects(storage)) == 1


def test_a_rejected_copy_that_a_crash_left_is_not_adopted(storage: Storage) -> None:
    fill(storage, 1)
    [path] = objects(storage)
    copy = path.with_name(path.name[:2] + "0" * 29 + "b.dcm")
    storage.reject(STUDY, "113001", HERE)
    copy.write_bytes(path.read_bytes())
    make_old(storage)
    storage.adopt_orphans()
    assert uid(1, 1, 1) not in found(storage)
    assert storage.purge_expired() == 1
    assert not copy.exists()


def test_a_note_that_a_crash_left_is_adopted_and_rejects(storage: Storage) -> None:
    fill(storage)
    [path, *_] = objects(storage)
    left = path.with_name(path.name[:2] + "0" * 29 + "b.dcm")
    left.write_bytes(part10(note(1, 2, 3)))
    make_old(storage)
    assert storage.adopt_orphans() == 1
    assert found(storage) == {uid(1, 9, 1)}
    assert actions(storage)[-4:] == ["stored", "deleted", "deleted", "deleted"]


KILLED = """
import os, signal, sys
from pathlib import Path
import fileroom_storage.index.writer as writer
from fileroom_storage.storage import Provenance, Storage, StorageSettings
from tests.made import uid
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
reject = writer.reject_instances
def reject_and_die(*arguments):
    reject(*arguments)
    die()
storage = Storage.open(StorageSettings(Path(sys.argv[1]), sys.argv[2]))
if sys.argv[3] == "before the rejection":
    writer.reject_instances = die
elif sys.argv[3] == "before the commit":
    writer.reject_instances = reject_and_die
else:
    storage.observe(die)
storage.reject({"StudyInstanceUID": uid(1)}, "113001", Provenance("test"))
"""


@pytest.mark.parametrize(
    ("moment", "adopted"), [("before the rejection", 1), ("before the commit", 1), ("after the commit", 0)]
)
def test_kill_9_leaves_the_note_and_what_it_does_together(storage: Storage, moment: str, adopted: int) -> None:
    fill(storage)
    arguments = [str(storage.settings.data), storage.settings.database_url, moment]
    finished = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, timeout=120, cwd=Path.cwd()
    )
    assert finished.returncode == -signal.SIGKILL, finished.stderr
    assert (count(storage), len(list(storage.deletions()))) == ((3, 0) if adopted else (1, 1))
    make_old(storage)
    assert storage.adopt_orphans() == adopted
    assert storage.count(Query(Level.IMAGE, {"Modality": "KO"})) == count(storage) == 1
    [deletion] = storage.deletions()
    assert deletion.number_of_objects == 3
    assert exact_counts(storage)
    assert list(storage.check(verify=True)) == []
    assert storage.restore(deletion.pk).restored == 3
    assert [row["sop_class_uid"] for row in tables_of(storage)["dicom_instance"]] == 3 * [CT_IMAGE_STORAGE]
