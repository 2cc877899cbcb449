"""A command in a terminal."""

import os
import pty
import subprocess
from pathlib import Path

from tests.served import FILEROOM
from tests.server.cli.commands import environment


def on_a_terminal(*arguments: str | Path, answer: str = "") -> tuple[int, str]:
    """The exit code, and all that was written to the terminal. `answer` is typed ahead."""
    ours, theirs = pty.openpty()
    command = [FILEROOM, *map(str, arguments)]
    variables = environment(COLUMNS="160", TERM="xterm-256color")
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        text = b""
        try:
            while part := os.read(ours, 65536):
                text += part
        except OSError:  # how Linux says that the other end of a terminal is closed
            pass
    os.close(ours)
    return process.returncode, text.decode()
