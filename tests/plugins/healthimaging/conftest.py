"""What the tests of sources, events and frames share: a data store of the fake service, and ways to it."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fileroom_healthimaging.aws import AwsClients
from fileroom_healthimaging.image_set_service import ImageSetService
from fileroom_healthimaging.intake import Intake
from fileroom_healthimaging.plugin import plugin
from fileroom_healthimaging.section import HealthImagingSection
from fileroom_storage.plugin import EnabledPlugin
from fileroom_storage.storage import Storage, StorageSettings
from tests.fakes.image_sets import ImageSet
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.moto_server import Moto
from tests.fakes.small_image_sets import FRAME_ID, document
from tests.made import CT_IMAGE_STORAGE
from tests.plugins.healthimaging.watched_index import WatchedIndex

AddSeries = Callable[..., ImageSet]


@pytest.fixture
def aws(moto: Moto, medical_imaging: MedicalImaging, monkeypatch: pytest.MonkeyPatch) -> MedicalImaging:
    """The environment of a process that speaks with the fakes."""
    for name, value in {**moto.environment, **medical_imaging.environment}.items():
        monkeypatch.setenv(name, value)
    return medical_imaging


@pytest.fixture
def datastore(aws: MedicalImaging) -> str:
    return aws.image_sets.create_datastore().datastore_id


@pytest.fixture
def section(datastore: str) -> HealthImagingSection:
    return HealthImagingSection(datastores=(datastore,), attempts=2, read_timeout=2, concurrent_requests=4)


@pytest.fixture
def clients(section: HealthImagingSection) -> Iterator[AwsClients]:
    clients = AwsClients(section)
    yield clients
    clients.close()


@pytest.fixture
def service(clients: AwsClients) -> ImageSetService:
    return ImageSetService(clients)


@pytest.fixture(scope="session")
def empty_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with nothing in it but the index, which takes a while to make."""
    data = tmp_path_factory.mktemp("empty") / "data"
    with Storage.open(_settings(data, HealthImagingSection())) as storage:
        storage.create_schema_if_empty()
    return data


@pytest.fixture
def storage(tmp_path: Path, empty_data: Path, section: HealthImagingSection) -> Iterator[Storage]:
    shutil.copytree(empty_data, tmp_path / "data")
    with Storage.open(_settings(tmp_path / "data", section)) as storage:
        yield storage


def _settings(data: Path, section: HealthImagingSection) -> StorageSettings:
    return StorageSettings(data, plugins=(EnabledPlugin(plugin, section),))


@pytest.fixture
def index(storage: Storage) -> WatchedIndex:
    return WatchedIndex(storage.plugins.context("healthimaging"))


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def intake(service: ImageSetService, index: WatchedIndex, stopping: threading.Event) -> Intake:
    return Intake(service, index, 4, stopping)


@pytest.fixture
def add(aws: MedicalImaging, datastore: str) -> AddSeries:
    """Puts an image set of one series into the data store."""

    def add(series: int = 1, instances: int = 1) -> ImageSet:
        said = document(series, instances)
        [one] = said["Study"]["Series"].values()
        for instance in one["Instances"].values():
            instance["DICOM"]["SOPClassUID"] = CT_IMAGE_STORAGE
        return aws.image_sets.add(datastore, said, {FRAME_ID: b"frame"})

    return add
