"""The receiving process: the application entity, its storage, and the adoption of what a crash left behind."""

import logging
import resource
import signal
import socket
import threading
from functools import partial

from fileroom_server.application_entity import create_application_entity, drain, event_handlers, listen
from fileroom_server.association_counts import ReceiverPlace
from fileroom_server.association_record import count_refusal
from fileroom_server.audit_delivery import DESTINATION, AuditDelivery
from fileroom_server.child_process import collect_less
from fileroom_server.committer import Committer
from fileroom_server.config import Configuration
from fileroom_server.dimse_audit import record_refusal
from fileroom_server.heartbeat import Heartbeat
from fileroom_server.observability import Observability
from fileroom_server.reception import Refusal
from fileroom_server.service import Listening
from fileroom_server.wiring import audit_collector, storage_settings
from fileroom_storage.errors import StorageError
from fileroom_storage.storage import ORPHAN_SECONDS, Storage

_log = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
PURGE_SECONDS = 60.0
_DESCRIPTORS = 65_536
# what a process that has died since the start left behind is nobody's only copy: its sender was not answered
ADOPTION_SECONDS = 3600.0


def receive(
    configuration: Configuration,
    listener: socket.socket,
    place: ReceiverPlace,
    heartbeat: Heartbeat,
    observability: Observability,
    listening: Listening,
) -> None:
    """Serves DIMSE until SIGTERM, then lets associations finish. `listening` is told the port."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _allow_descriptors()
    dicom, peers = configuration.dicom, configuration.peers
    with Storage.open(storage_settings(configuration), observability.begin()) as storage:
        entity = create_application_entity(dicom, peers, only_peers_may_call=configuration.only_peers_may_call)
        committer = None
        if configuration.storage_commitment.enabled:
            owner = f"{socket.gethostname()}:{listener.getsockname()[1]}/{place.number}"
            committer = Committer(storage, entity, peers, configuration.storage_commitment, owner, dicom.tls)
        handlers = event_handlers(
            storage,
            dicom.ae_title,
            peers,
            committer,
            own_tls=dicom.tls,
            maximum_find_results=dicom.maximum_find_results,
        )
        refused = partial(_turned_away, storage)
        server = listen(entity, listener.getsockname()[:2], handlers, listener, place, refused)
        collect_less()
        heartbeat.beat()
        listening(server.server_address[1])
        if committer is not None:
            committer.start()
        if place.is_first:
            threading.Thread(target=_adopt_orphans, args=(storage, stop), name="fileroom-orphans", daemon=True).start()
            purge = (configuration, storage, stop)
            threading.Thread(target=_purge, args=purge, name="fileroom-purge", daemon=True).start()
            _send_audit_events(configuration, storage, stop)
        while not stop.wait(BEAT_SECONDS):
            heartbeat.beat()
            server.publish_count()
        heartbeat.stop()
        drain(server, configuration.drain_timeout)
        if committer is not None:
            committer.close()
    observability.end()


def _turned_away(storage: Storage, refusal: Refusal) -> None:
    count_refusal(refusal.codes)
    record_refusal(refusal, storage.audit)


def _send_audit_events(configuration: Configuration, storage: Storage, stop: threading.Event) -> None:
    collector = audit_collector(configuration)
    if collector is None:
        return
    delivery = AuditDelivery(storage.audit.delivery(DESTINATION), collector, configuration.audit.syslog_confirm_time)
    threading.Thread(target=delivery.run, args=(stop,), name="fileroom-audit", daemon=True).start()


def _allow_descriptors() -> None:
    """As many open files as this process may have: connections are counted elsewhere, and less kindly refused here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _adopt_orphans(storage: Storage, stop: threading.Event) -> None:
    """At the start, once more when what a crash just before it left is old enough to be told from what comes in, and
    then now and then: any process may die at any time.
    """
    pause = ORPHAN_SECONDS
    _adopt_once(storage, stop)
    while not stop.wait(pause):
        _adopt_once(storage, stop)
        pause = ADOPTION_SECONDS


def _purge(configuration: Configuration, storage: Storage, stop: threading.Event) -> None:
    """What has outlived its undo time goes, here and nowhere else: there is one receiver to a data folder."""
    pause = min(PURGE_SECONDS, max(1.0, configuration.storage.undo_time / 2))
    while True:
        try:
            purged = storage.purge_expired()
        except StorageError as error:
            if not stop.is_set():
                _log.warning("what was deleted could not be purged: %s; it is tried again", error)
        else:
            if purged:
                _log.info("%d deleted objects were purged", purged)
        if stop.wait(pause):
            return


def _adopt_once(storage: Storage, stop: threading.Event) -> None:
    try:
        adopted = storage.adopt_orphans()
    except StorageError as error:
        if not stop.is_set():
            _log.warning("objects without an index row were not looked for: %s; `fileroom check` does it too", error)
    else:
        if adopted:
            _log.warning("%d objects that a crash had left without an index row were taken care of", adopted)
