"""THE table: what went wrong in storage → HTTP status, and Failure Reason (0008,1197) of a stored object."""

from http import HTTPStatus

from fileroom_storage.errors import (
    CannotDecode,
    CannotTranscode,
    FrameOutOfRange,
    HeaderTooLarge,
    InstanceNotFound,
    InvalidQuery,
    NotAuthorized,
    ObjectDamaged,
    ObjectMissing,
    PixelsUnavailable,
    SchemaNotCurrent,
    StorageError,
    StorageNotWritable,
    StorageUnavailable,
    UnusableObject,
    UnusableReason,
)
from fileroom_storage.storage import ConflictType

RETRY_AFTER_SECONDS = 10

_HTTP_STATUS: dict[type[StorageError], HTTPStatus] = {
    InvalidQuery: HTTPStatus.BAD_REQUEST,
    UnusableObject: HTTPStatus.BAD_REQUEST,
    InstanceNotFound: HTTPStatus.NOT_FOUND,
    FrameOutOfRange: HTTPStatus.NOT_FOUND,
    NotAuthorized: HTTPStatus.FORBIDDEN,
    # the object can still be had as it is stored
    CannotDecode: HTTPStatus.NOT_ACCEPTABLE,
    CannotTranscode: HTTPStatus.NOT_ACCEPTABLE,
    HeaderTooLarge: HTTPStatus.NOT_ACCEPTABLE,
    StorageUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    PixelsUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageNotWritable: HTTPStatus.INSUFFICIENT_STORAGE,  # RFC 4918 11.5
    SchemaNotCurrent: HTTPStatus.SERVICE_UNAVAILABLE,
    # the index promises what the object store has lost: no request can mend that
    ObjectMissing: HTTPStatus.INTERNAL_SERVER_ERROR,
    ObjectDamaged: HTTPStatus.INTERNAL_SERVER_ERROR,
}

# PS3.18 Table I.2-2
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
CANNOT_UNDERSTAND = 0xC000
PROCESSING_FAILURE = 0x0110
SOP_CLASS_NOT_SUPPORTED = 0x0122
# PS3.7 C.5, Refused: Not authorized
NOT_AUTHORIZED = 0x0124

# PS3.18 Table I.2-1
COERCION_OF_DATA_ELEMENTS = 0xB000

_FAILURE_REASON: dict[UnusableReason, int] = {
    UnusableReason.NOT_DICOM: CANNOT_UNDERSTAND,
    UnusableReason.TRUNCATED: CANNOT_UNDERSTAND,
    UnusableReason.MALFORMED: CANNOT_UNDERSTAND,
    UnusableReason.NESTED_TOO_DEEP: CANNOT_UNDERSTAND,
    UnusableReason.MISSING_UID: CANNOT_UNDERSTAND,
    UnusableReason.INVALID_UID: CANNOT_UNDERSTAND,
    UnusableReason.TOO_LARGE: OUT_OF_RESOURCES,
    UnusableReason.NOT_A_COMPOSITE_INSTANCE: SOP_CLASS_NOT_SUPPORTED,
    UnusableReason.STUDY_MISMATCH: DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
}

_WARNING_REASON: dict[ConflictType, int] = {
    # it is found under the study its series was first seen in, not under the one it names
    ConflictType.SERIES_STUDY: COERCION_OF_DATA_ELEMENTS,
}


def http_status(error: StorageError) -> HTTPStatus:
    for kind in type(error).__mro__:
        if issubclass(kind, StorageError) and kind in _HTTP_STATUS:
            return _HTTP_STATUS[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def failure_reason(error: Exception) -> int:
    if isinstance(error, UnusableObject):
        return _FAILURE_REASON.get(error.reason, CANNOT_UNDERSTAND)
    if isinstance(error, NotAuthorized):
        return NOT_AUTHORIZED
    return OUT_OF_RESOURCES if isinstance(error, StorageUnavailable) else PROCESSING_FAILURE


def warning_reason(conflicts: tuple[ConflictType, ...]) -> int | None:
    return next((_WARNING_REASON[conflict] for conflict in conflicts if conflict in _WARNING_REASON), None)
