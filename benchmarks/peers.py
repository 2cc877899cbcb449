"""The servers that are measured: each on its own default, durable settings, with a fresh store."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
DESTINATION_AE_TITLE = "BENCHDST"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def retire(folder: Path) -> None:
    """Empties the files of a store that is done with, and leaves the rest to the end of the run.

    ext4 passes over inodes that were freed in the last minutes, one by one: whoever creates files just after thousands
    of others were removed pays for that.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                os.truncate(path, 0)
    folder.rename(folder.with_name(f"{folder.name}-{time.monotonic_ns()}"))


class Peer(ABC):
    """A server that is started for one round and stopped after it. `no_delay` switches Nagle's algorithm off in it."""

    name: str
    ae_title: str
    has_dicomweb = False

    def __init__(self, folder: Path, destination_port: int, *, no_delay: bool) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.destination_port = destination_port
        self.dicom_port, self.http_port = free_port(), free_port()
        self._log = (folder / "log").open("w")
        environment = {**os.environ, **({"TCP_NODELAY": "1"} if no_delay else {})}
        self._process = subprocess.Popen(
            self.command(), stdout=self._log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        self._wait()

    @classmethod
    @abstractmethod
    def is_installed(cls) -> bool: ...

    @classmethod
    @abstractmethod
    def version(cls) -> str: ...

    @abstractmethod
    def command(self) -> list[str]: ...

    @property
    def dicomweb(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def process_ids(self) -> list[int]:
        """The server's processes, children included."""
        found = [self._process.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            if children.exists():
                found += [int(child) for child in children.read_text().split()]
        return found

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()
        retire(self.folder)

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        for port in (self.dicom_port, self.http_port) if self.has_dicomweb else (self.dicom_port,):
            while True:
                if self._process.poll() is not None:
                    raise RuntimeError(f"{self.name} ended at once: {(self.folder / 'log').read_text()[-2000:]}")
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)


class Fileroom(Peer):
    name = "fileroom"
    ae_title = "FILEROOM"
    has_dicomweb = True

    @classmethod
    def is_installed(cls) -> bool:
        return True

    @classmethod
    def version(cls) -> str:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
        )
        return described.stdout.strip()

    def command(self) -> list[str]:
        configuration = self.folder / "fileroom.toml"
        configuration.write_text(
            f'[[peers]]\nae_title = "{DESTINATION_AE_TITLE}"\nhost = "127.0.0.1"\nport = {self.destination_port}\n'
        )
        return [
            str(Path(sys.executable).with_name("fileroom")),
            *("serve", "--config", str(configuration), "--data", str(self.folder / "data")),
            *("--dicom-port", str(self.dicom_port), "--http-port", str(self.http_port)),
        ]


class Orthanc(Peer):
    name = "Orthanc"
    ae_title = "ORTHANC"
    has_dicomweb = True

    _PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which("Orthanc") is not None and cls._PLUGIN.exists()

    @classmethod
    def version(cls) -> str:
        return _debian_version("orthanc") + ", DICOMweb plugin " + _debian_version("orthanc-dicomweb")

    def command(self) -> list[str]:
        configuration = self.folder / "orthanc.json"
        settings = {
            "StorageDirectory": str(self.folder / "data"),
            "DicomAet": self.ae_title,
            "DicomPort": self.dicom_port,
            "HttpPort": self.http_port,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "Plugins": [str(self._PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "DicomModalities": {"destination": [DESTINATION_AE_TITLE, "127.0.0.1", self.destination_port]},
        }
        configuration.write_text(json.dumps(settings))
        return ["Orthanc", str(configuration)]


class Dcmqrscp(Peer):
    name = "dcmqrscp"
    ae_title = "DCMQRSCP"

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which("dcmqrscp") is not None

    @classmethod
    def version(cls) -> str:
        return _debian_version("dcmtk")

    def command(self) -> list[str]:
        data = self.folder / "data"
        data.mkdir()
        configuration = self.folder / "dcmqrscp.cfg"
        configuration.write_text(
            f"NetworkTCPPort = {self.dicom_port}\nMaxPDUSize = 131072\nMaxAssociations = 16\n"
            f"HostTable BEGIN\ndestination = ({DESTINATION_AE_TITLE}, 127.0.0.1, {self.destination_port})\n"
            f"HostTable END\nVendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\n{self.ae_title} {data} RW (200, 4096mb) ANY\nAETable END\n"
        )
        return ["dcmqrscp", "--config", str(configuration)]


class Qrscp(Peer):
    name = "pynetdicom qrscp"
    ae_title = "QRSCP"

    @classmethod
    def is_installed(cls) -> bool:
        return True

    @classmethod
    def version(cls) -> str:
        import pynetdicom

        return str(pynetdicom.__version__)

    def command(self) -> list[str]:
        data = self.folder / "data"
        data.mkdir()
        configuration = self.folder / "qrscp.ini"
        configuration.write_text(
            f"[DEFAULT]\nae_title: {self.ae_title}\nport: {self.dicom_port}\nmax_pdu: 16382\nacse_timeout: 30\n"
            f"dimse_timeout: 30\nnetwork_timeout: 30\nbind_address: 127.0.0.1\n"
            f"instance_location: {data}\ndatabase_location: {self.folder}/instances.sqlite\n"
            f"[{DESTINATION_AE_TITLE}]\naddress: 127.0.0.1\nport: {self.destination_port}\n"
        )
        return [sys.executable, "-m", "pynetdicom", "qrscp", "--config", str(configuration)]


PEERS: tuple[type[Peer], ...] = (Fileroom, Orthanc, Dcmqrscp, Qrscp)


def _debian_version(package: str) -> str:
    query = ["dpkg-query", "--show", "--showformat=${Version}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout
