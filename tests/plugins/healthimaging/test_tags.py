"""Tags, from the request to the service and back, on every database, against the fake service over HTTP."""

import gzip
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, inspect, text

from fileroom_healthimaging.aws import AwsClients
from fileroom_healthimaging.aws_errors import AwsNotAllowed
from fileroom_healthimaging.image_set_service import ImageSetService
from fileroom_healthimaging.image_set_version import ImageSetName
from fileroom_healthimaging.intake import Intake, Status, Taken
from fileroom_healthimaging.section import HealthImagingSection
from fileroom_healthimaging.tagged_image_sets import TaggedImageSets
from fileroom_healthimaging.tags import InvalidTag, Tag, TagLevel, TagNotFound, TagRequest, TagState
from fileroom_healthimaging.tags_applying import TagUpdates, UpdatePace
from tests.databases import DATABASES, Databases
from tests.fakes.faults import Kind
from tests.fakes.image_sets import ImageSet
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.small_image_sets import DESCRIPTION, FRAME_ID, document, update
from tests.made import uid
from tests.plugins.healthimaging.tagging import ACTOR, Killed, RecordingIndex, TaggingIndex, killed_at, tagging_index

PACE = UpdatePace(wait=0.2, first_poll=0.01, longest_poll=0.02)
SERIES = uid(1, 1)


@pytest.fixture(scope="module", params=DATABASES)
def indexes(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TaggingIndex]:
    with (
        databases.fresh(request.param, tmp_path_factory.mktemp("tags")) as url,
        tagging_index(url) as index,
    ):
        yield index


@pytest.fixture
def index(indexes: TaggingIndex) -> TaggingIndex:
    """Without any tag."""
    with indexes.engine.begin() as connection:
        connection.execute(indexes.tables.tag.delete())
    return indexes


class Service:
    """A fake of the service with one data store, and what applies tags to it."""

    def __init__(self, fake: MedicalImaging, index: TaggingIndex, aws: AwsClients) -> None:
        self.fake = fake
        self.taker = RecordingIndex()
        self.intake = Intake(ImageSetService(aws), self.taker, 2, threading.Event())
        self.index = index
        self.store = fake.image_sets.create_datastore().datastore_id
        self.client: Any = fake.client(retries={"total_max_attempts": 1})

    def add(self, **of_it: Any) -> ImageSet:
        primary = of_it.pop("is_primary", None)
        return self.fake.image_sets.add(self.store, document(**of_it), {FRAME_ID: b"frame"}, is_primary=primary)

    def request(self, keyword: str = "StudyDescription", value: str = "Thorax", **more: Any) -> Tag:
        if keyword in ("StudyDescription", "StudyID"):
            more = {"level": TagLevel.STUDY, **more}
        asked = TagRequest(datastore_id=self.store, series_instance_uid=SERIES, keyword=keyword, value=value, **more)
        return self.index.tags.request(asked, ACTOR)

    def updates(self, client: Any = None, **more: Any) -> TagUpdates:
        """A process that applies tags."""
        service = TaggedImageSets(client or self.client)
        return TagUpdates(self.index.tags, service, ACTOR, self.intake.take, PACE, **more)

    def apply(self) -> Tag:
        tag = self.updates().apply_next()
        assert tag is not None
        return tag

    def asked(self, operation: str) -> int:
        return self.fake.requests.count(operation)


@pytest.fixture
def service(aws: MedicalImaging, index: TaggingIndex) -> Iterator[Service]:
    clients = AwsClients(HealthImagingSection(attempts=1))
    service = Service(aws, index, clients)
    yield service
    service.client.close()
    clients.close()


def description(image_set: ImageSet) -> Any:
    return image_set.latest.document["Study"]["DICOM"].get("StudyDescription")


class TestApplied:
    def test_to_the_primary_image_set(self, service: Service) -> None:
        primary, other = service.add(), service.add()
        asked = service.request("ImageComments", level=TagLevel.INSTANCE, sop_instance_uid=uid(1, 1, 1))
        assert (asked.state, asked.version, service.index.tags.work.next_due()) == (
            TagState.REQUESTED,
            None,
            asked.due_at,
        )
        tag = service.apply()
        assert (tag.state, tag.image_set_id, tag.version) == (TagState.APPLIED, primary.image_set_id, 2)
        assert (primary.latest.number, other.latest.number) == (2, 1)
        assert tag.settled_at is not None
        assert service.index.tags.work.next_due() is None
        assert service.updates().apply_next() is None

    def test_index_is_told_before_it_is_said(self, service: Service) -> None:
        image_set = service.add()
        service.request()
        [tag] = service.index.tags.all()
        seen: list[TagState] = []

        def take(versions: Mapping[ImageSetName, int | None]) -> Mapping[ImageSetName, Taken]:
            seen.append(service.index.tags.read(tag.pk).state)
            return service.intake.take(versions)

        TagUpdates(service.index.tags, TaggedImageSets(service.client), ACTOR, take, PACE).apply_next()
        assert seen == [TagState.UPDATING]
        [_, told] = service.taker.told  # and the one before, for the history
        assert (told.image_set_id, told.version_id, told.state) == (image_set.image_set_id, 2, "ACTIVE")
        assert b"Thorax" in gzip.decompress(told.document or b"")

    @pytest.mark.parametrize("status", [Status.UNAVAILABLE, Status.UNUSABLE])
    def test_index_that_does_not_take_it(self, service: Service, status: Status) -> None:
        service.add()
        service.request()

        def take(versions: Mapping[ImageSetName, int | None]) -> Mapping[ImageSetName, Taken]:
            return {name: Taken(status, "it is so") for name in versions}

        tag = TagUpdates(service.index.tags, TaggedImageSets(service.client), ACTOR, take, PACE).apply_next()
        assert tag is not None
        if status is Status.UNUSABLE:
            assert tag.state is TagState.APPLIED
        else:
            assert (tag.state, tag.last_error) == (TagState.UPDATING, "it is so")
            assert service.apply().state is TagState.APPLIED
        assert service.asked("UpdateImageSetMetadata") == 1

    @pytest.mark.parametrize(
        ("keyword", "value", "level", "stored"),
        [
            ("InstanceNumber", "7", TagLevel.INSTANCE, "7"),
            ("Rows", "512", TagLevel.INSTANCE, 512),
            ("StudyID", "S9", TagLevel.STUDY, "S9"),
        ],
    )
    def test_values_by_their_vr(
        self, service: Service, keyword: str, value: str, level: TagLevel, stored: object
    ) -> None:
        image_set = service.add()
        instance = uid(1, 1, 1) if level is TagLevel.INSTANCE else None
        service.request(keyword, value, level=level, sop_instance_uid=instance, forced=True)
        assert service.apply().state is TagState.APPLIED
        study = image_set.latest.document["Study"]
        entity = study if instance is None else study["Series"][SERIES]["Instances"][instance]
        assert entity["DICOM"][keyword] == stored

    def test_series_and_patient_of_one_that_is_not_primary(self, service: Service) -> None:
        service.add()
        other = service.add()
        for level, keyword in ((TagLevel.SERIES, "SeriesDescription"), (TagLevel.PATIENT, "PatientComments")):
            service.request(keyword, "x", level=level, image_set_id=other.image_set_id)
            assert service.apply().state is TagState.APPLIED
        assert other.latest.document["Patient"]["DICOM"]["PatientComments"] == "x"
        assert other.latest.document["Study"]["Series"][SERIES]["DICOM"]["SeriesDescription"] == "x"

    def test_what_is_there_already_makes_no_version(self, service: Service) -> None:
        image_set = service.add(study={"StudyDescription": "Thorax "})
        service.request()
        assert (service.apply().state, image_set.latest.number) == (TagState.APPLIED, 1)
        assert service.asked("UpdateImageSetMetadata") == 0

    def test_other_image_sets_of_the_study_stay_consistent(self, service: Service) -> None:
        service.add()
        sibling = service.add(series=2)
        service.request()
        service.apply()
        assert description(sibling) == "Thorax"

    def test_many_by_two_processes(self, service: Service) -> None:
        image_set = service.add(instances=3)
        for number in (1, 2, 3):
            service.request("ImageComments", f"c{number}", level=TagLevel.INSTANCE, sop_instance_uid=uid(1, 1, number))
        first, second = service.updates(), service.updates()
        done = [first.apply_next(), second.apply_next(), first.apply_next(), second.apply_next()]
        assert [tag and tag.state for tag in done] == [TagState.APPLIED] * 3 + [None]
        instances = image_set.latest.document["Study"]["Series"][SERIES]["Instances"]
        assert [one["DICOM"]["ImageComments"] for one in instances.values()] == ["c1", "c2", "c3"]
        assert image_set.latest.number == 4


class TestOptimisticLock:
    def test_version_that_came_in_between_is_read_again(self, service: Service) -> None:
        image_set = service.add()
        service.request("StudyComments", level=TagLevel.STUDY)
        client = service.client

        class Racing:
            """Somebody else updates just before the first update."""

            raced = False

            def __getattr__(self, name: str) -> Any:
                if name == "update_image_set_metadata" and not self.raced:
                    type(self).raced = True
                    update(client, image_set, DESCRIPTION)
                return getattr(client, name)

        tag = service.updates(Racing()).apply_next()
        assert tag is not None
        assert (tag.state, tag.version) == (TagState.APPLIED, 3)
        assert description(image_set) == "Thorax"

    def test_locked_image_set_is_waited_for_and_then_put_off(self, service: Service) -> None:
        image_set = service.add()
        service.fake.transitions.held = True
        update(service.client, image_set, DESCRIPTION)
        service.request(value="Abdomen")
        tag = service.apply()
        assert (tag.state, tag.attempts, tag.last_error) == (
            TagState.REQUESTED,
            1,
            "the image set is still UPDATING",
        )
        service.fake.transitions.finish()
        assert service.apply().state is TagState.APPLIED
        assert description(image_set) == "Abdomen"

    def test_own_update_that_takes_long_is_not_made_twice(self, service: Service) -> None:
        image_set = service.add()
        service.fake.transitions.held = True
        service.request()
        assert service.apply().state is TagState.UPDATING
        service.fake.transitions.finish()
        tag = service.apply()
        assert (tag.state, tag.version, image_set.latest.number) == (TagState.APPLIED, 2, 2)
        assert service.asked("UpdateImageSetMetadata") == 1

    def test_applied_though_somebody_has_changed_it_since(self, service: Service) -> None:
        image_set = service.add()
        service.request(value="Abdomen")
        with pytest.raises(Killed):
            service.updates(killed_at(service.client, "update_image_set_metadata", after=True)).apply_next()
        update(service.client, image_set, DESCRIPTION, version="2")
        tag = service.apply()
        assert (tag.state, tag.version, description(image_set)) == (TagState.APPLIED, 2, "Thorax")


@pytest.mark.parametrize("indexes", ["sqlite"], indirect=True)
class TestFaults:
    @pytest.mark.parametrize("kind", [Kind.THROTTLING, Kind.INTERNAL, Kind.CUT_BEFORE])
    @pytest.mark.parametrize(
        "operation", ["SearchImageSets", "GetImageSet", "GetImageSetMetadata", "UpdateImageSetMetadata"]
    )
    def test_transient(self, service: Service, kind: Kind, operation: str) -> None:
        image_set = service.add()
        service.request()
        service.fake.faults.add(kind, operation)
        tag = service.apply()
        assert (tag.state, tag.attempts) == (TagState.REQUESTED, 1)
        assert operation in str(tag.last_error)
        assert service.apply().state is TagState.APPLIED
        assert image_set.latest.number == 2

    @pytest.mark.parametrize("kind", [Kind.CUT_IN_BODY, Kind.CUT_AFTER])
    def test_metadata_that_break_off(self, service: Service, kind: Kind) -> None:
        service.add(series_attributes={"SeriesDescription": "x" * 5000})
        service.request()
        service.fake.faults.add(kind, "GetImageSetMetadata")
        assert service.apply().state is TagState.REQUESTED
        assert service.apply().state is TagState.APPLIED

    def test_answer_that_is_lost(self, service: Service) -> None:
        image_set = service.add()
        service.request()
        service.fake.faults.add(Kind.CUT_AFTER, "UpdateImageSetMetadata")
        assert service.apply().state is TagState.REQUESTED
        tag = service.apply()
        assert (tag.state, tag.version, image_set.latest.number) == (TagState.APPLIED, 2, 2)

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("operation", ["update_image_set_metadata", "get_image_set", "get_image_set_metadata"])
    def test_killed(self, service: Service, operation: str, after: bool) -> None:
        image_set = service.add()
        service.request()
        with pytest.raises(Killed):
            service.updates(killed_at(service.client, operation, after=after)).apply_next()
        tag = service.apply()
        assert (tag.state, tag.version, image_set.latest.number) == (TagState.APPLIED, 2, 2)

    def test_killed_before_the_index_was_told(self, service: Service) -> None:
        service.add()
        service.request()
        service.taker.dies_after = 0
        with pytest.raises(Killed):
            service.updates().apply_next()
        service.taker.dies_after = None
        assert service.apply().state is TagState.APPLIED
        assert [told.version_id for told in service.taker.told] == [1, 2]
        assert service.asked("UpdateImageSetMetadata") == 1

    def test_given_up_in_the_end(self, service: Service) -> None:
        service.add()
        asked = service.request()
        with service.index.engine.begin() as connection:
            connection.execute(text("UPDATE healthimaging_tag SET give_up_at = requested_at"))
        service.fake.faults.add(Kind.THROTTLING)
        tag = service.apply()
        assert tag.state is TagState.FAILED
        assert str(tag.last_error).startswith("given up: SearchImageSets is throttled by AWS")
        service.index.tags.retry(asked.pk, ACTOR)
        assert service.apply().state is TagState.APPLIED

    def test_without_permission_nothing_is_given_up(self, service: Service) -> None:
        service.add()
        service.request()
        client = service.fake.client()
        client.meta.events.register("before-sign.medical-imaging", _spoil)
        with pytest.raises(AwsNotAllowed, match="SearchImageSets"):
            service.updates(client).apply_next()
        client.close()
        [tag] = service.index.tags.all()
        assert (tag.state, tag.attempts) == (TagState.REQUESTED, 0)
        assert service.apply().state is TagState.APPLIED


def _spoil(request: Any, **_: Any) -> None:
    """Takes what a request is signed by away, after it was signed."""
    request.context["signing"] = {**request.context.get("signing", {}), "signing_name": "s3"}


@pytest.mark.parametrize("indexes", ["sqlite"], indirect=True)
class TestFailed:
    @pytest.mark.parametrize("level", [TagLevel.SERIES, TagLevel.PATIENT])
    def test_patient_and_series_of_the_primary_image_set(self, service: Service, level: TagLevel) -> None:
        image_set = service.add()
        keyword = "SeriesDescription" if level is TagLevel.SERIES else "PatientComments"
        service.request(keyword, level=level)
        tag = service.apply()
        assert tag.state is TagState.FAILED
        assert "primary image set cannot be updated" in str(tag.last_error)
        assert image_set.latest.number == 1
        service.request(keyword, level=level, forced=True)
        tag = service.apply()  # the service has its own word on it
        assert (tag.state, image_set.latest.workflow) == (TagState.FAILED, "UPDATE_FAILED")
        assert tag.last_error == "Patient and Series attributes of a primary image set cannot be updated"

    def test_by_the_service_and_tried_again(self, service: Service) -> None:
        service.add()
        asked = service.request()
        service.fake.transitions.fail_next("It could not be")
        tag = service.apply()
        assert (tag.state, tag.last_error) == (TagState.FAILED, "It could not be")
        assert service.taker.told == []
        assert service.index.tags.retry(asked.pk, ACTOR).state is TagState.REQUESTED
        tag = service.apply()
        assert (tag.state, tag.version) == (TagState.APPLIED, 3)
        with pytest.raises(InvalidTag, match="is applied"):
            service.index.tags.retry(asked.pk, ACTOR)

    def test_attribute_of_another_level(self, service: Service) -> None:
        service.add()
        service.request("AccessionNumber", "A2", level=TagLevel.INSTANCE, sop_instance_uid=uid(1, 1, 1))
        assert service.apply().last_error == (
            "the image set has AccessionNumber at the level study; ask with --level study"
        )

    def test_instance_that_is_not_there(self, service: Service) -> None:
        service.add()
        service.request("ImageComments", level=TagLevel.INSTANCE, sop_instance_uid=uid(1, 1, 9))
        assert service.apply().last_error == "the image set does not have the instance"

    def test_image_set_of_another_series(self, service: Service) -> None:
        other = service.add(series=2)
        service.request(image_set_id=other.image_set_id)
        assert service.apply().last_error == "the image set does not have the series"
        assert other.latest.number == 1

    def test_several_image_sets_of_which_none_is_primary(self, service: Service) -> None:
        for _ in range(2):
            service.add(is_primary=False)
        service.request()
        assert "name one with --image-set" in str(service.apply().last_error)

    def test_series_that_is_imported_later(self, service: Service) -> None:
        service.request()
        tag = service.apply()
        assert (tag.state, tag.last_error) == (
            TagState.REQUESTED,
            "the data store has no image set of the series yet",
        )
        service.add()
        assert service.apply().state is TagState.APPLIED

    def test_image_set_that_is_deleted(self, service: Service) -> None:
        image_set = service.add()
        service.fake.transitions.held = True
        service.request()
        assert service.apply().state is TagState.UPDATING
        service.fake.transitions.finish()
        service.client.delete_image_set(datastoreId=service.store, imageSetId=image_set.image_set_id)
        successor = service.add()
        tag = service.apply()
        assert (tag.state, tag.image_set_id) == (TagState.APPLIED, successor.image_set_id)
        service.request("StudyComments", level=TagLevel.STUDY, image_set_id=image_set.image_set_id)
        assert service.apply().last_error == "the image set does not exist, or is deleted"


class TestRequests:
    def test_asked_for_twice_is_one(self, service: Service) -> None:
        assert service.request().pk == service.request().pk
        with pytest.raises(InvalidTag, match="asks for another value"):
            service.request(value="Abdomen")
        service.add()
        service.apply()
        assert service.request(value="Abdomen").state is TagState.REQUESTED

    def test_retry_beside_a_newer_request(self, service: Service) -> None:
        service.add()
        first = service.request()
        service.fake.transitions.fail_next("It could not be")
        service.apply()
        second = service.request(value="Abdomen")
        with pytest.raises(InvalidTag, match=f"tag {second.pk} asks for the same attribute"):
            service.index.tags.retry(first.pk, ACTOR)

    @pytest.mark.parametrize(
        ("more", "match"),
        [
            ({"keyword": "NoSuchKeyword"}, "no keyword of PS3.6"),
            ({"keyword": "SeriesInstanceUID", "value": "1.2"}, "identifies what has it"),
            ({"keyword": "PixelData"}, "has the VR"),
            ({"keyword": "ReferencedImageSequence"}, "has the VR SQ"),
            ({"keyword": "Rows", "value": "many"}, "by its VR, US"),
            ({"keyword": "Rows", "value": "70000"}, "by its VR, US"),
            ({"keyword": "StudyDate", "value": "2024-01-02"}, "by its VR, DA"),
            ({"keyword": "ImageType", "value": "DERIVED\\SECONDARY"}, "--force"),
            ({"keyword": "StudyID", "value": "7", "level": TagLevel.STUDY}, "--force"),
            ({"keyword": "ImageComments", "level": TagLevel.INSTANCE}, "needs the SOP Instance UID"),
            ({"keyword": "ImageComments", "sop_instance_uid": uid(1, 1, 1)}, "and no other"),
            ({"keyword": "TextValue", "value": "x" * 30_000}, "too long"),
            ({"datastore_id": "S" * 32}, "32 digits and small letters"),
            ({"series_instance_uid": "1.2.x"}, "is no UID"),
        ],
    )
    def test_what_cannot_be_asked_for(self, more: dict[str, Any], match: str) -> None:
        given = {"datastore_id": "d" * 32, "series_instance_uid": SERIES, "keyword": "SeriesDescription", "value": "x"}
        with pytest.raises(InvalidTag, match=match) as raised:
            TagRequest(**{**given, **more})
        assert len(str(raised.value)) < 250

    def test_number_that_is_not_there(self, index: TaggingIndex) -> None:
        with pytest.raises(TagNotFound, match="tag list --all"):
            index.tags.read(999_999)

    def test_audited_without_the_value(self, service: Service) -> None:
        before = len(service.index.audited())
        service.add()
        tag = service.request(value="Secret")
        service.apply()
        rows = service.index.audited()[before:]
        assert [(row["event"], row["action"], row["outcome"], row["user_id"]) for row in rows] == [
            ("110103", "U", 0, "tester")
        ] * 2
        assert all(f'"tag":{tag.pk}' in row["detail"] and "Secret" not in row["detail"] for row in rows)
        assert ['"state":"requested"' in row["detail"] for row in rows] == [True, False]
        assert '"state":"applied"' in rows[1]["detail"]


def test_migration_leads_to_the_declared_tables(index: TaggingIndex) -> None:
    names = {"healthimaging_tag", "healthimaging_import_job", "healthimaging_import_file"}
    with index.engine.connect() as connection:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, kind, _parents: kind != "table" or name in names,
        }
        context = MigrationContext.configure(connection, opts=options)
        metadata = MetaData(naming_convention=index.tables.metadata.naming_convention)
        for name in sorted(names):
            index.tables.metadata.tables[name].to_metadata(metadata)
        assert set(metadata.tables) == names
        assert compare_metadata(context, metadata) == []


def test_every_foreign_key_and_due_row_has_an_index(index: TaggingIndex) -> None:
    inspector = inspect(index.engine)
    for table in (index.tables.tag, index.tables.import_job, index.tables.import_file):
        leading = {one["column_names"][0] for one in inspector.get_indexes(table.name)}
        leading |= set(inspector.get_pk_constraint(table.name)["constrained_columns"][:1])
        assert {key["constrained_columns"][0] for key in inspector.get_foreign_keys(table.name)} <= leading
        assert "due_at" not in table.c or "due_at" in leading
