"""`fileroom serve` with TLS on the DICOM port."""

import re
import shlex
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

from tests.certificates import Authority, Certificate
from tests.served import Served
from tests.server.cli.commands import fileroom
from tests.server.cli.senders import wait_until


def configured(folder: Path, certificate: Certificate, **settings: str) -> Path:
    lines = [f'certificate = "{certificate.certificate}"', f'key = "{certificate.key}"']
    lines += [f"{name} = {value}" for name, value in settings.items()]
    file = folder / "fileroom.toml"
    file.write_text("\n".join(["[dicom.tls]", *lines, ""]))
    return file


def test_what_it_says_works_and_certificates_are_renewed(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    first, second = authority.issue("first.example.org"), authority.issue("second.example.org")
    used = Certificate(tmp_path / "used.pem", tmp_path / "used.key")

    def use(certificate: Certificate) -> None:
        shutil.copy(certificate.key, used.key)
        shutil.copy(certificate.certificate, used.certificate)

    use(first)
    with Served(tmp_path / "data", None, "--config", str(configured(tmp_path, used))) as served:

        def shown() -> str:
            context = ssl.create_default_context(cafile=str(authority.certificate))
            context.check_hostname = False
            with (
                socket.create_connection(("127.0.0.1", served.dicom_port), 20) as plain,
                context.wrap_socket(plain) as connection,
            ):
                certificate = connection.getpeercert()
                assert certificate is not None
                return str(certificate["subjectAltName"])

        wait_until(lambda: "Ctrl-C stops it." in served.output)
        assert f"FILEROOM at 127.0.0.1:{served.dicom_port}, TLS" in served.output
        command = re.search(r"^  (echoscu .*)$", served.output, re.MULTILINE)
        assert command is not None
        assert subprocess.run(shlex.split(command[1]), capture_output=True).returncode == 0
        # and nothing else gets in
        plain = ["echoscu", "127.0.0.1", str(served.dicom_port)]
        assert subprocess.run(plain, capture_output=True).returncode != 0
        assert "first.example.org" in shown()
        use(second)
        wait_until(lambda: "second.example.org" in shown())
        # by each of the two processes, of which whoever is faster accepts
        wait_until(lambda: bool(shown()) and served.output.count("changed certificates are used from now on") == 2)


def test_what_cannot_be_used_is_told_before_anything_starts(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    mixed = Certificate(authority.issue("one.example.org").certificate, authority.issue("other.example.org").key)
    file = configured(tmp_path, mixed, client_ca='"absent.pem"')
    told = "dicom.tls.key: is not the key of the certificate; name the one that belongs to it"
    started = fileroom("serve", "--config", file, "--data", tmp_path / "data")
    assert started.returncode == 2
    assert told in started.stderr
    assert not (tmp_path / "data").exists()
    checked = fileroom("config", "check", "--config", file)
    assert checked.returncode == 1
    assert "is not the key of the certificate" in checked.stdout
