"""TLS on the DICOM port and to peers, with dcmtk's tools and OpenSSL's own client as the other side."""

import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pynetdicom.pdu_primitives import A_ASSOCIATE

from fileroom_server import tls_files
from fileroom_server.config import Configuration, DicomConfiguration, Peer
from fileroom_server.config_tls import DicomTlsConfiguration
from fileroom_server.tls import tls_problems
from fileroom_storage.attributes import Level
from fileroom_storage.storage import Query, Storage
from tests.certificates import Authority, Certificate
from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.server.cli.senders import wait_until
from tests.server.dimse.conftest import Entity, Listen
from tests.server.dimse.scu import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
    associated,
    find,
    identifier,
    retrieved,
    run,
    store_bytes,
)

CT = Path(str(get_testdata_file("CT_small.dcm")))
EXPLICIT = "1.2.840.10008.1.2.1"


class Certificates:
    """One authority that both sides know, one that only its own certificates know."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.stranger = Authority(folder, "authority"), Authority(folder, "stranger")
        self.server = self.authority.issue("pacs.example.org")
        self.client = self.authority.issue("scanner.example.org")
        self.expired = self.authority.issue("expired.example.org", days=-1)
        self.foreign = self.stranger.issue("foreign.example.org")

    def tls(self, **settings: Any) -> DicomTlsConfiguration:
        return DicomTlsConfiguration(certificate=str(self.server.certificate), key=str(self.server.key), **settings)

    def mutual(self, **settings: Any) -> DicomTlsConfiguration:
        return self.tls(client_ca=str(self.authority.certificate), require_client_certificate=True, **settings)

    def context(self, shown: Certificate | None = None) -> tuple[ssl.SSLContext, str]:
        """For pynetdicom as a client."""
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        return context, "pacs.example.org"

    def dcmtk(self, shown: Certificate | None = None) -> list[object]:
        options = ["+tla"] if shown is None else ["+tls", shown.key, shown.certificate]
        return [*options, "+cf", self.authority.certificate]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_dcmtk_over_tls(listening: Listen, certificates: Certificates) -> None:
    entity = listening(tls=certificates.tls())
    options = certificates.dcmtk()
    run("echoscu", *options, "127.0.0.1", entity.port)
    run("storescu", *options, "127.0.0.1", entity.port, CT)
    output = run(
        *("findscu", *options, "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID"),
        *("127.0.0.1", entity.port),
    )
    assert "1CT1" in output
    assert entity.storage.count(Query(Level.IMAGE)) == 1
    assert list(entity.storage.check(verify=True)) == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_objects_of_any_size_both_ways(listening: Listen, certificates: Certificates, version: ssl.TLSVersion) -> None:
    entity = listening(tls=certificates.tls())
    context, host = certificates.context()
    context.maximum_version = version
    sizes = [100, 16_000, 16_384, 70_000, 3 << 20]
    data_sets = {
        uid(1, 1, number): encoded(made(SOPInstanceUID=uid(1, 1, number), BitsAllocated=8, PixelData=os.urandom(size)))
        for number, size in enumerate(sizes, 1)
    }
    with associated(entity.port, (CT_IMAGE_STORAGE, EXPLICIT), tls_args=(context, host)) as association:
        for instance, data_set in data_sets.items():
            assert store_bytes(association, data_set, CT_IMAGE_STORAGE, instance).Status == 0
    for instance, data_set in data_sets.items():
        [stored] = entity.storage.locate({"SOPInstanceUID": instance})
        assert entity.storage.read_data_set(stored) == data_set
    assert _got(entity, (context, host)) == set(data_sets)


def _got(entity: Entity, tls_args: tuple[ssl.SSLContext, str]) -> set[str]:
    """What a C-GET of all brings."""
    from pynetdicom import build_role, evt

    received: dict[str, bytes] = {}

    def keep(event: Any) -> int:
        received[event.request.AffectedSOPInstanceUID] = event.dataset.PixelData
        return 0

    with associated(
        entity.port,
        STUDY_ROOT_GET,
        (CT_IMAGE_STORAGE, EXPLICIT),
        tls_args=tls_args,
        ext_neg=[build_role(CT_IMAGE_STORAGE, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, keep)],
    ) as association:
        query = identifier("STUDY", StudyInstanceUID=uid(1))
        _, status, _ = retrieved(association.send_c_get(query, STUDY_ROOT_GET))
        assert status.Status == 0
    for instance, pixels in received.items():
        [stored] = entity.storage.locate({"SOPInstanceUID": instance})
        assert dcmread_of(entity.storage, stored).PixelData == pixels
    return set(received)


def dcmread_of(storage: Storage, stored: Any) -> Any:
    with storage.open_object(stored) as file:
        return dcmread(file)


def test_an_association_that_stays(listening: Listen, certificates: Certificates) -> None:
    entity = listening(tls=certificates.tls())
    with associated(entity.port, VERIFICATION, STUDY_ROOT_FIND, tls_args=certificates.context()) as association:
        for _ in range(3):
            assert association.send_c_echo().Status == 0
            time.sleep(0.3)
            assert find(association, identifier("STUDY", StudyInstanceUID=""))[1].Status == 0
        assert association.is_established
    assert association.is_released


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        (None, "peer did not return a certificate"),
        ("expired", "certificate has expired"),
        ("foreign", "unable to get local issuer certificate"),
    ],
)
def test_who_shows_no_good_certificate_does_not_get_in(
    listening: Listen, certificates: Certificates, caplog: pytest.LogCaptureFixture, shown: str | None, told: str
) -> None:
    entity = listening(tls=certificates.mutual())
    bad = certificates.dcmtk(getattr(certificates, shown) if shown else None)
    run("echoscu", *bad, "127.0.0.1", entity.port, expected=1)
    wait_until(lambda: told in caplog.text)
    [record] = [record for record in caplog.records if "no TLS" in record.getMessage()]
    assert record.getMessage().startswith("connection from 127.0.0.1 closed: no TLS, ")
    assert not entity.server.active_associations
    assert [(one.address, one.codes) for one in entity.refusals] == [("127.0.0.1", ())]
    run("echoscu", *certificates.dcmtk(certificates.client), "127.0.0.1", entity.port)


def test_a_certificate_is_looked_at_where_one_is_shown(listening: Listen, certificates: Certificates) -> None:
    entity = listening(tls=certificates.tls(client_ca=str(certificates.authority.certificate)))
    run("echoscu", *certificates.dcmtk(), "127.0.0.1", entity.port)
    run("echoscu", *certificates.dcmtk(certificates.client), "127.0.0.1", entity.port)
    run("echoscu", *certificates.dcmtk(certificates.expired), "127.0.0.1", entity.port, expected=1)


def test_peers_have_to_show_their_own_certificate(
    listening: Listen, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    other = certificates.authority.issue("other.example.org")
    by_name = {"ae_title": "BY_NAME", "host": "h", "port": 104, "certificate": "scanner.example.org"}
    by_fingerprint = {**by_name, "ae_title": "BY_FINGERPRINT", "certificate": [certificates.client.fingerprint]}
    peers = [Peer.model_validate(one) for one in (by_name, by_fingerprint)]
    entity = listening(peers, tls=certificates.tls(client_ca=str(certificates.authority.certificate)))
    for title in ("BY_NAME", "BY_FINGERPRINT"):
        for shown, expected in ((certificates.client, True), (other, False), (None, False)):
            with associated(
                entity.port, VERIFICATION, calling=title, tls_args=certificates.context(shown)
            ) as association:
                assert association.is_established is expected
                if not expected:
                    rejection = association.acceptor.primitive
                    assert isinstance(rejection, A_ASSOCIATE)
                    assert (rejection.result, rejection.result_source, rejection.diagnostic) == (1, 1, 3)
    assert "BY_NAME at 127.0.0.1 rejected: its client certificate is another peer's" in caplog.text
    assert "BY_FINGERPRINT at 127.0.0.1 rejected: it shows no client certificate" in caplog.text


def test_without_tls(listening: Listen, certificates: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    with associated(listening(tls=certificates.tls()).port, VERIFICATION) as association:
        rejection = association.acceptor.primitive
        assert isinstance(rejection, A_ASSOCIATE)
        assert (rejection.result, rejection.result_source, rejection.diagnostic) == (1, 2, 1)
    wait_until(lambda: "it does not speak TLS; see dicom.tls.required" in caplog.text)
    both = listening(tls=certificates.tls(required=False))
    with associated(both.port, VERIFICATION) as association:
        assert association.send_c_echo().Status == 0
    with associated(both.port, VERIFICATION, tls_args=certificates.context()) as association:
        assert association.send_c_echo().Status == 0


def test_tls_where_there_is_none(entity: Entity, certificates: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    run("echoscu", *certificates.dcmtk(), "127.0.0.1", entity.port, expected=1)
    wait_until(lambda: "it speaks TLS; see [dicom.tls]" in caplog.text)
    run("echoscu", "127.0.0.1", entity.port)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_versions(listening: Listen, certificates: Certificates) -> None:
    ports = {version: listening(tls=certificates.tls(minimum_version=version)).port for version in ("1.2", "1.3")}

    def connects(port: int, version: ssl.TLSVersion) -> bool:
        context, host = certificates.context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        try:
            with (
                socket.create_connection(("127.0.0.1", port), 20) as plain,
                context.wrap_socket(plain, server_hostname=host),
            ):
                return True
        except OSError:
            return False

    assert not connects(ports["1.2"], ssl.TLSVersion.TLSv1_1)
    assert connects(ports["1.2"], ssl.TLSVersion.TLSv1_2)
    assert not connects(ports["1.3"], ssl.TLSVersion.TLSv1_2)
    assert connects(ports["1.3"], ssl.TLSVersion.TLSv1_3)


def test_certificates_that_change(
    listening: Listen,
    certificates: Certificates,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tls_files, "_LOOK_SECONDS", 0.0)
    used = Certificate(tmp_path / "used.pem", tmp_path / "used.key")

    def use(certificate: Certificate) -> None:
        shutil.copy(certificate.key, used.key)
        shutil.copy(certificate.certificate, used.certificate)

    use(certificates.server)
    entity = listening(tls=DicomTlsConfiguration(certificate=str(used.certificate), key=str(used.key)))

    def shown() -> bytes | None:
        context = ssl.create_default_context(cafile=str(certificates.authority.certificate))
        context.check_hostname = False
        with (
            socket.create_connection(("127.0.0.1", entity.port), 20) as plain,
            context.wrap_socket(plain) as connection,
        ):
            return connection.getpeercert(binary_form=True)

    with associated(entity.port, VERIFICATION, tls_args=certificates.context()) as association:
        first = shown()
        use(certificates.authority.issue("renewed.example.org"))
        second = shown()
        assert second != first
        used.certificate.write_text("half a certificate")
        assert shown() == second
        assert (
            "changed certificates are not used, the old ones stay: dicom.tls.certificate: holds no cert" in caplog.text
        )
        use(certificates.server)
        assert shown() == first
        assert association.send_c_echo().Status == 0  # one that is there stays


def test_a_handshake_that_does_not_go_on_holds_nobody_up(listening: Listen, certificates: Certificates) -> None:
    entity = listening(tls=certificates.tls(), acse_timeout=2)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    threads = threading.active_count()
    with socket.create_connection(("127.0.0.1", entity.port), 20) as half, _silent(entity.port, 50):
        half.sendall(hello)
        run("echoscu", *certificates.dcmtk(), "127.0.0.1", entity.port)
        assert threading.active_count() <= threads + 1
        assert half.recv(100) == b""  # its time is over


@contextmanager
def _silent(port: int, number: int) -> Iterator[None]:
    connections = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(number)]
    try:
        yield
    finally:
        for connection in connections:
            connection.close()


# -- to peers ------------------------------------------------------------------------------------------------------


@contextmanager
def storescp(peer: Peer, folder: Path, *options: object) -> Iterator[Path]:
    received = folder / "received"
    received.mkdir()
    command = ["storescp", *options, "-od", received, "-aet", peer.ae_title, peer.port]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(peer.port))
        yield received
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _moved(entity: Entity, title: str) -> Any:
    with associated(entity.port, STUDY_ROOT_MOVE) as association:
        query = identifier("STUDY", StudyInstanceUID=uid(1))
        _, status, _ = retrieved(association.send_c_move(query, title, STUDY_ROOT_MOVE))
        return status


def _with_an_object(entity: Entity) -> Entity:
    with associated(entity.port, (CT_IMAGE_STORAGE, EXPLICIT)) as association:
        assert store_bytes(association, encoded(made()), CT_IMAGE_STORAGE, uid(1, 1, 1)).Status == 0
    return entity


def test_a_move_over_tls_shows_our_certificate(
    listening: Listen, certificates: Certificates, destination: Peer, tmp_path: Path
) -> None:
    peer = destination.model_copy(update={"tls": True, "tls_ca": str(certificates.authority.certificate)})
    entity = _with_an_object(listening([peer], tls=certificates.tls(required=False)))
    shown = ["+tls", certificates.client.key, certificates.client.certificate]
    with storescp(peer, tmp_path, *shown, "+cf", certificates.authority.certificate) as received:
        assert _moved(entity, peer.ae_title).Status == 0
        assert [dcmread(file).SOPInstanceUID for file in received.iterdir()] == [uid(1, 1, 1)]


@pytest.mark.parametrize("shown", ["foreign", "expired"])
def test_nothing_is_moved_to_whom_nobody_vouches_for(
    listening: Listen,
    certificates: Certificates,
    destination: Peer,
    tmp_path: Path,
    shown: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = destination.model_copy(update={"tls": True, "tls_ca": str(certificates.authority.certificate)})
    entity = _with_an_object(listening([peer]))
    certificate: Certificate = getattr(certificates, shown)
    with storescp(peer, tmp_path, "+tls", certificate.key, certificate.certificate, "-ic") as received:
        status = _moved(entity, peer.ae_title)
        assert (status.Status, status.ErrorComment) == (0xA702, "DESTINATION accepts no association")
        assert not list(received.iterdir())
    assert "accepts no association: the certificate is not accepted" in caplog.text


def test_the_host_of_a_peer_is_looked_for_in_its_certificate(
    listening: Listen, certificates: Certificates, destination: Peer, tmp_path: Path
) -> None:
    tls = {"tls": True, "tls_ca": str(certificates.authority.certificate), "host": "localhost"}
    peer = destination.model_copy(update=tls)  # which it is not made out to
    careless = peer.model_copy(update={"ae_title": "CARELESS", "tls_check_host": False})
    entity = _with_an_object(listening([peer, careless]))
    certificate = certificates.client
    with storescp(peer, tmp_path, "+tls", certificate.key, certificate.certificate, "-ic") as received:
        assert _moved(entity, peer.ae_title).Status == 0xA702
        assert not list(received.iterdir())
        assert _moved(entity, careless.ae_title).Status == 0
        assert list(received.iterdir())


# -- files ---------------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_the_files(certificates: Certificates, tmp_path: Path) -> None:
    server, absent, text = certificates.server, str(tmp_path / "absent"), tmp_path / "text"
    text.write_text("text")
    encrypted = certificates.authority.issue("encrypted.example.org", password="secret word")
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("secret word\n")
    wrong.write_text("another\n")

    def problems(**settings: Any) -> dict[str, str]:
        settings.setdefault("key", str(server.key))
        tls = DicomTlsConfiguration(**{"certificate": str(server.certificate), **settings})
        configuration = Configuration(dicom=DicomConfiguration(tls=tls))
        return {problem.key: problem.message for problem in tls_problems(configuration)}

    assert problems() == {}
    assert problems(certificate=absent) == {"dicom.tls.certificate": "cannot be read: No such file or directory"}
    assert problems(certificate=str(text)) == {"dicom.tls.certificate": "holds no certificate in PEM"}
    assert problems(key=absent) == {"dicom.tls.key": "cannot be read: No such file or directory"}
    assert problems(key=str(text)) == {"dicom.tls.key": "holds no private key in PEM; name its file"}
    assert problems(key="") == {"dicom.tls.key": "holds no private key in PEM; name its file"}
    assert problems(key=str(certificates.client.key)) == {
        "dicom.tls.key": "is not the key of the certificate; name the one that belongs to it"
    }
    assert problems(client_ca=str(text)) == {"dicom.tls.client_ca": "holds no certificate in PEM"}
    protected = {"certificate": str(encrypted.certificate), "key": str(encrypted.key)}
    assert problems(**protected, key_password_file=str(right)) == {}
    bad_password = "holds the wrong password, or none, for an encrypted key"
    assert problems(**protected, key_password_file=str(wrong)) == {"dicom.tls.key_password_file": bad_password}
    assert problems(**protected) == {"dicom.tls.key_password_file": bad_password}
    peer = Peer(ae_title="A", host="h", port=104, tls=True, tls_ca=absent)
    [problem] = tls_problems(Configuration(peers=(peer,)))
    assert (problem.key, problem.message) == ("peers.tls_ca", "cannot be read: No such file or directory")
