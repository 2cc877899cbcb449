"""An index in a file that another process holds."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.modality import Modality, modality
from tests.faults.service import ManagedServer

LONG = int(os.environ.get("FAULT_ROUNDS", "20")) > 20
_HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Modality]:
    with (
        ManagedServer(tmp_path / "data", tmp_path / "serve.log") as server,
        modality(server) as sender,
    ):
        assert sender.send().is_success
        yield sender
        assert sender.send_again().is_success


def hold(tmp_path: Path, seconds: float) -> "subprocess.Popen[str]":
    """Another process that has the only write lock."""
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "data" / "index.sqlite"), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_for_a_moment(sender: Modality, tmp_path: Path) -> None:
    with hold(tmp_path, 2.0):
        assert sender.search() == 200
        answer = sender.send()
    assert answer.is_success
    assert answer.seconds > 1


@pytest.mark.skipif(not LONG, reason="waits for half a minute; `make faults` does")
def test_for_long(sender: Modality, tmp_path: Path) -> None:
    with hold(tmp_path, 600.0) as process:
        answer = sender.send()
        assert answer.is_out_of_resources
        assert answer.seconds < 50
        assert sender.search() == 200
        process.kill()
