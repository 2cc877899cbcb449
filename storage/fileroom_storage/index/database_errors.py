"""What the drivers' errors say of a database: not to be reached, full, read-only."""

import sqlite3

from sqlalchemy.exc import DBAPIError, InternalError, OperationalError

# disk full, table full
_FULL_MYSQL = frozenset({1021, 1114})
# an option prevents it (--read-only), read-only mode, table opened read-only, read-only transaction
_READ_ONLY_MYSQL = frozenset({1290, 1836, 1036, 1792})
_GOT_ERRNO_MYSQL = 1030  # ER_GET_ERRNO: of the operating system, told in the text
_FULL_SQLSTATE = "53100"
_READ_ONLY_SQLSTATE = "25006"


def cannot_connect(error: BaseException) -> bool:
    """Whether a database server takes no connection: it is away, starting, or has as many as it wants."""
    # where there is a connection, there is a statement
    return (
        isinstance(error, OperationalError | InternalError)
        and error.statement is None
        and not isinstance(error.orig, sqlite3.Error)
    )


def is_full(error: BaseException) -> bool:
    original = _original(error)
    if isinstance(original, sqlite3.Error):
        return _sqlite_name(original) == "SQLITE_FULL"
    code = _code(original)
    if code == _GOT_ERRNO_MYSQL:
        return "error 28" in str(original) or "error: 28" in str(original)  # ENOSPC
    return code in _FULL_MYSQL or getattr(original, "sqlstate", None) == _FULL_SQLSTATE


def is_read_only(error: BaseException) -> bool:
    """Of a server that another one has taken over from, too."""
    original = _original(error)
    if isinstance(original, sqlite3.Error):
        return _sqlite_name(original).startswith("SQLITE_READONLY")
    return _code(original) in _READ_ONLY_MYSQL or getattr(original, "sqlstate", None) == _READ_ONLY_SQLSTATE


def _original(error: BaseException) -> BaseException:
    """What the driver raised."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _sqlite_name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", None) or ""


def _code(error: BaseException) -> object:
    return error.args[0] if error.args else None
