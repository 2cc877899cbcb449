"""Fixtures for all tests: private databases, the corpus, free ports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import corpus as corpus_module
from tests import databases as databases_module
from tests.databases import DATABASES, Databases


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Fresh databases of any kind: `with databases.fresh("mariadb", tmp_path) as url`. One server a test process."""
    databases = Databases()
    yield databases
    databases.stop()


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh empty database, once on each kind of database."""
    with databases.fresh(request.param, tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of the corpus; skips where it is absent."""
    if not corpus_module.CORPUS.is_dir():
        pytest.skip(corpus_module.ABSENT)
    return corpus_module.CORPUS


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    return databases_module.free_port()
