"""A storage on each kind of database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fileroom_storage.storage import Storage, StorageSettings
from tests.databases import DATABASES, Databases, copy_index
from tests.storage.stored import empty


@pytest.fixture
def storage(index_url: str, tmp_path: Path) -> Iterator[Storage]:
    with Storage.open(StorageSettings(data=tmp_path / "data", database=index_url)) as storage:
        yield storage


@pytest.fixture(scope="module", params=DATABASES)
def shared_storage(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storage]:
    """One for all tests of a module."""
    folder = tmp_path_factory.mktemp("shared")
    with (
        databases.fresh(request.param, folder) as url,
        Storage.open(StorageSettings(data=folder / "data", database=url)) as storage,
    ):
        storage.create_schema_if_empty()
        yield storage


@pytest.fixture
def emptied_storage(shared_storage: Storage) -> Iterator[Storage]:
    """As `storage`, for modules of many tests: a database is made once, and emptied behind each."""
    yield shared_storage
    empty(shared_storage)


@pytest.fixture
def sqlite_storage(tmp_path: Path) -> Iterator[Storage]:
    """For what does not touch the index."""
    copy_index(tmp_path / "data")
    with Storage.open(StorageSettings(data=tmp_path / "data")) as storage:
        yield storage
