"""S3 and SQS: moto's server in this process, on a port of its own."""

import itertools
import logging
from typing import Any, Self

import boto3
from moto.server import ThreadedMotoServer

from tests.fakes.medical_imaging import CREDENTIALS, REGION


class Moto:
    """The server, with clients for it; buckets and queues have names that no other test has."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for every request
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to speak with this server."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ENDPOINT_URL_SQS": self.url,
            "AWS_DEFAULT_REGION": REGION,
            **{name.upper(): value for name, value in CREDENTIALS.items()},
        }

    def client(self, service: str) -> Any:
        """A client of boto3 for "s3" or "sqs"."""
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **CREDENTIALS)

    def new_bucket(self) -> str:
        name = f"fileroom-{next(self._numbers)}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def new_queue(self, **attributes: str) -> str:
        """The URL of a new queue."""
        name = f"fileroom-{next(self._numbers)}"
        url: str = self.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url
