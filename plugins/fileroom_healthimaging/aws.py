"""Clients of AWS, made when they are needed, and what their errors mean."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from fileroom_storage.plugin import StorageError, StorageUnavailable

from .section import HealthImagingSection

MISSING_BOTO3 = "boto3 is not installed, which speaks with AWS; install it: pip install 'fileroom[healthimaging]'"

_THROTTLING = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "SlowDown",
        "RequestLimitExceeded",
        "OverLimit",
    }
)
_NOT_THERE = frozenset(
    {
        "ResourceNotFoundException",
        "NoSuchKey",
        "NoSuchBucket",
        "404",
        "QueueDoesNotExist",
        "AWS.SimpleQueueService.NonExistentQueue",
    }
)
_NOT_ALLOWED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "403",
    }
)


class Boto3Missing(StorageError):
    """The extra `healthimaging` is not installed."""


class AwsUnavailable(StorageUnavailable):
    """Throttled, faulty or out of reach, after all attempts: the same request may succeed later."""


class AwsRefused(StorageError):
    """The request will not succeed until somebody has changed something."""


class AwsNotFound(AwsRefused):
    """What was asked for is not there."""


class AwsNotAllowed(AwsRefused):
    """The credentials are missing, have expired, or do not allow it: nothing is known of what was asked for."""


class AwsClients:
    """For one section of the configuration. Any thread may use any of them. Raises Boto3Missing."""

    def __init__(self, section: HealthImagingSection) -> None:
        self._section = section
        self._lock = threading.Lock()  # making clients is the one thing that boto3 wants to do alone

    @cached_property
    def medical_imaging(self) -> Any:
        endpoint = self._section.endpoint_url
        # botocore puts "runtime-" before the host of operations on image sets: an address of one's own has no such host
        more = {} if endpoint is None else {"inject_host_prefix": False}
        return self._client("medical-imaging", endpoint_url=endpoint, **more)

    @cached_property
    def s3(self) -> Any:
        return self._client("s3")

    @cached_property
    def sqs(self) -> Any:
        return self._client("sqs")

    def check(self) -> None:
        """Raises Boto3Missing at once, before anything is asked for."""
        if find_spec("boto3") is None:
            raise Boto3Missing(MISSING_BOTO3)

    def close(self) -> None:
        for name in ("medical_imaging", "s3", "sqs"):
            client = self.__dict__.pop(name, None)
            if client is not None:
                client.close()

    def _client(self, service: str, endpoint_url: str | None = None, **more: Any) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise Boto3Missing(MISSING_BOTO3) from error
        section = self._section
        config = Config(
            connect_timeout=section.connect_timeout,
            read_timeout=section.read_timeout,
            max_pool_connections=section.concurrent_requests + 2,
            # waits longer from attempt to attempt, 20 s at most, by chance a little less or more
            retries={"mode": "standard", "total_max_attempts": section.attempts},
            **more,
        )
        with self._lock, translated("AWS"):
            return boto3.session.Session().client(
                service, region_name=section.region, endpoint_url=endpoint_url, config=config
            )


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Errors of botocore as ours; `what` was being asked for. Raises AwsUnavailable, AwsNotFound, AwsRefused."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        known = _as_ours(what, error)
        if known is None:
            raise
        raise known from error


def _as_ours(what: str, error: Exception) -> StorageError | None:
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        HTTPClientError,
        IncompleteReadError,
        NoCredentialsError,
        NoRegionError,
        PartialCredentialsError,
        ResponseStreamingError,
    )

    if isinstance(error, ClientError):
        return _of_an_answer(what, error.response)
    # what breaks off in the midst of an answer comes from urllib3 as it is
    if isinstance(error, HTTPClientError | IncompleteReadError | ResponseStreamingError) or _is_of_urllib3(error):
        return AwsUnavailable(f"{what} cannot be reached ({type(error).__name__}); it is tried again later")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return AwsNotAllowed(
            f"{what} needs credentials of AWS, and there are none; set AWS_PROFILE, AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give the host a role"
        )
    if isinstance(error, NoRegionError):
        return AwsRefused(f"{what} needs a region; set region in [plugins.healthimaging], or AWS_DEFAULT_REGION")
    if isinstance(error, BotoCoreError):
        return AwsRefused(f"{what} cannot be asked for ({type(error).__name__}); look at [plugins.healthimaging]")
    return None


def _of_an_answer(what: str, response: Any) -> StorageError:
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _THROTTLING or status == 429:
        return AwsUnavailable(f"{what} is throttled by AWS; it is tried again later")
    if status >= 500:
        return AwsUnavailable(f"{what} failed in AWS ({code}, {status}); it is tried again later")
    if code in _NOT_THERE:
        return AwsNotFound(f"{what} is not there ({code})")
    if code in _NOT_ALLOWED:
        return AwsNotAllowed(
            f"{what} is not allowed to these credentials ({code}); docs/healthimaging.md lists what has to be allowed"
        )
    return AwsRefused(f"{what} was refused by AWS ({code or status})")


def _is_of_urllib3(error: Exception) -> bool:
    from urllib3.exceptions import HTTPError

    return isinstance(error, HTTPError | ConnectionError | TimeoutError)
