"""Updates, copies and deletions of image sets by boto3."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.image_sets import ImageSet
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.small_image_sets import (
    DESCRIPTION,
    FRAME_ID,
    Add,
    Document,
    copy,
    document,
    metadata,
    named,
    state,
    update,
    updates,
)
from tests.made import uid


class TestUpdates:
    def test_new_version(self, client: Any, add: Add) -> None:
        image_set = add()
        begun = update(client, image_set, DESCRIPTION)
        assert (begun["latestVersionId"], begun["imageSetState"], begun["imageSetWorkflowStatus"]) == (
            "2",
            "LOCKED",
            "UPDATING",
        )
        assert state(client, image_set) == ("2", "ACTIVE", "UPDATED")
        assert metadata(client, image_set)["Study"]["DICOM"]["StudyDescription"] == "Thorax"
        assert "StudyDescription" not in metadata(client, image_set, versionId="1")["Study"]["DICOM"]

    def test_latest_version_is_an_optimistic_lock(self, client: Any, add: Add) -> None:
        image_set = add()
        update(client, image_set, DESCRIPTION)
        with pytest.raises(client.exceptions.ConflictException):
            update(client, image_set, DESCRIPTION, version="1")
        assert update(client, image_set, DESCRIPTION, version="2")["latestVersionId"] == "3"

    def test_locked_while_it_goes_on(self, client: Any, add: Add, medical_imaging: MedicalImaging) -> None:
        image_set = add()
        medical_imaging.transitions.held = True
        update(client, image_set, DESCRIPTION)
        assert state(client, image_set) == ("2", "LOCKED", "UPDATING")
        with pytest.raises(client.exceptions.ConflictException):
            update(client, image_set, DESCRIPTION, version="2")
        with pytest.raises(client.exceptions.ConflictException):
            client.delete_image_set(**named(image_set))
        medical_imaging.transitions.finish()
        assert state(client, image_set) == ("2", "ACTIVE", "UPDATED")

    def test_failure(self, client: Any, add: Add, medical_imaging: MedicalImaging) -> None:
        image_set = add()
        medical_imaging.transitions.fail_next("It could not be")
        update(client, image_set, DESCRIPTION)
        assert state(client, image_set) == ("2", "ACTIVE", "UPDATE_FAILED")
        assert client.get_image_set(**named(image_set))["message"] == "It could not be"
        assert "StudyDescription" not in metadata(client, image_set)["Study"]["DICOM"]

    def test_removal_of_an_attribute_of_an_instance_and_of_all(self, client: Any, add: Add) -> None:
        image_set = add(document(instances=2))
        gone = {"Study": {"DICOM": {"AccessionNumber": "A1"}, "Series": {uid(1, 1): {"Instances": {uid(1, 1, 1): {}}}}}}
        update(client, image_set, updates(removableAttributes=gone))
        found = metadata(client, image_set)["Study"]
        assert "AccessionNumber" not in found["DICOM"]
        assert list(found["Series"][uid(1, 1)]["Instances"]) == [uid(1, 1, 2)]
        update(client, image_set, updates(removableAttributes={"Study": {"Series": {uid(1, 1): {}}}}), version="2")
        assert state(client, image_set) == ("3", "ACTIVE", "UPDATE_FAILED")

    @pytest.mark.parametrize(
        ("said", "forced"),
        [
            (updates(updatableAttributes={"Study": {"DICOM": {"StudyInstanceUID": uid(9)}}}), "UPDATED"),
            (updates(updatableAttributes={"Study": {"DICOM": {"00091001": "x"}}}), "UPDATED"),
            (updates(updatableAttributes={"Study": {"DICOM": {"OtherStudyNumbers": ["1", "2"]}}}), "UPDATED"),
            (updates(removableAttributes={"Study": {"DICOM": {"AccessionNumber": "other"}}}), "UPDATE_FAILED"),
            (updates(updatableAttributes={"Study": {"Series": {uid(9, 9): {"DICOM": {}}}}}), "UPDATE_FAILED"),
        ],
    )
    def test_constraints(self, client: Any, add: Add, said: Document, forced: str) -> None:
        image_set = add()
        update(client, image_set, said)
        assert state(client, image_set) == ("2", "ACTIVE", "UPDATE_FAILED")
        update(client, image_set, said, version="2", force=True)
        assert state(client, image_set) == ("3", "ACTIVE", forced)
        assert client.get_image_set(**named(image_set))["overrides"] == {"forced": True}

    def test_patient_is_updated_where_the_image_set_is_not_primary_alone(self, client: Any, add: Add) -> None:
        primary, other = add(), add()
        said = updates(updatableAttributes={"Patient": {"DICOM": {"PatientName": "Roe^Jane"}}})
        for image_set in (primary, other):
            update(client, image_set, said)
        assert state(client, primary)[2] == "UPDATE_FAILED"
        assert state(client, other)[2] == "UPDATED"

    def test_study_together(self, client: Any, add: Add) -> None:
        image_set, sibling, stranger = add(), add(document(2)), add(document(3, study={"StudyInstanceUID": uid(7)}))
        update(client, image_set, DESCRIPTION, includeStudyImageSets=True)
        assert [state(client, one)[0] for one in (image_set, sibling, stranger)] == ["2", "2", "1"]
        assert metadata(client, sibling)["Study"]["DICOM"]["StudyDescription"] == "Thorax"

    def test_revert(self, client: Any, add: Add) -> None:
        image_set = add()
        update(client, image_set, DESCRIPTION)
        update(client, image_set, {"revertToVersionId": "1"}, version="2")
        assert state(client, image_set) == ("3", "ACTIVE", "UPDATED")
        assert metadata(client, image_set) == metadata(client, image_set, versionId="1")

    def test_attributes_are_json(self, client: Any, add: Add) -> None:
        with pytest.raises(client.exceptions.ValidationException):
            update(client, add(), {"DICOMUpdates": {"updatableAttributes": b"StudyDescription=Thorax"}})

    def test_versions_newest_first(self, client: Any, add: Add) -> None:
        image_set = add()
        for version in "123":
            update(client, image_set, DESCRIPTION, version=version)
        client.delete_image_set(**named(image_set))
        pages = client.get_paginator("list_image_set_versions").paginate(
            **named(image_set), PaginationConfig={"PageSize": 3}
        )
        told = [one for page in pages for one in page["imageSetPropertiesList"]]
        assert [(one["versionId"], one["imageSetState"], one["ImageSetWorkflowStatus"]) for one in told] == [
            ("4", "DELETED", "DELETED"),
            ("3", "ACTIVE", "UPDATED"),
            ("2", "ACTIVE", "UPDATED"),
            ("1", "ACTIVE", "CREATED"),
        ]
        assert told[0]["deletedAt"]


class TestDeletion:
    def test_deleted(self, client: Any, add: Add, store: str, medical_imaging: MedicalImaging) -> None:
        image_set = add()
        medical_imaging.transitions.held = True
        assert client.delete_image_set(**named(image_set))["imageSetWorkflowStatus"] == "DELETING"
        assert state(client, image_set) == ("1", "LOCKED", "DELETING")
        medical_imaging.transitions.finish()
        assert state(client, image_set) == ("1", "DELETED", "DELETED")
        assert client.search_image_sets(datastoreId=store)["imageSetsMetadataSummaries"] == []
        for gone in (
            lambda: metadata(client, image_set),
            lambda: client.delete_image_set(**named(image_set)),
            lambda: update(client, image_set, DESCRIPTION),
        ):
            with pytest.raises(client.exceptions.ResourceNotFoundException):
                gone()


class TestCopies:
    @pytest.fixture
    def destination(self, store: str, medical_imaging: MedicalImaging) -> Callable[[Document], ImageSet]:
        return lambda answer: medical_imaging.image_sets.image_set(
            store, answer["destinationImageSetProperties"]["imageSetId"]
        )

    def test_new_image_set(
        self, client: Any, add: Add, destination: Callable[[Document], ImageSet], medical_imaging: MedicalImaging
    ) -> None:
        source = add()
        medical_imaging.transitions.held = True
        answer = copy(client, source)
        copied = destination(answer)
        assert answer["sourceImageSetProperties"]["imageSetWorkflowStatus"] == "COPYING_WITH_READ_ONLY_ACCESS"
        assert (state(client, source)[1], state(client, copied)) == ("LOCKED", ("1", "LOCKED", "COPYING"))
        medical_imaging.transitions.finish()
        assert (state(client, source), state(client, copied)) == (
            ("1", "ACTIVE", "COPIED"),
            ("1", "ACTIVE", "COPIED"),
        )
        assert metadata(client, copied)["Study"] == metadata(client, source)["Study"]
        frame = client.get_image_frame(**named(copied), imageFrameInformation={"imageFrameId": FRAME_ID})
        assert frame["imageFrameBlob"].read() == b"frame"
        assert client.get_image_set(**named(copied))["isPrimary"] is False

    def test_subset(self, client: Any, add: Add, destination: Callable[[Document], ImageSet]) -> None:
        one = {"SchemaVersion": "1.1", "Study": {"Series": {uid(1, 1): {"Instances": {uid(1, 1, 2): {}}}}}}
        source = add(document(instances=3))
        answer = copy(client, source, of_it={"DICOMCopies": {"copiableAttributes": json.dumps(one)}})
        found = metadata(client, destination(answer))["Study"]["Series"][uid(1, 1)]["Instances"]
        assert list(found) == [uid(1, 1, 2)]

    def test_into_another(self, client: Any, add: Add) -> None:
        primary, other = add(), add(document(instances=2))
        answer = copy(client, other, into=primary)
        assert answer["destinationImageSetProperties"]["latestVersionId"] == "2"
        assert state(client, primary) == ("2", "ACTIVE", "COPIED")
        assert len(metadata(client, primary)["Study"]["Series"][uid(1, 1)]["Instances"]) == 2

    def test_into_one_that_differs_by_force_alone(self, client: Any, add: Add) -> None:
        primary, other = add(), add(document(instances=2, patient={"PatientID": "P2"}))
        with pytest.raises(client.exceptions.ValidationException):
            copy(client, other, into=primary)
        copy(client, other, into=primary, force=True)
        found = metadata(client, primary)
        assert found["Patient"]["DICOM"]["PatientID"] == "P1"
        assert len(found["Study"]["Series"][uid(1, 1)]["Instances"]) == 2

    def test_promotion(self, client: Any, add: Add, destination: Callable[[Document], ImageSet]) -> None:
        primary, other = add(), add(document(patient={"PatientID": "P2"}))
        with pytest.raises(client.exceptions.ConflictException):
            copy(client, other, promoteToPrimary=True)
        client.delete_image_set(**named(primary))
        promoted = destination(copy(client, other, promoteToPrimary=True))
        assert client.get_image_set(**named(promoted))["isPrimary"] is True

    def test_stale_version(self, client: Any, add: Add) -> None:
        source = add()
        update(client, source, DESCRIPTION)
        with pytest.raises(client.exceptions.ConflictException):
            copy(client, source, of_it={"latestVersionId": "1"})

    def test_failure(
        self, client: Any, add: Add, destination: Callable[[Document], ImageSet], medical_imaging: MedicalImaging
    ) -> None:
        medical_imaging.transitions.fail_next("It could not be")
        copied = destination(copy(client, add()))
        assert state(client, copied) == ("1", "ACTIVE", "COPY_FAILED")
