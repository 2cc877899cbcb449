"""Sends the audit log to a collector, from where it was left the last time; what the collector misses is sent again."""

import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime

from fileroom_server.audit_message import encoded_message
from fileroom_server.syslog import Collector, SyslogConnection, syslog_message
from fileroom_storage.errors import StorageError
from fileroom_storage.index.audit.chain import Head
from fileroom_storage.index.audit.delivery import Delivery
from fileroom_storage.index.audit.reading import AuditRow

_log = logging.getLogger(__name__)

DESTINATION = "syslog"
_MESSAGE_ID = "DICOM+RFC3881"  # PS3.15 A.6
_LEASE_SECONDS = 30.0
_RENEWAL_SECONDS = 10.0
_POLL_SECONDS = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_BATCH = 200

Positions = dict[int, Head]


class AuditDelivery:
    """Runs in a thread of one process a host; among several hosts one sends, and another goes on when it dies.

    A message counts as delivered `confirm_time` seconds after it was sent, if the connection still stands then and the
    collector's system has acknowledged all of it.
    """

    def __init__(self, delivery: Delivery, collector: Collector, confirm_time: float) -> None:
        self._delivery = delivery
        self._collector = collector
        self._confirm_time = confirm_time
        self._owner = f"{socket.gethostname()[:20]} {os.getpid()} {uuid.uuid4().hex}"[:64]
        self._renew_at = 0.0
        self._confirmed: Positions = {}
        self._sent: Positions = {}
        self._unconfirmed: deque[tuple[float, Positions]] = deque()

    def run(self, stop: threading.Event) -> None:
        pause = 0.0
        while not stop.wait(pause):
            try:
                if not self._claim():
                    pause = _LEASE_SECONDS / 3
                    continue
                self._send(stop)
                pause = _FIRST_PAUSE
            except (OSError, StorageError) as error:
                if not pause or pause == _FIRST_PAUSE:
                    _log.warning("audit events cannot be sent to the collector now: %s; they wait in the index", error)
                pause = min(2 * pause or _FIRST_PAUSE, _LONGEST_PAUSE)
            except Exception as error:  # noqa: BLE001  # the thread must outlive any surprise
                _log.error("audit events could not be sent (%s); it is tried again", type(error).__name__)
                pause = _LONGEST_PAUSE
        self._release()

    def _claim(self) -> bool:
        now = datetime.now(UTC).replace(tzinfo=None)
        self._renew_at = time.monotonic() + _RENEWAL_SECONDS
        return self._delivery.claim(self._owner, now, _LEASE_SECONDS)

    def _release(self) -> None:
        with suppress(StorageError):  # the lease runs out
            self._delivery.release(self._owner)

    def _send(self, stop: threading.Event) -> None:
        """Sends until told to stop, or until another process does."""
        connection = SyslogConnection.open(self._collector)
        try:
            self._confirmed = self._delivery.positions()
            self._sent = dict(self._confirmed)
            self._unconfirmed.clear()
            _log.info("audit events are sent to %s:%d", self._collector.host, self._collector.port)
            while not stop.is_set():
                connection.check()
                rows = self._delivery.undelivered(self._sent, _BATCH)
                for row in rows:
                    connection.send(self._message(row))
                    self._sent[row.chain] = Head(row.chain, row.sequence, row.hash)
                if rows:
                    self._unconfirmed.append((time.monotonic(), dict(self._sent)))
                if not self._confirm(connection) or not self._renewed():
                    return
                if not rows:
                    stop.wait(_POLL_SECONDS)
        finally:
            connection.close()

    def _confirm(self, connection: SyslogConnection) -> bool:
        """Makes durable what has been delivered; False where another process sends now."""
        due = time.monotonic() - self._confirm_time
        if not self._unconfirmed or self._unconfirmed[0][0] > due:
            return True
        if not connection.is_acknowledged():
            return True
        connection.check()
        while self._unconfirmed and self._unconfirmed[0][0] <= due:
            _, self._confirmed = self._unconfirmed.popleft()
        return self._delivery.delivered(self._owner, self._confirmed.values())

    def _renewed(self) -> bool:
        return time.monotonic() < self._renew_at or self._claim()

    def _message(self, row: AuditRow) -> bytes:
        return syslog_message(
            self._collector,
            encoded_message(row),
            at=row.at,
            host=str(row.detail.get("host", "-")),
            process=str(row.detail.get("process", "-")),
            message_id=_MESSAGE_ID,
            is_failure=row.outcome != 0,
        )
