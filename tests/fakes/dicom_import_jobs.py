"""DICOM import jobs of the fake service: Part 10 objects below an S3 prefix become image sets; reports go to S3."""

import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pydicom
from botocore.exceptions import ClientError
from pydicom.errors import InvalidDicomError

from tests.fakes.image_set_metadata import Document
from tests.fakes.image_sets import ImageSets
from tests.fakes.wire import Parameters, ServiceError

# Part 10 objects of one series → their image set's document, and the frames that it names by their ID
Exporter = Callable[[Sequence[bytes]], tuple[Document, Mapping[str, bytes]]]

_NEEDED = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass
class ImportJob:
    """A job as GetDICOMImportJob tells it."""

    job_id: str
    name: str
    datastore_id: str
    role_arn: str
    input_uri: str
    output_uri: str
    submitted_at: datetime
    status: str = "SUBMITTED"
    ended_at: datetime | None = None
    message: str | None = None


class _Refused(Exception):
    """An object that cannot be imported, and why."""


class ImportJobs:
    """All import jobs."""

    def __init__(self, image_sets: ImageSets) -> None:
        self.jobs: dict[str, ImportJob] = {}
        self.exporter: Exporter | None = None
        self.s3: Any = None
        self._image_sets = image_sets
        self._by_token: dict[str, ImportJob] = {}

    def start(self, asked: Parameters) -> ImportJob:
        """Submit a job; the same client token is the same job."""
        if (known := self._by_token.get(asked["clientToken"])) is not None:
            return known
        store = self._image_sets.datastore(asked["datastoreId"])
        if self.exporter is None or self.s3 is None:
            raise ServiceError("AccessDeniedException", "this fake has no exporter or no S3 to import from")
        job_id = uuid.uuid4().hex
        output = f"{asked['outputS3Uri'].rstrip('/')}/{store.datastore_id}-DicomImport-{job_id}/"
        job = ImportJob(
            job_id,
            asked.get("jobName", f"import-{job_id}"),
            store.datastore_id,
            asked["dataAccessRoleArn"],
            asked["inputS3Uri"],
            output,
            self._image_sets.clock.now(),
        )
        self.jobs[job_id] = self._by_token[asked["clientToken"]] = job
        self._publish(job, "Import Job Submitted")
        return job

    def run(self, job: ImportJob) -> Iterator[None]:
        """What becomes of a job, step by step."""
        job.status = "IN_PROGRESS"
        self._publish(job, "Import Job In Progress")
        yield
        if (message := self._image_sets.transitions.failure()) is None:
            try:
                self._import(job)
            except ClientError as error:
                message = f"S3 answers {error.response['Error']['Code']}"
        job.status = "COMPLETED" if message is None else "FAILED"
        job.message, job.ended_at = message, self._image_sets.clock.now()
        self._publish(job, f"Import Job {job.status.capitalize()}")

    def _import(self, job: ImportJob) -> None:
        bucket, prefix = _split(job.input_uri)
        groups: dict[tuple[str, str], list[tuple[str, bytes]]] = defaultdict(list)
        failed: list[tuple[str, str, str]] = []
        scanned = 0
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for key in (one["Key"] for one in page.get("Contents", [])):
                scanned += 1
                content = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
                try:
                    groups[_series_of(content)].append((key, content))
                except _Refused as refusal:
                    failed.append((key, "ValidationException", str(refusal)))
        succeeded: list[dict[str, Any]] = []
        summaries: dict[str, dict[str, Any]] = {}
        for members in groups.values():
            self._import_series(job, members, succeeded, summaries)
        self._report(job, scanned, succeeded, failed, list(summaries.values()))

    def _import_series(
        self,
        job: ImportJob,
        members: Sequence[tuple[str, bytes]],
        succeeded: list[dict[str, Any]],
        summaries: dict[str, dict[str, Any]],
    ) -> None:
        exporter = self.exporter
        if exporter is None:
            raise AssertionError("a job has started without an exporter")
        document, frames = exporter([content for _, content in members])
        image_set = self._image_sets.import_series(self._image_sets.datastore(job.datastore_id), document, frames)
        told = {
            "imageSetId": image_set.image_set_id,
            "imageSetVersion": image_set.latest.number,
            "isPrimary": image_set.latest.is_primary,
        }
        succeeded += [{"inputFile": key, "importResponse": told} for key, _ in members]
        summaries[image_set.image_set_id] = {**told, "numberOfMatchedSOPInstances": len(members)}

    def _report(
        self,
        job: ImportJob,
        scanned: int,
        succeeded: list[dict[str, Any]],
        failed: list[tuple[str, str, str]],
        summaries: list[dict[str, Any]],
    ) -> None:
        """The files of the developer guide's page "Understanding import jobs"; the manifest is the last."""
        bucket, prefix = _split(job.output_uri)
        failures = [
            {"inputFile": key, "exception": {"exceptionType": kind, "message": why}} for key, kind, why in failed
        ]
        for folder, lines in (("SUCCESS", succeeded), ("FAILURE", failures)):
            if lines:
                body = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
                self.s3.put_object(Bucket=bucket, Key=f"{prefix}{folder}/{folder.lower()}.ndjson", Body=body)
        summary = {
            "jobId": job.job_id,
            "datastoreId": job.datastore_id,
            "inputS3Uri": job.input_uri,
            "outputS3Uri": job.output_uri,
            "successOutputS3Uri": f"{job.output_uri}SUCCESS/",
            "failureOutputS3Uri": f"{job.output_uri}FAILURE/",
            "numberOfScannedFiles": scanned,
            "numberOfImportedFiles": len(succeeded),
            "numberOfFilesWithCustomerError": len(failed),
            "numberOfFilesWithServerError": 0,
            "numberOfGeneratedImageSets": len(summaries),
            "imageSetsSummary": summaries,
        }
        manifest = json.dumps({"jobSummary": summary}, indent=2).encode()
        self.s3.put_object(Bucket=bucket, Key=f"{prefix}job-output-manifest.json", Body=manifest)

    def _publish(self, job: ImportJob, detail_type: str) -> None:
        detail = {
            "datastoreId": job.datastore_id,
            "jobId": job.job_id,
            "jobName": job.name,
            "jobStatus": job.status,
            "inputS3Uri": job.input_uri,
            "outputS3Uri": job.output_uri,
        }
        self._image_sets.events.publish(detail_type, self._image_sets.arn(job.datastore_id), detail)


def _split(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    return parts.netloc, parts.path.lstrip("/")


def _series_of(content: bytes) -> tuple[str, str]:
    """Study and series of an object; a refusal in the words of the service where it has none."""
    try:
        header = pydicom.dcmread(BytesIO(content), stop_before_pixels=True)
    except (InvalidDicomError, EOFError) as error:
        raise _Refused("DICOM attributes does not exist") from error
    if "TransferSyntaxUID" not in header.file_meta:
        raise _Refused("DICOM attribute TransferSyntaxUID does not exist")
    for keyword in _NEEDED:
        if not header.get(keyword):
            raise _Refused(f"DICOM attribute {keyword} does not exist")
    return str(header.StudyInstanceUID), str(header.SeriesInstanceUID)
