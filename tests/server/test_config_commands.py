"""`fileroom config`: check tells everything that is wrong, show what the result is, neither a secret."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fileroom_server.config_commands import config
from fileroom_server.config_sources import known_keys


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("FILEROOM_"):
            monkeypatch.delenv(name)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(config, arguments)


@pytest.fixture
def bad_file(tmp_path: Path) -> Path:
    file = tmp_path / "bad.toml"
    file.write_text('[dicom]\nprot = 104\n[database]\nurl = "oracle://u:secret@h/d"\n')
    return file


class TestCheck:
    def test_good(self) -> None:
        result = run("check")
        assert (result.exit_code, result.output) == (
            0,
            "The configuration is good (no file, all keys at their defaults).\n",
        )

    def test_good_file(self, tmp_path: Path) -> None:
        file = tmp_path / "good.toml"
        file.write_text("[dicom]\nport = 104\n")
        keys = len(list(known_keys()))
        assert (
            run("check", "--config", str(file)).output == f"The configuration is good ({file}, 1 of {keys} keys set).\n"
        )

    def test_bad(self, bad_file: Path) -> None:
        result = run("check", "--config", str(bad_file))
        assert result.exit_code == 1
        assert f"{bad_file}\tdicom.prot\tunknown key; did you mean port?\n" in result.output
        assert f"{bad_file}\tdatabase.url\twrite a URL that begins with" in result.output
        assert "secret" not in result.output

    def test_json(self, bad_file: Path) -> None:
        result = run("check", "--json", "--config", str(bad_file))
        assert result.exit_code == 1
        document = json.loads(result.output)
        assert document["good"] is False
        assert {problem["key"] for problem in document["problems"]} == {"dicom.prot", "database.url"}
        assert json.loads(run("check", "--json").output) == {"good": True, "problems": []}


class TestShow:
    def test_every_key_is_shown(self) -> None:
        result = run("show")
        assert result.exit_code == 0
        rows = [line.split("\t") for line in result.output.splitlines()]
        assert [row[0] for row in rows] == list(known_keys())
        assert ["dicom.port", "11112", "default"] in rows

    def test_json(self, tmp_path: Path) -> None:
        document = json.loads(run("show", "--json", "--data", str(tmp_path)).output)
        assert list(document) == list(known_keys())
        assert document["data"] == {"value": str(tmp_path), "source": "command line"}
        assert document["peers"] == {"value": [], "source": "default"}

    @pytest.mark.parametrize("form", [[], ["--json"]])
    def test_secrets_are_masked(self, monkeypatch: pytest.MonkeyPatch, form: list[str]) -> None:
        monkeypatch.setenv("FILEROOM_DATABASE__PASSWORD", "s3cret")
        result = run("show", "--database", "mariadb://user:s3cret@host/name", *form)
        assert result.exit_code == 0
        assert "s3cret" not in result.output
        assert "mariadb://user:***@host/name" in result.output

    def test_a_bad_configuration_is_not_shown(self, bad_file: Path) -> None:
        result = run("show", "--config", str(bad_file))
        assert result.exit_code == 2
        assert "dicom.prot: unknown key; did you mean port?" in result.output
        assert "secret" not in result.output

    def test_a_terminal_gets_a_table(self) -> None:
        script = "from fileroom_server.config_commands import config; config(['show'])"
        ours, theirs = pty.openpty()
        with subprocess.Popen([sys.executable, "-c", script], stdout=theirs, env={**os.environ, "COLUMNS": "200"}):
            os.close(theirs)
            text = b""
            try:
                while part := os.read(ours, 65536):
                    text += part
            except OSError:  # how Linux says that the other end of a terminal is closed
                pass
        os.close(ours)
        assert "━" in text.decode()
        assert "dicom.port" in text.decode()
