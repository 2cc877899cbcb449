"""Associations that wait: they do nothing while there is nothing to do, and miss nothing when there is."""

import socket
import threading
import time

import pytest
from pynetdicom import AE

from fileroom_server.pdu_reading import PduSocket
from fileroom_server.upper_layer import UpperLayer
from tests.server.dimse.conftest import Entity


def test_an_idle_association_does_nothing(entity: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    step = UpperLayer._step

    def counted(self: UpperLayer, *, receive: bool = True) -> bool:
        steps.append(threading.current_thread().name)
        return step(self, receive=receive)

    monkeypatch.setattr(UpperLayer, "_step", counted)
    caller = AE()
    caller.add_requested_context("1.2.840.10008.1.1")
    association = caller.associate("127.0.0.1", entity.port)
    assert association.is_established
    assert association.send_c_echo().Status == 0
    before = len(steps)
    time.sleep(0.5)
    assert len(steps) - before <= 4
    # and is there at once when it is called
    assert association.send_c_echo().Status == 0
    association.release()
    assert association.is_released


def test_it_reads_garbage_once(entity: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no PDU ends the connection at once, and not after a thread has looked at it for half a minute."""
    reads: list[int] = []
    read_pdu = PduSocket.read_pdu

    def counted(self: PduSocket) -> tuple[int, memoryview]:
        reads.append(1)
        return read_pdu(self)

    monkeypatch.setattr(PduSocket, "read_pdu", counted)
    with socket.create_connection(("127.0.0.1", entity.port), 20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n" * 100)
        while connection.recv(4096):
            pass
    assert len(reads) < 10
