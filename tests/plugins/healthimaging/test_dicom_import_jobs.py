"""DICOM import jobs, from the request to the outcome of each file, against the fake service and moto's S3."""

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from fileroom_healthimaging.aws import AwsClients
from fileroom_healthimaging.dicom_import_jobs import (
    FileOutcome,
    ImportJob,
    ImportJobNotFound,
    ImportJobRequest,
    InvalidImportJob,
    JobState,
)
from fileroom_healthimaging.dicom_import_jobs_following import ImportJobFollower
from fileroom_healthimaging.image_set_service import ImageSetService
from fileroom_healthimaging.intake import Intake
from fileroom_healthimaging.section import HealthImagingSection
from tests.databases import DATABASES, Databases
from tests.fakes.faults import Kind
from tests.fakes.image_set_documents import image_set_document
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.moto_server import Moto
from tests.fakes.small_image_sets import ROLE
from tests.made import made, part10, uid
from tests.plugins.healthimaging.tagging import ACTOR, Killed, RecordingIndex, TaggingIndex, killed_at, tagging_index


@pytest.fixture(scope="module", params=DATABASES)
def index(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TaggingIndex]:
    with (
        databases.fresh(request.param, tmp_path_factory.mktemp("jobs")) as url,
        tagging_index(url) as index,
    ):
        yield index


class Service:
    """A fake of the service with one data store, a bucket, and what follows its jobs."""

    def __init__(self, fake: MedicalImaging, moto: Moto, index: TaggingIndex, aws: AwsClients) -> None:
        self.fake = fake
        self.taker = RecordingIndex()
        self.intake = Intake(ImageSetService(aws), self.taker, 2, threading.Event())
        self.index = index
        self.store = fake.image_sets.create_datastore().datastore_id
        self.bucket = moto.new_bucket()
        fake.jobs.exporter = image_set_document
        self.client: Any = fake.client(retries={"total_max_attempts": 1})
        self.s3: Any = moto.client("s3")
        self.job = self.create()

    def create(self, **more: str) -> ImportJob:
        request = {
            "datastore_id": self.store,
            "data_access_role_arn": ROLE,
            "input_s3_uri": f"s3://{self.bucket}/in/",
            "output_s3_uri": f"s3://{self.bucket}/out",
        }
        return self.index.jobs.create(ImportJobRequest(**{**request, **more}), ACTOR)

    def put(self, name: str, content: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=f"in/{name}", Body=content)

    def put_series(self, *numbers: int) -> None:
        for number in numbers:
            attributes = {"SeriesInstanceUID": uid(1, number), "SOPInstanceUID": uid(1, number, 1)}
            self.put(f"{number}.dcm", part10(made(**attributes)))

    def follower(self, client: Any = None, s3: Any = None) -> ImportJobFollower:
        """A process that follows jobs."""
        return ImportJobFollower(self.index.jobs, client or self.client, s3 or self.s3, ACTOR, self.intake.take)

    def advance(self) -> ImportJob:
        job = self.follower().advance_next([self.job.pk])
        assert job is not None
        return job

    def asked(self, operation: str) -> int:
        return self.fake.requests.count(operation)


@pytest.fixture
def service(aws: MedicalImaging, moto: Moto, index: TaggingIndex) -> Iterator[Service]:
    clients = AwsClients(HealthImagingSection(attempts=1))
    service = Service(aws, moto, index, clients)
    yield service
    service.client.close()
    service.s3.close()
    clients.close()


def test_from_the_request_to_the_outcome_of_each_file(service: Service) -> None:
    service.put_series(1, 2)
    service.put("notes.txt", b"no DICOM")
    assert service.job.state is JobState.CREATED
    job = service.advance()
    assert (job.state, job.number_of_scanned_files) == (JobState.COMPLETED, 3)
    assert (job.number_of_imported_files, job.number_of_failed_files, job.number_of_image_sets) == (2, 1, 2)
    assert str(job.manifest_s3_uri).endswith(f"/{service.store}-DicomImport-{job.job_id}/job-output-manifest.json")
    assert job.ended_at is not None
    assert job.settled_at is not None
    failed, *imported = service.index.jobs.files(job.pk)
    assert (failed.input_file, failed.exception_type, failed.reason) == (
        "in/notes.txt",
        "ValidationException",
        "DICOM attributes does not exist",
    )
    image_sets = service.fake.image_sets.datastore(service.store).image_sets
    assert [one.input_file for one in imported] == ["in/1.dcm", "in/2.dcm"]
    assert {one.image_set_id for one in imported} == set(image_sets) == {one.image_set_id for one in service.taker.told}
    assert {(one.image_set_version, one.is_primary) for one in imported} == {(1, True)}
    assert list(service.index.jobs.files(job.pk, [FileOutcome.FAILED])) == [failed]
    assert service.follower().advance_next([job.pk]) is None
    assert service.index.jobs.read(job.pk) == next(iter(service.index.jobs.all([JobState.COMPLETED])))


def test_state_by_state(service: Service) -> None:
    service.put_series(1)
    service.fake.transitions.held = True
    states = [service.advance().state]
    service.fake.transitions.advance()
    states.append(service.advance().state)
    service.fake.transitions.finish()
    states.append(service.advance().state)
    assert states == [JobState.SUBMITTED, JobState.IN_PROGRESS, JobState.COMPLETED]
    assert service.asked("StartDICOMImportJob") == 1


def test_reports_that_have_no_lines_do_not_exist(service: Service) -> None:
    job = service.advance()
    assert (job.state, job.number_of_scanned_files, job.number_of_image_sets) == (JobState.COMPLETED, 0, 0)
    assert list(service.index.jobs.files(job.pk)) == []


def test_job_that_fails(service: Service) -> None:
    service.fake.transitions.fail_next("It could not be")
    job = service.advance()
    assert (job.state, job.message, job.manifest_s3_uri) == (JobState.FAILED, "It could not be", None)


def test_bucket_that_is_not_there(service: Service) -> None:
    service.job = service.create(input_s3_uri="s3://no-such-bucket/", output_s3_uri="s3://no-such-bucket/")
    job = service.advance()
    assert (job.state, job.message) == (JobState.FAILED, "S3 answers NoSuchBucket")


def test_data_store_that_is_not_there(service: Service) -> None:
    service.job = service.create(datastore_id="0" * 32)
    job = service.advance()
    assert job.state is JobState.FAILED
    assert "there is no such data store" in str(job.last_error)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("operation", ["start_dicom_import_job", "get_dicom_import_job"])
def test_killed_at_the_service(service: Service, operation: str, after: bool) -> None:
    service.put_series(1)
    with pytest.raises(Killed):
        service.follower(killed_at(service.client, operation, after=after)).advance_next([service.job.pk])
    assert service.advance().state is JobState.COMPLETED
    assert len(service.fake.jobs.jobs) == 1


def test_killed_before_the_answer_and_the_service_has_forgotten_the_token(service: Service) -> None:
    service.put_series(1)
    with pytest.raises(Killed):
        service.follower(killed_at(service.client, "start_dicom_import_job", after=True)).advance_next([service.job.pk])
    service.fake.jobs._by_token.clear()
    assert service.advance().state is JobState.COMPLETED
    assert len(service.fake.jobs.jobs) == 1


@pytest.mark.parametrize("operation", ["get_object", "list_objects_v2"])
def test_killed_at_the_reports(service: Service, operation: str) -> None:
    service.put_series(1)
    with pytest.raises(Killed):
        service.follower(s3=killed_at(service.s3, operation, after=True)).advance_next([service.job.pk])
    assert service.advance().state is JobState.COMPLETED


def test_killed_half_way_through_a_report_and_through_telling(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fileroom_healthimaging.dicom_import_jobs_following._LINES", 2)
    service.put_series(1, 2, 3, 4, 5)
    follower = service.follower()
    record = service.index.jobs.record
    recorded: list[list[int]] = []

    def dying_record(pk: int, owner: str, files: Any) -> None:
        if len(recorded) == 1:
            raise Killed
        record(pk, owner, files)
        recorded.append([file.line for file in files])

    with monkeypatch.context() as patched:
        patched.setattr(service.index.jobs, "record", dying_record)
        with pytest.raises(Killed):
            follower.advance_next([service.job.pk])
    assert recorded == [[1, 2]]
    assert service.index.jobs.read(service.job.pk).state is JobState.SUBMITTED

    monkeypatch.setattr("fileroom_healthimaging.dicom_import_jobs_following.BATCH", 2)
    service.taker.dies_after = 2
    with pytest.raises(Killed):
        service.follower().advance_next([service.job.pk])
    service.taker.dies_after = None
    job = service.advance()
    assert (job.state, job.number_of_imported_files) == (JobState.COMPLETED, 5)
    assert [file.line for file in service.index.jobs.files(job.pk)] == [1, 2, 3, 4, 5]
    assert len({told.image_set_id for told in service.taker.told}) == len(service.taker.told) == 5


@pytest.mark.parametrize("kind", [Kind.THROTTLING, Kind.INTERNAL, Kind.CUT_BEFORE, Kind.CUT_AFTER])
@pytest.mark.parametrize("operation", ["StartDICOMImportJob", "GetDICOMImportJob", "GetImageSetMetadata"])
@pytest.mark.parametrize("index", ["sqlite"], indirect=True)
def test_transient(service: Service, kind: Kind, operation: str) -> None:
    service.put_series(1)
    service.fake.faults.add(kind, operation)
    job = service.advance()
    assert job.state in (JobState.CREATED, JobState.SUBMITTED)
    assert operation in str(job.last_error) or "image set" in str(job.last_error)
    assert service.advance().state is JobState.COMPLETED
    assert len(service.fake.jobs.jobs) == 1


def test_image_set_that_is_deleted_meanwhile(service: Service) -> None:
    service.put_series(1, 2)
    service.fake.transitions.held = True
    service.advance()
    service.fake.transitions.finish()
    first, *_ = service.fake.image_sets.datastore(service.store).image_sets
    service.client.delete_image_set(datastoreId=service.store, imageSetId=first)
    assert service.advance().state is JobState.COMPLETED
    states = {told.image_set_id: told.state for told in service.taker.told}
    assert (states.pop(first), *states.values()) == ("DELETED", "ACTIVE")


def _report(service: Service, job: ImportJob) -> str:
    return f"out/{service.store}-DicomImport-{job.job_id}"


def test_manifest_that_is_late_and_lines_that_are_damaged(service: Service) -> None:
    service.put_series(1)
    service.fake.transitions.held = True
    job = service.advance()
    service.fake.transitions.finish()
    key = f"{_report(service, job)}/job-output-manifest.json"
    manifest = service.s3.get_object(Bucket=service.bucket, Key=key)["Body"].read()
    service.s3.delete_object(Bucket=service.bucket, Key=key)
    success = f"{_report(service, job)}/SUCCESS/success.ndjson"
    line = service.s3.get_object(Bucket=service.bucket, Key=success)["Body"].read()
    damaged = b'{"inputFile": "in/9.dcm"}\n[]\n{"inputFile":\n' + line
    service.s3.put_object(Bucket=service.bucket, Key=success, Body=damaged)
    job = service.advance()
    assert job.state is JobState.SUBMITTED
    assert "manifest" in str(job.last_error)
    service.s3.put_object(Bucket=service.bucket, Key=key, Body=manifest)
    job = service.advance()
    assert (job.state, job.number_of_imported_files, job.number_of_image_sets) == (JobState.COMPLETED, 4, 1)
    assert [file.reason for file in service.index.jobs.files(job.pk)] == [
        "line 1 of the report is damaged",
        "line 2 of the report is damaged",
        "line 3 of the report is damaged",
        None,
    ]


def test_given_up_in_the_end(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.fake.transitions.held = True
    with service.index.engine.begin() as connection:
        connection.execute(text("UPDATE healthimaging_import_job SET give_up_at = requested_at"))
    with caplog.at_level(logging.WARNING):
        job = service.advance()
    assert (job.state, job.last_error) == (
        JobState.FAILED,
        "given up: the job has not ended; the service may still run it",
    )
    assert "job list --all" in caplog.text


@pytest.mark.parametrize("index", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"datastore_id": "x"}, "32 digits"),
        ({"data_access_role_arn": "Import"}, "arn:aws:iam"),
        ({"input_s3_uri": "/data"}, "s3://bucket"),
        ({"output_s3_uri": "s3://b/" + "x" * 1024}, "s3://bucket"),
        ({"name": "two words"}, "characters"),
    ],
)
def test_what_cannot_be_asked_for(service: Service, more: dict[str, str], match: str) -> None:
    with pytest.raises(InvalidImportJob, match=match):
        service.create(**more)
    with pytest.raises(ImportJobNotFound, match="job list --all"):
        service.index.jobs.read(999_999)


def test_audited(service: Service) -> None:
    service.put_series(1)
    service.advance()
    rows = [row for row in service.index.audited() if f'"import_job":{service.job.pk},' in row["detail"]]
    assert [(row["event"], row["action"], json.loads(row["detail"])["state"]) for row in rows] == [
        ("110107", "C", "created"),
        ("110107", "C", "submitted"),
        ("110107", "C", "completed"),
    ]
    assert json.loads(rows[-1]["detail"])["number_of_imported_files"] == 1
