"""Compressed frames, decoded in another process: some decoders crash, or never end, on data that are damaged."""

import atexit
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import CannotDecode
from .decoder_process import Facts, number_of_samples, read_message, seconds_for, write_message

# By the clock: to start, and for each second of processor time that a frame may take. The machine may have other work.
_START_SECONDS = 30.0
_PATIENCE = 6.0
_LONGEST_SAMPLE = 8  # bytes
_PIECE = 1 << 20
_COMMAND = (sys.executable, "-m", f"{__package__}.decoder_process")


class IsolatedDecoder:
    """One decoder process for all threads of this one, begun when it is needed and again when it has crashed."""

    def __init__(
        self, command: Sequence[str] = _COMMAND, start_seconds: float = _START_SECONDS, patience: float = _PATIENCE
    ) -> None:
        self._command = command
        self._start_seconds = start_seconds
        self._patience = patience
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, request: Facts, frame: bytes) -> tuple[npt.NDArray[Any], Facts]:
        """Stored values, and what came with them. Raises CannotDecode."""
        with self._lock:
            process = self._started()
            end = time.monotonic() + self._start_seconds + self._patience * seconds_for(request)
            try:
                write_message(_Pipe(process.stdin, end), request, frame)
                longest = _LONGEST_SAMPLE * number_of_samples(request)
                answer, samples = read_message(_Pipe(process.stdout, end), longest)
            except (EOFError, OSError, ValueError):
                self._stop()
                raise CannotDecode("the frame is damaged: the decoder failed on it, or did not end") from None
        if "error" in answer:
            raise CannotDecode(f"the frame is damaged, or not what its transfer syntax says: {answer['error']}")
        try:
            return np.frombuffer(samples, answer["dtype"]).reshape(answer["shape"]), answer
        except (KeyError, TypeError, ValueError):
            raise CannotDecode("the frame is damaged: the decoder gave what are no pixels") from None

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


class _Pipe:
    """One end of a pipe to the process, in a conversation that has to be over at `end`. Raises OSError, EOFError."""

    def __init__(self, pipe: IO[bytes] | None, end: float) -> None:
        if pipe is None:
            raise EOFError
        self._descriptor = pipe.fileno()
        self._end = end
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLOUT if pipe.writable() else select.POLLIN)
        os.set_blocking(self._descriptor, False)

    def write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            self._wait()
            with suppress(BlockingIOError):
                rest = rest[os.write(self._descriptor, rest[:_PIECE]) :]

    def flush(self) -> None:
        """Nothing is held back."""

    def read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            self._wait()
            piece = os.read(self._descriptor, min(length - len(data), _PIECE))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    def _wait(self) -> None:
        if not self._poll.poll(1000 * max(self._end - time.monotonic(), 0.0)):
            raise TimeoutError("the decoder does not end")


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        # what was still to be written has no reader
        with suppress(OSError):
            pipe.close()


ISOLATED_DECODER = IsolatedDecoder()
atexit.register(ISOLATED_DECODER.close)
os.register_at_fork(after_in_child=ISOLATED_DECODER.forget)
