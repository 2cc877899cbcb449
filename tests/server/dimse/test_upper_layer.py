"""Associations that wait: they do nothing while there is nothing to do, and miss nothing when there is."""

import threading
import time

import pytest
from pynetdicom import AE

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
