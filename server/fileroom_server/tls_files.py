"""TLS contexts that follow the PEM files they are made of. Files that none can be made of raise TlsUnusable."""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0  # between two looks at the files
_Stamp = tuple[tuple[int, int, int], ...]


class TlsUnusable(Exception):
    """Files that no TLS can be made of; `key` is the key of the configuration that names the wrong one."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key = key
        self.message = message


class TlsContext:
    """A context that follows its files. What changes to something unusable is told, and the old one stays."""

    def __init__(self, make: Callable[[], ssl.SSLContext], files: Sequence[str]) -> None:
        self._make = make
        self._files = [Path(file) for file in files if file]
        self._lock = threading.Lock()
        self._stamp = self._read_stamp()
        self._context = make()
        self._looked = time.monotonic()

    def current(self) -> ssl.SSLContext:
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            with self._lock:
                self._looked = now
                stamp = self._read_stamp()
                if stamp != self._stamp:
                    self._stamp = stamp
                    self._renew()
        return self._context

    def _renew(self) -> None:
        try:
            self._context = self._make()
        except TlsUnusable as error:
            _log.error("changed certificates are not used, the old ones stay: %s", error)
        else:
            _log.info("changed certificates are used from now on")

    def _read_stamp(self) -> _Stamp:
        stamp = []
        for file in self._files:
            try:
                status = file.stat()
            except OSError:
                stamp.append((0, 0, 0))
            else:
                stamp.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(stamp)


def load_certificate(
    context: ssl.SSLContext, section: str, certificate: str, key: str, password: str | None = None
) -> None:
    """Of the keys `certificate` and `key` of a section; without a key it is in the certificate's file.

    Without `password`, the section has no key `key_password_file`.
    """
    check_readable(certificate, f"{section}.certificate")
    if key:
        check_readable(key, f"{section}.key")
    try:
        # always with a password: OpenSSL would ask for one at the terminal
        context.load_cert_chain(certificate, key or None, lambda: password or "")
    except (ssl.SSLError, ValueError) as error:
        raise TlsUnusable(*_reason(error, section, certificate, key, password)) from None


def load_authorities(context: ssl.SSLContext, file: str, key: str) -> None:
    check_readable(file, key)
    try:
        context.load_verify_locations(file)
    except (ssl.SSLError, ValueError):
        raise TlsUnusable(key, "holds no certificate in PEM") from None


def check_readable(file: str, key: str) -> None:
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        raise TlsUnusable(key, f"cannot be read: {error.strerror}") from None


def _reason(error: Exception, section: str, certificate: str, key: str, password: str | None) -> tuple[str, str]:
    """The key of the configuration and what to do; OpenSSL does not tell which of the files it means."""
    reason = getattr(error, "reason", None) or ""
    if reason == "KEY_VALUES_MISMATCH":
        return f"{section}.key", "is not the key of the certificate; name the one that belongs to it"
    if "-----BEGIN CERTIFICATE-----" not in _text(certificate):
        return f"{section}.certificate", "holds no certificate in PEM"
    key_text = _text(key or certificate)
    if "PRIVATE KEY-----" not in key_text:
        return f"{section}.key", "holds no private key in PEM; name its file"
    if "ENCRYPTED" in key_text:
        if password is None:
            return f"{section}.key", "is encrypted; name the file of one that is not"
        return f"{section}.key_password_file", "holds the wrong password, or none, for an encrypted key"
    return f"{section}.certificate", f"cannot be used ({reason or type(error).__name__})"


def _text(file: str) -> str:
    return Path(file).read_bytes().decode("latin-1")
