"""`/metrics`: what the server tells Prometheus of itself; where it comes from is the server's to know."""

from collections.abc import Callable

from flask import Blueprint, Response, request

# From an Accept header to a body and its media type.
Exposition = Callable[[str], tuple[bytes, str]]


def metrics_blueprint(exposition: Exposition) -> Blueprint:
    """Counts and times, nothing of patients: whoever may read them learns how much a site does."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def metrics() -> Response:
        body, content_type = exposition(request.headers.get("Accept", ""))
        response = Response(body, content_type=content_type)
        response.headers["Cache-Control"] = "no-store"
        return response

    return blueprint
