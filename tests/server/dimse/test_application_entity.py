"""The application entity: whom it lets in, how many, and how it stops."""

import importlib.util
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pynetdicom.pdu_primitives import A_ASSOCIATE

from fileroom_server.application_entity import drain
from fileroom_server.config import Peer
from fileroom_storage.storage import Storage, StoreOutcome
from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.server.dimse.conftest import Entity, Listen
from tests.server.dimse.scu import STUDY_ROOT_FIND, VERIFICATION, associated, find, identifier, run, store_bytes

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "own_ae.py"


def test_echo(entity: Entity) -> None:
    with associated(entity.port, VERIFICATION) as association:
        assert association.send_c_echo().Status == 0x0000


def test_echoscu(entity: Entity) -> None:
    assert "Received Echo Response (Success)" in run("echoscu", "-v", "127.0.0.1", entity.port)


def test_associations_are_limited(listening: Listen) -> None:
    entity = listening(maximum_associations=2)
    with associated(entity.port, VERIFICATION) as first, associated(entity.port, VERIFICATION) as second:
        assert first.is_established
        assert second.is_established
        with associated(entity.port, VERIFICATION) as third:
            # PS3.8 9.3.4: rejected-transient, by the presentation service provider, local-limit-exceeded
            rejection = third.acceptor.primitive
            assert isinstance(rejection, A_ASSOCIATE)
            assert (rejection.result, rejection.result_source, rejection.diagnostic) == (2, 3, 2)
    _wait_until_idle(entity)
    with associated(entity.port, VERIFICATION) as fourth:
        assert fourth.is_established


def test_connections_that_ask_for_nothing_leave_no_association(listening: Listen) -> None:
    entity = listening(maximum_associations=2)
    for _ in range(10):
        socket.create_connection(("127.0.0.1", entity.port)).close()
    # far sooner than the ACSE timeout would let go of them
    _wait_until(lambda: _is_accepted(entity))


@pytest.mark.parametrize(
    ("options", "calling", "called", "told"),
    [
        ({"only_peers_may_call": True}, "STRANGER", "FILEROOM", "its AE title is no peer's; list it under [[peers]]"),
        ({"require_called_ae_title": True}, "A", "WHOEVER", "it calls another AE title than FILEROOM; correct it"),
        ({"maximum_associations": 1}, "A", "FILEROOM", "there are 1 associations already; see dicom.maximum_assoc"),
    ],
)
def test_a_rejection_is_logged_with_its_reason(
    listening: Listen, caplog: pytest.LogCaptureFixture, options: dict[str, Any], calling: str, called: str, told: str
) -> None:
    entity = listening([Peer(ae_title="KNOWN", host="127.0.0.1", port=104)], **options)
    with (
        associated(entity.port, VERIFICATION, calling="KNOWN", called="FILEROOM"),
        associated(entity.port, VERIFICATION, calling=calling, called=called) as rejected,
    ):
        assert rejected.is_rejected
        _wait_until(lambda: "rejected" in caplog.text)
    (record,) = [record for record in caplog.records if "rejected" in record.getMessage()]
    assert record.levelname == "WARNING"
    assert record.name.startswith("fileroom_server")
    assert record.getMessage().startswith(f"association with {calling} at 127.0.0.1 rejected: {told}")


def test_only_peers_may_call(listening: Listen) -> None:
    entity = listening([Peer(ae_title="KNOWN", host="127.0.0.1", port=104)], only_peers_may_call=True)
    with associated(entity.port, VERIFICATION, calling="KNOWN") as association:
        assert association.is_established
    with associated(entity.port, VERIFICATION, calling="STRANGER") as association:
        assert association.is_rejected


def test_called_ae_title_is_looked_at_only_on_request(listening: Listen) -> None:
    with associated(listening().port, VERIFICATION, called="WHOEVER") as association:
        assert association.is_established
    with associated(listening(require_called_ae_title=True).port, VERIFICATION, called="WHOEVER") as association:
        assert association.is_rejected


def test_drain_lets_a_request_finish(entity: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, store = threading.Event(), Storage.store_data_set

    def slow(self: Storage, *arguments: Any, **options: Any) -> StoreOutcome:
        begun.set()
        time.sleep(0.5)
        return store(self, *arguments, **options)

    monkeypatch.setattr(Storage, "store_data_set", slow)
    statuses: list[int | None] = []
    with associated(entity.port, CT_IMAGE_STORAGE) as association:
        dataset = made()
        sender = threading.Thread(
            target=lambda: statuses.append(
                store_bytes(association, encoded(dataset, implicit=True), CT_IMAGE_STORAGE, uid(1, 1, 1)).Status
            )
        )
        sender.start()
        assert begun.wait(10)
        drain(entity.server, 20.0)
        sender.join(10)
    assert statuses == [0x0000]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", entity.port))


def test_drain_aborts_what_does_not_end(entity: Entity) -> None:
    with associated(entity.port, VERIFICATION) as association:
        drain(entity.server, 0.2)
        _wait_until(lambda: not association.is_established)
        assert association.is_aborted
    _wait_until_idle(entity)


def test_the_example(storage: Storage) -> None:
    specification = importlib.util.spec_from_file_location("own_ae", EXAMPLE)
    assert specification is not None
    assert specification.loader is not None
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    server = example.serve(storage, 0, block=False)
    try:
        with associated(server.server_address[1], CT_IMAGE_STORAGE, STUDY_ROOT_FIND, VERIFICATION) as association:
            assert association.send_c_echo().Status == 0x0000
            response = store_bytes(association, encoded(made(), implicit=True), CT_IMAGE_STORAGE, uid(1, 1, 1))
            assert response.Status == 0x0000
            answers, status = find(association, identifier("STUDY", StudyInstanceUID="", PatientID=""))
    finally:
        server.shutdown()
    assert status.Status == 0x0000
    assert [(answer.PatientID, answer.RetrieveAETitle) for answer in answers] == [("P1", "OWN_AE")]


def _is_accepted(entity: Entity) -> bool:
    with associated(entity.port, VERIFICATION) as association:
        return bool(association.is_established)


def _wait_until_idle(entity: Entity) -> None:
    _wait_until(lambda: not entity.server.active_associations)


def _wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
