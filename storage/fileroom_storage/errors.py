"""What can go wrong in storage, by name; DIMSE and DICOMweb turn these into statuses in one table each."""

from enum import StrEnum


class StorageError(Exception):
    """Base of all; its text is fit for a client: it says what to do next and holds no patient data."""


class UnusableReason(StrEnum):
    NOT_DICOM = "not DICOM"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    NESTED_TOO_DEEP = "nested too deep"
    TOO_LARGE = "too large"
    MISSING_UID = "missing UID"
    INVALID_UID = "invalid UID"
    NOT_A_COMPOSITE_INSTANCE = "not a composite instance"
    STUDY_MISMATCH = "study mismatch"


class UnusableObject(StorageError):
    """An object that cannot be kept, whatever is done."""

    def __init__(self, reason: UnusableReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class HeaderTooLarge(UnusableObject):
    """More elements, or longer values, than are held in memory at a time; the object's bytes can still be had."""

    def __init__(self, what: str) -> None:
        super().__init__(UnusableReason.TOO_LARGE, f"the header is too large to be shown: {what}; retrieve the object")


class StorageUnavailable(StorageError):
    """Database away, disk full, too long a wait: the same request may succeed later."""


class PixelsUnavailable(StorageUnavailable):
    """What has the pixels of an instance, which are not here, does not give them now."""


class StorageNotWritable(StorageUnavailable):
    """The disk of the objects or of the index is full or read-only; what is stored can be read."""


class SchemaNotCurrent(StorageError):
    """The index has another schema than this release needs."""


class InvalidQuery(StorageError):
    """An identifier or a parameter that no answer can be given to."""

    def __init__(self, message: str, keyword: str | None = None) -> None:
        super().__init__(message)
        self.keyword = keyword


class InstanceNotFound(StorageError):
    """Nothing in the index has these UIDs."""


class NotAuthorized(StorageError):
    """What somebody wants to store is not theirs to store."""


class ApiKeyExists(StorageError):
    """A usable key has this name."""


class ApiKeyNotFound(StorageError):
    """No key that could be revoked has this name."""


class DuplicateTransaction(StorageError):
    """A storage commitment request under a Transaction UID that another request has."""


class FrameOutOfRange(StorageError):
    """The instance has fewer frames than asked for."""


class ObjectMissing(StorageError):
    """The index has the instance but the object store has lost its bytes; `fileroom check` tells more."""


class CannotDecode(StorageError):
    """Pixels that are damaged, or compressed in a way that there is no decoder for."""


class CannotTranscode(StorageError):
    """An object, or a frame, that there is no way to give in the transfer syntax asked for."""


class ObjectDamaged(StorageError):
    """The object store has other bytes than came in, or they cannot be read; `fileroom check` tells more."""


class PluginUnusable(StorageError):
    """A plugin that is named or enabled, but cannot be loaded or started."""
