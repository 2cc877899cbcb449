"""What the tests of the fake service share: a client that does not retry, a data store, image sets in it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.fakes.image_sets import ImageSet
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.small_image_sets import (
    FRAME_ID,
    Add,
    Document,
    document,
)


@pytest.fixture
def client(medical_imaging: MedicalImaging) -> Iterator[Any]:
    client = medical_imaging.client(retries={"total_max_attempts": 1})
    yield client
    client.close()


@pytest.fixture
def store(medical_imaging: MedicalImaging) -> str:
    return medical_imaging.image_sets.create_datastore().datastore_id


@pytest.fixture
def add(medical_imaging: MedicalImaging, store: str) -> Add:
    def add(said: Document | None = None, frames: Mapping[str, bytes] | None = None) -> ImageSet:
        return medical_imaging.image_sets.add(store, said or document(), frames or {FRAME_ID: b"frame"})

    return add
