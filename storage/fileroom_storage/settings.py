"""Where the data of a storage live, and how they are kept."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .index.engine import ConnectionPool

if TYPE_CHECKING:
    from .plugin import EnabledPlugin


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Where the data live. `database` is a SQLAlchemy URL; None puts SQLite beside the objects in `data`.

    What is deleted can be restored for `undo_time`; what is rejected for good, unless `purge_rejected`. `audit` has
    whatever is done written to the audit log.
    """

    data: Path
    database: str | None = None
    durability: Literal["full", "relaxed"] = "full"
    retrieve_ae_title: str = "FILEROOM"
    pool: ConnectionPool = field(default_factory=ConnectionPool)
    undo_time: timedelta = timedelta(days=7)
    purge_rejected: bool = False
    audit: bool = False
    plugins: tuple["EnabledPlugin", ...] = ()

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data / 'index.sqlite'}"
