"""What is known of a request once it is answered, for whoever counts: in the WSGI environment, by these keys."""

from flask import Flask, request

# the endpoint that answers it, those of DICOMweb itself without their blueprint's name
OPERATION = "fileroom.operation"
# the kind of error that it was answered with
ERROR = "fileroom.error"
# the bytes of its body that were read
RECEIVED = "fileroom.received"


def register_request_facts(app: Flask) -> None:
    @app.before_request
    def before_request() -> None:
        if request.endpoint is not None:
            request.environ[OPERATION] = request.endpoint.removeprefix("dicomweb.")


def error_is_known(error: BaseException) -> None:
    request.environ[ERROR] = type(error).__name__
