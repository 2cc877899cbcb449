"""Fixtures for all tests: private databases, the corpus, free ports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import corpus as corpus_module
from tests import databases as databases_module
from tests.databases import DATABASES, Databases


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a fixture of their module run in one process (pytest-xdist): it is made once."""
    for item in items:
        if not isinstance(item, pytest.Function) or item.get_closest_marker("xdist_group") is not None:
            continue
        definitions = item._fixtureinfo.name2fixturedefs
        shared = sorted(name for name, found in definitions.items() if found[-1].scope == "module")
        if shared:
            parameters = item.callspec.indices if hasattr(item, "callspec") else {}
            chosen = "-".join(f"{name}{parameters[name]}" for name in shared if name in parameters)
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem}-{chosen}"))


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
