"""The configuration's values: what each key accepts, and what follows from several."""

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fileroom_server.config import Configuration, Peer, masked_url
from fileroom_server.config_sources import known_keys, load_configuration
from fileroom_server.config_values import is_loopback
from fileroom_server.wiring import dicomweb_settings

CONF = Path(__file__).parents[2] / "conf" / "fileroom.toml"


def value(configuration: Configuration, key: str) -> Any:
    inner: Any = configuration
    for name in key.split("."):
        inner = getattr(inner, name)
    return inner


def switched_on() -> str:
    """conf/fileroom.toml with every key switched on."""
    lines = CONF.read_text(encoding="utf-8").splitlines()
    return "\n".join(line[1:] if line.startswith("#") and line[1:2].isalpha() else line for line in lines)


def written_keys(document: dict[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for name, inner in document.items():
        keys += written_keys(inner, f"{prefix}{name}.") if isinstance(inner, dict) else [prefix + name]
    return keys


class TestDocumentedFile:
    def test_a_copy_changes_nothing(self) -> None:
        assert load_configuration(CONF).configuration == Configuration()
        assert set(load_configuration(CONF).sources.values()) == {"default"}

    def test_it_has_every_key_and_no_other(self) -> None:
        assert written_keys(tomllib.loads(switched_on())) == list(known_keys())

    def test_every_key_has_its_default(self, tmp_path: Path) -> None:
        file = tmp_path / "all.toml"
        file.write_text(switched_on(), encoding="utf-8")
        loaded = load_configuration(file)
        for key in known_keys():
            assert value(loaded.configuration, key) == value(Configuration(), key), key
        assert set(loaded.sources.values()) == {str(file)}

    def test_the_example_of_a_peer_is_valid_and_whole(self, tmp_path: Path) -> None:
        lines = CONF.read_text(encoding="utf-8").splitlines()
        example = "\n".join(line.removeprefix("# ") for line in lines[lines.index("# [[peers]]") :])
        file = tmp_path / "peers.toml"
        file.write_text(example, encoding="utf-8")
        assert load_configuration(file).configuration.peers == (
            Peer(
                ae_title="WORKSTATION",
                host="10.0.0.7",
                port=104,
                address=("10.0.0.7", "10.1.0.0/16"),
                tls=True,
                tls_ca="/etc/fileroom/workstations.pem",
                tls_check_host=False,
            ),
        )
        assert list(tomllib.loads(example)["peers"][0]) == list(Peer.model_fields)

    def test_every_key_has_its_reason(self) -> None:
        lines = CONF.read_text(encoding="utf-8").splitlines()
        names = {key.rpartition(".")[2] for key in known_keys()}
        for above, line in pairwise(lines):
            if line.startswith("#") and line[1:].partition(" ")[0] in names:
                assert above.startswith(("# ", "#workers")), line


def test_values_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Configuration().dicom.port = 104  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        Configuration().data = Path()  # type: ignore[misc]


@pytest.mark.parametrize("title", ["A", "FILEROOM", "SIXTEEN_CHARS_16", " PADDED ", "with space", "[A]{~}"])
def test_ae_titles(title: str) -> None:
    assert Peer(ae_title=title, host="h", port=104).ae_title == title.strip()


@pytest.mark.parametrize(
    "title", ["", " ", "SEVENTEEN_CHARS_7", "BACK\\SLASH", "LINE\nBREAK", "RÖNTGEN", "TAB\t", "\x7f"]
)
def test_what_is_no_ae_title(title: str) -> None:
    with pytest.raises(ValidationError, match="1 to 16 ASCII characters"):
        Peer(ae_title=title, host="h", port=104)


@pytest.mark.parametrize("host", ["", "a b", "http://h", "h\n"])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ValidationError, match="host name or an IP address"):
        Peer(ae_title="A", host=host, port=104)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example.org", False),
        ("pacs", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"url": "sqlite:////srv/i.sqlite"}, "sqlite:////srv/i.sqlite"),
        ({"url": "mysql://u:p@h/d"}, "mysql+pymysql://u:p@h/d"),
        ({"url": "mysql+pymysql://u@h:3307/d?ssl_ca=x"}, "mysql+pymysql://u@h:3307/d?ssl_ca=x"),
        ({"url": "mariadb://u@h/d", "password": "a@b:c/d%"}, "mariadb+pymysql://u:a%40b%3Ac%2Fd%25@h/d"),
        ({"url": "postgresql://u:in-url@h/d", "password": "other"}, "postgresql+psycopg://u:in-url@h/d"),
        ({"url": "postgres:///d", "password": "no user to give it to"}, "postgresql+psycopg:///d"),
    ],
)
def test_database_url(section: dict[str, str], expected: str) -> None:
    assert Configuration.model_validate({"database": section}).database_url() == expected


def test_the_default_database_is_in_the_data_folder(tmp_path: Path) -> None:
    assert Configuration(data=tmp_path).database_url() == f"sqlite:///{tmp_path}/index.sqlite"
    assert Configuration().database_url() == f"sqlite:///{Path.cwd()}/fileroom-data/index.sqlite"


def test_the_password_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cr t\n")
    database = {"url": "mariadb://u@h/d", "password_file": str(tmp_path / "secret")}
    assert Configuration.model_validate({"database": database}).database_url() == "mariadb+pymysql://u:s3cr%20t@h/d"


def test_secrets_do_not_show_in_representations() -> None:
    section = {"url": "mariadb://u:in-url@h/d", "password": "given"}
    text = repr(Configuration.model_validate({"database": section}))
    assert "in-url" not in text
    assert "given" not in text


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", ""),
        ("sqlite:////srv/index.sqlite", "sqlite:////srv/index.sqlite"),
        ("mariadb://u@h/d", "mariadb://u@h/d"),
        ("mariadb://u:p@h/d", "mariadb://u:***@h/d"),
        ("mariadb://u:p:w@x@h:1/d?a=b", "mariadb://u:***@h:1/d?a=b"),
        ("mariadb://:p@h/d", "mariadb://:***@h/d"),
        ("postgresql://h/d?user=u&password=p&a=b", "postgresql://h/d?user=u&password=***&a=b"),
        ("postgresql://h/d?sslpassword=p", "postgresql://h/d?sslpassword=***"),
    ],
)
def test_masked_urls(url: str, expected: str) -> None:
    assert masked_url(url) == expected


@pytest.mark.parametrize(
    ("host", "calling_ae_titles", "peers", "expected"),
    [
        ("127.0.0.1", "automatic", 0, False),
        ("127.0.0.1", "automatic", 1, False),
        ("10.0.0.1", "automatic", 0, False),
        ("10.0.0.1", "automatic", 1, True),
        ("127.0.0.1", "peers", 1, True),
        ("10.0.0.1", "any", 1, False),
    ],
)
def test_who_may_call(host: str, calling_ae_titles: str, peers: int, expected: bool) -> None:
    peer = {"ae_title": "A", "host": "h", "port": 104}
    dicom = {"host": host, "calling_ae_titles": calling_ae_titles}
    configuration = Configuration.model_validate({"dicom": dicom, "peers": [peer] * peers})
    assert configuration.only_peers_may_call is expected


def test_a_peer_is_found_by_its_ae_title() -> None:
    configuration = Configuration(peers=(Peer(ae_title="A", host="h", port=104),))
    assert configuration.peer("A ") == configuration.peers[0]
    assert configuration.peer("B") is None


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ((), ()),
        (
            ["https://viewer.example.org/", "http://localhost:3000"],
            ("https://viewer.example.org", "http://localhost:3000"),
        ),
        ("https://a.example, http://[::1]:3000", ("https://a.example", "http://[::1]:3000")),
        (["*"], ("*",)),
    ],
)
def test_cors_origins(origins: object, expected: tuple[str, ...]) -> None:
    configuration = Configuration.model_validate({"http": {"cors_origins": origins}})
    assert configuration.http.cors_origins == expected
    assert dicomweb_settings(configuration).cors_origins == expected


@pytest.mark.parametrize(
    "origin", ["viewer.example.org", "https://a.example/viewer", "https://*.example.org", "null", ""]
)
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(ValidationError, match="write an origin like"):
        Configuration.model_validate({"http": {"cors_origins": [origin]}})
