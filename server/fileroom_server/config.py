"""The configuration as frozen values, each key with its default; conf/fileroom.toml gives the reasons."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from fileroom_server.config_audit import AuditConfiguration
from fileroom_server.config_http_access import AuthenticationConfiguration, TlsConfiguration
from fileroom_server.config_section import Section, separated_by_commas
from fileroom_server.config_storage_commitment import StorageCommitmentConfiguration
from fileroom_server.config_tls import DicomTlsConfiguration
from fileroom_server.config_values import AETitle, Certificates, Host, Networks, Port, Seconds, is_loopback
from fileroom_server.peer_services import PeerService
from fileroom_storage.index.drivers import DRIVERS


def _path_prefix(value: str) -> str:
    prefix = value.rstrip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", prefix):
        raise ValueError('write a path like "/dicom-web"')
    return prefix


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if value and not (parts.scheme in {"http", "https"} and parts.netloc and not parts.query and not parts.fragment):
        raise ValueError('write a URL like "https://pacs.example.org"; an empty string takes it from each request')
    return value.rstrip("/")


def _database_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        return value
    scheme, separator, rest = value.get_secret_value().partition("://")
    if not separator or scheme not in DRIVERS:
        raise ValueError('write a URL that begins with "sqlite:///", "mariadb://", "mysql://" or "postgresql://"')
    address = rest if scheme == "sqlite" else rest.rpartition("@")[2]
    name, _, options = address.partition("/")[2].partition("?")
    if scheme == "sqlite" and name in ("", ":memory:"):
        raise ValueError('name a file for the index, as in "sqlite:////srv/fileroom/index.sqlite"')
    if not name and "dbname=" not in options:
        raise ValueError('name the database at the end, as in "mariadb://fileroom@localhost/fileroom"')
    return value


def _folder(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError('name a folder, "." for the current one; without this key it is fileroom-data')
    return value


def _origin(value: str) -> str:
    origin = value.strip().rstrip("/")
    if origin != "*" and not re.fullmatch(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", origin):
        raise ValueError('write an origin like "https://viewer.example.org", without a path, or "*" for any')
    return origin


def _address_or_any(value: str) -> str:
    try:
        if value != "*":
            ipaddress.ip_network(value)
    except ValueError:
        raise ValueError('write addresses or networks such as "10.0.0.0/8", or "*" for any') from None
    return value


class DatabaseConfiguration(Section):
    url: Annotated[SecretStr, AfterValidator(_database_url)] = SecretStr("")
    password: SecretStr = SecretStr("")
    password_file: str = ""
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 8
    pool_overflow: Annotated[int, Field(ge=0, le=1000)] = 16
    pool_timeout: Seconds = 10
    pool_recycle: Seconds = 1800
    statement_timeout: Seconds = 30

    @model_validator(mode="after")
    def _one_password(self) -> "DatabaseConfiguration":
        if self.password.get_secret_value() and self.password_file:
            raise ValueError("password and password_file are both given; keep one")
        return self


class DicomConfiguration(Section):
    ae_title: AETitle = "FILEROOM"
    host: Host = "127.0.0.1"
    port: Port = 11112
    require_called_ae_title: bool = False
    calling_ae_titles: Literal["automatic", "any", "peers"] = "automatic"
    processes: Annotated[int, Field(ge=1, le=256)] = 2
    maximum_associations: Annotated[int, Field(ge=1, le=10_000)] = 64
    maximum_associations_per_address: Annotated[int, Field(ge=1, le=10_000)] = 32
    maximum_find_results: Annotated[int, Field(ge=0)] = 100_000
    maximum_object_size: Annotated[int, Field(ge=0)] = 2**36
    maximum_pdu_size: Annotated[int, Field(ge=4096, le=16 * 2**20)] = 256 * 2**10
    acse_timeout: Seconds = 30
    dimse_timeout: Seconds = 60
    network_timeout: Seconds = 120
    minimum_rate: Annotated[int, Field(ge=1, le=2**30)] = 500
    tls: DicomTlsConfiguration = DicomTlsConfiguration()


class HttpConfiguration(Section):
    host: Host = "127.0.0.1"
    port: Port = 8080
    prefix: Annotated[str, AfterValidator(_path_prefix)] = "/dicom-web"
    base_url: Annotated[str, AfterValidator(_base_url)] = ""
    forwarded_allow_ips: Annotated[
        tuple[Annotated[str, AfterValidator(_address_or_any)], ...], NoDecode, BeforeValidator(separated_by_commas)
    ] = ("127.0.0.1", "::1")
    cors_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(separated_by_commas)
    ] = ()
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    threads: Annotated[int, Field(ge=1, le=256)] = 8
    timeout: Seconds = 120
    minimum_rate: Annotated[int, Field(ge=0)] = 500
    queue_timeout: Seconds = 30
    maximum_connections: Annotated[int, Field(ge=8, le=100_000)] = 1000
    maximum_slow_requests: Annotated[int, Field(ge=1, le=10_000)] = 128
    maximum_renderings: Annotated[int, Field(ge=1, le=256)] = 4
    maximum_results: Annotated[int, Field(ge=0)] = 100_000
    maximum_body_size: Annotated[int, Field(ge=0)] = 2**36
    allow_delete: bool = True
    metadata_cache_size: Annotated[int, Field(ge=0)] = 2**30
    viewer: str = ""
    viewer_config: str = ""
    authentication: AuthenticationConfiguration = AuthenticationConfiguration()
    tls: TlsConfiguration = TlsConfiguration()

    @property
    def is_open(self) -> bool:
        """Whether everybody gets in who reaches the port."""
        return not self.authentication.methods and not self.tls.client_ca

    @property
    def scheme(self) -> str:
        return "https" if self.tls.certificate else "http"


class StorageConfiguration(Section):
    durability: Literal["full", "relaxed"] = "full"
    undo_time: Annotated[float, Field(ge=0, le=100 * 366 * 86_400)] = 7 * 86_400
    purge_rejected: bool = False


class LoggingConfiguration(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class MetricsConfiguration(Section):
    enabled: bool = True


class TracingConfiguration(Section):
    enabled: bool = False
    endpoint: Annotated[str, AfterValidator(_base_url), Field(min_length=1)] = "http://127.0.0.1:4318"
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    service_name: Annotated[str, Field(min_length=1)] = "fileroom"


class SecurityConfiguration(Section):
    allow_open_network: bool = False


class Peer(Section):
    """An application entity that fileroom knows: C-MOVE sends and reports go to it, and it may call."""

    ae_title: AETitle
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]
    address: Networks = ()
    services: Annotated[tuple[PeerService, ...], NoDecode, BeforeValidator(separated_by_commas)] = tuple(PeerService)
    certificate: Certificates = ()
    tls: bool = False
    tls_ca: str = ""
    tls_check_host: bool = True

    @model_validator(mode="after")
    def _tls_is_on(self) -> "Peer":
        if self.tls_ca and not self.tls:
            raise ValueError("tls_ca is given without tls = true, so the peer would be sent to without TLS")
        return self


class Configuration(Section):
    """Every setting of fileroom. Without arguments: the defaults; config_sources.load_configuration reads the rest."""

    data: Annotated[Path, BeforeValidator(_folder)] = Path("fileroom-data")
    drain_timeout: Seconds = 30
    peers: tuple[Peer, ...] = ()
    database: DatabaseConfiguration = DatabaseConfiguration()
    dicom: DicomConfiguration = DicomConfiguration()
    http: HttpConfiguration = HttpConfiguration()
    storage: StorageConfiguration = StorageConfiguration()
    storage_commitment: StorageCommitmentConfiguration = StorageCommitmentConfiguration()
    logging: LoggingConfiguration = LoggingConfiguration()
    metrics: MetricsConfiguration = MetricsConfiguration()
    tracing: TracingConfiguration = TracingConfiguration()
    security: SecurityConfiguration = SecurityConfiguration()
    audit: AuditConfiguration = AuditConfiguration()
    # by name; each plugin has a model of its own for what its section says, see plugins.py
    plugins: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _peers_differ(self) -> "Configuration":
        titles = [peer.ae_title for peer in self.peers]
        twice = sorted({title for title in titles if titles.count(title) > 1})
        if twice:
            raise ValueError(f"peers: the AE title {twice[0]} is given twice; a C-MOVE could not tell which is meant")
        return self

    @property
    def only_peers_may_call(self) -> bool:
        """Whether an association from an AE title that is no peer's is rejected."""
        if self.dicom.calling_ae_titles == "automatic":
            return not is_loopback(self.dicom.host) and bool(self.peers)
        return self.dicom.calling_ae_titles == "peers"

    def peer(self, ae_title: str) -> Peer | None:
        """The peer of this AE title."""
        return next((peer for peer in self.peers if peer.ae_title == ae_title.strip(" ")), None)

    def viewer_folder(self) -> Path:
        """Where the viewer is, or would be."""
        return Path(self.http.viewer or self.data / "viewer").absolute()

    def viewer_config_file(self) -> Path:
        """Where a site may have its additions to the viewer's configuration."""
        return Path(self.http.viewer_config or self.data / "viewer-config.js").absolute()

    @property
    def index_is_in_data(self) -> bool:
        """Whether the index is the SQLite file in the data folder."""
        return not self.database.url.get_secret_value()

    def database_url(self) -> str:
        """The SQLAlchemy URL with its password: a secret. Raises OSError when the password file cannot be read."""
        url = self.database.url.get_secret_value()
        if not url:
            return f"sqlite:///{self.data.absolute() / 'index.sqlite'}"
        scheme, _, rest = url.partition("://")
        password = self.database.password.get_secret_value()
        if self.database.password_file:
            password = Path(self.database.password_file).read_text(encoding="utf-8").rstrip("\r\n")
        user, at, address = rest.rpartition("@")
        if password and at and ":" not in user:
            rest = f"{user}:{quote(password, safe='')}@{address}"
        return f"{DRIVERS[scheme]}://{rest}"


def masked_url(url: str) -> str:
    """A database URL without its password, fit for a terminal or a log."""
    url = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"([?&][^=&]*passw[^=&]*=)[^&]*", r"\1***", url, flags=re.IGNORECASE)
