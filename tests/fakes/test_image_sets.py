"""Data stores and image sets by boto3: what is read, searched and tagged."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.small_image_sets import (
    FRAME_ID,
    Add,
    Document,
    document,
    metadata,
    named,
    store_of,
)
from tests.made import uid


class TestDatastores:
    def test_life_of_one(self, client: Any) -> None:
        created = client.create_datastore(datastoreName="store", clientToken="once", tags={"site": "north"})
        assert created["datastoreStatus"] == "CREATING"
        again = client.create_datastore(datastoreName="store", clientToken="once")
        assert again["datastoreId"] == created["datastoreId"]
        named_store = {"datastoreId": created["datastoreId"]}
        told = client.get_datastore(**named_store)["datastoreProperties"]
        assert (told["datastoreName"], told["datastoreStatus"]) == ("store", "ACTIVE")
        assert told["losslessStorageFormat"] == "HTJ2K"
        assert client.list_tags_for_resource(resourceArn=told["datastoreArn"])["tags"] == {"site": "north"}
        assert client.delete_datastore(**named_store)["datastoreStatus"] == "DELETING"
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.get_datastore(**named_store)

    def test_pages(self, client: Any, medical_imaging: MedicalImaging) -> None:
        made = [medical_imaging.image_sets.create_datastore(f"store-{n}").datastore_id for n in range(5)]
        pages = list(client.get_paginator("list_datastores").paginate(PaginationConfig={"PageSize": 2}))
        assert [len(page["datastoreSummaries"]) for page in pages] == [2, 2, 1]
        assert [one["datastoreId"] for page in pages for one in page["datastoreSummaries"]] == made
        assert client.list_datastores(datastoreStatus="DELETED")["datastoreSummaries"] == []

    def test_one_with_image_sets_is_not_deleted(self, client: Any, add: Add) -> None:
        with pytest.raises(client.exceptions.ConflictException):
            client.delete_datastore(datastoreId=add().datastore_id)


class TestReading:
    def test_image_set(self, client: Any, add: Add) -> None:
        image_set = add()
        told = client.get_image_set(**named(image_set))
        assert (told["versionId"], told["imageSetState"], told["imageSetWorkflowStatus"]) == ("1", "ACTIVE", "CREATED")
        assert told["isPrimary"] is True
        assert told["storageTier"] == "FREQUENT_ACCESS"
        assert told["imageSetArn"].endswith(f"datastore/{image_set.datastore_id}/imageset/{image_set.image_set_id}")
        assert abs(told["createdAt"] - datetime.now(UTC)) < timedelta(minutes=5)
        assert "deletedAt" not in told

    def test_metadata_names_its_image_set(self, client: Any, add: Add) -> None:
        image_set = add()
        said = {"DatastoreID": image_set.datastore_id, "ImageSetID": image_set.image_set_id}
        assert metadata(client, image_set) == {**document(), **said}
        assert client.get_image_set(**named(image_set))["lastAccessedAt"]

    def test_frame(self, client: Any, add: Add) -> None:
        image_set = add(frames={FRAME_ID: b"\xff\x4f\xff\x51"})
        answer = client.get_image_frame(**named(image_set), imageFrameInformation={"imageFrameId": FRAME_ID})
        assert (answer["imageFrameBlob"].read(), answer["contentType"]) == (
            b"\xff\x4f\xff\x51",
            "application/octet-stream",
        )
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.get_image_frame(**named(image_set), imageFrameInformation={"imageFrameId": "f" * 32})

    @pytest.mark.parametrize(
        ("asked", "error"),
        [
            ({"imageSetId": "0" * 32}, "ResourceNotFoundException"),
            ({"imageSetId": "not an identifier"}, "ValidationException"),
            ({"versionId": "7"}, "ResourceNotFoundException"),
            ({"versionId": "one"}, "ValidationException"),
        ],
    )
    def test_what_is_not_there(self, client: Any, add: Add, asked: dict[str, str], error: str) -> None:
        with pytest.raises(client.exceptions.ClientError) as raised:
            client.get_image_set(**{**named(add()), **asked})
        assert raised.value.response["Error"]["Code"] == error

    def test_second_image_set_of_a_series_is_not_primary(self, client: Any, add: Add) -> None:
        first, second, other = add(), add(), add(document(2))
        assert [client.get_image_set(**named(one))["isPrimary"] for one in (first, second, other)] == [
            True,
            False,
            True,
        ]

    def test_image_set_with_another_patient_in_a_study_is_not_primary(self, add: Add) -> None:
        add()
        assert not add(document(2, patient={"PatientID": "P2"})).latest.is_primary

    def test_once_the_primary_is_deleted_the_next_is_primary(self, client: Any, add: Add) -> None:
        client.delete_image_set(**named(add()))
        assert add().latest.is_primary


class TestSearch:
    @pytest.fixture
    def found(self, client: Any, add: Add) -> Callable[..., list[str]]:
        for series, day in ((1, "20240102"), (2, "20240203"), (3, "20240304")):
            add(document(series, study={"StudyDate": day, "StudyInstanceUID": uid(series)}))

        def found(*filters: tuple[str, Sequence[Document]], **more: Any) -> list[str]:
            said = [{"operator": operator, "values": list(values)} for operator, values in filters]
            criteria = {"filters": said, **more} if said else more
            pages = client.get_paginator("search_image_sets").paginate(
                datastoreId=store_of(client), searchCriteria=criteria, PaginationConfig={"PageSize": 2}
            )
            return [
                one["DICOMTags"]["DICOMSeriesInstanceUID"]
                for page in pages
                for one in page["imageSetsMetadataSummaries"]
            ]

        return found

    def test_all_newest_first(self, found: Callable[..., list[str]]) -> None:
        assert found() == [uid(1, 3), uid(1, 2), uid(1, 1)]

    @pytest.mark.parametrize(
        ("operator", "values", "series"),
        [
            ("EQUAL", [{"DICOMSeriesInstanceUID": uid(1, 2)}], [2]),
            ("EQUAL", [{"DICOMStudyInstanceUID": uid(3)}], [3]),
            ("EQUAL", [{"DICOMPatientId": "P1"}], [1, 2, 3]),
            ("EQUAL", [{"DICOMPatientId": "P2"}], []),
            ("EQUAL", [{"DICOMAccessionNumber": "A1"}], [1, 2, 3]),
            ("EQUAL", [{"isPrimary": False}], []),
            (
                "BETWEEN",
                [
                    {"DICOMStudyDateAndTime": {"DICOMStudyDate": "20240201", "DICOMStudyTime": "000000"}},
                    {"DICOMStudyDateAndTime": {"DICOMStudyDate": "20240301"}},
                ],
                [2],
            ),
            (
                "BETWEEN",
                [{"createdAt": datetime(2020, 1, 1, tzinfo=UTC)}, {"createdAt": datetime(2021, 1, 1, tzinfo=UTC)}],
                [],
            ),
        ],
    )
    def test_filter(
        self, found: Callable[..., list[str]], operator: str, values: list[Document], series: list[int]
    ) -> None:
        sort = {"sortField": "createdAt", "sortOrder": "ASC"}
        assert found((operator, values), sort=sort) == [uid(1, one) for one in series]

    def test_filters_all_match(self, found: Callable[..., list[str]]) -> None:
        both = [("EQUAL", [{"DICOMPatientId": "P1"}]), ("EQUAL", [{"DICOMStudyInstanceUID": uid(2)}])]
        assert found(*both) == [uid(1, 2)]

    def test_a_filter_that_makes_no_sense(self, client: Any, found: Callable[..., list[str]]) -> None:
        with pytest.raises(client.exceptions.ValidationException):
            found(("BETWEEN", [{"DICOMPatientId": "P1"}]))

    def test_summary(self, client: Any, add: Add, store: str) -> None:
        image_set = add(document(instances=3))
        [told] = client.search_image_sets(datastoreId=store)["imageSetsMetadataSummaries"]
        assert (told["imageSetId"], told["version"], told["isPrimary"]) == (image_set.image_set_id, 1, True)
        assert told["DICOMTags"] | {"DICOMPatientName": "Doe^Jane", "DICOMSeriesNumber": 1} == told["DICOMTags"]
        assert told["DICOMTags"]["DICOMNumberOfStudyRelatedInstances"] == 3


class TestTags:
    def test_of_an_image_set(self, client: Any, add: Add) -> None:
        arn = client.get_image_set(**named(add()))["imageSetArn"]
        client.tag_resource(resourceArn=arn, tags={"project": "a", "site": "north"})
        client.untag_resource(resourceArn=arn, tagKeys=["site", "other"])
        assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"project": "a"}

    def test_of_nothing(self, client: Any, add: Add) -> None:
        arn = client.get_image_set(**named(add()))["imageSetArn"]
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.list_tags_for_resource(resourceArn=arn[:-32] + "0" * 32)
