"""The table of metrics beside the code whose words it uses."""

from http import HTTPStatus
from pathlib import Path

from fileroom_dicomweb import create_app
from fileroom_server.metrics import table
from fileroom_server.metrics.table import METRICS
from fileroom_server.status import Service, status_of
from fileroom_storage.errors import StorageError, UnusableObject, UnusableReason
from fileroom_storage.storage import Storage, StorageSettings


def test_every_endpoint_is_an_operation(tmp_path: Path) -> None:
    """A new resource is counted by its name once that is in OPERATIONS."""
    with Storage.open(StorageSettings(tmp_path / "data")) as storage:
        app = create_app(storage, exposition=lambda _accept: (b"", "text/plain"))
    endpoints = {rule.endpoint.removeprefix("dicomweb.") for rule in app.url_map.iter_rules()}
    assert endpoints == set(table.OPERATIONS) - {"other"}


def test_every_status_that_is_sent_has_a_label() -> None:
    labels = next(metric for metric in METRICS if metric is table.DIMSE_REQUESTS).labels["status"]
    errors: list[Exception] = [UnusableObject(reason, "") for reason in UnusableReason]
    errors += [kind("") for kind in StorageError.__subclasses__() if kind is not UnusableObject]
    for service in Service:
        for error in errors:
            assert f"0x{status_of(error, service).code:04X}" in labels


def test_every_error_of_storage_is_a_kind() -> None:
    assert {kind.__name__ for kind in StorageError.__subclasses__() if kind.__module__.endswith(".errors")} <= set(
        table.ERRORS
    )


def test_http_statuses_have_labels() -> None:
    assert {"200", "404", "507"} <= set(table.HTTP_REQUESTS.labels["status"])
    assert str(HTTPStatus.CONTINUE.value) not in table.HTTP_REQUESTS.labels["status"]
