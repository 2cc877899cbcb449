"""Clients of AWS, made when they are needed."""

import threading
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from fileroom_storage.plugin import StorageError

from .aws_errors import translated
from .aws_requests import measure_requests
from .metrics import UNMEASURED, Measuring
from .section import HealthImagingSection

MISSING_BOTO3 = "boto3 is not installed, which speaks with AWS; install it: pip install 'fileroom[healthimaging]'"

_LONGEST_POLL = 20.0  # seconds that SQS waits for a message at most


class Boto3Missing(StorageError):
    """The extra `healthimaging` is not installed."""


class AwsClients:
    """For one section of the configuration. Any thread may use any of them. Raises Boto3Missing."""

    def __init__(self, section: HealthImagingSection, measuring: Measuring = UNMEASURED) -> None:
        self._section = section
        self._measuring = measuring
        self._lock = threading.Lock()  # making clients is the one thing that boto3 wants to do alone

    @cached_property
    def medical_imaging(self) -> Any:
        endpoint = self._section.endpoint_url
        # botocore puts "runtime-" before the host of operations on image sets: an address of one's own has no such host
        more = {} if endpoint is None else {"inject_host_prefix": False}
        return self._client("medical-imaging", endpoint_url=endpoint, **more)

    @cached_property
    def s3(self) -> Any:
        return self._client("s3")

    @cached_property
    def sqs(self) -> Any:
        return self._client("sqs", waits=_LONGEST_POLL)

    def check(self) -> None:
        """Raises Boto3Missing at once, before anything is asked for."""
        if find_spec("boto3") is None:
            raise Boto3Missing(MISSING_BOTO3)

    def close(self) -> None:
        for name in ("medical_imaging", "s3", "sqs"):
            client = self.__dict__.pop(name, None)
            if client is not None:
                client.close()

    def _client(self, service: str, endpoint_url: str | None = None, *, waits: float = 0, **more: Any) -> Any:
        """`waits`: seconds that an answer may take by itself, where nothing is slow."""
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise Boto3Missing(MISSING_BOTO3) from error
        section = self._section
        config = Config(
            connect_timeout=section.connect_timeout,
            read_timeout=section.read_timeout + waits,
            max_pool_connections=section.concurrent_requests + 2,
            # waits longer from attempt to attempt, 20 s at most, by chance a little less or more
            retries={"mode": "standard", "total_max_attempts": section.attempts},
            **more,
        )
        with self._lock, translated("AWS"):
            client = boto3.session.Session().client(
                service, region_name=section.region, endpoint_url=endpoint_url, config=config
            )
            measure_requests(client, self._measuring)
        return client
