"""A storage on each kind of database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fileroom_storage.storage import Storage, StorageSettings


@pytest.fixture
def storage(database_url: str, tmp_path: Path) -> Iterator[Storage]:
    settings = StorageSettings(data=tmp_path / "data", database=database_url)
    with Storage.open(settings) as storage:
        storage.create_schema_if_empty()
        yield storage


@pytest.fixture
def sqlite_storage(tmp_path: Path) -> Iterator[Storage]:
    """For what does not touch the index."""
    with Storage.open(StorageSettings(data=tmp_path / "data")) as storage:
        storage.create_schema_if_empty()
        yield storage
