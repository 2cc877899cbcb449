"""The resources of DICOMweb as a Flask blueprint: every URL of PS3.18 10 that is served, in one place."""

from flask import Blueprint, Response, request

from fileroom_storage.attributes import Level
from fileroom_storage.storage import Storage

from .access import register_guard
from .audit import register_audit
from .authentication import authenticator
from .bulk_data import retrieve_all_bulk_data, retrieve_bulk_data
from .capabilities import add_capabilities
from .compression import register_compression
from .conditional import register_cache_policy
from .delete import delete_instances, list_deletions, reject_instances, restore_deletion, show_deletion
from .frames import retrieve_frames
from .metadata import retrieve_metadata
from .origin_server import OriginServer, Resource
from .problem import register_problem_handlers
from .qido import search
from .rendered import retrieve_rendered, retrieve_thumbnail
from .renderings import Renderings, renderings_of
from .request_body import limit_silence
from .settings import DicomwebSettings
from .stow import store_instances
from .wado import retrieve_instances

_STUDY = "/studies/<study>"
_SERIES = f"{_STUDY}/series/<series>"
_INSTANCE = f"{_SERIES}/instances/<instance>"
# no database knows a larger number
_DELETION = f"/deletions/<int(max={2**63 - 1}):deletion>"


def dicomweb_blueprint(
    storage: Storage, settings: DicomwebSettings | None = None, renderings: Renderings | None = None
) -> Blueprint:
    """QIDO-RS, WADO-RS and STOW-RS over `storage`, to be registered with any Flask application.

    The `url_prefix` is the application's to choose; `settings.prefix` and the proxy settings count in create_app only.
    `renderings` are counted together with those of WADO-URI where its blueprint has the same ones.
    """
    settings = settings or DicomwebSettings()
    server = OriginServer(storage, settings, renderings or renderings_of(settings))
    blueprint = Blueprint("dicomweb", __name__)
    register_problem_handlers(blueprint)
    known_by = authenticator(storage, settings.authentication)
    register_guard(blueprint, known_by.identify if known_by is not None else None)
    register_compression(blueprint)
    register_cache_policy(blueprint)
    register_audit(blueprint, storage)

    @blueprint.before_request
    def before_request() -> None:
        limit_silence(request, settings.idle_timeout)

    add_capabilities(blueprint, server)
    _add_search(blueprint, server)
    _add_retrieve(blueprint, server)
    _add_rendered(blueprint, server)
    _add_delete(blueprint, server)

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

    @blueprint.get(f"{_STUDY}/bulkdata")
    @blueprint.get(f"{_SERIES}/bulkdata")
    @blueprint.get(f"{_INSTANCE}/bulkdata")
    def all_bulk_data(study: str, series: str | None = None, instance: str | None = None) -> Response:
        return retrieve_all_bulk_data(server, Resource(study, series, instance))

    @blueprint.get(f"{_INSTANCE}/bulkdata/<path:path>")
    def bulk_data(study: str, series: str, instance: str, path: str) -> Response:
        return retrieve_bulk_data(server, Resource(study, series, instance), path)


def _add_rendered(blueprint: Blueprint, server: OriginServer) -> None:
    @blueprint.get(f"{_STUDY}/rendered")
    @blueprint.get(f"{_SERIES}/rendered")
    @blueprint.get(f"{_INSTANCE}/rendered")
    @blueprint.get(f"{_INSTANCE}/frames/<frame_list>/rendered")
    def rendered(
        study: str, series: str | None = None, instance: str | None = None, frame_list: str | None = None
    ) -> Response:
        return retrieve_rendered(server, Resource(study, series, instance), frame_list)

    @blueprint.get(f"{_STUDY}/thumbnail")
    @blueprint.get(f"{_SERIES}/thumbnail")
    @blueprint.get(f"{_INSTANCE}/thumbnail")
    @blueprint.get(f"{_INSTANCE}/frames/<frame_list>/thumbnail")
    def thumbnail(
        study: str, series: str | None = None, instance: str | None = None, frame_list: str | None = None
    ) -> Response:
        return retrieve_thumbnail(server, Resource(study, series, instance), frame_list)


def _add_delete(blueprint: Blueprint, server: OriginServer) -> None:
    @blueprint.delete(_STUDY, strict_slashes=False)
    @blueprint.delete(_SERIES, strict_slashes=False)
    @blueprint.delete(_INSTANCE, strict_slashes=False)
    def delete(study: str, series: str | None = None, instance: str | None = None) -> Response:
        return delete_instances(server, Resource(study, series, instance))

    @blueprint.post(f"{_STUDY}/reject/<code>")
    @blueprint.post(f"{_SERIES}/reject/<code>")
    @blueprint.post(f"{_INSTANCE}/reject/<code>")
    def reject(study: str, code: str, series: str | None = None, instance: str | None = None) -> Response:
        return reject_instances(server, Resource(study, series, instance), code)

    @blueprint.get("/deletions", strict_slashes=False)
    def deletions() -> Response:
        return list_deletions(server)

    @blueprint.get(_DELETION)
    def deletion(deletion: int) -> Response:
        return show_deletion(server, deletion)

    @blueprint.post(f"{_DELETION}/restore")
    def restore(deletion: int) -> Response:
        return restore_deletion(server, deletion)
