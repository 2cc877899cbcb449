"""C-MOVE and C-GET: what arrives, in which transfer syntax, and what the responses count."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, JPEG2000Lossless, RLELossless
from pynetdicom import AE, build_role, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import _STORAGE_CLASSES, uid_to_service_class

from fileroom_server import pdu_writing
from fileroom_server.config import Peer
from fileroom_storage.objects.filesystem import FilesystemObjectFile
from fileroom_storage.pixels.transfer_syntaxes import COMPRESSED
from fileroom_storage.storage import Provenance, Storage
from tests.corpus import PYDICOM
from tests.made import CT_IMAGE_STORAGE, made, part10, uid
from tests.server.dimse.conftest import Entity, Listen
from tests.server.dimse.scu import (
    PATIENT_ROOT_MOVE,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    associated,
    identifier,
    retrieved,
    run,
)

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
PRIVATE_CLASS = "1.3.12.2.1107.5.9.1"
COUNTS = (
    "NumberOfRemainingSuboperations",
    "NumberOfCompletedSuboperations",
    "NumberOfFailedSuboperations",
    "NumberOfWarningSuboperations",
)


def _put(storage: Storage, file: bytes) -> None:
    incoming = storage.receive()
    incoming.write(file)
    incoming.store(Provenance("import"))


def _fill(storage: Storage, instances: int = 4, **attributes: Any) -> None:
    """Two series in a study."""
    for number in range(1, instances + 1):
        series = 1 + number % 2
        dataset = made(
            SeriesInstanceUID=uid(1, series),
            SOPInstanceUID=uid(1, series, number),
            SeriesNumber=series,
            InstanceNumber=number,
            **attributes,
        )
        _put(storage, part10(dataset))


def _compressed(name: str) -> tuple[bytes, Dataset]:
    path = PYDICOM / "test_files" / name
    return path.read_bytes(), dcmread(path)


class Destination:
    """A pynetdicom SCP that keeps what it gets; `statuses` are answered one after the other, then success."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, bytes]] = []
        self.requests: list[C_STORE] = []
        self.statuses: list[int] = []
        self.pause = 0.0
        self.aborts = 0

    def handle_store(self, event: evt.Event) -> int:
        request = event.request
        assert isinstance(request, C_STORE)
        assert request.DataSet is not None
        self.requests.append(request)
        time.sleep(self.pause)
        if self.aborts:
            self.aborts -= 1
            event.assoc.abort()
            return 0x0000
        status = self.statuses.pop(0) if self.statuses else 0x0000
        self.received.append(
            (str(request.AffectedSOPInstanceUID), str(event.context.transfer_syntax), request.DataSet.getvalue())
        )
        return status

    @contextmanager
    def listen(self, peer: Peer, *contexts: tuple[str, list[str]]) -> Iterator[None]:
        entity = AE(ae_title=peer.ae_title)
        for sop_class, transfer_syntaxes in contexts:
            entity.add_supported_context(sop_class, transfer_syntaxes)
        handlers: list[Any] = [(evt.EVT_C_STORE, self.handle_store)]
        server = entity.start_server((peer.host, peer.port), block=False, evt_handlers=handlers)
        assert server is not None
        try:
            yield
        finally:
            server.shutdown()


def _move(
    entity: Entity, query: Dataset, destination: str = "DESTINATION", model: str = STUDY_ROOT_MOVE, **options: Any
) -> tuple[list[Dataset], Dataset, Dataset | None]:
    with associated(entity.port, model, calling="WORKSTATION", **options) as association:
        return retrieved(association.send_c_move(query, destination, model, msg_id=9))


def _counts(status: Dataset) -> tuple[int | None, ...]:
    """Remaining, completed, failed, warning."""
    return tuple(status.get(keyword) for keyword in COUNTS)


STUDY = identifier("STUDY", StudyInstanceUID=uid(1))


@pytest.fixture
def entity(listening: Listen, destination: Peer) -> Entity:
    return listening([destination])


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (STUDY, 4),
        (identifier("STUDY", StudyInstanceUID=[uid(1), uid(2)], PatientName=""), 4),
        (identifier("SERIES", StudyInstanceUID=uid(1), SeriesInstanceUID=uid(1, 1)), 2),
        (identifier("SERIES", StudyInstanceUID=uid(1), SeriesInstanceUID=[uid(1, 1), uid(1, 2)]), 4),
        (
            identifier(
                "IMAGE",
                StudyInstanceUID=uid(1),
                SeriesInstanceUID=uid(1, 1),
                SOPInstanceUID=[uid(1, 1, 2), uid(1, 1, 4), uid(9)],
            ),
            2,
        ),
        (identifier("STUDY", StudyInstanceUID=uid(2)), 0),
    ],
)
def test_move(entity: Entity, destination: Peer, query: Dataset, count: int) -> None:
    _fill(entity.storage)
    scp = Destination()
    with scp.listen(destination, (CT_IMAGE_STORAGE, [EXPLICIT])):
        pending, status, failed = _move(entity, query)
    assert status.Status == 0x0000
    assert failed is None
    assert _counts(status) == (None, count, 0, 0)
    assert [_counts(response) for response in pending] == [
        # the first when the connection to the destination is there
        (count - number, number, 0, 0)
        for number in range(count + 1 if count else 0)
    ]
    for sop_instance_uid, transfer_syntax, data_set in scp.received:
        (instance,) = entity.storage.locate({"SOPInstanceUID": sop_instance_uid})
        assert (data_set, transfer_syntax) == (entity.storage.read_data_set(instance), EXPLICIT)
    assert len(scp.received) == count
    # PS3.7 9.1.1.1
    assert {request.MoveOriginatorApplicationEntityTitle for request in scp.requests} <= {"WORKSTATION"}
    assert {request.MoveOriginatorMessageID for request in scp.requests} <= {9}
    message_ids = [request.MessageID for request in scp.requests]
    assert len(set(message_ids)) == len(message_ids)


def test_move_of_a_patient(entity: Entity, destination: Peer) -> None:
    _fill(entity.storage)
    scp = Destination()
    with scp.listen(destination, (CT_IMAGE_STORAGE, [EXPLICIT])):
        _, status, _ = _move(entity, identifier("PATIENT", PatientID="P1"), model=PATIENT_ROOT_MOVE)
    assert _counts(status) == (None, 4, 0, 0)


@pytest.mark.parametrize(
    ("query", "comment"),
    [
        (identifier("STUDY", StudyInstanceUID=""), "StudyInstanceUID is missing: a STUDY retrieval names it"),
        (identifier("STUDY", StudyInstanceUID="1.*"), "StudyInstanceUID has to name what to send, without wildcards"),
        (
            identifier("SERIES", SeriesInstanceUID=uid(1, 1)),
            "StudyInstanceUID is missing: a SERIES retrieval needs it",
        ),
        (identifier("PATIENT", PatientID="P1"), "QueryRetrieveLevel is none of STUDY, SERIES, IMAGE (Study Root)"),
    ],
)
def test_bad_identifiers(entity: Entity, query: Dataset, comment: str) -> None:
    _, status, _ = _move(entity, query)
    assert (status.Status, status.ErrorComment) == (0xA900, comment)


def test_relational_retrieval_has_to_be_negotiated(entity: Entity, destination: Peer) -> None:
    _fill(entity.storage)
    scp = Destination()
    with scp.listen(destination, (CT_IMAGE_STORAGE, [EXPLICIT])):
        query = identifier("IMAGE", SOPInstanceUID=uid(1, 1, 2))
        _, status, _ = _move(entity, query, extended={STUDY_ROOT_MOVE: b"\x01"})
    assert _counts(status) == (None, 1, 0, 0)


def test_an_unknown_destination(entity: Entity) -> None:
    _, status, _ = _move(entity, STUDY, "NOBODY")
    assert (status.Status, status.ErrorComment) == (0xA801, "NOBODY is not among the configured peers")


def test_an_unreachable_destination(entity: Entity) -> None:
    _fill(entity.storage)
    _, status, failed = _move(entity, STUDY)
    assert (status.Status, status.ErrorComment) == (0xA702, "DESTINATION accepts no association")
    assert _counts(status) == (None, 0, 4, 0)
    assert failed is not None
    assert len(failed.FailedSOPInstanceUIDList) == 4


def test_failures_and_warnings_are_counted(entity: Entity, destination: Peer) -> None:
    _fill(entity.storage)
    scp = Destination()
    scp.statuses = [0xA700, 0xB000, 0x0000, 0xC123]
    with scp.listen(destination, (CT_IMAGE_STORAGE, [EXPLICIT])):
        pending, status, failed = _move(entity, STUDY)
    assert status.Status == 0xB000
    assert _counts(status) == (None, 1, 2, 1)
    assert _counts(pending[-1]) == (0, 1, 2, 1)
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == [scp.received[0][0], scp.received[3][0]]


def test_one_failure_of_one(entity: Entity, destination: Peer) -> None:
    _fill(entity.storage, 1)
    scp = Destination()
    scp.statuses = [0xA900]
    with scp.listen(destination, (CT_IMAGE_STORAGE, [EXPLICIT])):
        _, status, failed = _move(entity, STUDY)
    assert status.Status == 0xA702
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == uid(1, 2, 1)


def _damage(storage: Storage, damage: Callable[[Path], object]) -> None:
    (instance,) = storage.locate({"SOPInstanceUID": uid(1, 1, 2)})
    (path,) = (path for path in storage.settings.data.rglob("*.dcm") if path.match(f"*{instance.location}"))
    damage(path)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-2])])
def test_get_of_an_object_that_is_lost_sends_the_others(entity: Entity, damage: Callable[[Path], object]) -> None:
    _fill(entity.storage)
    _damage(entity.storage, damage)
    scp = Destination()
    _, status, failed = _get(entity, STUDY, scp, (CT_IMAGE_STORAGE, [EXPLICIT]))
    assert (status.Status, _counts(status)) == (0xB000, (None, 3, 1, 0))
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == uid(1, 1, 2)
    # no request without its data set has reached the peer
    assert len(scp.received) == 3


def test_an_object_that_is_lost_counts_as_failed(entity: Entity, destination: Peer) -> None:
    _fill(entity.storage)
    _damage(entity.storage, Path.unlink)
    scp = Destination()
    with scp.listen(destination, (CT_IMAGE_STORAGE, [EXPLICIT])):
        _, status, failed = _move(entity, STUDY)
    assert _counts(status) == (None, 3, 1, 0)
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == uid(1, 1, 2)


def test_a_sop_class_that_the_destination_does_not_take(entity: Entity, destination: Peer) -> None:
    _fill(entity.storage, 2)
    private = made(SOPClassUID=PRIVATE_CLASS, SOPInstanceUID=uid(1, 3, 1), SeriesInstanceUID=uid(1, 3))
    _put(entity.storage, part10(private))
    scp = Destination()
    with scp.listen(destination, (CT_IMAGE_STORAGE, [EXPLICIT])):
        _, status, failed = _move(entity, STUDY)
    assert (status.Status, _counts(status)) == (0xB000, (None, 2, 1, 0))
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == uid(1, 3, 1)


@pytest.mark.parametrize(("aborts", "completed"), [(1, 5), (3, 0)])
def test_a_destination_that_goes_away(entity: Entity, destination: Peer, aborts: int, completed: int) -> None:
    _fill(entity.storage, 6)
    scp = Destination()
    scp.aborts = aborts
    with scp.listen(destination, (CT_IMAGE_STORAGE, [EXPLICIT])):
        _, status, failed = _move(entity, STUDY)
    assert _counts(status) == (None, completed, 6 - completed, 0)
    assert status.Status == (0xB000 if completed else 0xA702)
    assert failed is not None
    assert 6 - completed == failed["FailedSOPInstanceUIDList"].VM


def test_cancel(entity: Entity, destination: Peer) -> None:
    _fill(entity.storage, 20)
    scp = Destination()
    scp.pause = 0.02
    with (
        scp.listen(destination, (CT_IMAGE_STORAGE, [EXPLICIT])),
        associated(entity.port, STUDY_ROOT_MOVE) as association,
    ):
        responses = association.send_c_move(STUDY, "DESTINATION", STUDY_ROOT_MOVE, msg_id=4)
        next(responses)
        association.send_c_cancel(4, query_model=STUDY_ROOT_MOVE)
        _, status, _ = retrieved(responses)
    assert status.Status == 0xFE00
    remaining, completed, failed, warning = _counts(status)
    assert remaining
    assert remaining + (completed or 0) == 20
    assert completed == len(scp.received)
    assert (failed, warning) == (0, 0)


def test_what_the_destination_takes_is_sent_as_it_is_stored(entity: Entity, destination: Peer) -> None:
    file, original = _compressed("MR_small_jp2klossless.dcm")
    _put(entity.storage, file)
    scp = Destination()
    with scp.listen(destination, (original.SOPClassUID, [EXPLICIT, JPEG2000Lossless])):
        _move(entity, identifier("STUDY", StudyInstanceUID=original.StudyInstanceUID))
    (instance,) = entity.storage.locate({"SOPInstanceUID": original.SOPInstanceUID})
    assert scp.received == [
        (original.SOPInstanceUID, JPEG2000Lossless, entity.storage.read_data_set(instance)),
    ]


@pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm"])
def test_what_the_destination_does_not_take_is_transcoded(entity: Entity, destination: Peer, name: str) -> None:
    file, original = _compressed(name)
    _put(entity.storage, file)
    scp = Destination()
    with scp.listen(destination, (original.SOPClassUID, [IMPLICIT])):
        _, status, _ = _move(entity, identifier("STUDY", StudyInstanceUID=original.StudyInstanceUID))
    assert (status.Status, _counts(status)) == (0x0000, (None, 1, 0, 0))
    ((sop_instance_uid, transfer_syntax, data_set),) = scp.received
    assert (sop_instance_uid, transfer_syntax) == (original.SOPInstanceUID, IMPLICIT)
    received = _as_file(data_set, transfer_syntax)
    assert np.array_equal(received.pixel_array, original.pixel_array)


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm"])
def test_a_destination_that_takes_nothing_uncompressed(
    entity: Entity, destination: Peer, name: str, syntax: UID
) -> None:
    file, original = _compressed(name)
    _put(entity.storage, file)
    scp = Destination()
    with scp.listen(destination, (original.SOPClassUID, [syntax])):
        _, status, _ = _move(entity, identifier("STUDY", StudyInstanceUID=original.StudyInstanceUID))
    assert (status.Status, _counts(status)) == (0x0000, (None, 1, 0, 0))
    ((sop_instance_uid, transfer_syntax, data_set),) = scp.received
    assert (sop_instance_uid, transfer_syntax) == (original.SOPInstanceUID, syntax)
    assert np.array_equal(_as_file(data_set, syntax).pixel_array, original.pixel_array)


def test_what_nobody_can_transcode_counts_as_failed(entity: Entity, destination: Peer) -> None:
    file, original = _compressed("JPGExtended.dcm")
    _put(entity.storage, file)
    scp = Destination()
    with scp.listen(destination, (original.SOPClassUID, [IMPLICIT])):
        _, status, failed = _move(entity, identifier("STUDY", StudyInstanceUID=original.StudyInstanceUID))
    assert (status.Status, _counts(status)) == (0xA702, (None, 0, 1, 0))
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == original.SOPInstanceUID


def test_more_contexts_than_one_association_has(entity: Entity, destination: Peer) -> None:
    # those that pynetdicom, the destination, knows
    known = [
        sop_class for sop_class in _STORAGE_CLASSES.values() if uid_to_service_class(sop_class) is StorageServiceClass
    ]
    classes = known[:100]
    for number, sop_class in enumerate(classes, 1):
        _put(entity.storage, part10(made(SOPClassUID=sop_class, SOPInstanceUID=uid(1, 1, number))))
    scp = Destination()
    with scp.listen(destination, *((sop_class, [EXPLICIT]) for sop_class in classes)):
        _, status, _ = _move(entity, STUDY)
    assert (status.Status, _counts(status)) == (0x0000, (None, 100, 0, 0))
    assert len(scp.received) == 100


def test_movescu_to_storescp(entity: Entity, destination: Peer, tmp_path: Path) -> None:
    _fill(entity.storage)
    received = tmp_path / "received"
    received.mkdir()
    command = ["storescp", "-od", received, "+xa", "-aet", destination.ae_title, destination.port]
    with subprocess.Popen([str(part) for part in command]) as scp:
        try:
            _wait_for(destination.port)
            output = run(
                "movescu", "-v", "-S", "-aem", "DESTINATION", "127.0.0.1", entity.port,
                "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid(1)}",
            )  # fmt: skip
        finally:
            scp.terminate()
    assert "Received Final Move Response (Success)" in output
    assert len(list(received.iterdir())) == 4


def test_movescu_that_is_its_own_destination(entity: Entity, destination: Peer, tmp_path: Path) -> None:
    _fill(entity.storage)
    output = run(
        "movescu", "-v", "-S", "-aet", destination.ae_title, "-aem", destination.ae_title, "+P", destination.port,
        "-od", tmp_path, "127.0.0.1", entity.port,
        "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid(1)}",
    )  # fmt: skip
    assert "Received Final Move Response (Success)" in output
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 4


def _get(
    entity: Entity, query: Dataset, scp: Destination, *contexts: tuple[str, list[str]]
) -> tuple[list[Dataset], Dataset, Dataset | None]:
    roles = [build_role(sop_class, scp_role=True) for sop_class in dict.fromkeys(context[0] for context in contexts)]
    handlers = [(evt.EVT_C_STORE, scp.handle_store)]
    with associated(entity.port, STUDY_ROOT_GET, *contexts, ext_neg=roles, evt_handlers=handlers) as association:
        return retrieved(association.send_c_get(query, STUDY_ROOT_GET))


def test_get(entity: Entity) -> None:
    _fill(entity.storage)
    scp = Destination()
    pending, status, _ = _get(entity, STUDY, scp, (CT_IMAGE_STORAGE, [EXPLICIT]))
    assert (status.Status, _counts(status)) == (0x0000, (None, 4, 0, 0))
    assert len(pending) == 4
    assert len(scp.received) == 4
    assert {request.MoveOriginatorMessageID for request in scp.requests} == {None}


def test_get_transcodes(entity: Entity) -> None:
    file, original = _compressed("MR_small_RLE.dcm")
    _put(entity.storage, file)
    query = identifier("STUDY", StudyInstanceUID=original.StudyInstanceUID)
    scp = Destination()
    _, status, _ = _get(entity, query, scp, (original.SOPClassUID, [IMPLICIT]))
    assert _counts(status) == (None, 1, 0, 0)
    assert np.array_equal(_as_file(scp.received[0][2], IMPLICIT).pixel_array, original.pixel_array)
    scp = Destination()
    _, status, _ = _get(entity, query, scp, (original.SOPClassUID, [IMPLICIT]), (original.SOPClassUID, [RLELossless]))
    assert [transfer_syntax for _, transfer_syntax, _ in scp.received] == [RLELossless]


def test_get_without_role_selection_fails(entity: Entity) -> None:
    _fill(entity.storage)
    with associated(entity.port, STUDY_ROOT_GET, (CT_IMAGE_STORAGE, [EXPLICIT])) as association:
        _, status, failed = retrieved(association.send_c_get(STUDY, STUDY_ROOT_GET))
    assert (status.Status, _counts(status)) == (0xA702, (None, 0, 4, 0))
    assert failed is not None
    assert len(failed.FailedSOPInstanceUIDList) == 4


def test_get_counts_failures(entity: Entity) -> None:
    _fill(entity.storage)
    scp = Destination()
    scp.statuses = [0x0000, 0xA700]
    _, status, failed = _get(entity, STUDY, scp, (CT_IMAGE_STORAGE, [EXPLICIT]))
    assert (status.Status, _counts(status)) == (0xB000, (None, 3, 1, 0))
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == scp.received[1][0]


def test_getscu(entity: Entity, tmp_path: Path) -> None:
    _fill(entity.storage)
    output = run(
        "getscu", "-v", "-S", "-od", tmp_path, "127.0.0.1", entity.port,
        "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid(1)}",
    )  # fmt: skip
    assert "Number of Completed Suboperations : 4" in output
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 4


def test_a_large_object_is_sent_piece_by_piece(entity: Entity, destination: Peer) -> None:
    pixels = bytes(range(256)) * (64 << 10)
    _fill(entity.storage, 1, PixelData=pixels, Rows=2048, Columns=8192, BitsAllocated=8)
    scp = Destination()
    with scp.listen(destination, (CT_IMAGE_STORAGE, [EXPLICIT])):
        _, status, _ = _move(entity, STUDY)
    assert _counts(status) == (None, 1, 0, 0)
    assert pixels in scp.received[0][2]


def test_objects_of_many_windows_and_of_one(entity: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdu_writing, "_WINDOW", 40_000)
    for number, size in enumerate((0, 100, 20_000, 40_000, 300_000, 2), 1):
        pixels = bytes(index % 251 for index in range(size))
        instance = made(SOPInstanceUID=uid(1, 1, number), InstanceNumber=number, PixelData=pixels, BitsAllocated=8)
        _put(entity.storage, part10(instance))
    scp = Destination()
    _, status, _ = _get(entity, STUDY, scp, (CT_IMAGE_STORAGE, [EXPLICIT]))
    assert (status.Status, _counts(status)) == (0x0000, (None, 6, 0, 0))
    found = entity.storage.locate({"StudyInstanceUID": uid(1)})
    instances = {instance.sop_instance_uid: instance for instance in found}
    assert len(instances) == 6
    for sop_instance_uid, _, data_set in scp.received:
        assert data_set == entity.storage.read_data_set(instances.pop(sop_instance_uid))
    assert instances == {}


def test_an_object_that_is_lost_in_the_middle_ends_the_association(
    entity: Entity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent of it must not be taken for an object, nor the next message for its rest."""
    _fill(entity.storage, 2, PixelData=bytes(100_000), BitsAllocated=8)
    monkeypatch.setattr(pdu_writing, "_WINDOW", 40_000)
    read_into = FilesystemObjectFile.read_into
    calls: list[int] = []

    def losing(file: FilesystemObjectFile, buffers: Sequence[memoryview], offset: int) -> int:
        calls.append(offset)
        return read_into(file, buffers, offset) if len(calls) == 1 else 0

    monkeypatch.setattr(FilesystemObjectFile, "read_into", losing)
    scp = Destination()
    roles = [build_role(CT_IMAGE_STORAGE, scp_role=True)]
    handlers = [(evt.EVT_C_STORE, scp.handle_store)]
    contexts = (STUDY_ROOT_GET, (CT_IMAGE_STORAGE, [EXPLICIT]))
    with associated(entity.port, *contexts, ext_neg=roles, evt_handlers=handlers) as association:
        list(association.send_c_get(STUDY, STUDY_ROOT_GET))
        _wait_until(lambda: association.is_aborted)
    assert scp.received == []
    assert len(calls) == 2


def test_a_find_under_a_retrieve_class_is_refused(entity: Entity) -> None:
    with associated(entity.port, STUDY_ROOT_FIND, STUDY_ROOT_MOVE) as association:
        responses = list(association.send_c_find(STUDY, STUDY_ROOT_MOVE))
    assert [status.Status for status, _ in responses] == [0x0122]


def _as_file(data_set: bytes, transfer_syntax: str) -> Dataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(transfer_syntax)
    read = dcmread(BytesIO(data_set), force=True)
    read.file_meta = meta
    return read


def _wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError
