"""The events of image sets in an SQS queue."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.moto_server import Moto
from tests.fakes.small_image_sets import (
    DESCRIPTION,
    Add,
    Document,
    copy,
    document,
    named,
    update,
)


class TestEvents:
    @pytest.fixture
    def queue(self, moto: Moto, medical_imaging: MedicalImaging) -> Iterator[Callable[[], list[Document]]]:
        """What is in the queue now."""
        sqs, url = moto.client("sqs"), moto.new_queue()
        medical_imaging.events.deliver_to(sqs, url)

        def read() -> list[Document]:
            found = []
            while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
                for one in messages:
                    found.append(json.loads(one["Body"]))
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
            return found

        yield read
        sqs.close()

    def test_form(self, add: Add, queue: Callable[[], list[Document]], medical_imaging: MedicalImaging) -> None:
        queue()
        image_set = add()
        [event] = queue()
        assert (event["source"], event["detail-type"], event["version"]) == (
            "aws.medical-imaging",
            "Image Set Created",
            "0",
        )
        assert event["resources"] == [
            medical_imaging.image_sets.arn(image_set.datastore_id, image_set.image_set_id),
        ]
        assert datetime.fromisoformat(event["time"]).tzinfo is UTC
        assert event["detail"] == {
            "imagingVersion": "1.0",
            "isPrimary": True,
            "imageSetVersion": "1",
            "datastoreId": image_set.datastore_id,
            "imagesetId": image_set.image_set_id,
            "imageSetState": "ACTIVE",
            "imageSetWorkflowStatus": "CREATED",
        }

    def test_of_each_change(
        self, client: Any, add: Add, queue: Callable[[], list[Document]], medical_imaging: MedicalImaging
    ) -> None:
        image_set = add()
        update(client, image_set, DESCRIPTION)
        medical_imaging.transitions.fail_next("It could not be")
        update(client, image_set, DESCRIPTION, version="2")
        copy(client, image_set)
        client.delete_image_set(**named(image_set))
        told = [
            (one["detail-type"], one["detail"]["imageSetVersion"]) for one in queue() if "Image" in one["detail-type"]
        ]
        assert sorted(told) == sorted(
            [
                ("Image Set Created", "1"),
                ("Image Set Updating", "2"),
                ("Image Set Updated", "2"),
                ("Image Set Updating", "3"),
                ("Image Set Update Failed", "3"),
                ("Image Set Copying", "1"),
                ("Image Set Copying With Read Only Access", "3"),
                ("Image Set Copied", "1"),
                ("Image Set Copied", "3"),
                ("Image Set Deleting", "3"),
                ("Image Set Deleted", "3"),
            ]
        )
        [copying] = [one for one in medical_imaging.events.sent if one["detail-type"] == "Image Set Copying"]
        assert copying["detail"]["sourceImageSetArn"].endswith(image_set.image_set_id)

    def test_twice_and_out_of_order(
        self, add: Add, queue: Callable[[], list[Document]], medical_imaging: MedicalImaging
    ) -> None:
        queue()
        events = medical_imaging.events
        events.hold()
        made = [add(document(series)).image_set_id for series in range(1, 9)]
        assert queue() == []
        events.copies = 2
        events.release(shuffled_by=random.Random(1))
        told = [one["detail"]["imagesetId"] for one in queue()]
        assert sorted(told) == sorted(made * 2)
        assert told != [one for one in made for _ in range(2)]
        assert len({one["id"] for one in events.sent}) == len(events.sent)

    def test_again(self, add: Add, queue: Callable[[], list[Document]], medical_imaging: MedicalImaging) -> None:
        add()
        before = queue()
        medical_imaging.events.deliver(medical_imaging.events.sent[-1])
        assert queue() == before[-1:]
