"""What the service's refusals mean for whoever asked: try later, look again, give up, or repair the access to it."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)
from urllib3.exceptions import HTTPError

from fileroom_storage.plugin import StorageError

_ACCESS = (
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
_CONFLICTS = frozenset({"ConflictException"})
_ABSENT = frozenset({"ResourceNotFoundException", "NoSuchKey", "NoSuchBucket"})
_REFUSED = frozenset({"ValidationException"})
_DENIED = frozenset(
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


class ServiceError(StorageError):
    """Base of all."""


class TryLater(ServiceError):
    """Throttled, out of order, or no answer: the same request may succeed later, or may have succeeded."""


class VersionConflict(ServiceError):
    """The image set has another version than was thought, or is at something else."""


class NotThere(ServiceError):
    """There is no such image set, data store, job or object."""


class RefusedByService(ServiceError):
    """A request that no repetition makes good."""


class NoAccess(ServiceError):
    """Credentials, region or permissions: nothing succeeds until somebody repairs them."""


@contextmanager
def service_errors(operation: str) -> Iterator[None]:
    """Turns what boto3 raises into the errors above."""
    try:
        yield
    except ClientError as error:
        raise _meaning(operation, error) from error
    except ParamValidationError as error:
        raise RefusedByService(f"{operation} takes no such request; {_line(error)}") from error
    except _ACCESS as error:
        raise NoAccess(
            f"{operation} cannot be asked for: {_line(error)}; set credentials and region as for any tool of AWS, "
            "for example AWS_PROFILE and AWS_REGION"
        ) from error
    except BotoCoreError as error:
        raise TryLater(f"{operation} was not answered: {_line(error)}") from error
    except (HTTPError, ConnectionError, TimeoutError) as error:
        # what breaks off in the midst of a body comes from urllib3 as it is
        raise TryLater(f"the answer to {operation} has broken off ({type(error).__name__})") from error


def _meaning(operation: str, error: ClientError) -> ServiceError:
    told = error.response.get("Error", {})
    code, message = str(told.get("Code", "")), str(told.get("Message", ""))
    text = f"{operation}: {code}: {message}"
    if code in _CONFLICTS:
        return VersionConflict(text)
    if code in _ABSENT:
        return NotThere(text)
    if code in _REFUSED:
        return RefusedByService(text)
    if code in _DENIED:
        return NoAccess(f"{text}; allow {operation} to whom the credentials are of, then try again")
    return TryLater(text)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
