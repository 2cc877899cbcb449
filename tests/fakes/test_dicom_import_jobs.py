"""Import jobs by boto3: from objects in S3 to image sets, frames and reports."""

import json
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tests.fakes.frames import frames_of
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.moto_server import Moto
from tests.fakes.small_image_sets import (
    ROLE,
    Document,
    named,
)
from tests.made import made, part10, uid


def exported(objects: Sequence[bytes]) -> tuple[Document, dict[str, bytes]]:
    """A small exporter: the attributes that these tests look at, and real frames."""
    first = pydicom.dcmread(BytesIO(objects[0]), stop_before_pixels=True)
    frames: dict[str, bytes] = {}
    instances: Document = {}
    for content in objects:
        header = pydicom.dcmread(BytesIO(content), stop_before_pixels=True)
        listed = []
        for index, frame in enumerate(frames_of(content)[1]):
            frame_id = f"{zlib.crc32(f'{header.SOPInstanceUID}/{index}'.encode()):032x}"
            frames[frame_id] = frame
            listed.append({"ID": frame_id, "FrameSizeInBytes": len(frame)})
        instances[str(header.SOPInstanceUID)] = {
            "DICOM": {"SOPInstanceUID": str(header.SOPInstanceUID)},
            "DICOMVRs": {},
            "ImageFrames": listed,
        }
    series = {"DICOM": {"SeriesInstanceUID": str(first.SeriesInstanceUID), "Modality": first.Modality}}
    return {
        "SchemaVersion": "1.1",
        "Patient": {"DICOM": {"PatientID": first.PatientID}},
        "Study": {
            "DICOM": {"StudyInstanceUID": str(first.StudyInstanceUID)},
            "Series": {str(first.SeriesInstanceUID): {**series, "Instances": instances}},
        },
    }, frames


def with_pixels(**attributes: Any) -> bytes:
    """A CT object with a small gradient for an image."""
    dataset = made(**attributes)
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 64, 64, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = pixels.tobytes()
    return part10(dataset)


class TestImportJobs:
    @pytest.fixture
    def bucket(self, moto: Moto, medical_imaging: MedicalImaging) -> str:
        medical_imaging.jobs.exporter = exported
        return moto.new_bucket()

    @staticmethod
    def start(client: Any, store: str, bucket: str, token: str = "once") -> str:
        started = client.start_dicom_import_job(
            jobName="nightly",
            dataAccessRoleArn=ROLE,
            clientToken=token,
            datastoreId=store,
            inputS3Uri=f"s3://{bucket}/in/",
            outputS3Uri=f"s3://{bucket}/out/",
        )
        assert started["jobStatus"] == "SUBMITTED"
        job_id: str = started["jobId"]
        return job_id

    @staticmethod
    def report(moto: Moto, job: Document, name: str) -> bytes:
        bucket, _, prefix = job["outputS3Uri"].removeprefix("s3://").partition("/")
        found: bytes = moto.client("s3").get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
        return found

    def test_objects_become_image_sets(self, client: Any, store: str, bucket: str, moto: Moto) -> None:
        s3 = moto.client("s3")
        for number in (1, 2):
            s3.put_object(Bucket=bucket, Key=f"in/{number}.dcm", Body=with_pixels(SOPInstanceUID=uid(1, 1, number)))
        s3.put_object(Bucket=bucket, Key="in/other.dcm", Body=with_pixels(SeriesInstanceUID=uid(1, 2)))
        s3.put_object(Bucket=bucket, Key="in/notes.txt", Body=b"no DICOM")
        s3.put_object(Bucket=bucket, Key="in/no-study.dcm", Body=part10(made(StudyInstanceUID=None)))
        job_id = self.start(client, store, bucket)
        job = client.get_dicom_import_job(datastoreId=store, jobId=job_id)["jobProperties"]
        assert (job["jobStatus"], job["jobName"]) == ("COMPLETED", "nightly")
        assert job["outputS3Uri"] == f"s3://{bucket}/out/{store}-DicomImport-{job_id}/"
        summary = json.loads(self.report(moto, job, "job-output-manifest.json"))["jobSummary"]
        assert (summary["numberOfScannedFiles"], summary["numberOfImportedFiles"]) == (5, 3)
        assert (summary["numberOfFilesWithCustomerError"], summary["numberOfGeneratedImageSets"]) == (2, 2)
        succeeded = [json.loads(line) for line in self.report(moto, job, "SUCCESS/success.ndjson").splitlines()]
        assert {line["inputFile"] for line in succeeded} == {"in/1.dcm", "in/2.dcm", "in/other.dcm"}
        assert {line["importResponse"]["imageSetId"] for line in succeeded} == {
            one["imageSetId"] for one in summary["imageSetsSummary"]
        }
        failed = [json.loads(line) for line in self.report(moto, job, "FAILURE/failure.ndjson").splitlines()]
        assert {line["inputFile"]: line["exception"]["message"] for line in failed} == {
            "in/notes.txt": "DICOM attributes does not exist",
            "in/no-study.dcm": "DICOM attribute StudyInstanceUID does not exist",
        }
        assert len(client.search_image_sets(datastoreId=store)["imageSetsMetadataSummaries"]) == 2

    def test_frames_are_the_pixels(
        self, client: Any, store: str, bucket: str, moto: Moto, medical_imaging: MedicalImaging
    ) -> None:
        content = with_pixels()
        moto.client("s3").put_object(Bucket=bucket, Key="in/1.dcm", Body=content)
        self.start(client, store, bucket)
        [image_set] = medical_imaging.image_sets.datastore(store).image_sets.values()
        [frame_id] = image_set.frames
        frame = client.get_image_frame(**named(image_set), imageFrameInformation={"imageFrameId": frame_id})
        assert frame["imageFrameBlob"].read() == frames_of(content)[1][0]
        assert frames_of(content)[0] == "1.2.840.10008.1.2.4.90"

    def test_second_import_of_a_series_joins_the_first(
        self, client: Any, store: str, bucket: str, moto: Moto, medical_imaging: MedicalImaging
    ) -> None:
        s3 = moto.client("s3")
        s3.put_object(Bucket=bucket, Key="in/1.dcm", Body=with_pixels())
        self.start(client, store, bucket, "first")
        s3.put_object(Bucket=bucket, Key="in/1.dcm", Body=with_pixels(SOPInstanceUID=uid(1, 1, 2)))
        self.start(client, store, bucket, "second")
        s3.put_object(Bucket=bucket, Key="in/1.dcm", Body=with_pixels(PatientID="P2"))
        self.start(client, store, bucket, "third")
        first, second = medical_imaging.image_sets.datastore(store).image_sets.values()
        assert (first.latest.number, first.latest.is_primary, len(first.frames)) == (2, True, 2)
        assert (second.latest.number, second.latest.is_primary) == (1, False)

    def test_states_and_pages(
        self, client: Any, store: str, bucket: str, medical_imaging: MedicalImaging, moto: Moto
    ) -> None:
        medical_imaging.transitions.held = True
        ids = [self.start(client, store, bucket, f"token-{n}") for n in range(3)]
        assert self.start(client, store, bucket, "token-0") == ids[0]

        def states(**more: str) -> list[str]:
            pages = client.get_paginator("list_dicom_import_jobs").paginate(
                datastoreId=store, PaginationConfig={"PageSize": 2}, **more
            )
            return [one["jobStatus"] for page in pages for one in page["jobSummaries"]]

        assert states() == ["SUBMITTED"] * 3
        medical_imaging.transitions.advance()
        assert states() == ["IN_PROGRESS"] * 3
        medical_imaging.transitions.fail_next("It could not be")
        medical_imaging.transitions.advance()
        assert states() == ["FAILED", "COMPLETED", "COMPLETED"]
        assert states(jobStatus="FAILED") == ["FAILED"]

    def test_bucket_that_is_not_there(self, client: Any, store: str, bucket: str) -> None:
        job_id = self.start(client, store, "no-such-bucket")
        job = client.get_dicom_import_job(datastoreId=store, jobId=job_id)["jobProperties"]
        assert (job["jobStatus"], job["message"]) == ("FAILED", "S3 answers NoSuchBucket")


def test_frames_of_htj2k_are_kept_as_they_are(corpus: Path) -> None:
    content = (corpus / "files/pydicom_pydicom-data/data_store/data/HTJ2KLossless_08_RGB.dcm").read_bytes()
    syntax, [frame] = frames_of(content)
    assert syntax == "1.2.840.10008.1.2.4.201"
    assert frame.startswith(b"\xff\x4f\xff\x51")
    assert frame in content
