"""What is left of objects that were stored and of associations that have ended: nothing that grows."""

import gc
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from fileroom_server import upper_layer
from fileroom_server.associations import WaitingAssociation
from fileroom_server.pdu_reading import PduSocket
from fileroom_server.received_messages import ReceivedDataSet
from fileroom_storage.index.arrival import Arrival
from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.server.cli.senders import wait_until
from tests.server.dimse.conftest import Entity, Listen
from tests.streaming_scu import EXPLICIT, StreamingScu

CONTEXTS = [(CT_IMAGE_STORAGE, EXPLICIT)]


_KINDS = (WaitingAssociation, ReceivedDataSet, Arrival, PduSocket)
_of_other_tests: list[object] = []


@pytest.fixture(autouse=True)
def _only_counted_references() -> Iterator[None]:
    """Python collects cycles whenever it likes; here it does so only when it is asked to."""
    gc.collect()
    # what tests before have left in this process; held, so that nothing new gets its identity
    _of_other_tests.extend(one for one in gc.get_objects() if isinstance(one, _KINDS))
    gc.disable()
    yield
    gc.enable()
    _of_other_tests.clear()


def _new(kind: type) -> list[Any]:
    old = set(map(id, _of_other_tests))
    return [one for one in gc.get_objects() if isinstance(one, kind) and id(one) not in old]


def living(kind: type) -> int:
    return len(_new(kind))


def buffered() -> int:
    """Bytes in the buffers of all sockets."""
    return sum(len(one._buffer) for one in _new(PduSocket))


def data_set(number: int, pixels: int = 100) -> bytes:
    return encoded(made(SOPInstanceUID=uid(1, 1, number), BitsAllocated=8, PixelData=bytes(pixels)))


def store(scu: StreamingScu, number: int, pixels: int = 100) -> None:
    assert scu.store(CT_IMAGE_STORAGE, uid(1, 1, number), [data_set(number, pixels)]) == 0


@pytest.mark.parametrize("pixels", [100, 1 << 18], ids=["in memory", "while it comes"])
def test_objects_that_were_stored(entity: Entity, pixels: int) -> None:
    with StreamingScu(entity.port, CONTEXTS) as scu:
        for number in range(40):
            store(scu, number, pixels)
        # the association and the writer may hold the last
        assert living(ReceivedDataSet) <= 2
        assert living(Arrival) <= 2


def test_associations_that_ended(listening: Listen) -> None:
    entity = listening(maximum_associations_per_address=64)
    with ExitStack() as stack:
        for number in range(40):
            store(stack.enter_context(StreamingScu(entity.port, CONTEXTS)), number)
        gc.collect()  # they are old now: it would be long until Python looks at them
        assert living(WaitingAssociation) == 40
    # buffers and connections do not wait for that
    wait_until(lambda: buffered() == 0)
    # associations are in cycles; pynetdicom has them collected after sixty connections, or six seconds
    for number in range(70):
        with StreamingScu(entity.port, CONTEXTS) as scu:
            store(scu, number)
    assert living(WaitingAssociation) < 70
    wait_until(lambda: buffered() == 0)


def test_an_idle_association_has_no_buffer(entity: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upper_layer, "_LONGEST_WAIT", 0.05)
    with StreamingScu(entity.port, CONTEXTS) as scu:
        for number in range(3):
            store(scu, number, 1 << 20)
            wait_until(lambda: buffered() == 0)
