"""The server of the fake service: its wire protocol, and the faults on the way."""

import base64
from typing import Any

import boto3
import botocore.exceptions
import pytest
import requests

from tests.fakes.faults import Kind
from tests.fakes.image_sets import ImageSet
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.moto_server import Moto
from tests.fakes.small_image_sets import (
    DESCRIPTION,
    FRAME_ID,
    Add,
    document,
    named,
    state,
    update,
)


class TestWire:
    def test_unsigned_requests_are_refused(self, medical_imaging: MedicalImaging) -> None:
        answer = requests.get(f"{medical_imaging.url}/datastore", timeout=10)
        assert (answer.status_code, answer.headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")

    def test_requests_signed_for_another_service_are_refused(self, medical_imaging: MedicalImaging, moto: Moto) -> None:
        headers = {
            "X-Amz-Date": "20240102T030405Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=testing/20240102/us-east-1/s3/aws4_request, "
            f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
        }
        answer = requests.get(f"{medical_imaging.url}/datastore", headers=headers, timeout=10)
        assert answer.status_code == 403

    def test_what_is_no_operation(self, medical_imaging: MedicalImaging) -> None:
        answer = requests.post(f"{medical_imaging.url}/datastores", timeout=10)
        assert (answer.status_code, answer.headers["x-amzn-ErrorType"]) == (400, "ValidationException")

    def test_an_answer_that_the_model_does_not_allow_fails_the_test(self) -> None:
        def ask() -> None:
            with MedicalImaging() as service:
                store = service.image_sets.create_datastore().datastore_id
                service.image_sets.add(store, document(), {}, image_set_id="too-short")
                client = service.client(retries={"total_max_attempts": 1})
                with pytest.raises(client.exceptions.ClientError):
                    client.search_image_sets(datastoreId=store)

        with pytest.raises(AssertionError, match="imageSetId"):
            ask()

    def test_token_of_a_page_that_was_never_given(self, client: Any, store: str) -> None:
        token = base64.b64encode(b"next").decode()
        with pytest.raises(client.exceptions.ValidationException):
            client.list_datastores(nextToken=token)

    def test_environment_is_enough_for_a_client(
        self, medical_imaging: MedicalImaging, moto: Moto, monkeypatch: pytest.MonkeyPatch, add: Add
    ) -> None:
        for name, value in (medical_imaging.environment | moto.environment).items():
            monkeypatch.setenv(name, value)
        session = boto3.Session()
        assert session.client("medical-imaging").get_image_set(**named(add()))["versionId"] == "1"
        assert session.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


class TestFaults:
    FRAME = "GetImageFrame"

    @staticmethod
    def frame(client: Any, image_set: ImageSet) -> bytes:
        answer = client.get_image_frame(**named(image_set), imageFrameInformation={"imageFrameId": FRAME_ID})
        found: bytes = answer["imageFrameBlob"].read()
        return found

    @pytest.mark.parametrize(
        ("kind", "code"),
        [(Kind.THROTTLING, "ThrottlingException"), (Kind.INTERNAL, "InternalServerException")],
    )
    def test_errors_are_retried_by_botocore(
        self, medical_imaging: MedicalImaging, add: Add, client: Any, kind: Kind, code: str
    ) -> None:
        image_set = add()
        medical_imaging.faults.add(kind, self.FRAME)
        with pytest.raises(client.exceptions.ClientError) as raised:
            self.frame(client, image_set)
        assert raised.value.response["Error"]["Code"] == code
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == {Kind.THROTTLING: 429}.get(kind, 500)
        medical_imaging.faults.add(kind, self.FRAME)
        assert self.frame(medical_imaging.client(retries={"mode": "standard"}), image_set) == b"frame"
        assert medical_imaging.requests == [self.FRAME] * 3

    def test_fault_of_another_operation_waits(self, medical_imaging: MedicalImaging, add: Add, client: Any) -> None:
        image_set = add()
        medical_imaging.faults.add(Kind.THROTTLING, "GetImageSet", times=2)
        assert self.frame(client, image_set) == b"frame"
        for _ in range(2):
            with pytest.raises(client.exceptions.ThrottlingException):
                client.get_image_set(**named(image_set))
        assert state(client, image_set)[0] == "1"

    @pytest.mark.parametrize(("kind", "version"), [(Kind.CUT_BEFORE, "1"), (Kind.CUT_AFTER, "2")])
    def test_cut_connection(
        self, medical_imaging: MedicalImaging, add: Add, client: Any, kind: Kind, version: str
    ) -> None:
        image_set = add()
        medical_imaging.faults.add(kind)
        with pytest.raises(botocore.exceptions.HTTPClientError):
            update(client, image_set, DESCRIPTION)
        assert state(client, image_set)[0] == version

    def test_cut_in_the_body(self, medical_imaging: MedicalImaging, add: Add, client: Any) -> None:
        image_set = add(frames={FRAME_ID: bytes(100_000)})
        medical_imaging.faults.add(Kind.CUT_IN_BODY)
        with pytest.raises((botocore.exceptions.ResponseStreamingError, botocore.exceptions.IncompleteReadError)):
            self.frame(client, image_set)
        assert self.frame(client, image_set) == bytes(100_000)

    def test_hang(self, medical_imaging: MedicalImaging, add: Add, client: Any) -> None:
        image_set = add()
        medical_imaging.faults.add(Kind.HANG)
        impatient = medical_imaging.client(read_timeout=0.2, retries={"total_max_attempts": 1})
        with pytest.raises(botocore.exceptions.ReadTimeoutError):
            self.frame(impatient, image_set)
        assert self.frame(client, image_set) == b"frame"

    def test_wrong_bytes(self, medical_imaging: MedicalImaging, add: Add, client: Any) -> None:
        image_set = add()
        medical_imaging.faults.add(Kind.WRONG_BYTES)
        wrong = self.frame(client, image_set)
        assert wrong != b"frame"
        assert len(wrong) == len(b"frame")

    def test_slow(self, medical_imaging: MedicalImaging, add: Add, client: Any) -> None:
        image_set = add(frames={FRAME_ID: bytes(1000)})
        medical_imaging.faults.add(Kind.SLOW)
        assert self.frame(client, image_set) == bytes(1000)

    def test_forgotten(self, medical_imaging: MedicalImaging, add: Add, client: Any) -> None:
        medical_imaging.faults.add(Kind.THROTTLING, times=100)
        medical_imaging.faults.release()
        assert state(client, add())[0] == "1"
