"""What is counted of requests to AWS, of frames, events and image sets; all that the plugin asks for has a name."""

import re
import threading
from collections import Counter
from pathlib import Path

import pytest

import fileroom_healthimaging
from fileroom_healthimaging import following as following_module
from fileroom_healthimaging.aws import AwsClients
from fileroom_healthimaging.aws_errors import OUTCOMES, AwsError
from fileroom_healthimaging.event_queue import EventQueue
from fileroom_healthimaging.following import Following
from fileroom_healthimaging.image_set_service import ImageSetService
from fileroom_healthimaging.image_set_version import ImageSetName
from fileroom_healthimaging.intake import Intake, Status
from fileroom_healthimaging.metrics import (
    AWS_REQUESTS,
    AWS_RETRIES,
    AWS_SECONDS,
    AWS_THROTTLED,
    CONFLICTS_OPEN,
    EVENTS,
    IMAGE_SETS,
    METRICS,
    OPERATIONS,
)
from fileroom_healthimaging.section import HealthImagingSection
from fileroom_storage.plugin import PluginCounter, PluginHistogram
from fileroom_storage.storage import Storage
from tests.fakes.faults import Kind
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.moto_server import Moto
from tests.fakes.small_image_sets import DESCRIPTION, update
from tests.plugins.healthimaging.conftest import AddSeries
from tests.plugins.healthimaging.watched_index import WatchedIndex


class Measured:
    """What was counted, by metric and labels."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, ...]] = Counter()
        self.observed: Counter[tuple[str, ...]] = Counter()

    def count(self, counter: PluginCounter, *labels: str, by: float = 1) -> None:
        assert all(one in values for one, values in zip(labels, counter.labels.values(), strict=True)), labels
        self.counted[counter.name, *labels] += int(by)

    def observe(self, histogram: PluginHistogram, value: float, *labels: str) -> None:
        assert value > 0
        self.observed[histogram.name, *labels] += 1

    def of(self, counter: PluginCounter) -> dict[tuple[str, ...], int]:
        return {key[1:]: number for key, number in self.counted.items() if key[0] == counter.name and number}


@pytest.fixture
def measured() -> Measured:
    return Measured()


@pytest.fixture
def clients(section: HealthImagingSection, measured: Measured) -> AwsClients:
    return AwsClients(section, measured)


def test_requests_by_what_came_of_them(
    service: ImageSetService, aws: MedicalImaging, add: AddSeries, measured: Measured
) -> None:
    name = ImageSetName(add().datastore_id, add().image_set_id)
    service.check_datastore(name.datastore_id)
    aws.faults.add(Kind.THROTTLING, "GetImageSet")
    assert service.latest(name) is not None
    assert measured.of(AWS_THROTTLED) == measured.of(AWS_RETRIES) == {("GetImageSet",): 1}
    aws.faults.add(Kind.THROTTLING, "GetDatastore", times=2)
    aws.faults.add(Kind.INTERNAL, "SearchImageSets", times=2)
    aws.faults.add(Kind.CUT_BEFORE, "ListImageSetVersions", times=2)
    with pytest.raises(AwsError):
        service.check_datastore(name.datastore_id)
    with pytest.raises(AwsError):
        list(service.image_sets(name.datastore_id))
    with pytest.raises(AwsError):
        service.versions(name)
    with pytest.raises(AwsError):
        service.frame(name, "f" * 32, 100)
    assert measured.of(AWS_REQUESTS) == {
        ("GetDatastore", "ok"): 1,
        ("GetImageSet", "ok"): 1,
        ("GetImageSetMetadata", "ok"): 1,
        ("GetDatastore", "throttled"): 1,
        ("SearchImageSets", "unavailable"): 1,
        ("ListImageSetVersions", "unavailable"): 1,
        ("GetImageFrame", "not found"): 1,
    }
    assert measured.of(AWS_THROTTLED) == {("GetImageSet",): 1, ("GetDatastore",): 2}
    assert measured.of(AWS_RETRIES) == dict.fromkeys(
        [("GetImageSet",), ("GetDatastore",), ("SearchImageSets",), ("ListImageSetVersions",)], 1
    )
    assert sum(measured.observed.values()) == 7
    assert measured.observed[AWS_SECONDS.name, "GetDatastore"] == 2


def test_credentials_that_are_missing(
    service: ImageSetService, datastore: str, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(AwsError):
        service.check_datastore(datastore)
    assert measured.of(AWS_REQUESTS) == {("GetDatastore", "not allowed"): 1}


def test_events_and_image_sets(
    moto: Moto,
    aws: MedicalImaging,
    clients: AwsClients,
    service: ImageSetService,
    index: WatchedIndex,
    add: AddSeries,
    measured: Measured,
    stopping: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following_module, "_POLL_SECONDS", 0)
    url = moto.new_queue()
    aws.events.deliver_to(moto.client("sqs"), url)
    one = add(1)
    update(aws.client(), one, DESCRIPTION)
    aws.image_sets.create_datastore()
    add(2)
    sqs = moto.client("sqs")
    sqs.send_message(QueueUrl=url, MessageBody="no event")
    sqs.send_message(QueueUrl=url, MessageBody='{"source": "aws.s3", "detail-type": "Object Created", "detail": {}}')
    intake = Intake(service, index, 4, stopping, measured)
    following = Following(EventQueue(clients, url), intake, [one.datastore_id], stopping, lambda: None, measured)
    following.run(until_empty=True)
    outcomes = {labels[0]: number for labels, number in measured.of(EVENTS).items()}
    assert outcomes.pop("left") == following.done.unusable
    assert outcomes.pop("passed over", 0) == following.done.passed_over
    assert outcomes.pop("taken") == following.done.events - following.done.unusable - following.done.passed_over
    assert not outcomes
    assert measured.of(IMAGE_SETS) == {("taken",): following.done.image_sets}
    assert measured.of(AWS_REQUESTS)["ReceiveMessage", "ok"] >= 1


def test_open_conflicts_are_looked_at(storage: Storage) -> None:
    assert CONFLICTS_OPEN.read(storage.plugins.context("healthimaging")) == 0


def test_every_operation_that_is_asked_for_has_its_name() -> None:
    """Calls of clients in the code, and pages of operations; another would be told as "other"."""
    folder = Path(fileroom_healthimaging.__file__).parent
    text = "".join(path.read_text() for path in sorted(folder.glob("*.py")))
    called = set(
        re.findall(
            r"(?:client|medical_imaging|_s3|\.s3|sqs)\.((?:get|list|search|update|copy|delete|start|receive|change)_\w+)\(",
            text,
        )
    )
    called -= {"get_paginator"}
    called |= set(re.findall(r"get_paginator\(\"(\w+)\"\)", text))
    assert len(called) > 12
    known = {operation.lower() for operation in OPERATIONS}
    assert {name.replace("_", "") for name in called} == known


def test_labels_are_those_that_the_code_has() -> None:
    assert IMAGE_SETS.labels["outcome"] == tuple(Status)
    assert AWS_REQUESTS.labels["outcome"] == OUTCOMES
    assert len({metric.name for metric in METRICS}) == len(METRICS)
