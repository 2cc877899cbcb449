"""THE table of DIMSE statuses: what every error is answered with, and the comment that goes with it."""

from dataclasses import dataclass
from enum import StrEnum

from pydicom.datadict import tag_for_keyword

from fileroom_storage.errors import (
    InvalidQuery,
    ObjectMissing,
    SchemaNotCurrent,
    StorageUnavailable,
    UnusableObject,
    UnusableReason,
)

_COMMENT_LENGTH = 64  # PS3.7 E.1: Error Comment (0000,0902) is an LO


class Service(StrEnum):
    C_STORE = "C-STORE"
    C_FIND = "C-FIND"
    C_MOVE = "C-MOVE"
    C_GET = "C-GET"


class InvalidRequest(Exception):
    """A request that lacks a parameter or has one that cannot be used."""


class SopClassNotSupported(Exception):
    """A request whose SOP Class has no such service."""


class MoveDestinationUnknown(Exception):
    """A C-MOVE to an AE title that is no peer's."""


@dataclass(frozen=True, slots=True)
class Status:
    """A status with what PS3.7 Annex C lets a response say about it."""

    code: int
    comment: str = ""
    offending_element: int | None = None

    @property
    def pending(self) -> bool:
        # PS3.7 C.1.1
        return self.code in (0xFF00, 0xFF01)


SUCCESS = Status(0x0000)
PENDING = Status(0xFF00)
PENDING_WITH_UNSUPPORTED_KEYS = Status(0xFF01)  # PS3.4 Table C.4-1
CANCELLED = Status(0xFE00)
# PS3.4 Table B.2-1: a warning, the object is stored
MISMATCH_WITH_REQUEST = Status(0xB007, "stored; UIDs of request and data set differ")
SUB_OPERATIONS_FAILED_IN_PART = 0xB000  # PS3.4 Tables C.4-2 and C.4-3
SUB_OPERATIONS_FAILED = 0xA702

PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.17
_SOP_CLASS_NOT_SUPPORTED = 0x0122
_OUT_OF_RESOURCES = 0xA700
_CANNOT_CALCULATE_MATCHES = 0xA701
_MOVE_DESTINATION_UNKNOWN = 0xA801
_DOES_NOT_MATCH_SOP_CLASS = 0xA900

# PS3.4 Table B.2-1: A9xx is "Data Set does not match SOP Class", Cxxx is "cannot understand"
_UNUSABLE = {
    UnusableReason.NOT_DICOM: 0xC000,
    UnusableReason.TRUNCATED: 0xC001,
    UnusableReason.MALFORMED: 0xC002,
    UnusableReason.NESTED_TOO_DEEP: 0xC003,
    UnusableReason.TOO_LARGE: 0xC004,
    UnusableReason.MISSING_UID: 0xC005,
    UnusableReason.INVALID_UID: 0xC006,
    UnusableReason.NOT_A_COMPOSITE_INSTANCE: 0xC007,
    UnusableReason.STUDY_MISMATCH: _DOES_NOT_MATCH_SOP_CLASS,
}
# what every service answers alike, but for those with another code of their own
_CODES: dict[type[Exception], int] = {
    InvalidRequest: 0xC010,
    SopClassNotSupported: _SOP_CLASS_NOT_SUPPORTED,
    InvalidQuery: _DOES_NOT_MATCH_SOP_CLASS,
    MoveDestinationUnknown: _MOVE_DESTINATION_UNKNOWN,
    StorageUnavailable: _OUT_OF_RESOURCES,
    SchemaNotCurrent: _OUT_OF_RESOURCES,
    ObjectMissing: PROCESSING_FAILURE,
}
_CODES_OF_RETRIEVE: dict[type[Exception], int] = {
    StorageUnavailable: _CANNOT_CALCULATE_MATCHES,
    SchemaNotCurrent: _CANNOT_CALCULATE_MATCHES,
}

# all that are sent as the last status of a response
CODES = frozenset(
    (
        SUCCESS.code,
        CANCELLED.code,
        MISMATCH_WITH_REQUEST.code,
        SUB_OPERATIONS_FAILED_IN_PART,
        SUB_OPERATIONS_FAILED,
        PROCESSING_FAILURE,
        *_UNUSABLE.values(),
        *_CODES.values(),
        *_CODES_OF_RETRIEVE.values(),
    )
)


def status_of(error: Exception, service: Service) -> Status:
    """The status that `error` is answered with by `service`; says nothing of errors that nobody expected."""
    if isinstance(error, UnusableObject):
        return _status_of_unusable(error, service)
    codes = _CODES | _CODES_OF_RETRIEVE if service in (Service.C_MOVE, Service.C_GET) else _CODES
    code = codes.get(type(error))
    if code is None:
        return Status(PROCESSING_FAILURE, "internal error; the log of the server tells more")
    keyword = error.keyword if isinstance(error, InvalidQuery) else None
    return Status(code, comment(str(error)), tag_for_keyword(keyword) if keyword else None)


def _status_of_unusable(error: UnusableObject, service: Service) -> Status:
    if service is not Service.C_STORE:
        # the one data set that the other services receive is the identifier
        return Status(_DOES_NOT_MATCH_SOP_CLASS, comment(f"the identifier cannot be read: {error.reason}"))
    code = _UNUSABLE.get(error.reason, 0xC000)
    return Status(code, comment(str(error)))


def comment(text: str) -> str:
    """`text` as an Error Comment: ASCII, one value, cut behind a clause or else between words."""
    plain = " ".join(text.encode("ascii", "replace").decode().replace("\\", "/").split())
    if len(plain) <= _COMMENT_LENGTH:
        return plain
    cut = plain[: _COMMENT_LENGTH + 1]
    clause, found, _ = cut.rpartition("; ")
    return clause if found else cut.rsplit(" ", 1)[0][:_COMMENT_LENGTH].rstrip(" ,;:")
