"""Warnings that a flood of callers would repeat without end: one a second, and how many there were besides."""

import logging
import time

_PAUSE = 1.0


class OccasionalLog:
    """Logs the first of each message and kind at once, then for a second only counts."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._quiet_until: dict[tuple[str, str], float] = {}
        self._unsaid: dict[tuple[str, str], tuple[int, tuple[object, ...]]] = {}

    def warning(self, message: str, *arguments: object, kind: str = "") -> None:
        now, key = time.monotonic(), (message, kind)
        if now < self._quiet_until.get(key, 0.0):
            count, _ = self._unsaid.get(key, (0, ()))
            self._unsaid[key] = count + 1, arguments
            return
        self._quiet_until[key] = now + _PAUSE
        self._log.warning(message, *arguments)

    def flush(self) -> None:
        """To be called now and then: says what has not been said."""
        if not self._unsaid:
            return
        now = time.monotonic()
        for key in [one for one in self._unsaid if now >= self._quiet_until[one]]:
            count, arguments = self._unsaid.pop(key)
            self._quiet_until[key] = now + _PAUSE
            self._log.warning(f"{key[0]} (the last of %d such)", *arguments, count)  # a message of ours
