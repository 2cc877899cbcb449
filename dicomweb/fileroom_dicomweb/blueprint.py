"""The resources of DICOMweb as a Flask blueprint: every URL of PS3.18 10 that is served, in one place."""

from flask import Blueprint, Response, request

from fileroom_storage.attributes import Level
from fileroom_storage.storage import Storage

from .bulk_data import retrieve_bulk_data
from .frames import retrieve_frames
from .origin_server import OriginServer, Resource
from .problem import register_problem_handlers
from .qido import search
from .request_body import limit_silence
from .settings import DicomwebSettings
from .stow import store_instances
from .wado import retrieve_instances, retrieve_metadata

_STUDY = "/studies/<study>"
_SERIES = f"{_STUDY}/series/<series>"
_INSTANCE = f"{_SERIES}/instances/<instance>"


def dicomweb_blueprint(storage: Storage, settings: DicomwebSettings | None = None) -> Blueprint:
    """QIDO-RS, WADO-RS and STOW-RS over `storage`, to be registered with any Flask application.

    The `url_prefix` is the application's to choose; `settings.prefix` and the proxy settings count in create_app only.
    """
    settings = settings or DicomwebSettings()
    server = OriginServer(storage, settings)
    blueprint = Blueprint("dicomweb", __name__)
    register_problem_handlers(blueprint)

    @blueprint.before_request
    def before_request() -> None:
        limit_silence(request, settings.idle_timeout)

    _add_search(blueprint, server)
    _add_retrieve(blueprint, server)

    @blueprint.post("/studies", strict_slashes=False)
    def store() -> Response:
        return store_instances(server, Resource())

    @blueprint.post(_STUDY, strict_slashes=False)
    def store_to_study(study: str) -> Response:
        return store_instances(server, Resource(study))

    return blueprint


def _add_search(blueprint: Blueprint, server: OriginServer) -> None:
    @blueprint.get("/studies", strict_slashes=False)
    def search_for_studies() -> Response:
        return search(server, Level.STUDY, Resource())

    @blueprint.get("/series", strict_slashes=False)
    @blueprint.get(f"{_STUDY}/series", strict_slashes=False)
    def search_for_series(study: str | None = None) -> Response:
        return search(server, Level.SERIES, Resource(study))

    @blueprint.get("/instances", strict_slashes=False)
    @blueprint.get(f"{_STUDY}/instances", strict_slashes=False)
    @blueprint.get(f"{_SERIES}/instances", strict_slashes=False)
    def search_for_instances(study: str | None = None, series: str | None = None) -> Response:
        return search(server, Level.IMAGE, Resource(study, series))


def _add_retrieve(blueprint: Blueprint, server: OriginServer) -> None:
    @blueprint.get(_STUDY, strict_slashes=False)
    @blueprint.get(_SERIES, strict_slashes=False)
    @blueprint.get(_INSTANCE, strict_slashes=False)
    def retrieve(study: str, series: str | None = None, instance: str | None = None) -> Response:
        return retrieve_instances(server, Resource(study, series, instance))

    @blueprint.get(f"{_STUDY}/metadata")
    @blueprint.get(f"{_SERIES}/metadata")
    @blueprint.get(f"{_INSTANCE}/metadata")
    def metadata(study: str, series: str | None = None, instance: str | None = None) -> Response:
        return retrieve_metadata(server, Resource(study, series, instance))

    @blueprint.get(f"{_INSTANCE}/frames/<frame_list>")
    def frames(study: str, series: str, instance: str, frame_list: str) -> Response:
        return retrieve_frames(server, Resource(study, series, instance), frame_list)

    @blueprint.get(f"{_INSTANCE}/bulkdata/<path:path>")
    def bulk_data(study: str, series: str, instance: str, path: str) -> Response:
        return retrieve_bulk_data(server, Resource(study, series, instance), path)
