"""Too many peers, and peers that take their time: limits, polite refusals, and nobody else who notices."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE

from fileroom_server.application_entity import drain
from fileroom_server.association_counts import AssociationCounts, NoRoom, ReceiverPlace
from fileroom_server.command_set import encode_command_set
from fileroom_server.pace import Pace
from fileroom_storage.attributes import Level
from fileroom_storage.storage import Query
from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.server.cli.senders import wait_until
from tests.server.dimse.conftest import Entity, Listen
from tests.server.dimse.pdus import A_ABORT, find_command, p_data, raw, store_command
from tests.server.dimse.scu import (
    STUDY_ROOT_FIND,
    VERIFICATION,
    associated,
    error_comment,
    find,
    identifier,
    store_bytes,
)
from tests.streaming_scu import EXPLICIT, IMPLICIT, STUDY_ROOT_GET, StreamingScu, associate_request

A_ASSOCIATE_RJ = 0x03


def echo(port: int, host: str = "127.0.0.1") -> None:
    with associated(port, VERIFICATION, bind_address=(host, 0)) as association:
        assert association.send_c_echo().Status == 0


def rejection_of(association: Association) -> tuple[int | None, ...]:
    answer = association.acceptor.primitive
    assert isinstance(answer, A_ASSOCIATE)
    return answer.result, answer.result_source, answer.diagnostic


def is_closed(connection: socket.socket) -> bool:
    """Waits for the end of a connection; whatever comes before it is read."""
    connection.settimeout(30)
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


# -- how many ------------------------------------------------------------------------------------------------------


def test_one_address_does_not_keep_others_out(listening: Listen, caplog: pytest.LogCaptureFixture) -> None:
    entity = listening(maximum_associations=3, maximum_associations_per_address=2)
    with ExitStack() as stack:
        for _ in range(2):
            assert stack.enter_context(associated(entity.port, VERIFICATION)).is_established
        for _ in range(2):
            # PS3.8 9.3.4: transient, by the presentation service provider, local-limit-exceeded
            assert rejection_of(stack.enter_context(associated(entity.port, VERIFICATION))) == (2, 3, 2)
        other: Any = {"bind_address": ("127.0.0.2", 0), "calling": "OTHER"}
        assert stack.enter_context(associated(entity.port, VERIFICATION, **other)).is_established
        # and now there is no room for anybody
        third: Any = {"bind_address": ("127.0.0.3", 0)}
        assert rejection_of(stack.enter_context(associated(entity.port, VERIFICATION, **third))) == (2, 3, 2)
    assert "at 127.0.0.1 rejected: there are 2 associations from there already; see dicom.maximum_as" in caplog.text
    assert "at 127.0.0.3 rejected: there are 3 associations already; see dicom.maximum_as" in caplog.text
    assert [(one.address, one.calling_ae_title, one.codes) for one in entity.refusals] == [
        ("127.0.0.1", "SCU", (2, 3, 2)),
        ("127.0.0.1", "SCU", (2, 3, 2)),
        ("127.0.0.3", "SCU", (2, 3, 2)),
    ]
    wait_until(lambda: not entity.server.active_associations)
    echo(entity.port)


def test_limits_hold_for_all_processes_together() -> None:
    counts = AssociationCounts(2, maximum=4, maximum_per_address=3)
    first, second = (ReceiverPlace(counts, number) for number in range(2))
    slots = [place.take("10.0.0.1") for place in (first, second, first)]
    assert first.take("10.0.0.1") is second.take("10.0.0.1") is NoRoom.OF_ADDRESS
    assert counts.taken() == 3
    assert isinstance(second.take("10.0.0.2"), int)
    assert first.take("10.0.0.3") is second.take("10.0.0.3") is NoRoom.IN_TOTAL
    assert isinstance(slots[1], int)
    second.give_back(slots[1])
    assert isinstance(first.take("10.0.0.1"), int)
    ReceiverPlace(counts, 0)  # started again, its associations are gone with it
    assert counts.taken() == 1


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("0.0.0.0", "0.0.0.1", False),
    ],
)
def test_what_one_address_is(one: str, other: str, is_same: bool) -> None:
    place = ReceiverPlace(AssociationCounts(1, maximum=2, maximum_per_address=1), 0)
    assert isinstance(place.take(one), int)
    assert (place.take(other) is NoRoom.OF_ADDRESS) is is_same


def test_who_says_nothing_costs_no_thread_and_no_place(listening: Listen) -> None:
    entity = listening(maximum_associations=2, acse_timeout=3)
    threads = threading.active_count()
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", entity.port))) for _ in range(200)]
        for number, connection in enumerate(silent):
            connection.sendall(b"\x01\x00\x00\x00\x40\x00"[: number % 7])
        echo(entity.port)
        assert threading.active_count() <= threads + 1
        # PS3.8 9.1.5: the ARTIM timer
        assert all(is_closed(connection) for connection in silent)


def test_a_request_that_dribbles_is_over_in_time(listening: Listen) -> None:
    entity = listening(acse_timeout=1)
    with socket.create_connection(("127.0.0.1", entity.port)) as connection:
        connection.sendall(b"\x01\x00\x00\x00\x40\x00")
        started = time.monotonic()
        with suppress(OSError):
            while True:
                connection.sendall(b"\x00")
                time.sleep(0.05)
                assert time.monotonic() - started < 60


def test_a_request_without_end_is_bounded(entity: Entity) -> None:
    with socket.create_connection(("127.0.0.1", entity.port)) as connection:
        connection.sendall(struct.pack(">BxI", 0x01, (1 << 20) + 1) + bytes(1000))
        assert connection.recv(100)[:1] == bytes([A_ABORT])
        assert is_closed(connection)
    echo(entity.port)


def test_the_pdu_of_a_rejection_can_be_read(listening: Listen) -> None:
    """Also by who sends on meanwhile: a connection that is closed on unread bytes is reset, and takes it along."""
    entity = listening(maximum_associations=1)
    with associated(entity.port, VERIFICATION) as association:
        assert association.is_established
        with socket.create_connection(("127.0.0.1", entity.port)) as connection:
            connection.sendall(request() + p_data(0x03, find_command()) * 100)
            connection.settimeout(30)
            assert connection.recv(100) == bytes([A_ASSOCIATE_RJ, 0, 0, 0, 0, 4, 0, 2, 3, 2])


def request() -> bytes:
    """An A-ASSOCIATE-RQ as it goes over the wire."""
    content = associate_request([(VERIFICATION, IMPLICIT)])
    return struct.pack(">BxI", 0x01, len(content)) + content


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    "sent",
    [
        request(),
        request()[:6] + b"\x00\x02" + request()[8:],
        struct.pack(">BxI", 0x01, 200) + bytes(200),
        struct.pack(">BxI", 0x01, 4) + bytes(4),
        request() + struct.pack(">BxI", 0x07, 4) + bytes(4),
        request() + struct.pack(">BxI", 0x05, 4) + bytes(4),
        request() + b"\xff" * 100,
        request() * 3,
    ],
    ids=["request", "version 2", "empty", "short", "abort", "release", "garbage", "thrice"],
)
@pytest.mark.parametrize("reset", [False, True])
def test_a_place_is_given_back_however_it_ends(listening: Listen, sent: bytes, reset: bool) -> None:
    entity = listening(maximum_associations=2)
    for _ in range(6):
        with socket.create_connection(("127.0.0.1", entity.port)) as connection:
            connection.sendall(sent)
            if reset:
                _reset(connection)
            else:
                connection.settimeout(30)
                with suppress(ConnectionResetError):
                    connection.recv(10)
    wait_until(lambda: _is_let_in(entity))  # once those that were reset have been looked at
    wait_until(lambda: entity.server._place._counts.taken() == 0)


def _is_let_in(entity: Entity) -> bool:
    with associated(entity.port, VERIFICATION) as association:
        return bool(association.is_established)


def test_the_end_does_not_wait_for_who_does_not_read(listening: Listen) -> None:
    entity = listening()
    scu, _ = _asks_and_does_not_read(entity)
    try:
        wait_until(lambda: len(entity.server.active_associations) == 1)
        drain(entity.server, 0.2)
        wait_until(lambda: not entity.server.active_associations)
    finally:
        scu.close()


# -- how long ------------------------------------------------------------------------------------------------------


def test_pace() -> None:
    pace = Pace(patience=10, rate=100)
    steps = [(9, 0), (0, 500), (0, 100_000), (11, 50)]
    left = [1.0, 6.0, 10.0, -0.5]  # never more than there was
    for (seconds, size), expected in zip(steps, left, strict=True):
        pace.waited(seconds, size)
        assert pace.left == expected
        assert pace.is_over is (expected <= 0)
    pace.rest()
    assert pace.left == 10


def fragments(size: int) -> Iterator[bytes]:
    """A C-STORE without end."""
    yield p_data(0x03, store_command())
    while True:
        yield p_data(0x00, bytes(size))


def test_a_message_that_dribbles_ends_the_association(listening: Listen, caplog: pytest.LogCaptureFixture) -> None:
    entity = listening(network_timeout=1, minimum_rate=1000)
    with raw(entity.port) as (association, connection):
        started = time.monotonic()
        # each fragment is whole, so that no PDU stands still
        for fragment in fragments(10):
            with suppress(OSError):
                connection.sendall(fragment)
            time.sleep(0.2)
            if not association.is_established:
                break
            assert time.monotonic() - started < 60
    assert "it sends too slowly" in caplog.text
    wait_until(lambda: not entity.server.active_associations)
    assert not list((entity.storage.settings.data / "incoming").iterdir())


def test_a_pdu_that_dribbles_ends_the_association(listening: Listen, caplog: pytest.LogCaptureFixture) -> None:
    entity = listening(network_timeout=1, minimum_rate=1000)
    with raw(entity.port) as (association, connection):
        connection.sendall(p_data(0x03, store_command()) + struct.pack(">BxI", 0x04, 10_000))
        started = time.monotonic()
        while association.is_established:
            with suppress(OSError):
                connection.sendall(b"\x00")
            time.sleep(0.1)
            assert time.monotonic() - started < 60
    assert "it sends too slowly" in caplog.text


def test_who_is_slow_but_fast_enough_may_go_on(listening: Listen) -> None:
    entity = listening(network_timeout=4, minimum_rate=100)
    data_set = encoded(made(BitsAllocated=8, PixelData=bytes(8000)), implicit=True)
    with raw(entity.port) as (association, connection):
        connection.sendall(p_data(0x03, store_command()))
        for start in range(0, 8000, 1000):
            connection.sendall(p_data(0x00, data_set[start : start + 1000]))
            time.sleep(0.6)
        association._reactor_checkpoint.clear()
        connection.sendall(p_data(0x02, data_set[8000:]))
        _, response = association.dimse.get_msg(block=True)
        association._reactor_checkpoint.set()
        assert response is not None
        assert response.Status == 0


def _asks_and_does_not_read(entity: Entity) -> tuple[StreamingScu, socket.socket]:
    """A C-GET of more than all buffers hold."""
    data_set = encoded(made(BitsAllocated=8, PixelData=bytes(64 << 20)))
    with associated(entity.port, (CT_IMAGE_STORAGE, EXPLICIT)) as association:
        assert store_bytes(association, data_set, CT_IMAGE_STORAGE, uid(1, 1, 1)).Status == 0
    contexts = [(STUDY_ROOT_GET, IMPLICIT), (CT_IMAGE_STORAGE, EXPLICIT)]
    scu = StreamingScu(entity.port, contexts, gets=[CT_IMAGE_STORAGE])
    connection: Any = scu._socket
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    identifier_bytes = b"\x08\x00\x52\x00\x06\x00\x00\x00STUDY \x20\x00\x0d\x00"
    identifier_bytes += struct.pack("<I", len(uid(1))) + uid(1).encode()
    command: dict[int, int | str | tuple[int, ...]] = {
        0x0002: STUDY_ROOT_GET,
        0x0100: 0x0010,
        0x0110: 1,
        0x0700: 0,
        0x0800: 1,
    }
    connection.sendall(p_data(0x03, encode_command_set(command)) + p_data(0x02, identifier_bytes))
    return scu, connection


@pytest.mark.parametrize("reads", [0, 1000])
def test_who_does_not_take_what_it_asked_for(listening: Listen, caplog: pytest.LogCaptureFixture, reads: int) -> None:
    entity = listening(network_timeout=1, minimum_rate=1 << 20)
    scu, connection = _asks_and_does_not_read(entity)
    try:
        wait_until(lambda: bool(entity.server.active_associations))
        started = time.monotonic()
        while entity.server.active_associations:
            if reads:
                with suppress(OSError):
                    connection.recv(reads)
            time.sleep(0.1)
            assert time.monotonic() - started < 60
    finally:
        scu.close()
    assert "it takes too slowly" in caplog.text
    echo(entity.port)


# -- how much ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1000, 1 << 17])
def test_the_size_of_an_object_is_bounded(listening: Listen, limit: int) -> None:
    """What is small is received before it is stored, what is large while it comes."""
    entity = listening(maximum_object_size=limit)
    sizes = {number: len(_sized(number, 0)) for number in (1, 2, 3)}
    with associated(entity.port, (CT_IMAGE_STORAGE, EXPLICIT)) as association:
        for number, over, status in ((1, 2, 0xC004), (2, 1 << 20, 0xC004), (3, 0, 0x0000)):
            content = _sized(number, limit - sizes[number] + over)
            assert len(content) == limit + over
            response = store_bytes(association, content, CT_IMAGE_STORAGE, uid(1, 1, number))
            assert response.Status == status
            if status:
                assert error_comment(response) == "larger than dicom.maximum_object_size, so nothing is kept"
    assert entity.storage.count(Query(Level.IMAGE)) == 1
    assert not list((entity.storage.settings.data / "incoming").iterdir())


def _sized(number: int, pixels: int) -> bytes:
    return encoded(made(SOPInstanceUID=uid(1, 1, number), BitsAllocated=8, PixelData=bytes(pixels)))


def test_the_matches_of_a_query_are_bounded(listening: Listen) -> None:
    entity = listening(maximum_find_results=3)
    with associated(entity.port, (CT_IMAGE_STORAGE, EXPLICIT), STUDY_ROOT_FIND) as association:
        for number in range(1, 6):
            uids = {"StudyInstanceUID": uid(number), "SeriesInstanceUID": uid(number, 1)}
            content = encoded(made(SOPInstanceUID=uid(number, 1, 1), PatientID=f"P{number}", **uids))
            assert store_bytes(association, content, CT_IMAGE_STORAGE, uid(number, 1, 1)).Status == 0
            for _ in range(2):  # once from the index, once from memory
                answers, status = find(association, identifier("STUDY", StudyInstanceUID=""))
                assert len(answers) == min(number, 3)
                if number <= 3:
                    assert status.Status == 0
                else:
                    assert (status.Status, status.ErrorComment) == (0xA700, "more than 3 match; narrow the search")
