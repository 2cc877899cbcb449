"""Works off the requests for storage commitment: looks at what is stored, and reports it until the requester knows.

There is one in each receiving process, because a report may go over an association that only its process has. What is
to be tried again is in the index, where each takes what is due and nobody is at, on this host or another.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.association import Association

from fileroom_server.associations import WaitingAssociation
from fileroom_server.commitment_delivery import Delivery, EventOf, check_status
from fileroom_server.config import Peer
from fileroom_server.config_storage_commitment import StorageCommitmentConfiguration
from fileroom_server.config_tls import NO_CERTIFICATE, DicomTlsConfiguration
from fileroom_server.event_reports import EventReport, NotReported
from fileroom_server.negotiation import is_storage
from fileroom_server.status import failure_reason
from fileroom_server.storage_commitment import commitment_event
from fileroom_storage.errors import StorageError
from fileroom_storage.storage import (
    Claim,
    CommitmentRequest,
    CommitmentState,
    Reference,
    Storage,
    StorageCommitment,
)

_log = logging.getLogger(__name__)

_LEASE = timedelta(minutes=5)
_RENEW_SECONDS = 60.0
_POLL_SECONDS = 5.0
_FORGET_SECONDS = 3600.0
_AT_WORK = 4  # threads of each kind: a requester that does not answer keeps only its own reports waiting
_AT_A_TIME = 200
# how long the requester's association may be busy with other requests before the report goes over another
_PATIENCE_SECONDS = 5.0
_OFFER_SECONDS = 1.0
_CLOSE_SECONDS = 5.0
_RESPONSE_SECONDS = 60.0  # of an application entity that has no DIMSE timeout


@dataclass(eq=False, slots=True)
class _Task:
    """A commitment that is ours to report, and the association that it was asked for over, while it may go there."""

    commitment: StorageCommitment
    association: WaitingAssociation | None = None
    context_id: int = 0


class _Lane(NamedTuple):
    """What is done one after the other: for a requester, over its own associations or over one that we ask it for."""

    ae_title: str
    is_own: bool


@dataclass(eq=False, slots=True)
class _Offer:
    """A report that an association of the requester's is to take; after `deadline` it goes another way."""

    task: _Task
    association: WaitingAssociation
    report: EventReport
    failures: Mapping[Reference, int]
    deadline: float
    is_sent: bool = False


class Committer:
    """`owner` names this process among all that share the index, and names it again after a restart."""

    def __init__(
        self,
        storage: Storage,
        entity: AE,
        peers: Iterable[Peer],
        settings: StorageCommitmentConfiguration,
        owner: str,
        own_tls: DicomTlsConfiguration = NO_CERTIFICATE,
    ) -> None:
        self._own_tls = own_tls
        self._commitments = storage.commitments
        self._storage = storage
        self._entity = entity
        self._peers = {peer.ae_title: peer for peer in peers}
        self._settings = settings
        self._claim = Claim(owner, _LEASE)
        # what follows is for the thread of this alone; others put in the mailbox what it is to do
        self._mailbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting: dict[_Lane, deque[_Task]] = {}
        self._busy: set[_Lane] = set()
        self._active: set[int] = set()
        self._offers: list[_Offer] = []
        self._next_poll = self._next_renewal = self._next_forgetting = 0.0
        self._has_stopped = False
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="fileroom-commitment", daemon=True)

    def take(self, request: CommitmentRequest, association: Association, context_id: int) -> None:
        """Returns once the request is durable. Raises DuplicateTransaction, StorageUnavailable.

        To be called in the thread of the association.
        """
        commitment = self._commitments.request(request, self._claim, timedelta(seconds=self._settings.give_up_after))
        if commitment is None:
            return  # asked for twice, and somebody is at it
        task = _Task(commitment)
        if self._settings.same_association and isinstance(association, WaitingAssociation):
            association.reports()
            task.association, task.context_id = association, context_id
        self._mailbox.put(partial(self._add, [task]))

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends the work; what is not done is due at once for whoever comes next."""
        self._has_stopped = True
        self._mailbox.put(None)
        self._thread.join(_CLOSE_SECONDS)
        try:
            self._commitments.release(self._claim.owner)
        except StorageError as error:
            _log.warning("storage commitments are left for %s: %s", _LEASE, error)

    # -- in the thread of this -----------------------------------------------------------------------------

    def _run(self) -> None:
        # what this process was at before it was killed
        self._safely(partial(self._commitments.release, self._claim.owner))
        while True:
            try:
                action = self._mailbox.get(timeout=self._patience())
            except queue.Empty:
                pass
            else:
                if action is None:
                    return
                self._safely(action)
            self._safely(self._look)
            self._safely(self._start_work)

    def _patience(self) -> float:
        until_poll = max(self._next_poll - time.monotonic(), 0)
        return min(until_poll, _OFFER_SECONDS) if self._offers else until_poll

    def _safely(self, action: Callable[[], None]) -> None:
        try:
            action()
        except StorageError as error:
            if not self._has_stopped and str(error) != self._trouble:
                _log.warning("storage commitments wait: %s", error)
            self._trouble = str(error)  # told once, not at every look
        except Exception:  # noqa: BLE001  # the next round may do better
            if not self._has_stopped:
                _log.exception("storage commitments wait")

    def _look(self) -> None:
        """What has become due."""
        now = time.monotonic()
        for offer in [offer for offer in self._offers if now >= offer.deadline]:
            self._overdue(offer, now)
        if now < self._next_poll:
            return
        self._next_poll = now + _POLL_SECONDS
        if now >= self._next_renewal:
            self._next_renewal = now + _RENEW_SECONDS
            self._active &= self._commitments.renew(self._claim, self._active)
        if now >= self._next_forgetting:
            self._next_forgetting = now + _FORGET_SECONDS
            self._commitments.forget(timedelta(seconds=self._settings.keep))
        at_work = {lane.ae_title for lane in (*self._busy, *self._waiting) if not lane.is_own}
        due = self._commitments.claim_due(self._claim, _AT_A_TIME, at_work)
        self._add([_Task(commitment) for commitment in due])
        self._trouble = ""
        if len(due) == _AT_A_TIME:
            self._next_poll = now

    def _add(self, tasks: Sequence[_Task]) -> None:
        for task in tasks:
            self._active.add(task.commitment.pk)
            lane = _Lane(task.commitment.calling_ae_title, task.association is not None)
            self._waiting.setdefault(lane, deque()).append(task)

    def _start_work(self) -> None:
        for lane in [lane for lane in self._waiting if lane not in self._busy]:
            if sum(busy.is_own == lane.is_own for busy in self._busy) < _AT_WORK:
                self._busy.add(lane)
                work = (lane, self._waiting.pop(lane))
                threading.Thread(target=self._work, args=work, name="fileroom-commitment-report", daemon=True).start()

    def _free(self, lane: _Lane) -> None:
        self._busy.discard(lane)

    def _overdue(self, offer: _Offer, now: float) -> None:
        reports = offer.association.event_reports
        if not offer.is_sent and reports is not None and not reports.withdraw(offer.report):
            # it is with the requester, who has as long to answer as with any message
            offer.is_sent, offer.deadline = True, now + (self._entity.dimse_timeout or _RESPONSE_SECONDS)
            return
        self._offers.remove(offer)
        self._go_another_way(offer.task)

    def _settled(self, offer: _Offer, status: int | None) -> None:
        """The association has taken the report, or has ended."""
        if offer not in self._offers:
            return
        self._offers.remove(offer)
        if status is None:
            self._go_another_way(offer.task)
            return
        try:
            check_status(status, offer.task.commitment.calling_ae_title)
        except NotReported as error:
            self._postpone(offer.task, str(error))
        else:
            self._reported(offer.task, offer.failures)

    def _go_another_way(self, task: _Task) -> None:
        task.association = None
        self._add([task])

    # -- in a thread for each lane -------------------------------------------------------------------------

    def _work(self, lane: _Lane, tasks: Iterable[_Task]) -> None:
        try:
            peer = self._peers.get(lane.ae_title)
            with closing(Delivery(self._entity, lane.ae_title, peer, self._own_tls)) as delivery:
                for task in tasks:
                    self._attempt(task, delivery)
        finally:
            self._mailbox.put(partial(self._free, lane))

    def _attempt(self, task: _Task, delivery: Delivery) -> None:
        try:
            self._report(task, delivery)
        except (NotReported, StorageError) as error:
            self._postpone(task, str(error))
        except Exception as error:  # noqa: BLE001  # one that cannot be reported must not keep the next from it
            _log.exception("the storage commitment %s could not be reported", task.commitment.transaction_uid)
            self._postpone(task, f"{type(error).__name__}; the log of the server tells more")

    def _report(self, task: _Task, delivery: Delivery) -> None:
        commitment = task.commitment
        # at every attempt: what is said is how things are then
        references = self._commitments.references(commitment.pk)
        failures = self._failures(references)
        # after that, so that on the disk is also what the index had not waited for
        if not self._commitments.renew(self._claim, [commitment.pk]):
            self._mailbox.put(partial(self._active.discard, commitment.pk))
            return  # somebody else is at it
        event_of = partial(
            commitment_event,
            commitment.transaction_uid,
            references,
            failures,
            self._storage.settings.retrieve_ae_title,
        )
        if task.association is not None:
            if not self._offer(task, task.association, event_of, failures):
                self._mailbox.put(partial(self._go_another_way, task))
            return
        delivery.report(event_of, commitment.called_ae_title)
        self._reported(task, failures)

    def _failures(self, references: Sequence[Reference]) -> dict[Reference, int]:
        found = self._storage.verify_commitment(references, read=self._settings.verify == "digest")
        return {
            reference: failure_reason(why, is_storage_class=is_storage(UID(reference.sop_class_uid)))
            for reference, why in zip(references, found, strict=True)
            if why is not None
        }

    def _offer(
        self, task: _Task, association: WaitingAssociation, event_of: EventOf, failures: Mapping[Reference, int]
    ) -> bool:
        reports, context = association.event_reports, association._accepted_cx.get(task.context_id)
        if reports is None or context is None:
            return False
        report = EventReport(event_of(str(context.transfer_syntax[0])), task.context_id)
        # one that nobody knows how to reach otherwise waits as long as its association lasts
        is_peer = task.commitment.calling_ae_title in self._peers
        deadline = time.monotonic() + _PATIENCE_SECONDS if is_peer else float("inf")
        offer = _Offer(task, association, report, failures, deadline)
        report.settled = lambda status: self._mailbox.put(partial(self._settled, offer, status))
        self._mailbox.put(partial(self._offers.append, offer))
        if reports.offer(report):
            return True
        self._mailbox.put(partial(self._offers.remove, offer))
        return False

    # -- in any thread -------------------------------------------------------------------------------------

    def _reported(self, task: _Task, failures: Mapping[Reference, int]) -> None:
        commitment = task.commitment
        self._mailbox.put(partial(self._active.discard, commitment.pk))
        self._commitments.reported(commitment.pk, failures)
        _log.log(
            logging.WARNING if failures else logging.INFO,
            "storage commitment %s reported to %s: %d of %d instances are not here",
            commitment.transaction_uid,
            commitment.calling_ae_title,
            len(failures),
            commitment.number_of_references,
        )

    def _postpone(self, task: _Task, why: str) -> None:
        commitment = task.commitment
        self._mailbox.put(partial(self._active.discard, commitment.pk))
        if self._has_stopped:
            return
        pause = min(self._settings.first_pause * 2 ** min(commitment.attempts, 30), self._settings.longest_pause)
        try:
            state = self._commitments.postpone(commitment.pk, timedelta(seconds=pause), why)
        except StorageError as error:
            _log.warning("storage commitment %s waits: %s", commitment.transaction_uid, error)
            return
        if state is CommitmentState.GIVEN_UP:
            _log.error(
                "storage commitment %s of %s is given up: %s; `fileroom commitments retry %s` tries again",
                commitment.transaction_uid,
                commitment.calling_ae_title,
                why,
                commitment.transaction_uid,
            )
        elif state is CommitmentState.PENDING:
            _log.warning(
                "storage commitment %s was not reported to %s: %s; it is tried again in %.0f s",
                commitment.transaction_uid,
                commitment.calling_ae_title,
                why,
                pause,
            )
