"""API keys of machines: random, shown once, and kept as a digest (docs/decisions/0012)."""

import datetime as dt
import hmac
import json
import re
import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection, Engine, Row, insert, select, update

from ..errors import ApiKeyExists, ApiKeyNotFound
from .engine import unavailable_errors, write_transaction
from .retrying import retried
from .scope import Scope
from .tables import Tables
from .writer import utc_now

PREFIX = "frk_"  # by which scanners of source code find keys that got lost
_IDENTIFIER_BYTES = 6
_SECRET_BYTES = 32
_KEY = re.compile(PREFIX + r"([0-9a-f]{12})_[0-9A-Za-z_-]{43}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key; nothing that could be used as one. Times are UTC, permissions as they were given."""

    identifier: str
    name: str
    permissions: frozenset[str]
    scope: Scope
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None

    def is_usable(self, now: dt.datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class ApiKeys:
    """Each method is a transaction of its own. All raise StorageUnavailable."""

    def __init__(self, engine: Engine, tables: Tables) -> None:
        self._engine = engine
        self._table = tables.api_key

    def create(
        self, name: str, permissions: Collection[str], scope: Scope = None, expires_at: dt.datetime | None = None
    ) -> tuple[ApiKey, str]:
        """A new key, and its text, which is nowhere else. Raises ApiKeyExists."""
        identifier = secrets.token_hex(_IDENTIFIER_BYTES)
        text = f"{PREFIX}{identifier}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        values = {
            "identifier": identifier,
            "digest": _digest(text),
            "name": name,
            "permissions": ",".join(sorted(permissions)),
            "scope": None if scope is None else json.dumps(sorted(scope)),
            "created_at": utc_now(),
            "expires_at": expires_at,
        }

        def transaction() -> ApiKey:
            with write_transaction(self._engine) as connection:
                if any(key.name == name and key.is_usable(utc_now()) for key in self._keys(connection)):
                    raise ApiKeyExists(f"there is a key {name} already; revoke it, or choose another name")
                connection.execute(insert(self._table), values)
                [created] = [key for key in self._keys(connection) if key.identifier == identifier]
                return created

        with unavailable_errors():
            return retried(transaction), text

    def keys(self) -> list[ApiKey]:
        """All that there ever were, the newest last."""
        with unavailable_errors(), self._engine.connect() as connection:
            return list(self._keys(connection))

    def revoke(self, name: str) -> ApiKey:
        """Ends the usable key of this name or identifier. Raises ApiKeyNotFound."""

        def transaction() -> ApiKey:
            with write_transaction(self._engine) as connection:
                for key in self._keys(connection):
                    if name in (key.name, key.identifier) and key.revoked_at is None:
                        of_it = self._table.c.identifier == key.identifier
                        connection.execute(update(self._table).where(of_it), {"revoked_at": utc_now()})
                        return key
            raise ApiKeyNotFound(f"there is no key {name} to revoke; `fileroom keys list` shows those there are")

        with unavailable_errors():
            return retried(transaction)

    def usable(self, text: str) -> ApiKey | None:
        """The key that a client sent as this text; None for what is none, or is revoked or over."""
        matched = _KEY.fullmatch(text)
        if matched is None:
            return None
        statement = select(self._table).where(self._table.c.identifier == matched[1])
        with unavailable_errors(), self._engine.connect() as connection:
            row = connection.execute(statement).one_or_none()
        if row is None or not hmac.compare_digest(row.digest, _digest(text)):
            return None
        key = _key(row)
        return key if key.is_usable(utc_now()) else None

    def _keys(self, connection: Connection) -> Iterator[ApiKey]:
        for row in connection.execute(select(self._table).order_by(self._table.c.pk)).all():
            yield _key(row)


def _digest(text: str) -> str:
    # NIST SP 800-63B-4 3.1.2.2: what has 112 bits of chance and more needs neither salt nor stretching
    return sha256(text.encode("ascii")).hexdigest()


def _key(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        row.identifier,
        row.name,
        frozenset(filter(None, row.permissions.split(","))),
        None if row.scope is None else frozenset(json.loads(row.scope)),
        row.created_at,
        row.expires_at,
        row.revoked_at,
    )
