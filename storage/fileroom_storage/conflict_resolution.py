"""The part of the facade that tells of conflicts and ends them."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping

from .consistency import Checker
from .errors import InstanceNotFound
from .index.audit.event import Actor
from .index.audit.recorder import AuditLog
from .index.conflicts import ConflictState
from .index.maintenance import Maintenance
from .index.resolution import Conflict, Resolution
from .index.scope import Scope
from .query.locate import StoredInstance
from .settings import StorageSettings


class ConflictResolution:
    """What Storage does about conflicts; Storage makes its parts."""

    settings: StorageSettings
    audit: AuditLog
    _checker: Checker
    _maintenance: Maintenance

    @abstractmethod
    def locate(self, matches: Mapping[str, str], scope: Scope = None) -> Iterator[StoredInstance]: ...

    @abstractmethod
    def purge_expired(self, actor: Actor | None = None) -> int: ...

    def conflicts(self, state: ConflictState | None = ConflictState.OPEN) -> Iterator[Conflict]:
        return self._maintenance.conflicts(state)

    def count_conflicts(self, state: ConflictState = ConflictState.OPEN) -> int:
        return self._maintenance.count_conflicts(state)

    def conflict(self, pk: int) -> Conflict:
        """Raises InstanceNotFound."""
        return self._maintenance.conflict(pk)

    def resolve_conflict(self, pk: int, resolution: Resolution, actor: Actor | None = None) -> None:
        """KEEP leaves the index as it is, ACCEPT takes over what the object says. Raises InstanceNotFound.

        The copy that is out of use then can be restored like what was deleted.
        """
        conflict = self.conflict(pk)
        arrival = None
        if resolution is Resolution.ACCEPT:
            location = conflict.location
            if location is None:
                instance = next(self.locate({"SOPInstanceUID": conflict.sop_instance_uid}), None)
                location = instance.location if instance else None
            if location is None:
                raise InstanceNotFound("the object that brought the conflict is gone; resolve with `keep`")
            arrival = self._checker.arrival(location)
        self._maintenance.resolve(pk, resolution, arrival, self.audit.actor(actor))
        if not self.settings.undo_time:
            self.purge_expired(actor)
