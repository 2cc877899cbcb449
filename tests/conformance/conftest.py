"""One running server on each kind of database, for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.databases import DATABASES, Databases
from tests.served import Served


@pytest.fixture(scope="module", params=DATABASES)
def served(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with (
        databases.fresh(request.param, folder) as url,
        Served(folder / "data", url, FILEROOM_STORAGE__DURABILITY="relaxed") as served,
    ):
        yield served
