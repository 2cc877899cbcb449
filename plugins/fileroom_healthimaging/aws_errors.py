"""What an error of AWS means for whoever asked: try later, look again, give up, or repair the access to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fileroom_storage.plugin import StorageError, StorageUnavailable

_THROTTLING = frozenset(
    {
        "EC2ThrottledException",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
# neither throttled nor a fault, and all the same another time it may be otherwise
_PASSING = frozenset(
    {
        "PriorRequestNotComplete",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceQuotaExceededException",
        "TransactionInProgressException",
    }
)
_CONFLICTS = frozenset({"ConflictException"})
_NOT_THERE = frozenset(
    {
        "404",
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NoSuchKey",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)
_NOT_ALLOWED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class AwsError(StorageError):
    """Base of all."""


class AwsUnavailable(AwsError, StorageUnavailable):
    """Throttled, faulty or out of reach, after all attempts: the same may succeed later, or may have succeeded."""


class AwsConflict(AwsError):
    """The image set has another version than was thought, or the service is at something else with it."""


class AwsNotFound(AwsError):
    """What was asked for is not there."""


class AwsNotAllowed(AwsError):
    """The credentials are missing, have expired, or do not allow it: nothing is known of what was asked for."""


class AwsRefused(AwsError):
    """The request will not succeed however often it is repeated."""


@contextmanager
def translated(what: str, *, quoting: bool = False) -> Iterator[None]:
    """Errors of botocore as those above; `what` was being asked for, a thing or an operation.

    `quoting` adds what AWS says, which may quote the request: for the person who asks, and not for the log.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        known = meaning(what, error, quoting=quoting)
        if known is None:
            raise
        raise known from error


def meaning(what: str, error: Exception, *, quoting: bool = False) -> AwsError | None:
    """None for what has nothing to do with AWS."""
    from botocore import exceptions as of_botocore
    from botocore.parsers import ResponseParserError

    said = f": {' '.join(str(error).split())}" if quoting else ""
    if isinstance(error, of_botocore.ClientError):
        return _of_an_answer(what, error.response, quoting=quoting)
    # what breaks off in the midst of an answer comes from urllib3 as it is
    if _is_of_the_connection(error) or isinstance(
        error,
        of_botocore.HTTPClientError
        | of_botocore.ConnectionError
        | of_botocore.IncompleteReadError
        | of_botocore.ResponseStreamingError
        | of_botocore.ChecksumError
        | of_botocore.FlexibleChecksumError
        | ResponseParserError,
    ):
        return AwsUnavailable(f"{what} cannot be had ({type(error).__name__}); it is tried again later")
    if isinstance(
        error,
        of_botocore.CredentialRetrievalError
        | of_botocore.LoginError
        | of_botocore.NoAuthTokenError
        | of_botocore.NoCredentialsError
        | of_botocore.PartialCredentialsError
        | of_botocore.ProfileNotFound
        | of_botocore.SSOError
        | of_botocore.TokenRetrievalError,
    ):
        return AwsNotAllowed(
            f"{what} needs credentials of AWS, and there are none ({type(error).__name__}); set AWS_PROFILE, "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the host a role"
        )
    if isinstance(error, of_botocore.NoRegionError):
        return AwsRefused(f"{what} needs a region; set region in [plugins.healthimaging], or AWS_DEFAULT_REGION")
    if isinstance(error, of_botocore.ParamValidationError):
        return AwsRefused(f"{what} takes no such request ({type(error).__name__}){said}")
    if isinstance(error, of_botocore.BotoCoreError):
        return AwsRefused(f"{what} cannot be asked for ({type(error).__name__}); look at [plugins.healthimaging]{said}")
    return None


def _of_an_answer(what: str, response: Any, *, quoting: bool) -> AwsError:
    told = response.get("Error", {})
    code = str(told.get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = f": {' '.join(str(told.get('Message', '')).split())}" if quoting else ""
    if is_throttling(response):
        return AwsUnavailable(f"{what} is throttled by AWS ({code}); it is tried again later{said}")
    if status >= 500 or code in _PASSING:
        return AwsUnavailable(f"{what} failed in AWS ({code}, {status}); it is tried again later{said}")
    if code in _CONFLICTS:
        return AwsConflict(f"{what} is in conflict with something else ({code}){said}")
    if code in _NOT_THERE:
        return AwsNotFound(f"{what} is not there ({code}){said}")
    if code in _NOT_ALLOWED or status in (401, 403):
        return AwsNotAllowed(
            f"{what} is not allowed to these credentials ({code}); docs/healthimaging.md lists what has to be "
            f"allowed{said}"
        )
    return AwsRefused(f"{what} was refused by AWS ({code or status}){said}")


OK = "ok"
_THROTTLED = "throttled"
_OTHERWISE = "failed"
_OUTCOMES: dict[type[AwsError], str] = {
    AwsUnavailable: "unavailable",
    AwsConflict: "conflict",
    AwsNotFound: "not found",
    AwsNotAllowed: "not allowed",
    AwsRefused: "refused",
}
OUTCOMES = (OK, _THROTTLED, *_OUTCOMES.values(), _OTHERWISE)


def outcome_of(error: Exception) -> str:
    """In a word, one of OUTCOMES."""
    known = meaning("", error)
    if isinstance(known, AwsUnavailable) and is_throttling(getattr(error, "response", None) or {}):
        return _THROTTLED
    return _OTHERWISE if known is None else _OUTCOMES[type(known)]


def is_throttling(response: Any) -> bool:
    """Whether AWS wants to be asked less often, by an answer that has been parsed."""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return response.get("Error", {}).get("Code") in _THROTTLING or status == 429


def _is_of_the_connection(error: Exception) -> bool:
    from urllib3.exceptions import HTTPError

    return isinstance(error, HTTPError | ConnectionError | TimeoutError)
