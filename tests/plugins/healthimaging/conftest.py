"""What the tests of sources, events and frames share: a data store of the fake service, and ways to it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fileroom_healthimaging.aws import AwsClients
from fileroom_healthimaging.image_set_service import ImageSetService
from fileroom_healthimaging.intake import Intake
from fileroom_healthimaging.section import HealthImagingSection
from fileroom_storage.storage import Storage, StorageSettings
from tests.fakes.image_sets import ImageSet
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.moto_server import Moto
from tests.fakes.small_image_sets import FRAME_ID, document
from tests.made import CT_IMAGE_STORAGE
from tests.plugins.healthimaging.storage_index import StorageIndex

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


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with Storage.open(StorageSettings(tmp_path / "data")) as storage:
        storage.create_schema_if_empty()
        yield storage


@pytest.fixture
def index(storage: Storage) -> StorageIndex:
    return StorageIndex(storage)


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def intake(service: ImageSetService, index: StorageIndex, stopping: threading.Event) -> Intake:
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
