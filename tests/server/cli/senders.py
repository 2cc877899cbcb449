"""Peers that take their time, and what there is to know of the server's processes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association

from tests.made import CT_IMAGE_STORAGE


@contextmanager
def sending(port: int) -> Iterator[Association]:
    ae = AE(ae_title="SLOW_SCU")
    ae.add_requested_context(CT_IMAGE_STORAGE, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", port, ae_title="FILEROOM")
    if not association.is_established:
        raise ConnectionError("the association was not accepted")
    connection = association.dul.socket.socket if association.dul.socket else None
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        association.join(30)
        if connection is not None:
            connection.close()  # pynetdicom forgets to where the peer was faster


def send(association: Association, dataset: Dataset) -> int | None:
    """The status; None where none came."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    try:
        answer = association.send_c_store(dataset)
    except RuntimeError:  # the association has ended
        return None
    return answer.Status if "Status" in answer else None


def processes_below(pid: int) -> dict[int, str]:
    """The processes that it has started, and those that these have started: pid → name."""
    found: dict[int, str] = {}
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if children.exists():
        for child in map(int, children.read_text().split()):
            found[child] = Path(f"/proc/{child}/comm").read_text().strip()
            found |= processes_below(child)
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about")
        time.sleep(0.05)
