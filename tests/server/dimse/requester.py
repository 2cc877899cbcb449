"""A modality that asks for storage commitment: over its own association or the server's it is told the outcome."""

import queue
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association

from tests.made import CT_IMAGE_STORAGE
from tests.server.dimse.scu import associated

PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"


@dataclass(frozen=True)
class Report:
    """An N-EVENT-REPORT as it came."""

    event_type: int | None
    information: Dataset
    own_association: bool  # the requester's
    calling_ae_title: str

    @property
    def transaction_uid(self) -> str:
        return str(self.information.TransactionUID)

    @property
    def committed(self) -> list[tuple[str, str]]:
        return _references(self.information.get("ReferencedSOPSequence", ()))

    @property
    def failed(self) -> dict[str, int]:
        items = self.information.get("FailedSOPSequence", ())
        return {str(item.ReferencedSOPInstanceUID): item.FailureReason for item in items}


def _references(items: Iterable[Dataset]) -> list[tuple[str, str]]:
    return [(str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)) for item in items]


def action_information(transaction_uid: str, instances: Iterable[str | tuple[str, str]]) -> Dataset:
    """A request for these instances: SOP Instance UIDs of CT, or (SOP Class UID, SOP Instance UID)."""
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = []
    for instance in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
            (CT_IMAGE_STORAGE, instance) if isinstance(instance, str) else instance
        )
        request.ReferencedSOPSequence.append(item)
    return request


class Requester:
    """`answers` are the statuses of its next responses to reports; then it takes them with success."""

    def __init__(self, ae_title: str = "MODALITY", answers: Iterable[int] = ()) -> None:
        self.ae_title = ae_title
        self.reports: queue.Queue[Report] = queue.Queue()
        self._answers = list(answers)

    @contextmanager
    def calling(self, port: int, *contexts: str, called: str = "FILEROOM") -> Iterator[Association]:
        """An association of its own, for storage commitment and these."""
        handlers = [(evt.EVT_N_EVENT_REPORT, self._handle_report)]
        with ExitStack() as stack:
            opened = associated(
                port, PUSH_MODEL, *contexts, calling=self.ae_title, called=called, evt_handlers=handlers
            )
            with opened as association:
                assert association.is_established
                if association.dul.socket is not None and association.dul.socket.socket is not None:
                    # pynetdicom forgets to where the peer was faster
                    stack.callback(association.dul.socket.socket.close)
                    stack.callback(association.join, 30)
                yield association

    @contextmanager
    def listening(self, port: int, *, negotiates_role: bool = True, tls: Any = None) -> Iterator[None]:
        """Takes associations of the server for reports, there."""
        entity = AE(ae_title=self.ae_title)
        entity.require_called_aet = True
        if negotiates_role:
            entity.add_supported_context(PUSH_MODEL, scu_role=False, scp_role=True)
        else:
            entity.add_supported_context(PUSH_MODEL)
        handlers: Any = [(evt.EVT_N_EVENT_REPORT, self._handle_report)]
        entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls)
        try:
            yield
        finally:
            entity.shutdown()

    def ask(self, association: Association, transaction_uid: str, instances: Iterable[str | tuple[str, str]]) -> int:
        """The status of an N-ACTION."""
        return send(association, action_information(transaction_uid, instances))

    def report(self, seconds: float = 60.0) -> Report:
        """The next one."""
        return self.reports.get(timeout=seconds)

    def _handle_report(self, event: evt.Event) -> tuple[int, None]:
        association = event.assoc
        calling = str(association.requestor.ae_title).strip()
        self.reports.put(Report(event.event_type, event.event_information, association.is_requestor, calling))
        return (self._answers.pop(0) if self._answers else 0x0000), None


def send(
    association: Association,
    information: Dataset | None,
    action_type: int = 1,
    sop_class_uid: str = PUSH_MODEL,
    sop_instance_uid: str = PUSH_MODEL_INSTANCE,
) -> int:
    """The status of an N-ACTION, right or wrong."""
    status, _ = association.send_n_action(information, action_type, sop_class_uid, sop_instance_uid)
    answer: int = status.Status
    return answer
