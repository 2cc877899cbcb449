"""TLS on the HTTP port: certificates that change, clients that need one, and clients that never finish a handshake."""

import datetime as dt
import http.client
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fileroom_server.config import Configuration, HttpConfiguration
from fileroom_server.config_http_access import TlsConfiguration
from fileroom_server.http_tls import http_tls
from fileroom_server.tls import tls_problems
from fileroom_server.tls_files import TlsUnusable
from tests.dicomweb.objects import multipart, part10
from tests.served import Served
from tests.server.cli.commands import environment
from tests.server.cli.senders import wait_until

CONTENT_TYPE = 'multipart/related; type="application/dicom"; boundary=a-boundary'


class Authority:
    """A certificate authority of the tests' own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        made = self._built(self._name, self._key).add_extension(x509.BasicConstraints(True, 0), True)
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def certify(self, name: str) -> tuple[Path, Path]:
        """Files with a new certificate for this machine, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        made = self._built(subject, key).add_extension(address, False).sign(self._key, hashes.SHA256())
        certificate, key_file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, key_file

    def _built(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return x509.CertificateBuilder(
            self._name,
            subject,
            key.public_key(),
            x509.random_serial_number(),
            now - dt.timedelta(days=1),
            now + dt.timedelta(days=1),
        )


class Secure(Served):
    scheme = "https"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def served(tmp_path: Path, authority: Authority) -> Iterator[Secure]:
    certificate, key = authority.certify("one")
    server = Secure(tmp_path / "data", **tls(certificate, key), FILEROOM_HTTP__WORKERS="1", FILEROOM_HTTP__THREADS="2")
    server.session.verify = str(authority.file)
    with server:
        yield server


def tls(certificate: Path, key: Path, client_ca: Path | None = None) -> dict[str, str]:
    files = {"CERTIFICATE": certificate, "KEY": key, "CLIENT_CA": client_ca}
    return {f"FILEROOM_HTTP__TLS__{name}": str(file) for name, file in files.items() if file is not None}


def pair(certificate: Path, key: Path) -> tuple[str, str]:
    return str(certificate), str(key)


def shown_certificate(served: Secure) -> str:
    """The name in the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", served.http_port), 30) as plain,
        context.wrap_socket(plain) as connection,
    ):
        shown = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
    return str(shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_requests_of_every_kind(served: Secure) -> None:
    """One connection: searches, bodies of any framing, stored bytes, answers again."""
    assert f"DICOMweb  https://127.0.0.1:{served.http_port}/dicom-web" in served.output
    session = served.session
    object_ = part10()
    stored = session.post(f"{served.dicomweb}/studies", multipart(object_), headers={"Content-Type": CONTENT_TYPE})
    assert stored.status_code == 200
    url = stored.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert url.startswith(served.dicomweb)
    chunked = session.post(
        f"{served.dicomweb}/studies", iter([part10(PatientID="x" * 60)]), headers={"Content-Type": "application/dicom"}
    )
    assert chunked.status_code == 200
    for _ in range(5):
        assert session.get(url, headers={"Accept": "application/dicom"}).content == object_
        assert len(session.get(f"{served.dicomweb}/studies").json()) == 2
        frame = session.get(f"{url}/frames/1", headers={"Accept": "application/octet-stream"})
        assert frame.content == bytes(range(128))
    assert session.get(f"{served.url}/about").status_code == 200


def test_the_health_check_of_the_container(served: Secure, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "docker" / "healthcheck.py"
    variables = {**tls(tmp_path / "one.pem", tmp_path / "one.key"), "FILEROOM_HTTP__PORT": str(served.http_port)}
    finished = subprocess.run([sys.executable, script], env=environment(**variables), capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_two_requests_in_one_record(served: Secure, authority: Authority) -> None:
    """What has been decrypted makes no socket readable."""
    context = ssl.create_default_context(cafile=str(authority.file))
    ask = b"GET /health/live HTTP/1.1\r\nHost: pacs\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", served.http_port), 30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(3 * ask)
        text = b""
        while text.count(b"live") < 3:
            part = connection.recv(65536)
            assert part, text
            text += part


def test_a_certificate_that_is_put_in_its_place_counts(served: Secure, authority: Authority, tmp_path: Path) -> None:
    assert shown_certificate(served) == "one"
    certificate, key = authority.certify("two")
    # half of it: what was there stays, and it is told
    good = (tmp_path / "one.pem").read_bytes()
    (tmp_path / "one.pem").write_bytes(certificate.read_bytes())
    told = "changed certificates are not used, the old ones stay: http.tls.key: is not the key"
    wait_until(lambda: shown_certificate(served) == "one" and told in served.output)
    key.rename(tmp_path / "one.key")
    # by every worker, each of which looks at the files once a second
    wait_until(lambda: all(shown_certificate(served) == "two" for _ in range(20)))
    assert served.session.get(f"{served.url}/health/live").status_code == 200
    (tmp_path / "one.pem").unlink()
    assert shown_certificate(served) == "two"
    (tmp_path / "one.pem").write_bytes(good)
    assert shown_certificate(served) == "two"


def test_clients_need_a_certificate_of_the_right_authority(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.certify("server")
    clients = Authority(tmp_path, "clients")
    server = Secure(tmp_path / "data", **tls(certificate, key, clients.file))
    server.session.verify = str(authority.file)
    server.session.cert = pair(*clients.certify("scanner"))
    with server as served:
        assert served.session.get(f"{served.dicomweb}/studies").json() == []
        for cert in (None, pair(*authority.certify("stranger"))):
            with pytest.raises(requests.exceptions.ConnectionError):
                requests.get(f"{served.dicomweb}/studies", cert=cert, verify=str(authority.file), timeout=30)
        assert served.session.get(f"{served.dicomweb}/studies").json() == []


def test_no_old_protocol(served: Secure) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", served.http_port), 30) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain)


def test_who_never_ends_a_handshake_holds_nobody_up(served: Secure) -> None:
    """More of them than there are threads; plain HTTP is told apart from TLS, and does no harm."""
    idle = [socket.create_connection(("127.0.0.1", served.http_port), 30) for _ in range(6)]
    for connection in idle[:4]:
        connection.sendall(b"\x16\x03\x01\x02")  # the head of a record that never comes
    idle[4].sendall(b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n")
    began = time.monotonic()
    assert served.session.get(f"{served.url}/health/live", timeout=120).status_code == 200
    assert time.monotonic() - began < 100
    for connection in idle[:5]:
        connection.settimeout(60)
        assert ended(connection)
        connection.close()
    idle[5].close()
    assert served.session.get(f"{served.url}/health/live", timeout=60).status_code == 200
    assert "Traceback" not in served.output


def test_who_never_ends_a_request_holds_nobody_up(served: Secure, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.file))
    slow = []
    for _ in range(4):
        connection = http.client.HTTPSConnection("127.0.0.1", served.http_port, context=context, timeout=60)
        connection.connect()
        connection.sock.sendall(b"GET / HTTP/1.1\r\nHost:")
        slow.append(connection)
    assert served.session.get(f"{served.url}/health/live", timeout=120).status_code == 200
    for connection in slow:
        assert ended(connection.sock)
        connection.close()
    assert "Traceback" not in served.output


def ended(connection: Any) -> bool:
    """Whether the other side closes it, whatever it says before."""
    try:
        while connection.recv(4096):
            pass
    except (ssl.SSLError, ConnectionError):
        pass
    return True


def test_a_key_that_does_not_belong_to_the_certificate(tmp_path: Path, authority: Authority) -> None:
    certificate, _ = authority.certify("one")
    _, key = authority.certify("two")
    with pytest.raises(TlsUnusable, match=r"http\.tls\.key: is not the key of the certificate"):
        http_tls(TlsConfiguration(certificate=str(certificate), key=str(key)))
    encrypted = tmp_path / "encrypted.key"
    private = serialization.load_pem_private_key((tmp_path / "one.key").read_bytes(), None)
    encrypted.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsUnusable, match=r"http\.tls\.key: is encrypted"):
        http_tls(TlsConfiguration(certificate=str(certificate), key=str(encrypted)))
    tls = TlsConfiguration(certificate=str(certificate), key=str(key))
    configuration = Configuration(http=HttpConfiguration(tls=tls))
    assert [problem.key for problem in tls_problems(configuration)] == ["http.tls.key"], "serve and config check say so"
