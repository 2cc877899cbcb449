"""That the server starts and stops, for the audit log (PS3.15 A.5.3.1)."""

import logging

from fileroom_server.command_actor import command_actor
from fileroom_server.config import Configuration
from fileroom_server.wiring import storage_settings
from fileroom_storage.errors import StorageError
from fileroom_storage.index.audit.event import Action, AuditEvent, EventId, EventType
from fileroom_storage.storage import Storage

_log = logging.getLogger(__name__)


def record_start(storage: Storage) -> None:
    """Where it cannot be recorded, as on a disk that is full, the log says so: what is stored can still be read."""
    try:
        storage.audit.record_at_once(_event(EventType.APPLICATION_START))
    except StorageError as error:
        _log.error("the audit log does not say that the server has started: %s", error)


def record_stop(configuration: Configuration) -> None:
    """A server that is killed has a start without this."""
    if not configuration.audit.enabled:
        return
    try:
        with Storage.open(storage_settings(configuration)) as storage:
            storage.audit.record_at_once(_event(EventType.APPLICATION_STOP))
    except StorageError as error:
        _log.warning("the audit log does not say that the server has stopped: %s", error)


def _event(what: EventType) -> AuditEvent:
    return AuditEvent(EventId.APPLICATION_ACTIVITY, Action.EXECUTE, command_actor(), type=what)
