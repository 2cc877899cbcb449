"""One process of the server: forked, told to stop, and forked again when it dies."""

import logging
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess

from fileroom_server.child_process import FORK, become_child
from fileroom_server.listening import CannotListen

_log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_STABLE_SECONDS = 60.0
# Tells the supervisor that the process takes requests now, at this port.
Listening = Callable[[int], None]


class Service:
    """A process that is started again when it dies. `main` runs in it; its port stays the same from then on."""

    def __init__(
        self, name: str, process_name: str, main: Callable[[int, Listening], None], port: int, died: Callable[[], None]
    ) -> None:
        self.name = name
        self.port = port
        self.has_listened = False
        self.failure: str | None = None
        self.start_at: float | None = None
        self._process_name = process_name
        self._main = main
        self._died = died
        self._pause = _FIRST_PAUSE
        self._started_at = 0.0
        self.process: ForkProcess | None = None
        self.messages: Connection | None = None

    def start(self) -> None:
        self.start_at = None
        self.failure = None
        self._started_at = time.monotonic()
        self.messages, theirs = FORK.Pipe(duplex=False)
        self.process = FORK.Process(target=self._run, args=(os.getpid(), theirs), name=self._process_name)
        self.process.start()
        theirs.close()

    def _run(self, parent: int, messages: Connection) -> None:
        """In the new process."""
        become_child(self._process_name, parent)
        os.setsid()  # Ctrl-C in a terminal is for the supervisor alone
        try:
            self._main(self.port, messages.send)
        except CannotListen as error:
            messages.send(str(error))
            raise SystemExit(1) from None
        except Exception as error:  # noqa: BLE001  # whatever it is, the supervisor has to know
            messages.send(f"the {self.name} failed: {type(error).__name__}; the log above says where")
            _log.exception("the %s failed", self.name)
            raise SystemExit(1) from None

    def read_message(self) -> None:
        """The port, or why there is none."""
        if self.messages is None:
            return
        try:
            message = self.messages.recv()
        except EOFError:
            self.messages.close()
            self.messages = None
            return
        if isinstance(message, int):
            self.port = message
            self.has_listened = True
        else:
            self.failure = str(message)

    def ended(self) -> str:
        """To be called once the process has ended; says how."""
        while self.messages is not None and self.messages.poll():
            self.read_message()
        code = self.process.exitcode if self.process else None
        if self.messages is not None:
            self.messages.close()
        self.process = self.messages = None
        self._died()
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return self.failure or f"ended with exit code {code}"

    def start_later(self) -> float:
        """Longer after each failure, so that a process that cannot run does not keep the machine busy."""
        if time.monotonic() - self._started_at > _STABLE_SECONDS:
            self._pause = _FIRST_PAUSE
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        self.start_at = time.monotonic() + pause
        return pause

    def terminate(self) -> None:
        if self.process is not None:
            self.process.terminate()

    def kill(self) -> None:
        """Ends the process with all that it has started."""
        if self.process is None or self.process.pid is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self.process.kill()  # it leads no group yet
