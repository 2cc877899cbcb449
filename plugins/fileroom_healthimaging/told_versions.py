"""All that was ever told of an image set, in any order and any number of times → what it is.

The result is a function of the set of what was told, so that it cannot depend on the order of events.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Self

from .image_set_version import ACTIVE, DELETED, ImageSetVersion

_BEGINNING = datetime(1, 1, 1)  # as the index keeps times: UTC, without saying so in the type


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody told of a version, beside its document; None is what was not told. Times are UTC without a zone."""

    version_id: int | None = None
    state: str = ACTIVE
    workflow_status: str | None = None
    is_primary: bool | None = None
    storage_tier: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    message: str | None = None

    @classmethod
    def of(cls, version: ImageSetVersion) -> Self:
        told: dict[str, Any] = {field.name: getattr(version, field.name) for field in fields(cls)}
        utc: dict[str, Any] = {
            name: _utc(value) if isinstance(value, datetime) else value for name, value in told.items()
        }
        return cls(**utc)

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self.values()).encode()).hexdigest()

    def values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _order(self) -> tuple[int, datetime, str]:
        version = -1 if self.version_id is None else self.version_id
        return version, self.updated_at or _BEGINNING, self.digest


def sum_of(told: Iterable[Told]) -> Told:
    """What all of them come to: of each value the newest that is known; what is deleted stays so.

    The newest is that of the greatest version, of one version that of the latest update.
    """
    in_order = sorted(told, key=Told._order)
    known: dict[str, Any] = {}
    for one in in_order:
        known |= {name: value for name, value in one.values().items() if value is not None}
    result = replace(Told(), **known)
    return replace(result, state=DELETED) if any(one.state == DELETED for one in in_order) else result


def is_newer_document(version_id: int | None, digest: str, known_version_id: int | None, known_digest: str) -> bool:
    """Of one version, which of two documents is taken does not depend on which came first."""
    return (_number(version_id), digest) > (_number(known_version_id), known_digest)


def _number(version_id: int | None) -> int:
    return -1 if version_id is None else version_id


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo is not None else time
