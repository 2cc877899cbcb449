"""Which image set an instance is of, where several have it: the primary one, whatever came first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

_NEVER = datetime(9999, 12, 31)  # as the index keeps times


@dataclass(frozen=True, slots=True)
class Holder:
    """An image set that is not deleted, and the SOP Instance UIDs of its series."""

    pk: int
    key: str
    is_primary: bool | None
    created_at: datetime | None
    series: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def rank(self) -> tuple[bool, datetime, str]:
        """The least comes first: the primary, then the oldest."""
        return not self.is_primary, self.created_at or _NEVER, self.key


def allotted(holders: Iterable[Holder]) -> dict[str, frozenset[str]]:
    """The SOP Instance UIDs that each has to itself, by its key."""
    taken: set[str] = set()
    own = {}
    for holder in sorted(holders, key=Holder.rank):
        uids = frozenset().union(*holder.series.values()) - taken
        taken |= uids
        own[holder.key] = uids
    return own
