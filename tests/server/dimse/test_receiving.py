"""Large objects go into storage while they come, small ones once they are here: what is kept is the same."""

import os
import re
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from pydicom import dcmread
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import P_DATA

from fileroom_server.association_counts import AssociationCounts, ReceiverPlace
from fileroom_server.command_set import C_STORE_RQ, DATA_SET_PRESENT, encode_command_set
from fileroom_server.received_messages import ReceivedDataSet
from fileroom_storage.attributes import Level
from fileroom_storage.errors import StorageUnavailable
from fileroom_storage.storage import IncomingDataSet, Query, Storage
from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.server.cli.senders import wait_until
from tests.server.dimse.conftest import Entity, Listen
from tests.server.dimse.scu import associated, error_comment, store_bytes

EXPLICIT = "1.2.840.10008.1.2.1"
SOP_INSTANCE = uid(1, 1, 1)
MEGABYTE = 1 << 20


def large(size: int = MEGABYTE, **attributes: object) -> bytes:
    pixels = os.urandom(size)
    return encoded(made(**{"Rows": 1, "Columns": 50, "BitsAllocated": 16, "PixelData": pixels, **attributes}))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has become of the data sets that were stored while they came."""
    seen: list[str] = []
    store, discard = IncomingDataSet.store, IncomingDataSet.discard

    def stored(self: IncomingDataSet) -> object:
        seen.append("stored")
        return store(self)

    def discarded(self: IncomingDataSet) -> None:
        seen.append("discarded")
        discard(self)

    monkeypatch.setattr(IncomingDataSet, "store", stored)
    monkeypatch.setattr(IncomingDataSet, "discard", discarded)
    return seen


def incoming_files(storage: Storage) -> list[Path]:
    return sorted((storage.settings.data / "incoming").iterdir())


@pytest.mark.parametrize("size", [100, 1 << 16, (1 << 16) + 2, 1 << 18, 3 * MEGABYTE])
@pytest.mark.parametrize("maximum_pdu_size", [4096, 1 << 18])
def test_it_is_kept_to_the_byte(listening: Listen, begun: list[str], size: int, maximum_pdu_size: int) -> None:
    entity = listening(maximum_pdu_size=maximum_pdu_size)
    data_set = large(size)
    with associated(entity.port, (CT_IMAGE_STORAGE, EXPLICIT)) as association:
        assert store_bytes(association, data_set, CT_IMAGE_STORAGE, SOP_INSTANCE).Status == 0x0000
    [instance] = entity.storage.locate({"SOPInstanceUID": SOP_INSTANCE})
    assert entity.storage.read_data_set(instance) == data_set
    assert begun == (["stored"] if len(data_set) > 1 << 16 else [])
    assert list(entity.storage.check(verify=True)) == []
    assert incoming_files(entity.storage) == []


def test_one_that_was_announced_as_another_is_named_as_it_is(entity: Entity, begun: list[str]) -> None:
    data_set = large()
    with associated(entity.port, (CT_IMAGE_STORAGE, EXPLICIT)) as association:
        assert store_bytes(association, data_set, CT_IMAGE_STORAGE, uid(9)).Status == 0xB007
    assert begun == ["stored"]
    [instance] = entity.storage.locate({"SOPInstanceUID": SOP_INSTANCE})
    with entity.storage.open_object(instance) as file:
        assert dcmread(file, stop_before_pixels=True).file_meta.MediaStorageSOPInstanceUID == SOP_INSTANCE
    assert list(entity.storage.check(verify=True)) == []
    assert incoming_files(entity.storage) == []


def test_an_unusable_one_is_refused_once_it_is_here(entity: Entity) -> None:
    data_set = large(StudyInstanceUID=None)
    with associated(entity.port, (CT_IMAGE_STORAGE, EXPLICIT)) as association:
        response = store_bytes(association, data_set, CT_IMAGE_STORAGE, SOP_INSTANCE)
        assert (response.Status or 0) >> 12 in (0xA, 0xC)
        assert "StudyInstanceUID" in error_comment(response)
        # and the association goes on
        assert store_bytes(association, large(), CT_IMAGE_STORAGE, SOP_INSTANCE).Status == 0x0000
    assert incoming_files(entity.storage) == []


def test_the_disk_is_full_while_it_comes(entity: Entity, monkeypatch: pytest.MonkeyPatch, begun: list[str]) -> None:
    write = IncomingDataSet.write
    calls: list[int] = []

    def full(self: IncomingDataSet, fragment: memoryview) -> None:
        calls.append(len(fragment))
        if len(calls) == 2:
            raise StorageUnavailable("its disk is full; free some space, then send again")
        write(self, fragment)

    with associated(entity.port, (CT_IMAGE_STORAGE, EXPLICIT)) as association:
        with monkeypatch.context() as patch:
            patch.setattr(IncomingDataSet, "write", full)
            response = store_bytes(association, large(), CT_IMAGE_STORAGE, SOP_INSTANCE)
        assert response.Status == 0xA700
        assert len(calls) == 2  # the rest is thrown away
        assert incoming_files(entity.storage) == []
        assert store_bytes(association, large(), CT_IMAGE_STORAGE, SOP_INSTANCE).Status == 0x0000
    assert begun == ["discarded", "stored"]


def test_it_cannot_even_be_begun(entity: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StorageUnavailable("its disk is mounted read-only; mount it for writing, then send again")

    with associated(entity.port, (CT_IMAGE_STORAGE, EXPLICIT)) as association:
        with monkeypatch.context() as patch:
            patch.setattr(Storage, "receive_data_set", away)
            assert store_bytes(association, large(), CT_IMAGE_STORAGE, SOP_INSTANCE).Status == 0xA700
        assert store_bytes(association, large(), CT_IMAGE_STORAGE, SOP_INSTANCE).Status == 0x0000
    assert entity.storage.count(Query(Level.IMAGE)) == 1


def test_a_sender_that_goes_away_leaves_nothing(entity: Entity, begun: list[str]) -> None:
    with associated(entity.port, (CT_IMAGE_STORAGE, EXPLICIT)) as association:
        _send_half(association, large())
        wait_until(lambda: bool(incoming_files(entity.storage)))
        association.abort()
    wait_until(lambda: bool(begun))
    assert begun == ["discarded"]
    assert incoming_files(entity.storage) == []
    assert entity.storage.count(Query(Level.IMAGE)) == 0


def _send_half(association: Association, data_set: bytes) -> None:
    """A C-STORE-RQ and some of its data set, in P-DATA-TF PDUs."""
    head: dict[int, int | str | tuple[int, ...]] = {0x0002: CT_IMAGE_STORAGE, 0x0100: C_STORE_RQ, 0x0110: 1}
    command = encode_command_set({**head, 0x0700: 0, 0x0800: DATA_SET_PRESENT, 0x1000: SOP_INSTANCE})
    for header, fragment in ((b"\x03", command), (b"\x00", data_set[:200_000]), (b"\x00", data_set[200_000:300_000])):
        data = P_DATA()
        data.presentation_data_value_list.append((1, header + fragment))
        association.dul.send_pdu(data)


def test_what_is_received_without_storage_goes_to_a_file_when_it_is_large() -> None:
    received = ReceivedDataSet()
    parts = [os.urandom(1 << 20) for _ in range(20)]
    for part in parts:
        assert received.write(memoryview(part)) == len(part)
    assert received.size == 20 << 20
    assert bytes(received.getbuffer()) == b"".join(parts)
    received.check()
    received.discard()


def test_associations_are_shared_out() -> None:
    counts = AssociationCounts(3)
    places = [ReceiverPlace(counts, number) for number in range(3)]
    places[0].publish(4)
    places[2].publish(2)
    assert [counts.of_others(number) for number in range(3)] == [[0, 2], [4, 2], [4, 0]]
    assert places[0].is_first
    assert not places[1].is_first
    ReceiverPlace(counts, 0)  # one that was started again
    assert counts.of_others(1) == [0, 2]


def test_the_versions_of_pynetdicom_that_this_knows() -> None:
    """Reactors and messages are ours over some private names of it (docs/decisions/0005, 0007)."""
    [declared] = [Requirement(line) for line in requires("fileroom") or () if re.match(r"pynetdicom\b", line)]
    assert version("pynetdicom") in declared.specifier
    assert any(one.operator == "<" for one in declared.specifier), "without an upper bound, a release may break it"
