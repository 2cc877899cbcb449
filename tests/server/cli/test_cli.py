"""`fileroom`: help everywhere, and errors that are one clear line."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fileroom_server.cli import main
from tests.server.cli.commands import environment, fileroom


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


COMMANDS = commands(main)


def test_these_are_all() -> None:
    assert {" ".join(path) for path in COMMANDS} == {
        "serve",
        "audit export",
        "audit heads",
        "audit list",
        "audit verify",
        "import",
        "plugins backfill",
        "plugins list",
        "check",
        "db current",
        "db upgrade",
        "conflicts list",
        "conflicts show",
        "conflicts resolve",
        "commitments list",
        "commitments show",
        "commitments retry",
        "config check",
        "config show",
        "delete",
        "deleted list",
        "deleted restore",
        "deleted purge",
        "doctor",
        "keys create",
        "keys list",
        "keys revoke",
        "viewer install",
        "viewer remove",
        "viewer status",
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    for option in ("--config", "--data", "--database"):
        assert option in result.output
    assert f"Example: fileroom {' '.join(path)}" in " ".join(result.output.split())


def test_help_does_not_load_what_commands_need() -> None:
    script = (
        "import sys; from click.testing import CliRunner; from fileroom_server.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "print(sorted({'sqlalchemy', 'flask', 'pynetdicom', 'numpy', 'gunicorn'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment())
    assert finished.stdout == "[]\n"


def test_a_configuration_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "fileroom.toml"
    file.write_text("[dicom]\nprot = 1\n")
    finished = fileroom("check", "--config", file)
    assert finished.returncode == 2
    assert "did you mean port?" in finished.stderr


def test_no_data(tmp_path: Path) -> None:
    finished = fileroom("check", "--data", tmp_path / "nothing")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith("Error: there are no data in ")
    assert not (tmp_path / "nothing").exists()


def test_a_data_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finished = fileroom("db", "upgrade", "--data", tmp_path / "file")
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert str(tmp_path / "file") in finished.stderr


def test_tracebacks_only_on_demand(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"this is no database" * 100)
    finished = fileroom("db", "upgrade", "--data", tmp_path)
    assert finished.returncode == 1
    assert finished.stderr.startswith("Error: ")
    assert "Traceback" not in finished.stderr
    assert "Traceback" in fileroom("--debug", "db", "upgrade", "--data", tmp_path).stderr


def test_a_reader_that_has_had_enough(tmp_path: Path) -> None:
    assert fileroom("db", "upgrade", "--data", tmp_path).returncode == 0
    command = f"{sys.executable} -m fileroom_server.cli config show --data {tmp_path}"
    script = f"set -o pipefail; {command} | true"
    finished = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment())
    assert "Traceback" not in finished.stderr
    assert "Exception" not in finished.stderr
