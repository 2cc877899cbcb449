"""AWS HealthImaging as far as fileroom speaks with it: a server for unmodified `medical-imaging` clients of boto3."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import boto3
from botocore import xform_name
from botocore.config import Config
from flask import Flask, Response, got_request_exception, request
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.fakes.dicom_import_jobs import ImportJobs
from tests.fakes.faults import Faults, Kind, pieces
from tests.fakes.image_set_events import ImageSetEvents
from tests.fakes.image_sets import ImageSets
from tests.fakes.operations import Operations
from tests.fakes.wire import Answer, Parameters, ServiceError, Wire, check_signature

REGION = "us-east-1"
# What a client of this and of moto's server signs with; nobody checks the secret.
CREDENTIALS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
_HANG_SECONDS = 30.0
_PAUSE_SECONDS = 0.05
_STOP_POLL_SECONDS = 0.01


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept, as the service keeps them

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


class MedicalImaging:
    """The service. Tests put image sets into `image_sets`, and steer `events`, `faults`, `transitions` and `jobs`."""

    def __init__(self, region: str = REGION) -> None:
        self.region = region
        self.faults = Faults()
        self.events = ImageSetEvents(region)
        self.image_sets = ImageSets(self.events)
        self.transitions = self.image_sets.transitions
        self.jobs = ImportJobs(self.image_sets)
        self.requests: list[str] = []  # the operations that were asked for, those that met a fault too
        self._broken: list[Exception] = []  # answers that the model does not allow, and other faults of this stand-in
        self._wire = Wire()
        self._operations = Operations(self.image_sets, self.jobs)
        self._server = make_server("127.0.0.1", 0, self._app(), threaded=True, request_handler=_Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(_STOP_POLL_SECONDS,),
            name="medical-imaging",
            daemon=True,
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.faults.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if self._broken and exception[0] is None:
            raise self._broken[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to speak with this service."""
        return {
            "AWS_ENDPOINT_URL_MEDICAL_IMAGING": self.url,
            # a client puts "runtime-" before the host name of some operations: no address of an IP network has that
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_DEFAULT_REGION": self.region,
            **{name.upper(): value for name, value in CREDENTIALS.items()},
        }

    def client(self, **configuration: Any) -> Any:
        """A client of boto3 for this service."""
        config = Config(inject_host_prefix=False, **configuration)
        place = {"endpoint_url": self.url, "region_name": self.region}
        return boto3.client("medical-imaging", config=config, **place, **CREDENTIALS)

    def _app(self) -> Flask:
        app = Flask("medical-imaging")
        got_request_exception.connect(self._note, app)
        methods = ["GET", "POST", "DELETE"]
        app.add_url_rule("/", view_func=self._respond, defaults={"path": ""}, methods=methods, endpoint="root")
        app.add_url_rule("/<path:path>", view_func=self._respond, methods=methods)
        return app

    def _note(self, sender: Flask, exception: Exception) -> None:
        self._broken.append(exception)

    def _respond(self, path: str) -> Response:
        # the path as it was sent: the ARN in that of tags has slashes of its own
        path = request.environ["RAW_URI"].partition("?")[0]
        try:
            operation, in_path = self._wire.operation(request.method, path)
            self.requests.append(operation.name)
            fault = self.faults.take(operation.name)
            if fault is Kind.CUT_BEFORE:
                return _cut()
            if fault is Kind.HANG:
                self.faults.hang(_HANG_SECONDS)
                return _cut()
            answer = self._answer(operation, in_path, fault)
        except ServiceError as error:
            return _whole(self._wire.error(error))
        return _sent(answer, fault)

    def _answer(self, operation: Any, in_path: Parameters, fault: Kind | None) -> Answer:
        if fault is Kind.THROTTLING:
            raise ServiceError("ThrottlingException", "Rate exceeded")
        if fault is Kind.INTERNAL:
            raise ServiceError("InternalServerException", "An unexpected error occurred")
        headers = dict(request.headers)
        check_signature(headers)
        query = request.query_string.decode()
        asked = self._wire.parameters(operation, in_path, query, headers, request.get_data())
        method: Callable[[Parameters], dict[str, Any]] = getattr(self._operations, xform_name(operation.name))
        with self.image_sets.lock:
            return self._wire.answer(operation, method(asked))


def _whole(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def _sent(answer: Answer, fault: Kind | None) -> Response:
    """An answer as the fault lets it through."""
    if fault is Kind.CUT_AFTER:
        return _cut()
    if fault is Kind.WRONG_BYTES:
        middle = len(answer.body) // 2
        wrong = answer.body[:middle] + bytes([answer.body[middle] ^ 1]) + answer.body[middle + 1 :]
        return _whole(Answer(answer.status, wrong, answer.headers))
    if fault in (Kind.SLOW, Kind.CUT_IN_BODY):
        headers = {**answer.headers, "Content-Length": str(len(answer.body))}
        body = _slowly(answer.body) if fault is Kind.SLOW else _half(answer.body, request.environ["werkzeug.socket"])
        return Response(body, answer.status, headers)
    return _whole(answer)


def _cut() -> Response:
    """End the connection; what is returned goes nowhere."""
    request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return Response(status=500)


def _slowly(body: bytes) -> Iterator[bytes]:
    for piece in pieces(body):
        yield piece
        time.sleep(_PAUSE_SECONDS)


def _half(body: bytes, connection: socket.socket) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    connection.shutdown(socket.SHUT_RDWR)
