"""Whether the process lives, and whether it could take an object now."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

import orjson
from flask import Blueprint, Response

from fileroom_storage.errors import StorageError
from fileroom_storage.storage import Storage

# Each part of the server by name, with what keeps it from being ready; None where nothing does.
Readiness = Callable[[], Mapping[str, str | None]]


def health_blueprint(storage: Storage, readiness: Readiness | None = None) -> Blueprint:
    """`/live` and `/ready`; `readiness` tells of the parts that DICOMweb does not know, such as the DICOM listener."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/live")
    def live() -> Response:
        return Response(orjson.dumps({"status": "live"}), content_type="application/json")

    @blueprint.get("/ready")
    def ready() -> Response:
        parts: dict[str, str | None] = {"storage": None, **(readiness() if readiness else {})}
        try:
            storage.check_ready()
        except StorageError as error:
            parts["storage"] = str(error)
        is_ready = not any(parts.values())
        body = {
            "status": "ready" if is_ready else "not ready",
            "parts": {name: reason or "ready" for name, reason in parts.items()},
        }
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        response = Response(orjson.dumps(body), status, content_type="application/json")
        response.headers["Cache-Control"] = "no-store"
        return response

    return blueprint
