"""Fixtures for all tests: private databases, the corpus, free ports."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import corpus as corpus_module
from tests import databases as databases_module
from tests.databases import DATABASES, Databases

if TYPE_CHECKING:
    from tests.fakes.medical_imaging import MedicalImaging
    from tests.fakes.moto_server import Moto


# Modules of minutes, the longest first: begun last, one of them keeps one process busy while the others have ended.
LONGEST = (
    "conformance/test_every_file.py",
    "faults/test_kill_9.py",
    "server/cli/test_import_command.py",
    "faults/test_databases_away.py",
    "server/cli/test_serve_command.py",
    "server/cli/test_deletion_commands.py",
    "conformance/test_store_round_trip.py",
    "conformance/test_metadata_of_every_file.py",
    "storage/index/test_known_hierarchy.py",
    "conformance/test_rendering.py",
    "conformance/test_matching.py",
    "conformance/test_frames_as_stored.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


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


@pytest.fixture(params=DATABASES)
def index_url(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[str]:
    """As `database_url`, with an index of this release that nothing is in yet."""
    with databases.fresh_index(request.param, tmp_path) as url:
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


@pytest.fixture(scope="session")
def moto() -> Iterator["Moto"]:
    """S3 and SQS: moto's server. One a test process; make buckets and queues of your own."""
    from tests.fakes.moto_server import Moto

    with Moto() as server:
        yield server


@pytest.fixture
def medical_imaging(moto: "Moto") -> Iterator["MedicalImaging"]:
    """AWS HealthImaging with nothing in it, which imports from the S3 of `moto`."""
    from tests.fakes.medical_imaging import MedicalImaging

    with MedicalImaging() as service:
        service.jobs.s3 = moto.client("s3")
        yield service
