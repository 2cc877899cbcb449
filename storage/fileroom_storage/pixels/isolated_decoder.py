"""Compressed frames, decoded in another process: some decoders crash, or never end, on data that are damaged."""

import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import CannotDecode
from .decoder_process import Facts, read_message, write_message

_COMMAND = (sys.executable, "-m", f"{__package__}.decoder_process")


class IsolatedDecoder:
    """One decoder process for all threads of this one, begun when it is needed and again when it has crashed."""

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, request: Facts, frame: bytes) -> tuple[npt.NDArray[Any], Facts]:
        """Stored values, and what came with them. Raises CannotDecode."""
        with self._lock:
            process = self._started()
            try:
                write_message(_pipe(process.stdin), request, frame)
                answer, samples = read_message(_pipe(process.stdout))
            except (EOFError, OSError):
                self._stop()
                raise CannotDecode("the frame is damaged: the decoder failed on it") from None
        if "error" in answer:
            raise CannotDecode(f"the frame is damaged, or not what its transfer syntax says: {answer['error']}")
        return np.frombuffer(samples, answer["dtype"]).reshape(answer["shape"]), answer

    def close(self) -> None:
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """After a fork: the process is the parent's."""
        self._lock = threading.Lock()
        self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            # a session of its own: an interrupt at the terminal is for the server, which then closes the pipe
            self._process = subprocess.Popen(  # noqa: S603  # ourselves
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                _close(pipe)


def _pipe(pipe: IO[bytes] | None) -> Any:
    if pipe is None:
        raise EOFError
    return pipe


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        # what was still to be written has no reader
        with suppress(OSError):
            pipe.close()


ISOLATED_DECODER = IsolatedDecoder()
atexit.register(ISOLATED_DECODER.close)
os.register_at_fork(after_in_child=ISOLATED_DECODER.forget)
