"""The reports of an import job in S3: a line of JSON for each file, and the manifest that is written last."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import orjson

from .aws_errors import translated
from .dicom_import_jobs import FileOutcome, ImportedFile

# developer guide, "Understanding import jobs"
MANIFEST = "job-output-manifest.json"
_REPORTS = {FileOutcome.IMPORTED: "SUCCESS/success.ndjson", FileOutcome.FAILED: "FAILURE/failure.ndjson"}
_LARGEST_MANIFEST = 64 << 20  # bytes; it names each image set
_TEXT = 2048


class JobReports:
    """The reports below the output prefix of one job, by a boto3 client of S3. Raises AwsError."""

    def __init__(self, s3: Any, output_s3_uri: str) -> None:
        self._s3 = s3
        parts = urlsplit(output_s3_uri, allow_fragments=False)
        self._bucket = parts.netloc
        self._prefix = parts.path.lstrip("/").rstrip("/") + "/"
        self.manifest_uri = f"s3://{self._bucket}/{self._prefix}{MANIFEST}"

    def manifest(self) -> dict[str, Any] | None:
        """The summary of the job; None where it has not been written, or is none."""
        key = self._prefix + MANIFEST
        if key not in self._keys(MANIFEST):
            return None
        with translated("GetObject", quoting=True):
            body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read(_LARGEST_MANIFEST)
        try:
            summary = orjson.loads(body).get("jobSummary")
        except (orjson.JSONDecodeError, AttributeError):
            return None
        return summary if isinstance(summary, dict) else None

    def files(self, outcome: FileOutcome, after: int = 0) -> Iterator[ImportedFile]:
        """The lines of one report behind line `after`; none where there is no such report."""
        key = self._prefix + _REPORTS[outcome]
        if key not in self._keys(_REPORTS[outcome]):
            return
        with translated("GetObject", quoting=True):
            body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"]
            for number, line in enumerate(body.iter_lines(), 1):
                if number > after:
                    yield _file(outcome, number, line)

    def _keys(self, name: str) -> set[str]:
        # who may not list a bucket is told that an absent object is denied; so it is listed
        with translated("ListBucket", quoting=True):
            found = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix + name)
        return {one["Key"] for one in found.get("Contents", [])}


def _file(outcome: FileOutcome, number: int, line: bytes) -> ImportedFile:
    """One line; one that cannot be read is kept as that, and counts."""
    try:
        told = orjson.loads(line)
        input_file = str(told["inputFile"])[:_TEXT]
        if outcome is FileOutcome.FAILED:
            exception = told.get("exception") or {}
            return ImportedFile(
                number,
                outcome,
                input_file,
                exception_type=str(exception.get("exceptionType", ""))[:64],
                reason=str(exception.get("message", ""))[:_TEXT],
            )
        response = told["importResponse"]
        version, is_primary = response.get("imageSetVersion"), response.get("isPrimary")
        return ImportedFile(
            number,
            outcome,
            input_file,
            image_set_id=str(response["imageSetId"])[:32],
            image_set_version=None if version is None else int(version),
            is_primary=None if is_primary is None else bool(is_primary),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return ImportedFile(
            number, outcome, "", exception_type="UnreadableReport", reason=f"line {number} of the report is damaged"
        )
