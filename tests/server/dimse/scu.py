"""The other side: pynetdicom as an SCU, and dcmtk's tools."""

import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE, SOPClassExtendedNegotiation

PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
PATIENT_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
PATIENT_STUDY_ONLY_FIND = "1.2.840.10008.5.1.4.1.2.3.1"
VERIFICATION = "1.2.840.10008.1.1"


class Checkpoint(threading.Event):
    """Where the reactor of an association stands while its user sends and receives.

    pynetdicom also takes a reactor for standing that has just passed, which then takes the answer away.
    """

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association
        self._gate = threading.Lock()
        self._standing = threading.Event()
        self.set()

    def wait(self, timeout: float | None = None) -> bool:
        while True:
            with self._gate:
                if self.is_set():
                    return True
                self._standing.set()
            super().wait(timeout)

    def set(self) -> None:
        with self._gate:
            self._standing.clear()
            super().set()

    def clear(self) -> None:
        with self._gate:
            super().clear()
        while not self._standing.wait(0.01) and self._association.is_alive():
            pass


@contextmanager
def associated(
    port: int,
    *contexts: Any,
    extended: Mapping[str, bytes] | None = None,
    calling: str = "SCU",
    called: str = "FILEROOM",
    **options: Any,
) -> Iterator[Association]:
    """An association with these contexts: SOP Class UIDs, or (SOP Class UID, transfer syntaxes)."""
    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    items: list[Any] = list(options.pop("ext_neg", []))
    for uid, information in (extended or {}).items():
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid = UID(uid)
        item.service_class_application_information = information
        items.append(item)
    proposed = [build_context(context) if isinstance(context, str) else build_context(*context) for context in contexts]
    association = entity.associate(
        "127.0.0.1", port, contexts=proposed, ext_neg=items or None, ae_title=called, **options
    )
    connection = association.dul.socket.socket if association.dul.socket is not None else None
    if association.is_established:
        association._reactor_checkpoint = Checkpoint(association)
    else:
        _note_rejection(association)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        if connection is not None:
            if association.ident is not None:
                association.join(20)
            connection.close()  # which pynetdicom does not where the server has reset it


def _note_rejection(association: Association) -> None:
    """pynetdicom takes a connection that a rejection has closed before it looks for one that was never made."""
    answer: Any = association.dul.peek_next_pdu()
    if isinstance(answer, A_ASSOCIATE) and answer.result:
        association.acceptor.primitive = answer
        association.is_rejected = True


def store_bytes(
    association: Association, data_set: bytes, sop_class_uid: str, sop_instance_uid: str | None, context_id: int = 1
) -> C_STORE:
    """A C-STORE of encoded bytes, whatever they are; the response."""
    request = C_STORE()
    request.MessageID = 7
    request.AffectedSOPClassUID = UID(sop_class_uid)
    request.AffectedSOPInstanceUID = UID(sop_instance_uid) if sop_instance_uid else None
    request.DataSet = BytesIO(data_set)
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.0001)
    try:
        association.dimse.send_msg(request, context_id)
        _, response = association.dimse.get_msg(block=True)
    finally:
        association._reactor_checkpoint.set()
    assert isinstance(response, C_STORE)
    return response


def error_comment(response: C_STORE | C_FIND) -> str:
    # pynetdicom declares it as None
    comment: str | None = vars(response)["ErrorComment"]
    return comment or ""


def identifier(level: str, **keys: Any) -> Dataset:
    """An identifier, valid or not."""
    dataset = Dataset()
    for keyword, value in {"QueryRetrieveLevel": level, **keys}.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None
        dataset[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE)
    return dataset


def find(association: Association, query: Dataset, model: str = STUDY_ROOT_FIND) -> tuple[list[Dataset], Dataset]:
    """The answers, and the final status."""
    answers: list[Dataset] = []
    for status, answer in association.send_c_find(query, model):
        if answer is None:
            return answers, status
        answers.append(answer)
    raise AssertionError("there was no final response")


def run(*command: object, expected: int | None = 0) -> str:
    """What a dcmtk tool prints."""
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, check=False)
    output = result.stdout + result.stderr
    assert expected is None or result.returncode == expected, output
    return output


def retrieved(responses: Iterable[tuple[Dataset, Dataset | None]]) -> tuple[list[Dataset], Dataset, Dataset | None]:
    """The pending statuses, the final one, and its identifier."""
    pending: list[Dataset] = []
    for status, answer in responses:
        if status.get("Status") == 0xFF00:
            pending.append(status)
            continue
        return pending, status, answer
    raise AssertionError("there was no final response")
