"""Which peers get in, and what they may ask for."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import ValidationError
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE

from fileroom_server.application_entity import event_handlers
from fileroom_server.command_set import encode_command_set
from fileroom_server.config import Configuration, Peer
from fileroom_server.config_errors import ConfigurationError
from fileroom_server.config_sources import load_configuration
from fileroom_server.peer_services import PeerService
from fileroom_storage.attributes import Level
from fileroom_storage.storage import Query
from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.server.dimse.conftest import Entity, Listen
from tests.server.dimse.pdus import p_data
from tests.server.dimse.scu import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
    associated,
    identifier,
    retrieved,
    store_bytes,
)

IMPLICIT = "1.2.840.10008.1.2"
CLASSES = {
    "echo": VERIFICATION,
    "store": CT_IMAGE_STORAGE,
    "find": STUDY_ROOT_FIND,
    "move": STUDY_ROOT_MOVE,
    "get": STUDY_ROOT_GET,
}


def peer(*services: str, **settings: Any) -> Peer:
    return Peer.model_validate({"ae_title": "PEER", "host": "127.0.0.1", "port": 104, "services": services, **settings})


def rejection_of(association: Association) -> tuple[int | None, ...]:
    answer = association.acceptor.primitive
    assert isinstance(answer, A_ASSOCIATE)
    return answer.result, answer.result_source, answer.diagnostic


@pytest.mark.parametrize(
    ("address", "gets_in"),
    [
        ([], True),
        (["127.0.0.1"], True),
        ("10.0.0.1, 127.0.0.0/8", True),
        (["10.0.0.0/8", "::1"], False),
        (["127.0.0.2"], False),
    ],
)
def test_peers_call_from_their_addresses(
    listening: Listen, caplog: pytest.LogCaptureFixture, address: Any, gets_in: bool
) -> None:
    entity = listening([peer("echo", address=address)])
    with associated(entity.port, VERIFICATION, calling="PEER") as association:
        assert association.is_established is gets_in
        if not gets_in:
            assert rejection_of(association) == (1, 1, 3)  # PS3.8 9.3.4: calling-AE-title-not-recognized
    told = "association with PEER at 127.0.0.1 rejected: this peer does not call from there; see its address"
    assert (told in caplog.text) is not gets_in
    with associated(entity.port, VERIFICATION, calling="ANOTHER") as association:
        assert association.is_established


def test_who_is_no_peer_and_calls_somebody_else(listening: Listen) -> None:
    entity = listening([peer("echo")], only_peers_may_call=True, require_called_ae_title=True)
    cases = {("STRANGER", "FILEROOM"): (1, 1, 3), ("PEER", "WHOEVER"): (1, 1, 7)}
    for (calling, called), expected in cases.items():
        with associated(entity.port, VERIFICATION, calling=calling, called=called) as association:
            assert rejection_of(association) == expected
    with associated(entity.port, VERIFICATION, calling="PEER") as association:
        assert association.is_established


@pytest.mark.parametrize("allowed", [*CLASSES, "all", "none"])
def test_contexts_of_other_services_are_rejected(
    listening: Listen, caplog: pytest.LogCaptureFixture, allowed: str
) -> None:
    services = {"all": tuple(CLASSES), "none": ()}.get(allowed, (allowed,))
    entity = listening([peer(*services)])
    with associated(entity.port, *CLASSES.values(), calling="PEER") as association:
        accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
        assert accepted == {CLASSES[service] for service in services}
        # PS3.8 9.3.3.2: abstract-syntax-not-supported
        assert {context.result for context in association.rejected_contexts} <= {3}
        assert len(association.rejected_contexts) == len(CLASSES) - len(services)
    for service in CLASSES:
        # storage contexts belong to a C-GET too
        is_told = service not in services and not (service == "store" and "get" in services)
        assert (f"it may not use the service {service};" in caplog.text) is is_told


def test_all_services_are_allowed_where_nothing_is_said() -> None:
    assert Peer(ae_title="A", host="h", port=104).services == tuple(PeerService)


def _store(entity: Entity, calling: str = "ANOTHER") -> None:
    with associated(entity.port, (CT_IMAGE_STORAGE, IMPLICIT), calling=calling) as association:
        content = encoded(made(), implicit=True)
        assert store_bytes(association, content, CT_IMAGE_STORAGE, uid(1, 1, 1)).Status == 0


def test_who_may_only_get_is_sent_objects_and_sends_none(listening: Listen) -> None:
    entity = listening([peer("get")])
    _store(entity)
    received: list[str] = []

    def keep(event: Any) -> int:
        received.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    with associated(
        entity.port,
        STUDY_ROOT_GET,
        (CT_IMAGE_STORAGE, IMPLICIT),
        calling="PEER",
        ext_neg=[build_role(CT_IMAGE_STORAGE, scu_role=True, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, keep)],
    ) as association:
        [storage] = [context for context in association.accepted_contexts if context.context_id == 3]
        assert (storage.as_scu, storage.as_scp) == (False, True)
        query = identifier("STUDY", StudyInstanceUID=uid(1))
        _, status, _ = retrieved(association.send_c_get(query, STUDY_ROOT_GET))
        assert status.Status == 0
        assert received == [uid(1, 1, 1)]
        assert _status(association, _store_request(uid(2, 2, 2)), encoded(made(), implicit=True), 3) == 0x0124
    assert entity.storage.count(Query(Level.IMAGE)) == 1


def test_rules_hold_in_somebody_elses_entity(entity: Entity) -> None:
    """Whoever mounts the handlers gets them."""
    peers = [peer("echo"), peer("echo", ae_title="ELSEWHERE", address=["10.0.0.1"])]
    own = AE(ae_title="OWN")
    own.add_supported_context(VERIFICATION)
    server: Any = own.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=event_handlers(entity.storage, "OWN", peers)
    )
    try:
        port = server.server_address[1]
        with associated(port, VERIFICATION, STUDY_ROOT_FIND, calling="PEER") as association:
            assert [context.abstract_syntax for context in association.accepted_contexts] == [VERIFICATION]
            assert association.send_c_echo().Status == 0
            assert _status(association, *REQUESTS["find"]) == 0x0124
        for _ in range(10):
            with associated(port, VERIFICATION, calling="ELSEWHERE") as association:
                assert rejection_of(association) == (1, 1, 3)
    finally:
        server.shutdown()


# -- requests that come nonetheless ----------------------------------------------------------------------------------


def _request(field: int, sop_class_uid: str, more: dict[int, Any] | None = None) -> dict[int, Any]:
    return {0x0002: sop_class_uid, 0x0100: field, 0x0110: 7, 0x0700: 0, 0x0800: 1} | (more or {})


def _store_request(instance: str) -> dict[int, Any]:
    return _request(0x0001, CT_IMAGE_STORAGE, {0x1000: instance})


def _status(association: Association, command: dict[int, Any], data_set: bytes | None, context_id: int = 1) -> int:
    """What is answered to a message that pynetdicom would not send."""
    assert association.dul.socket is not None
    assert association.dul.socket.socket is not None
    pdus = p_data(0x03, encode_command_set(dict(sorted(command.items()))), context_id)
    if data_set is not None:
        fragments = [data_set[start : start + 10_000] for start in range(0, len(data_set), 10_000)]
        pdus += b"".join(p_data(0x00, fragment, context_id) for fragment in fragments[:-1])
        pdus += p_data(0x02, fragments[-1], context_id)
    with _standing(association):
        association.dul.socket.socket.sendall(pdus)
        _, response = association.dimse.get_msg(block=True)
    assert response is not None
    assert response.Status is not None
    return response.Status


@contextmanager
def _standing(association: Association) -> Iterator[None]:
    association._reactor_checkpoint.clear()
    try:
        yield
    finally:
        association._reactor_checkpoint.set()


STUDY_LEVEL = b"\x08\x00\x52\x00" + struct.pack("<I", 6) + b"STUDY "
STUDY = STUDY_LEVEL + b"\x20\x00\x0d\x00" + struct.pack("<I", len(uid(1))) + uid(1).encode()
REQUESTS = {
    "find": (_request(0x0020, STUDY_ROOT_FIND), STUDY_LEVEL),
    "move": (_request(0x0021, STUDY_ROOT_MOVE, {0x0600: "PEER"}), STUDY),
    "get": (_request(0x0010, STUDY_ROOT_GET), STUDY),
    "store": (_store_request(uid(1, 1, 1)), encoded(made(), implicit=True)),
    "a large store": (
        _store_request(uid(1, 1, 1)),
        encoded(made(BitsAllocated=8, PixelData=bytes(1 << 20)), implicit=True),
    ),
    "echo": (_request(0x0030, VERIFICATION, {0x0800: 0x0101}), None),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_asked_for_nonetheless_is_not_authorized(
    listening: Listen, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    service = name.rsplit(maxsplit=1)[-1]
    # over the context of whatever it may use
    other = "store" if service == "echo" else "echo"
    entity = listening([peer(other)])
    command, data_set = REQUESTS[name]
    with associated(entity.port, (CLASSES[other], IMPLICIT), calling="PEER") as association:
        assert _status(association, command, data_set) == 0x0124  # PS3.7 C.5.22
        assert association.is_established
    assert entity.storage.count(Query(Level.IMAGE)) == 0
    assert not list((entity.storage.settings.data / "incoming").iterdir())
    if service != "echo":
        assert f"from PEER answered with 0x0124: this peer may not use the service {service}" in caplog.text


# -- configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"address": ["10.0.0.300"]}, "write addresses or networks"),
        ({"address": ["10.0.0.1/8"]}, "write addresses or networks"),
        ({"services": ["read"]}, "Input should be 'store', 'find'"),
        ({"certificate": ["sha256:12"]}, "64 digits"),
        ({"certificate": [" "]}, "a name of the certificate"),
        ({"tls_ca": "ca.pem"}, "without tls = true"),
    ],
)
def test_rules_that_say_nothing(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Peer.model_validate({"ae_title": "A", "host": "h", "port": 104, **settings})


@pytest.mark.parametrize(
    "written", ["AA:bb" + ":cc" * 30, "sha256:" + "aabb" + "cc" * 30, "SHA256 Fingerprint=aabb" + "CC" * 30]
)
def test_fingerprints(written: str) -> None:
    found = Peer(ae_title="A", host="h", port=104, certificate=(written,))
    assert found.certificate == ("sha256:aabb" + "cc" * 30,)


def test_a_certificate_that_nobody_asks_for(tmp_path: Any) -> None:
    file = tmp_path / "fileroom.toml"
    file.write_text('[[peers]]\nae_title = "A"\nhost = "h"\nport = 104\ncertificate = ["a.example.org"]\n')
    with pytest.raises(ConfigurationError, match=r"peers\.0\.certificate: cannot be checked"):
        load_configuration(file)


@pytest.mark.parametrize(
    ("tls", "may"),
    [
        ({}, False),
        ({"require_client_certificate": True}, True),
        ({"require_client_certificate": True, "required": False}, False),
    ],
)
def test_a_client_certificate_says_who_calls(tmp_path: Any, tls: dict[str, bool], may: bool) -> None:
    file = tmp_path / "fileroom.toml"
    keys = "".join(f"{key} = {str(value).lower()}\n" for key, value in tls.items())
    file.write_text(f'[dicom]\nhost = "0.0.0.0"\n[dicom.tls]\ncertificate = "a.pem"\nclient_ca = "ca.pem"\n{keys}')
    if may:
        assert isinstance(load_configuration(file).configuration, Configuration)
    else:
        with pytest.raises(ConfigurationError, match="any AE title may call"):
            load_configuration(file)
