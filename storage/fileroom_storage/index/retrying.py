"""Transactions that are tried again: while another writer is in the way, or the database is away for a moment."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import StorageUnavailable
from .database_errors import cannot_connect, is_read_only
from .engine import is_retryable, is_unavailable
from .entities import IndexChanged

RETRY_SECONDS = 20.0

Result = TypeVar("Result")


def retried(transaction: Callable[[], Result], patience: float | None = None) -> Result:
    """Runs a transaction again for as long as another writer gets in its way, within bounds.

    Also while the database is away, for up to `patience` seconds: most restarts and failovers are over by then.
    """
    begun = time.monotonic()
    patience = RETRY_SECONDS if patience is None else patience
    attempt = 0
    while True:
        try:
            return transaction()
        except Exception as error:
            attempt += 1
            retryable = isinstance(error, IndexChanged) or is_retryable(error)
            deadline = begun + (patience if is_away(error) else RETRY_SECONDS)
            if not retryable or time.monotonic() > deadline or (attempt > 8 and not is_unavailable(error)):
                if isinstance(error, IndexChanged):
                    raise StorageUnavailable("others change the same part of the index; try again later") from error
                raise
        time.sleep(random.uniform(0, min(0.5, 0.005 * 2**attempt)))  # noqa: S311  # jitter, no secret


def is_away(error: Exception) -> bool:
    return cannot_connect(error) or is_read_only(error)
