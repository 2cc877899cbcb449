"""What errors of AWS mean: each that the service's model knows, those of S3 and SQS, of credentials, of connections."""

import botocore.session
import pytest
from botocore import exceptions
from botocore.parsers import ResponseParserError
from urllib3.exceptions import ProtocolError

from fileroom_healthimaging.aws_errors import (
    AwsConflict,
    AwsError,
    AwsNotAllowed,
    AwsNotFound,
    AwsRefused,
    AwsUnavailable,
    translated,
)
from fileroom_storage.plugin import StorageUnavailable

OF_THE_SERVICE = {
    "AccessDeniedException": (403, AwsNotAllowed),
    "BadRequestException": (400, AwsRefused),
    "ConflictException": (409, AwsConflict),
    "InternalServerException": (500, AwsUnavailable),
    "NotAcceptableException": (406, AwsRefused),
    "ResourceNotFoundException": (404, AwsNotFound),
    "ServiceQuotaExceededException": (402, AwsUnavailable),
    "ThrottlingException": (429, AwsUnavailable),
    "ValidationException": (400, AwsRefused),
}
OF_OTHERS = {
    "NoSuchKey": (404, AwsNotFound),
    "NoSuchBucket": (404, AwsNotFound),
    "SlowDown": (503, AwsUnavailable),
    "RequestTimeout": (400, AwsUnavailable),
    "AccessDenied": (403, AwsNotAllowed),
    "RequestTimeTooSkewed": (403, AwsNotAllowed),
    "ExpiredToken": (400, AwsNotAllowed),
    "InvalidObjectState": (400, AwsRefused),
    "AWS.SimpleQueueService.NonExistentQueue": (400, AwsNotFound),
    "KmsThrottled": (400, AwsUnavailable),
    "ReceiptHandleIsInvalid": (400, AwsRefused),
    "BadGateway": (502, AwsUnavailable),
    # of a proxy in between, which says nothing of what is there
    "NotFound": (404, AwsRefused),
}


def client_error(code: str, status: int) -> exceptions.ClientError:
    response = {"Error": {"Code": code, "Message": "Doe^John\nis it"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return exceptions.ClientError(response, "GetImageSet")


def kind_of(error: Exception) -> type[AwsError]:
    with pytest.raises(AwsError) as raised, translated("it"):
        raise error
    return type(raised.value)


def test_every_error_of_the_model_is_known() -> None:
    model = botocore.session.get_session().get_service_model("medical-imaging")
    assert {shape.name for shape in model.error_shapes} <= OF_THE_SERVICE.keys()


@pytest.mark.parametrize("code", [*OF_THE_SERVICE, *OF_OTHERS])
def test_answers(code: str) -> None:
    status, kind = (OF_THE_SERVICE | OF_OTHERS)[code]
    assert kind_of(client_error(code, status)) is kind


def test_what_is_unavailable_is_so_for_storage() -> None:
    with pytest.raises(StorageUnavailable), translated("it"):
        raise client_error("ThrottlingException", 429)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1"),
        exceptions.ReadTimeoutError(endpoint_url="http://127.0.0.1"),
        exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        exceptions.FlexibleChecksumError(error_msg="it differs"),
        ResponseParserError("not XML"),
        ProtocolError("broken off"),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_connections(error: Exception) -> None:
    assert kind_of(error) is AwsUnavailable


@pytest.mark.parametrize(
    "error",
    [
        exceptions.NoCredentialsError(),
        exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        exceptions.CredentialRetrievalError(provider="iam-role", error_msg="it is away"),
        exceptions.ProfileNotFound(profile="nobody"),
        exceptions.UnauthorizedSSOTokenError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_credentials(error: Exception) -> None:
    assert kind_of(error) is AwsNotAllowed


def test_what_is_not_asked_for() -> None:
    assert kind_of(exceptions.NoRegionError()) is AwsRefused
    assert kind_of(exceptions.ParamValidationError(report="Doe^John")) is AwsRefused
    assert kind_of(exceptions.InvalidRegionError(region_name="?")) is AwsRefused


def test_errors_that_are_not_of_aws_stay_what_they_are() -> None:
    with pytest.raises(KeyError), translated("it"):
        raise KeyError("a")


@pytest.mark.parametrize(
    "error",
    [
        *(client_error(code, status) for code, (status, _) in (OF_THE_SERVICE | OF_OTHERS).items()),
        exceptions.ParamValidationError(report="Doe^John\nis it"),
    ],
)
def test_what_aws_says_is_quoted_on_request_alone(error: Exception) -> None:
    with pytest.raises(AwsError) as raised, translated("UpdateImageSetMetadata"):
        raise error
    assert "Doe" not in str(raised.value)
    with pytest.raises(AwsError) as raised, translated("UpdateImageSetMetadata", quoting=True):
        raise error
    assert str(raised.value).endswith("Doe^John is it")
