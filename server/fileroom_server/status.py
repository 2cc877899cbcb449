"""THE table of DIMSE statuses: what every error is answered with, and the comment that goes with it."""

from dataclasses import dataclass
from enum import StrEnum

from pydicom.datadict import tag_for_keyword

from fileroom_server.access import NotAuthorized
from fileroom_server.tls_files import TlsUnusable
from fileroom_storage.errors import (
    DuplicateTransaction,
    InvalidQuery,
    ObjectDamaged,
    ObjectMissing,
    PixelsUnavailable,
    SchemaNotCurrent,
    StorageNotWritable,
    StorageUnavailable,
    UnusableObject,
    UnusableReason,
)
from fileroom_storage.storage import NotCommitted

_COMMENT_LENGTH = 64  # PS3.7 E.1: Error Comment (0000,0902) is an LO


class Service(StrEnum):
    C_STORE = "C-STORE"
    C_FIND = "C-FIND"
    C_MOVE = "C-MOVE"
    C_GET = "C-GET"
    N_ACTION = "N-ACTION"
    C_ECHO = "C-ECHO"


class InvalidRequest(Exception):
    """A request that lacks a parameter or has one that cannot be used."""


class SopClassNotSupported(Exception):
    """A request whose SOP Class has no such service."""


class TooManyMatches(Exception):
    """A C-FIND with more matches than are returned."""


class MoveDestinationUnknown(Exception):
    """A C-MOVE to an AE title that is no peer's."""


class NoSuchSopClass(Exception):
    """An N-ACTION of another SOP Class than the one that its presentation context is for."""


class NoSuchSopInstance(Exception):
    """An N-ACTION of another SOP Instance than the well-known one."""


class NoSuchAction(Exception):
    """An N-ACTION of a type that its SOP Class does not have."""


class ArgumentError(Exception):
    """Action Information that cannot be acted upon; `keyword` names the attribute."""

    def __init__(self, message: str, keyword: str | None = None) -> None:
        super().__init__(message)
        self.keyword = keyword


class MissingAttribute(ArgumentError):
    """An attribute that has to be there is not."""


class MissingAttributeValue(ArgumentError):
    """An attribute that has to have a value is empty."""


class InvalidArgumentValue(ArgumentError):
    """An attribute has a value that it cannot have."""


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
NOT_AUTHORIZED = 0x0124  # PS3.7 C.5.22
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
    NotAuthorized: NOT_AUTHORIZED,
    TooManyMatches: _OUT_OF_RESOURCES,
    TlsUnusable: SUB_OPERATIONS_FAILED,
    InvalidQuery: _DOES_NOT_MATCH_SOP_CLASS,
    MoveDestinationUnknown: _MOVE_DESTINATION_UNKNOWN,
    StorageUnavailable: _OUT_OF_RESOURCES,
    PixelsUnavailable: _OUT_OF_RESOURCES,
    StorageNotWritable: _OUT_OF_RESOURCES,
    SchemaNotCurrent: _OUT_OF_RESOURCES,
    ObjectMissing: PROCESSING_FAILURE,
    ObjectDamaged: PROCESSING_FAILURE,
}
_CODES_OF_RETRIEVE: dict[type[Exception], int] = {
    StorageUnavailable: _CANNOT_CALCULATE_MATCHES,
    StorageNotWritable: _CANNOT_CALCULATE_MATCHES,
    SchemaNotCurrent: _CANNOT_CALCULATE_MATCHES,
}
# PS3.7 10.1.4.1.10 and Annex C; 0131 is PS3.3 C.14's, which PS3.7 has no other code for
_CODES_OF_ACTION: dict[type[Exception], int] = {
    InvalidRequest: 0x0115,
    NoSuchSopClass: 0x0118,
    NoSuchSopInstance: 0x0112,
    NoSuchAction: 0x0123,
    MissingAttribute: 0x0120,
    MissingAttributeValue: 0x0121,
    InvalidArgumentValue: 0x0115,
    DuplicateTransaction: 0x0131,
    StorageUnavailable: 0x0213,
    SchemaNotCurrent: 0x0213,
}
_OF_SERVICE = {
    Service.C_MOVE: _CODES | _CODES_OF_RETRIEVE,
    Service.C_GET: _CODES | _CODES_OF_RETRIEVE,
    Service.N_ACTION: _CODES | _CODES_OF_ACTION,
}

# PS3.3 C.14: Failure Reason (0008,1197)
_FAILURE_REASONS = {
    NotCommitted.NOT_STORED: 0x0112,
    NotCommitted.OTHER_SOP_CLASS: 0x0119,
    # PS3.3 C.14: what is referred to is not available; a peer must not delete its own copy for it
    NotCommitted.ELSEWHERE: 0x0112,
    NotCommitted.LOST: 0x0110,
}
FAILURE_MEANINGS = {
    0x0110: "processing failure",
    0x0112: "no such object instance",
    0x0119: "class / instance conflict",
    0x0122: "referenced SOP Class not supported",
}


def failure_reason(why: NotCommitted, *, is_storage_class: bool) -> int:
    """Why there is no commitment to an instance that is referred to by a SOP Class of storage, or by another."""
    if why is NotCommitted.NOT_STORED and not is_storage_class:
        return _SOP_CLASS_NOT_SUPPORTED
    return _FAILURE_REASONS[why]


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
        *_CODES_OF_ACTION.values(),
    )
)


def status_of(error: Exception, service: Service) -> Status:
    """The status that `error` is answered with by `service`; says nothing of errors that nobody expected."""
    if isinstance(error, UnusableObject):
        return _status_of_unusable(error, service)
    code = _OF_SERVICE.get(service, _CODES).get(type(error))
    if code is None:
        return Status(PROCESSING_FAILURE, "internal error; the log of the server tells more")
    keyword = error.keyword if isinstance(error, InvalidQuery | ArgumentError) else None
    return Status(code, comment(str(error)), tag_for_keyword(keyword) if keyword else None)


def _status_of_unusable(error: UnusableObject, service: Service) -> Status:
    if service is not Service.C_STORE:
        if service is Service.N_ACTION:
            return Status(0x0115, comment(f"the action information cannot be read: {error.reason}"))
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
