"""C-GET and C-MOVE of instances whose pixels are elsewhere."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from pynetdicom import AE, build_role, evt

from fileroom_server.config import Peer
from fileroom_storage.errors import PixelsUnavailable
from fileroom_storage.storage import Provenance
from tests.corpus import PYDICOM
from tests.external import SOURCE, FramesElsewhere
from tests.made import made, part10
from tests.server.dimse.conftest import Entity, Listen
from tests.server.dimse.scu import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    associated,
    find,
    identifier,
    retrieved,
)

FILE = PYDICOM / "test_files" / "SC_rgb_rle_2frame.dcm"
WHOLE = dcmread(FILE)
SOP_CLASS = WHOLE.SOPClassUID
STUDY = identifier("STUDY", StudyInstanceUID=WHOLE.StudyInstanceUID)


@pytest.fixture
def entity(listening: Listen, destination: Peer) -> Entity:
    """With one instance that is elsewhere and one of the same study that is here."""
    entity = listening([destination])
    incoming = entity.storage.receive()
    incoming.write(part10(made(SOPClassUID=SOP_CLASS, StudyInstanceUID=WHOLE.StudyInstanceUID)))
    incoming.store(Provenance("import"))
    return entity


@pytest.fixture
def elsewhere(entity: Entity) -> FramesElsewhere:
    source = FramesElsewhere()
    entity.storage.register_frame_source(SOURCE, source)
    entity.storage.external(SOURCE).replace("a", [source.take("a", FILE)])
    return source


def get(entity: Entity, *syntaxes: str) -> tuple[list[Dataset], Dataset, Dataset | None]:
    received: list[Dataset] = []

    def handle_store(event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        received.append(dataset)
        return 0x0000

    contexts = [(SOP_CLASS, [syntax]) for syntax in syntaxes]
    handlers = [(evt.EVT_C_STORE, handle_store)]
    roles = [build_role(SOP_CLASS, scp_role=True)]
    with associated(entity.port, STUDY_ROOT_GET, *contexts, ext_neg=roles, evt_handlers=handlers) as association:
        _, status, failed = retrieved(association.send_c_get(STUDY, STUDY_ROOT_GET))
    return received, status, failed


@contextmanager
def listening_destination(peer: Peer, received: list[Dataset], *syntaxes: str) -> Iterator[None]:
    def handle_store(event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        received.append(dataset)
        return 0x0000

    scp = AE(ae_title=peer.ae_title)
    scp.add_supported_context(SOP_CLASS, list(syntaxes))
    server = scp.start_server((peer.host, peer.port), block=False, evt_handlers=[(evt.EVT_C_STORE, handle_store)])
    assert server is not None
    try:
        yield
    finally:
        server.shutdown()


def same_pixels(received: list[Dataset], syntax: str) -> bool:
    [image] = [one for one in received if one.SOPInstanceUID == WHOLE.SOPInstanceUID]
    assert image.file_meta.TransferSyntaxUID == syntax
    assert [element.tag for element in image] == [element.tag for element in WHOLE]
    return bool((image.pixel_array == WHOLE.pixel_array).all())


def test_get(entity: Entity, elsewhere: FramesElsewhere) -> None:
    received, status, failed = get(entity, ExplicitVRLittleEndian, RLELossless)
    assert (status.Status, status.NumberOfCompletedSuboperations, failed) == (0x0000, 2, None)
    assert same_pixels(received, RLELossless)
    assert elsewhere.asked == [[1, 2]]


def test_get_by_a_peer_that_takes_another_transfer_syntax(entity: Entity, elsewhere: FramesElsewhere) -> None:
    received, status, _ = get(entity, ExplicitVRLittleEndian)
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0x0000, 2)
    assert same_pixels(received, ExplicitVRLittleEndian)
    assert elsewhere.asked == [[1, 2]]


@pytest.mark.parametrize("syntaxes", [(ExplicitVRLittleEndian, RLELossless), (ExplicitVRLittleEndian,)])
def test_move(entity: Entity, elsewhere: FramesElsewhere, destination: Peer, syntaxes: tuple[str, ...]) -> None:
    received: list[Dataset] = []
    with (
        listening_destination(destination, received, *syntaxes),
        associated(entity.port, STUDY_ROOT_MOVE) as association,
    ):
        _, status, failed = retrieved(association.send_c_move(STUDY, destination.ae_title, STUDY_ROOT_MOVE))
    assert (status.Status, status.NumberOfCompletedSuboperations, failed) == (0x0000, 2, None)
    assert same_pixels(received, syntaxes[-1])
    assert elsewhere.kept


@pytest.mark.parametrize("syntaxes", [(ExplicitVRLittleEndian, RLELossless), (ExplicitVRLittleEndian,)])
def test_a_source_that_fails_fails_its_sub_operation(
    entity: Entity, elsewhere: FramesElsewhere, caplog: pytest.LogCaptureFixture, syntaxes: tuple[str, ...]
) -> None:
    elsewhere.failure = PixelsUnavailable("it is asleep; wake it")
    with caplog.at_level(logging.WARNING):
        received, status, failed = get(entity, *syntaxes)
    assert (status.Status, status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations) == (0xB000, 1, 1)
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == WHOLE.SOPInstanceUID
    assert len(received) == 1
    assert f"{WHOLE.SOPInstanceUID} was not sent" in caplog.text
    assert "it is asleep; wake it" in caplog.text


def test_find(entity: Entity, elsewhere: FramesElsewhere) -> None:
    query = identifier(
        "IMAGE",
        StudyInstanceUID=WHOLE.StudyInstanceUID,
        SeriesInstanceUID=WHOLE.SeriesInstanceUID,
        SOPInstanceUID="",
        NumberOfFrames=None,
    )
    with associated(entity.port, STUDY_ROOT_FIND) as association:
        [answer], _ = find(association, query)
    assert (answer.SOPInstanceUID, answer.NumberOfFrames) == (WHOLE.SOPInstanceUID, 2)
    assert elsewhere.asked == []
