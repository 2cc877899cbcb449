"""Certificates made by openssl: an authority, and what it issues."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """As openssl prints it."""
        return _openssl("x509", "-in", self.certificate, "-noout", "-fingerprint", "-sha256").strip()


class Authority:
    """A self-signed authority whose files are in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            *("req", "-x509", *_NEW_KEY, "-nodes", "-subj", f"/CN={name}", "-days", "3650"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", self._key, "-out", self.certificate),
        )

    def issue(self, name: str, *, days: int = 30, password: str | None = None) -> Certificate:
        """A certificate for this name and for 127.0.0.1; it has expired where `days` is negative."""
        issued = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        protection = ("-nodes",) if password is None else ("-passout", f"pass:{password}")
        _openssl("req", "-new", *_NEW_KEY, *protection, "-subj", f"/CN={name}", "-keyout", issued.key, "-out", request)
        extensions.write_text(f"subjectAltName=DNS:{name},IP:127.0.0.1\n")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial"),
            *("-days", str(days), "-extfile", extensions, "-out", issued.certificate),
        )
        return issued


def _openssl(*arguments: str | Path) -> str:
    result = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout
