"""The SQS queue of events: messages that were received are there again unless they are deleted in time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .aws import AwsClients
from .aws_errors import translated

BATCH = 10  # the most that SQS gives or takes at once


@dataclass(frozen=True, slots=True)
class Message:
    message_id: str
    receipt: str
    body: str
    times_received: int


class EventQueue:
    """Raises AwsError, Boto3Missing."""

    def __init__(self, clients: AwsClients, url: str) -> None:
        self._clients = clients
        self._url = url

    def receive(self, maximum: int, wait: int, visibility: int) -> list[Message]:
        """Waits up to `wait` seconds for the first message; each is hidden from others for `visibility` seconds."""
        found: list[Message] = []
        while len(found) < maximum:
            page = self._page(min(BATCH, maximum - len(found)), 0 if found else wait, visibility)
            found += page
            if not page:
                break
        return found

    def _page(self, maximum: int, wait: int, visibility: int) -> list[Message]:
        with translated("the queue of events"):
            answer = self._clients.sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=maximum,
                WaitTimeSeconds=wait,
                VisibilityTimeout=visibility,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        return [
            Message(
                one["MessageId"],
                one["ReceiptHandle"],
                one["Body"],
                int(one.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
            )
            for one in answer.get("Messages", ())
        ]

    def delete(self, messages: Sequence[Message]) -> None:
        """Those that cannot be deleted come again."""
        for page in _pages(messages):
            with translated("the queue of events"):
                self._clients.sqs.delete_message_batch(QueueUrl=self._url, Entries=_entries(page))

    def hide(self, messages: Sequence[Message], seconds: int) -> None:
        """From others for so long from now on."""
        for page in _pages(messages):
            entries = [{**one, "VisibilityTimeout": seconds} for one in _entries(page)]
            with translated("the queue of events"):
                self._clients.sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)

    def waiting(self) -> int:
        """About how many messages wait."""
        with translated("the queue of events"):
            answer = self._clients.sqs.get_queue_attributes(
                QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"]
            )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def _pages(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    for start in range(0, len(messages), BATCH):
        yield messages[start : start + BATCH]


def _entries(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [{"Id": str(number), "ReceiptHandle": one.receipt} for number, one in enumerate(messages)]
