"""Events in a real queue, image sets of the fake service, a real storage: nothing is lost, nothing is taken twice."""

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from fileroom_healthimaging import following as following_module
from fileroom_healthimaging.aws import AwsClients
from fileroom_healthimaging.event_queue import EventQueue
from fileroom_healthimaging.following import Following, reconcile_repeatedly
from fileroom_healthimaging.image_set_conflicts import ConflictState
from fileroom_healthimaging.image_set_service import ImageSetService
from fileroom_healthimaging.intake import Intake
from fileroom_healthimaging.plugin_tables import TABLES
from fileroom_healthimaging.reconciliation import Reconciliation
from fileroom_healthimaging.section import HealthImagingSection
from fileroom_storage.attributes import Level
from fileroom_storage.errors import StorageUnavailable
from fileroom_storage.storage import Query, Storage
from tests.fakes.faults import Kind
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.moto_server import Moto
from tests.fakes.small_image_sets import DESCRIPTION, copy, named, update
from tests.plugins.healthimaging.conftest import AddSeries
from tests.plugins.healthimaging.watched_index import WatchedIndex
from tests.storage.stored import exact_counts

Run = Callable[[], None]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following_module, "_POLL_SECONDS", 0)
    monkeypatch.setattr(following_module, "_FIRST_PAUSE", 0.02)


@pytest.fixture
def queue(moto: Moto, clients: AwsClients, aws: MedicalImaging) -> EventQueue:
    url = moto.new_queue()
    aws.events.deliver_to(moto.client("sqs"), url)
    return EventQueue(clients, url)


@pytest.fixture
def following(
    queue: EventQueue,
    intake: Intake,
    datastore: str,
    stopping: threading.Event,
    service: ImageSetService,
    storage: Storage,
    index: WatchedIndex,
) -> Following:
    def probe() -> None:
        service.check_datastore(datastore)
        storage.check_ready()
        index.check()

    return Following(queue, intake, [datastore], stopping, probe)


@pytest.fixture
def follow(following: Following, queue: EventQueue, stopping: threading.Event) -> Iterator[Run]:
    """Follows in a thread until the queue is empty and nothing is under way."""
    threads: list[threading.Thread] = []

    def run() -> None:
        thread = threading.Thread(target=following.run)
        thread.start()
        threads.append(thread)
        deadline = time.monotonic() + 30
        while hidden_or_waiting(queue) and time.monotonic() < deadline:
            time.sleep(0.02)
        stopping.set()
        thread.join(30)
        assert not thread.is_alive()
        stopping.clear()

    yield run
    stopping.set()
    for thread in threads:
        thread.join(30)


def hidden_or_waiting(queue: EventQueue) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = queue._clients.sqs.get_queue_attributes(QueueUrl=queue._url, AttributeNames=names)
    return sum(int(answer["Attributes"][name]) for name in names)


def instances(storage: Storage) -> int:
    return sum(1 for _ in storage.find(Query(Level.IMAGE)))


def test_created_updated_deleted(
    follow: Run, aws: MedicalImaging, add: AddSeries, storage: Storage, index: WatchedIndex, following: Following
) -> None:
    kept, gone = add(1, 2), add(2, 3)
    follow()
    assert instances(storage) == 5
    update(aws.client(), kept, DESCRIPTION)
    aws.client().delete_image_set(**named(gone))
    follow()
    assert instances(storage) == 2
    assert index.known_versions(kept.datastore_id) == {kept.image_set_id: 2}
    assert following.done.unusable == 0


def test_copied(follow: Run, aws: MedicalImaging, add: AddSeries, storage: Storage, index: WatchedIndex) -> None:
    """A copy is an image set of its own, with what it was made of in its history and a conflict with that."""
    source = add(1, 2)
    follow()
    answer = copy(aws.client(), source)
    copied = answer["destinationImageSetProperties"]["imageSetId"]
    follow()
    assert index.known_versions(source.datastore_id).keys() == {source.image_set_id, copied}
    assert instances(storage) == 2
    [conflict] = index.conflicts(ConflictState.OPEN)
    assert {conflict.first.image_set_id, conflict.second.image_set_id} == {source.image_set_id, copied}
    aws.client().delete_image_set(**named(source))
    follow()
    assert instances(storage) == 2
    assert index.conflicts(ConflictState.OPEN) == []
    with storage.plugins.context("healthimaging").database.read() as connection:
        statuses = set(connection.execute(select(TABLES.version.c.workflow_status)).scalars())
    assert {"CREATED", "COPIED", "DELETED"} <= statuses


def test_twice_and_out_of_order(
    follow: Run, aws: MedicalImaging, add: AddSeries, storage: Storage, index: WatchedIndex
) -> None:
    aws.events.hold()
    aws.events.copies = 3
    made = [add(series) for series in range(1, 13)]
    for one in made[:4]:
        aws.client().delete_image_set(**named(one))
    for one in made[4:8]:
        update(aws.client(), one, DESCRIPTION)
    aws.events.release(shuffled_by=random.Random(7))
    follow()
    assert instances(storage) == 8
    # of each image set there is what the service says of it now, however many events told of it
    assert max(index.batches) > 1
    assert sorted(map(str, index.known_versions(made[0].datastore_id).values())) == [*"11112222"]


def test_history(follow: Run, aws: MedicalImaging, add: AddSeries, storage: Storage) -> None:
    """Versions that were over before the first event was read are in it too."""
    aws.events.hold()
    image_set = add(1)
    for version in ("1", "2"):
        update(aws.client(), image_set, DESCRIPTION, version)
    aws.events.release()
    follow()
    with storage.plugins.context("healthimaging").database.read() as connection:
        found = connection.execute(select(TABLES.version.c.version_id, TABLES.version.c.workflow_status)).all()
    assert sorted(map(tuple, found)) == [(1, "CREATED"), (2, "UPDATED"), (3, "UPDATED")]


def test_what_cannot_be_read_is_left_to_the_queue(
    moto: Moto,
    following: Following,
    queue: EventQueue,
    add: AddSeries,
    storage: Storage,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And by its redrive policy ends where somebody looks at it; what came with it is taken."""
    dead = moto.new_queue()
    sqs = moto.client("sqs")
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    sqs.set_queue_attributes(QueueUrl=queue._url, Attributes={"RedrivePolicy": policy})
    sqs.send_message(QueueUrl=queue._url, MessageBody='{"PatientName": "Doe^Jane"}')
    add()
    for _ in range(3):
        messages = queue.receive(40, 0, 0)
        following.take(messages)
    assert instances(storage) == 1
    assert [one["Body"] for one in sqs.receive_message(QueueUrl=dead)["Messages"]] == ['{"PatientName": "Doe^Jane"}']
    assert hidden_or_waiting(queue) == 0
    assert following.done.unusable == 2
    [first, *_] = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert "redrive policy" in first
    assert "Doe" not in caplog.text


def test_a_document_that_cannot_be_read_keeps_no_other_away(
    following: Following, queue: EventQueue, aws: MedicalImaging, add: AddSeries, storage: Storage
) -> None:
    broken = add(1)
    broken.versions[-1].document["SchemaVersion"] = "9"
    add(2)
    following.take(queue.receive(40, 0, 600))
    assert instances(storage) == 1
    assert following.done.unusable == 1
    assert hidden_or_waiting(queue) == 1


def test_an_outage_of_the_service(
    follow: Run, aws: MedicalImaging, add: AddSeries, storage: Storage, following: Following
) -> None:
    """What was received is kept, and is not received again and again until the queue gives it up."""
    add(1)
    add(2)
    for operation in ("GetImageSet", "GetDatastore"):
        aws.faults.add(Kind.INTERNAL, operation, times=8)
    follow()
    assert instances(storage) == 2
    assert following.done.events == 2
    assert following.done.unusable == 0


def test_one_image_set_that_the_service_cannot_give(
    following: Following, queue: EventQueue, aws: MedicalImaging, add: AddSeries, storage: Storage
) -> None:
    """It is left to the queue, for the service itself is there."""
    add(1)
    aws.faults.add(Kind.INTERNAL, "GetImageSetMetadata", times=1000)
    following.take(queue.receive(40, 0, 600))
    assert instances(storage) == 0
    assert following.done.unusable == 1
    assert hidden_or_waiting(queue) == 1


def test_an_outage_of_the_database(
    follow: Run, index: WatchedIndex, add: AddSeries, storage: Storage, queue: EventQueue, following: Following
) -> None:
    add(1)
    index.failure = StorageUnavailable("the database is away")
    threading.Timer(0.3, lambda: setattr(index, "failure", None)).start()
    follow()
    assert instances(storage) == 1
    assert following.done.unusable == 0


def test_nothing_is_deleted_before_it_is_durable(
    following: Following,
    queue: EventQueue,
    index: WatchedIndex,
    add: AddSeries,
    storage: Storage,
    stopping: threading.Event,
) -> None:
    add(1)
    index.failure = StorageUnavailable("the database is away")
    messages = queue.receive(40, 0, 600)
    threading.Timer(0.2, stopping.set).start()
    following.take(messages)
    assert hidden_or_waiting(queue) == 1


def test_an_outage_of_the_queue(
    follow: Run,
    queue: EventQueue,
    add: AddSeries,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    clients: AwsClients,
) -> None:
    add(1)
    ask = clients.sqs.receive_message
    failures = iter(range(3))

    def fail_first(**parameters: object) -> object:
        if next(failures, None) is not None:
            raise ConnectionError("reset")
        return ask(**parameters)

    monkeypatch.setattr(clients.sqs, "receive_message", fail_first)
    follow()
    assert instances(storage) == 1


def test_waiting_for_messages_is_not_taken_for_silence(queue: EventQueue, section: HealthImagingSection) -> None:
    impatient = AwsClients(section.model_copy(update={"read_timeout": 0.3, "attempts": 1}))
    assert EventQueue(impatient, queue._url).receive(1, 1, 0) == []


def test_several_follow_one_queue(
    queue: EventQueue, aws: MedicalImaging, add: AddSeries, intake: Intake, storage: Storage, datastore: str
) -> None:
    aws.events.hold()
    aws.events.copies = 2
    for series in range(1, 31):
        add(series)
    aws.events.release(shuffled_by=random.Random(3))
    followers = [Following(queue, intake, [datastore], threading.Event(), lambda: None) for _ in range(3)]
    threads = [threading.Thread(target=one.run, kwargs={"until_empty": True}) for one in followers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sum(one.done.events for one in followers) >= 60
    assert [one.done.unusable for one in followers] == [0, 0, 0]
    assert hidden_or_waiting(queue) == 0
    assert instances(storage) == 30
    assert exact_counts(storage)


def test_another_datastore(
    follow: Run, aws: MedicalImaging, add: AddSeries, storage: Storage, following: Following
) -> None:
    other = aws.image_sets.create_datastore()
    ours = add(1)
    aws.image_sets.add(other.datastore_id, ours.latest.document, {})
    follow()
    assert instances(storage) == 1
    # that of the data stores themselves among them
    assert following.done.passed_over >= 1


class TestReconciliation:
    @pytest.fixture
    def reconciliation(
        self, service: ImageSetService, index: WatchedIndex, intake: Intake, stopping: threading.Event
    ) -> Reconciliation:
        return Reconciliation(service, index, intake, stopping)

    def test_what_events_missed(
        self,
        reconciliation: Reconciliation,
        aws: MedicalImaging,
        add: AddSeries,
        storage: Storage,
        datastore: str,
        index: WatchedIndex,
    ) -> None:
        kept, changed, gone = add(1), add(2), add(3)
        first = reconciliation.run(datastore)
        assert (first.listed, first.taken, first.gone, first.failures) == (3, 3, 0, {})
        update(aws.client(), changed, DESCRIPTION)
        aws.client().delete_image_set(**named(gone))
        add(4)
        aws.requests.clear()
        second = reconciliation.run(datastore)
        assert (second.taken, second.failures) == (3, {})
        assert instances(storage) == 3
        assert aws.requests.count("GetImageSetMetadata") == 2
        assert kept.image_set_id in index.known_versions(datastore)
        third = reconciliation.run(datastore)
        assert (third.taken, third.gone) == (0, 0)

    def test_half_a_list_takes_nothing_away(
        self, reconciliation: Reconciliation, aws: MedicalImaging, add: AddSeries, storage: Storage, datastore: str
    ) -> None:
        for series in range(1, 61):
            add(series)
        reconciliation.run(datastore)
        aws.faults.add(Kind.INTERNAL, "SearchImageSets", times=99)
        with pytest.raises(StorageUnavailable):
            reconciliation.run(datastore)
        assert instances(storage) == 60

    def test_a_list_without_what_is_there(
        self, reconciliation: Reconciliation, aws: MedicalImaging, add: AddSeries, storage: Storage, datastore: str
    ) -> None:
        """A list may lag behind: what it has not is gone only if the service says so of it."""
        add(1)
        reconciliation.run(datastore)
        reconciliation._service.image_sets = lambda datastore_id: iter(())  # type: ignore[method-assign]
        done = reconciliation.run(datastore)
        assert done.gone == 1
        assert instances(storage) == 1

    def test_what_failed_is_told(
        self,
        reconciliation: Reconciliation,
        add: AddSeries,
        datastore: str,
        stopping: threading.Event,
        storage: Storage,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        broken = add(1)
        broken.versions[-1].document["SchemaVersion"] = "9"
        add(2)
        reconcile_repeatedly(reconciliation, [datastore], 60, stopping, once=True)
        [told] = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
        assert broken.image_set_id in told
        assert "SchemaVersion" in told
        assert instances(storage) == 1

    def test_repeatedly(
        self,
        reconciliation: Reconciliation,
        aws: MedicalImaging,
        add: AddSeries,
        storage: Storage,
        datastore: str,
        stopping: threading.Event,
    ) -> None:
        add(1)
        aws.faults.add(Kind.THROTTLING, "SearchImageSets", times=5)
        thread = threading.Thread(target=reconcile_repeatedly, args=(reconciliation, [datastore], 0.05, stopping))
        thread.start()
        deadline = time.monotonic() + 20
        while instances(storage) < 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        add(2)
        while instances(storage) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        stopping.set()
        thread.join(20)
        assert not thread.is_alive()
        assert instances(storage) == 2
