"""Requests to AWS, counted and timed by the events that botocore's clients tell of each."""

import time
from typing import Any

from .aws_errors import OK, is_throttling, outcome_of
from .metrics import AWS_REQUESTS, AWS_RETRIES, AWS_SECONDS, AWS_THROTTLED, Measuring

_BEGUN = "fileroom_begun"


def measure_requests(client: Any, measuring: Measuring) -> None:
    """Of a client of boto3, from now on. What asks nothing, as it is no request at all, is not counted."""

    def begun(context: dict[str, Any], **_: Any) -> None:
        context[_BEGUN] = time.perf_counter()

    def attempted(operation: Any, attempts: int, response: tuple[Any, Any] | None, **_: Any) -> None:
        if attempts > 1:
            measuring.count(AWS_RETRIES, operation.name)
        if response is not None and is_throttling(response[1]):
            measuring.count(AWS_THROTTLED, operation.name)

    def answered(http_response: Any, parsed: Any, model: Any, context: dict[str, Any], **_: Any) -> None:
        is_error = http_response.status_code >= 300
        ended(model.name, outcome_of(client.exceptions.ClientError(parsed, model.name)) if is_error else OK, context)

    def failed(exception: Exception, context: dict[str, Any], event_name: str, **_: Any) -> None:
        ended(event_name.rpartition(".")[2], outcome_of(exception), context)

    def ended(operation: str, outcome: str, context: dict[str, Any]) -> None:
        measuring.count(AWS_REQUESTS, operation, outcome)
        measuring.observe(AWS_SECONDS, time.perf_counter() - context[_BEGUN], operation)

    events = client.meta.events
    events.register("before-call", begun)
    events.register("needs-retry", attempted)
    events.register("after-call", answered)
    events.register("after-call-error", failed)
