"""A connection to PostgreSQL that does not wait for ever: neither libpq nor TCP notices that a server has stopped."""

from typing import Any

import psycopg
from psycopg.errors import OperationalError, _WaitTimeout

# the server's own limit comes first, and tells more
_GRACE = 2.0


def connect(statement_timeout: float, *arguments: Any, **parameters: Any) -> psycopg.Connection[Any]:
    """As `psycopg.connect`; `statement_timeout` seconds for each answer."""
    connection = BoundedConnection.connect(*arguments, **parameters)
    connection.longest_wait = statement_timeout + _GRACE
    return connection


class BoundedConnection(psycopg.Connection[Any]):
    """Given up when an answer takes longer than `longest_wait` seconds."""

    longest_wait: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.longest_wait if timeout is None else timeout)
        except _WaitTimeout:
            if timeout is not None:
                raise
            self.pgconn.finish()
            raise OperationalError("the database server does not answer") from None
