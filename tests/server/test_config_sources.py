"""Where configuration comes from: precedence, and every mistake named with its place."""

import contextlib
import datetime as dt
import os
import re
from pathlib import Path
from typing import Any

import pytest

from fileroom_server.config_errors import ConfigurationError
from fileroom_server.config_sources import known_keys, load_configuration

NAME_IT = 'name the database at the end, as in "mariadb://fileroom@localhost/fileroom"'
NAME_A_FILE = 'name a file for the index, as in "sqlite:////srv/fileroom/index.sqlite"'
PEER = '[[peers]]\nae_title = "A"\nhost = "h"\nport = 104\n'


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("FILEROOM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fileroom.toml"


def problems(file: Path | None = None, **overrides: Any) -> list[str]:
    """`dicom__port=70_000` overrides dicom.port."""
    with pytest.raises(ConfigurationError) as raised:
        load_configuration(file, {key.replace("__", "."): value for key, value in overrides.items()})
    assert str(raised.value) == "\n".join(map(str, raised.value.problems))
    return [str(problem).replace(str(file), "FILE") for problem in raised.value.problems]


class TestPrecedence:
    def test_command_line_then_environment_then_file_then_default(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.write_text("[dicom]\nport = 1\nmaximum_associations = 1\nacse_timeout = 1\n")
        monkeypatch.setenv("FILEROOM_DICOM__PORT", "2")
        monkeypatch.setenv("FILEROOM_DICOM__MAXIMUM_ASSOCIATIONS", "2")
        loaded = load_configuration(file, {"dicom.port": 3, "http.port": None})
        dicom = loaded.configuration.dicom
        assert (dicom.port, dicom.maximum_associations, dicom.acse_timeout, dicom.ae_title) == (3, 2, 1, "FILEROOM")
        assert loaded.configuration.http.port == 8080
        keys = ["dicom.port", "dicom.maximum_associations", "dicom.acse_timeout", "dicom.ae_title", "http.port"]
        assert [loaded.sources[key] for key in keys] == [
            "command line",
            "environment",
            str(file),
            "default",
            "default",
        ]

    def test_a_list_is_replaced_as_a_whole(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text(PEER + PEER.replace('"A"', '"B"'))
        monkeypatch.setenv("FILEROOM_PEERS", '[{"ae_title": "C", "host": "h", "port": 104}]')
        assert [peer.ae_title for peer in load_configuration(file).configuration.peers] == ["C"]

    def test_a_section_may_be_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FILEROOM_DICOM", '{"port": 104, "ae_title": "A"}')
        monkeypatch.setenv("FILEROOM_DICOM__AE_TITLE", "B")
        dicom = load_configuration().configuration.dicom
        assert (dicom.port, dicom.ae_title) == (104, "B")

    def test_an_empty_variable_is_not_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FILEROOM_DICOM__PORT", "")
        assert load_configuration().configuration.dicom.port == 11112

    def test_commas_make_a_list(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FILEROOM_HTTP__FORWARDED_ALLOW_IPS", "10.0.0.0/8, ::1")
        assert load_configuration().configuration.http.forwarded_allow_ips == ("10.0.0.0/8", "::1")

    def test_the_environment_names_the_file(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text('data = "elsewhere"')
        monkeypatch.setenv("FILEROOM_CONFIG", str(file))
        assert load_configuration().configuration.data == Path("elsewhere")
        assert load_configuration().file == file

    def test_variables_of_others_are_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {
            "FILEROOM_SERVICE_HOST": "10.1.1.1",
            "FILEROOM_SERVICE_PORT_HTTP": "8080",
            "FILEROOM_PORT": "tcp://10.1.1.1:8080",
            "FILEROOM_PORT_8080_TCP_ADDR": "10.1.1.1",
            "FILEROOM_CORPUS": "somewhere",
            "FILEROOMS": "3",
        }.items():
            monkeypatch.setenv(name, value)
        load_configuration()


class TestProblems:
    def test_all_are_listed_at_once_each_with_its_place(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text(
            '[dicom]\nprot = 104\nae_title = "MUCH TOO LONG A TITLE"\n[htpp]\nport = 1\n[storage]\nport = 1\n'
            '[[peers]]\nae_tilte = "A"\nhost = "h"\nport = 104\n'
        )
        monkeypatch.setenv("FILEROOM_HTTP__WORKERS", "many")
        monkeypatch.setenv("FILEROOM_HTTP__WORKRES", "2")
        monkeypatch.setenv("FILEROOM_DICOM_PORT", "104")
        monkeypatch.setenv("FILEROOM_ZZZ", "1")
        title = "an AE title has 1 to 16 ASCII characters, no backslash, and not only spaces"
        assert sorted(problems(file, dicom__port=70_000)) == sorted(
            [
                "FILE: dicom.prot: unknown key; did you mean port?",
                f"FILE: dicom.ae_title: {title}",
                "FILE: htpp: unknown key; did you mean http?",
                "FILE: storage.port: unknown key; did you mean dicom.port?",
                "FILE: peers.0.ae_tilte: unknown key; did you mean ae_title?",
                "FILE: peers.0.ae_title: is missing",
                "environment: FILEROOM_HTTP__WORKERS: write a whole number",
                "environment: FILEROOM_HTTP__WORKRES: unknown key; did you mean workers?",
                "environment: FILEROOM_DICOM_PORT: is unknown; did you mean FILEROOM_DICOM__PORT?",
                "environment: FILEROOM_ZZZ: is unknown",
                "command line: dicom.port: write a number of at most 65535",
            ]
        )

    def test_a_variable_that_holds_a_list_is_named_with_the_place_in_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FILEROOM_PEERS", '[{"ae_title": "A", "host": "h", "port": 0}]')
        assert problems() == ["environment: FILEROOM_PEERS 0 port: write a number of at least 1"]

    def test_json_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FILEROOM_PEERS", "A@h:104")
        assert problems() == ["environment: FILEROOM_PEERS: is not the JSON that a list or a section needs"]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"[dicom\n", "FILE: is not TOML: "),
            (b"\xff\xfe", "FILE: is not UTF-8, so it is no TOML file"),
            (b"dicom = 5", "FILE: dicom: "),
            (b"peers = 5", "FILE: peers: "),
            (b"[data]\nx = 1", "FILE: data: "),
        ],
    )
    def test_files_that_are_none(self, file: Path, content: bytes, expected: str) -> None:
        file.write_bytes(content)
        (problem,) = problems(file)
        assert problem.startswith(expected)

    @pytest.mark.parametrize(
        "value", ["?", -1, 10**30, float("nan"), True, [], {}, [{}], {"x": 1}, dt.date(2024, 1, 1)]
    )
    def test_wrong_values_are_told_in_our_words(self, value: object) -> None:
        refused = 0
        for key in known_keys():
            with contextlib.suppress(ConfigurationError):
                load_configuration(None, {key: value})
                continue
            for problem in problems(None, **{key.replace(".", "__"): value}):
                refused += 1
                assert not re.search(r"Input|[Vv]alid|Field|pydantic|instance|{", problem), problem
        assert refused > 5

    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("data", "", 'name a folder, "." for the current one; without this key it is fileroom-data'),
            ("data", " ", 'name a folder, "." for the current one; without this key it is fileroom-data'),
            ("data", 5, "write a path, in quotes"),
            ("dicom.port", "many", "write a whole number"),
            ("dicom.acse_timeout", 0, "write a number above 0.0"),
            ("storage.durability", "none", "write one of 'full' or 'relaxed'"),
            ("security.allow_open_network", "perhaps", "write true or false"),
            ("dicom", 5, "is a section of keys, not a value"),
            (
                "http.forwarded_allow_ips.0",
                "nowhere",
                'write addresses or networks such as "10.0.0.0/8", or "*" for any',
            ),
            ("database.url", "mariadb://u@h", NAME_IT),
            ("database.url", "mysql://u:a/b@h/", NAME_IT),
            ("database.url", "postgresql://h/?sslmode=require", NAME_IT),
            ("database.url", "sqlite://", NAME_A_FILE),
            ("database.url", "sqlite:///:memory:", NAME_A_FILE),
        ],
    )
    def test_what_to_write_instead(self, key: str, value: object, expected: str) -> None:
        told = problems(None, **{key.removesuffix(".0").replace(".", "__"): value})
        assert [problem.partition(": ")[2] for problem in told] == [f"{key}: {expected}"]

    def test_a_file_that_is_missing(self, file: Path) -> None:
        assert problems(file) == ["FILE: cannot be read: No such file or directory; give the right file with --config"]
        assert "Is a directory" in problems(file.parent)[0]

    def test_no_value_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FILEROOM_DATABASE__URL", "oracle://user:secret@host/name")
        monkeypatch.setenv("FILEROOM_DATABASE__PASSWORD", "secret")
        monkeypatch.setenv("FILEROOM_DATABASE__PASWORD", "secret")
        monkeypatch.setenv("FILEROOM_DATABASE__POOL_SIZE", "secret")
        told = problems()
        assert len(told) == 3, told
        assert "secret" not in "".join(told)

    def test_two_passwords(self) -> None:
        (problem,) = problems(database__password="a", database__password_file="b")
        assert problem == "command line: database: password and password_file are both given; keep one"

    def test_a_password_file_that_is_missing(self, tmp_path: Path) -> None:
        (problem,) = problems(database__url="mariadb://u@h/d", database__password_file=str(tmp_path / "none"))
        assert problem == "configuration: database.password_file: cannot be read: No such file or directory"

    def test_peers_of_the_same_title(self, file: Path) -> None:
        file.write_text(PEER + PEER)
        (problem,) = problems(file)
        assert "the AE title A is given twice" in problem

    def test_the_same_port_twice(self) -> None:
        (problem,) = problems(dicom__port=4000, http__port=4000)
        assert "is the port of DICOM too" in problem

    def test_any_free_port_twice_is_fine(self) -> None:
        load_configuration(None, {"dicom.port": 0, "http.port": 0})


class TestClosedByDefault:
    """DESIGN 3.7."""

    def test_dicom_without_peers(self) -> None:
        (problem,) = problems(dicom__host="0.0.0.0")
        assert problem.startswith("configuration: dicom.host: 0.0.0.0 is open to the network")
        assert "[[peers]]" in problem
        assert "allow_open_network = true" in problem

    def test_dicom_with_peers(self, file: Path) -> None:
        file.write_text(PEER + '[dicom]\nhost = "0.0.0.0"\n')
        assert load_configuration(file).configuration.only_peers_may_call

    def test_dicom_with_peers_but_open_to_any(self, file: Path) -> None:
        file.write_text(PEER + '[dicom]\nhost = "0.0.0.0"\ncalling_ae_titles = "any"\n')
        (problem,) = problems(file)
        assert 'calling_ae_titles = "peers"' in problem

    def test_only_peers_without_any(self) -> None:
        (problem,) = problems(dicom__calling_ae_titles="peers")
        assert "nobody could call" in problem

    def test_http(self, file: Path) -> None:
        file.write_text(PEER + '[http]\nhost = "::"\n')
        (problem,) = problems(file)
        assert problem.startswith("configuration: http.host: :: is open to the network and HTTP has no authentication")
        assert "allow_open_network = true" in problem

    def test_in_words(self) -> None:
        overrides = {"dicom.host": "0.0.0.0", "http.host": "0.0.0.0", "security.allow_open_network": True}
        loaded = load_configuration(None, overrides)
        assert not loaded.configuration.only_peers_may_call
