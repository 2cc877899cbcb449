"""Import jobs are started at the service, followed to their end, and their reports read; any step can be the last."""

import logging
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, RowMapping

from fileroom_storage.plugin import Actor, AuditEvent, StorageUnavailable

from .aws_errors import AwsConflict, AwsNotFound, AwsRefused, AwsUnavailable, translated
from .dicom_import_jobs import DicomImportJobs, FileOutcome, ImportJob, JobState
from .dicom_import_jobs_reports import JobReports
from .due_work import ClaimLost, NotYet, new_owner
from .image_set_version import ImageSetName
from .intake import BATCH
from .tag_and_job_tables import REASON_LENGTH
from .tagged_image_sets import TakeIn, take_in

_log = logging.getLogger(__name__)

_LINES = 1000  # of a report in a transaction
_RUNNING = {"SUBMITTED": JobState.SUBMITTED, "IN_PROGRESS": JobState.IN_PROGRESS}
_ENDED = {"COMPLETED": JobState.COMPLETED, "FAILED": JobState.FAILED}


class ImportJobFollower:
    """What one process does of the work on import jobs, by boto3 clients for `medical-imaging` and S3.

    `take` has the index take in the image sets of a job that has ended, before the service's events of them arrive.
    """

    def __init__(
        self, jobs: DicomImportJobs, medical_imaging: Any, s3: Any, actor: Actor, take: TakeIn | None = None
    ) -> None:
        self._jobs = jobs
        self._client = medical_imaging
        self._s3 = s3
        self._actor = actor
        self._take = take
        self._owner = new_owner()

    def advance_next(self, pks: Collection[int] | None = None) -> ImportJob | None:
        """Takes the job that has been due for longest, of `pks` where they are given, as far as it goes now.

        None where none is due. Raises AwsNotAllowed and StorageUnavailable; the job is due again at once then.
        """
        pk = self._jobs.work.claim(self._owner, pks)
        if pk is None:
            return None
        try:
            self._work_on(pk)
        except ClaimLost:
            _log.info("import job %d is followed by another process", pk)
        except BaseException:
            self._release()
            raise
        return self._jobs.read(pk)

    def _release(self) -> None:
        try:
            self._jobs.work.release(self._owner)
        except StorageUnavailable as error:
            _log.warning("import jobs that this process was at are due when its claim ends: %s", error)

    def _work_on(self, pk: int) -> None:
        row = self._jobs.work.change(pk, self._owner, {})
        try:
            self._advance(row)
        except (AwsRefused, AwsNotFound) as error:
            self._settle(pk, JobState.FAILED, {"last_error": str(error)[:REASON_LENGTH]})
        except (AwsUnavailable, AwsConflict, NotYet) as error:
            row = self._jobs.work.change(pk, self._owner, {})
            self._postpone(row, str(error), failing=True)

    def _advance(self, row: RowMapping) -> None:
        if row["job_id"] is None:
            row = self._start(row)
        job = ImportJob.of_row(row)
        with translated("GetDICOMImportJob", quoting=True):
            answer = self._client.get_dicom_import_job(datastoreId=job.request.datastore_id, jobId=job.job_id)
        properties = answer["jobProperties"]
        status = properties["jobStatus"]
        if status not in _ENDED:
            state = _RUNNING.get(status, job.state)
            row = self._jobs.work.change(job.pk, self._owner, {"state": state.value, "last_error": None})
            self._postpone(row, "", failing=False)
            return
        self._end(job, _ENDED[status], properties)

    def _start(self, row: RowMapping) -> RowMapping:
        """Starts a job, or finds it started: under its client token it is one, however often it is asked for."""
        job = ImportJob.of_row(row)
        # a token is kept by the service for some hours only; behind that the name tells whether there is the job
        job_id = self._started_before(job) if job.attempts else None
        if job_id is None:
            # counted before the call: whoever comes after a crash behind it looks for the job first
            self._jobs.work.change(job.pk, self._owner, {"attempts": job.attempts + 1})
            with translated("StartDICOMImportJob", quoting=True):
                answer = self._client.start_dicom_import_job(
                    jobName=job.name_at_service,
                    dataAccessRoleArn=job.request.data_access_role_arn,
                    clientToken=job.client_token,
                    datastoreId=job.request.datastore_id,
                    inputS3Uri=job.request.input_s3_uri,
                    outputS3Uri=job.request.output_s3_uri,
                )
            job_id = answer["jobId"]
        values = {"job_id": job_id, "state": JobState.SUBMITTED.value, "last_error": None, "attempts": 0}
        return self._jobs.work.change(job.pk, self._owner, values, self._events)

    def _started_before(self, job: ImportJob) -> str | None:
        with translated("ListDICOMImportJobs", quoting=True):
            pages = self._client.get_paginator("list_dicom_import_jobs").paginate(datastoreId=job.request.datastore_id)
            for page in pages:
                for one in page["jobSummaries"]:
                    if one["jobName"] == job.name_at_service:
                        return str(one["jobId"])
        return None

    def _end(self, job: ImportJob, state: JobState, properties: dict[str, Any]) -> None:
        """Reads the reports from where they have been read to, tells the index, and then says that it has ended."""
        reports = JobReports(self._s3, properties["outputS3Uri"])
        summary = None
        try:
            summary = reports.manifest()
            if summary is None and state is JobState.COMPLETED:
                raise NotYet(f"the job has ended, but its manifest {reports.manifest_uri} cannot be read yet")
            self._read(job, reports)
        except AwsNotFound:
            if state is JobState.COMPLETED:
                raise
            # it may have failed because there is no such bucket, which its own message says
        self._take_image_sets(job)
        scanned = (summary or {}).get("numberOfScannedFiles")
        ended_at: datetime | None = properties.get("endedAt")
        values = {
            **self._jobs.counts(job.pk),
            "number_of_scanned_files": scanned if isinstance(scanned, int) else None,
            "manifest_s3_uri": None if summary is None else reports.manifest_uri,
            "message": properties.get("message"),
            "ended_at": ended_at.astimezone(UTC).replace(tzinfo=None) if ended_at else None,
            "last_error": None,
        }
        self._settle(job.pk, state, values)

    def _read(self, job: ImportJob, reports: JobReports) -> None:
        for outcome in FileOutcome:
            files = reports.files(outcome, self._jobs.last_line(job.pk, outcome))
            while page := list(islice(files, _LINES)):
                self._jobs.record(job.pk, self._owner, page)

    def _take_image_sets(self, job: ImportJob) -> None:
        if self._take is None:
            return
        after = job.told_image_set_id
        while ids := self._jobs.image_sets(job.pk, after, BATCH):
            take_in(self._take, {ImageSetName(job.request.datastore_id, one): None for one in ids})
            after = ids[-1]
            self._jobs.work.change(job.pk, self._owner, {"told_image_set_id": after})

    def _postpone(self, row: RowMapping, why: str, *, failing: bool) -> None:
        if not self._jobs.work.postpone(row, self._owner, why, failing=failing):
            reason = f"given up: {why or 'the job has not ended'}; the service may still run it"
            self._settle(row["pk"], JobState.FAILED, {"last_error": reason[:REASON_LENGTH]})

    def _settle(self, pk: int, state: JobState, values: dict[str, Any]) -> None:
        if state is JobState.FAILED:
            _log.warning("import job %d has failed; `fileroom healthimaging job list --all` says why", pk)
        self._jobs.work.settle(pk, self._owner, {**values, "state": state.value}, self._events)

    def _events(self, _connection: Connection, row: RowMapping) -> list[AuditEvent]:
        return [self._jobs.event(row, self._actor)]
