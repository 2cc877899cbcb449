"""What is written to a terminal, and what into a pipe."""

from pathlib import Path

import pytest

from fileroom_server.output import count, printable, write_table
from tests.server.cli.commands import fileroom, write_files
from tests.server.cli.terminal import on_a_terminal


def test_a_terminal_gets_a_bar_and_a_table(tmp_path: Path) -> None:
    write_files(tmp_path / "ct", 50)
    (tmp_path / "ct" / "note").touch()
    code, text = on_a_terminal("import", "--data", tmp_path / "data", tmp_path / "ct")
    assert code == 0
    assert "Importing" in text
    assert "51/51" in text
    assert "files/s" in text
    assert "│ refused       │ not DICOM │ 1     │" in text


def test_a_check_in_a_terminal(tmp_path: Path) -> None:
    write_files(tmp_path / "ct", 2)
    assert fileroom("import", "--data", tmp_path / "data", tmp_path / "ct").returncode == 0
    next((tmp_path / "data" / "objects").rglob("*.dcm")).unlink()
    code, text = on_a_terminal("check", "--data", tmp_path / "data")
    assert code == 1
    assert "│ index row without its object │" in text


def test_a_pipe_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("A", "B"), [("x", None), (1, "two\tparts\nand \x1b[31mred")])
    assert capsys.readouterr().out == "x\t\n1\ttwo\\tparts\\nand \\x1b[31mred\n"


def test_printable() -> None:
    assert printable("Röntgen^山田") == "Röntgen^山田"
    assert printable("a\x9bb\u202e") == "a\\x9bb\\u202e"


def test_count() -> None:
    assert (count(1, "file"), count(12000, "file"), count(0, "file")) == ("1 file", "12,000 files", "0 files")
