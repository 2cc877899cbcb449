"""The events of HealthImaging as EventBridge puts them into an SQS queue, twice and out of order at a test's wish."""

import json
import random
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

ACCOUNT = "111122223333"

Event = dict[str, Any]


class ImageSetEvents:
    """Sends events to a queue; keeps all of them, whether there is a queue or not."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.sent: list[Event] = []
        self.copies = 1  # how often each event is delivered: EventBridge and SQS deliver at least once
        self._lock = threading.Lock()
        self._held: list[Event] | None = None
        self._queue: tuple[Any, str] | None = None

    def deliver_to(self, sqs: Any, queue_url: str) -> None:
        """Deliver events from now on to a queue, by a boto3 client of SQS."""
        self._queue = sqs, queue_url

    def hold(self) -> None:
        """Keep events back until `release`."""
        with self._lock:
            self._held = []

    def release(self, shuffled_by: random.Random | None = None) -> None:
        """Deliver what was kept back, in an order by chance if asked for, and no longer keep events back."""
        with self._lock:
            held, self._held = self._held or [], None
        deliveries = [event for event in held for _ in range(self.copies)]
        if shuffled_by is not None:
            shuffled_by.shuffle(deliveries)
        for event in deliveries:
            self.deliver(event)

    def publish(self, detail_type: str, arn: str, detail: Mapping[str, Any]) -> None:
        """Make an event of the schema of "Using Amazon EventBridge with HealthImaging" and deliver it."""
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": "aws.medical-imaging",
            "account": ACCOUNT,
            "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": self.region,
            "resources": [arn],
            "detail": {"imagingVersion": "1.0", **detail},
        }
        with self._lock:
            self.sent.append(event)
            if self._held is not None:
                self._held.append(event)
                return
        for _ in range(self.copies):
            self.deliver(event)

    def deliver(self, event: Event) -> None:
        """Put an event into the queue, one that was sent before too."""
        if self._queue is not None:
            sqs, queue_url = self._queue
            sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps(event))
