"""Fixtures for DICOMweb: a storage of its own for each test, Flask's test client, and gunicorn."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_storage.storage import Storage, StorageSettings
from tests.databases import copy_index
from tests.dicomweb.gunicorn_process import GunicornProcess
from tests.dicomweb.objects import multipart

Store = Callable[..., TestResponse]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    copy_index(tmp_path / "data")
    with Storage.open(StorageSettings(tmp_path / "data")) as storage:
        yield storage


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    return create_app(storage, DicomwebSettings()).test_client()


@pytest.fixture
def store(client: FlaskClient) -> Store:
    """Sends objects by STOW-RS and returns the answer."""

    def send(*objects: bytes, path: str = "/dicom-web/studies", **options: Any) -> TestResponse:
        options.setdefault("content_type", 'multipart/related; type="application/dicom"; boundary=a-boundary')
        return client.post(path, data=multipart(*objects), **options)

    return send


@pytest.fixture
def gunicorn(tmp_path: Path, free_port: int) -> Iterator[GunicornProcess]:
    with GunicornProcess(tmp_path, free_port) as process:
        yield process
