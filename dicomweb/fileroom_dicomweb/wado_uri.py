"""WADO-URI (PS3.18 9): one object by the parameters of a query, as it is or rendered."""

from dataclasses import replace
from http import HTTPStatus

from flask import Blueprint, Response, request

from fileroom_storage.storage import Storage

from .access import register_guard
from .audit import register_audit
from .authentication import authenticator
from .conditional import register_cache_policy
from .media_types import DICOM, MediaType, Offer, choose
from .origin_server import OriginServer
from .problem import Problem, not_acceptable, register_problem_handlers
from .rendered import guarded, rendered_part
from .rendering import RenderedInstance
from .renderings import Renderings, renderings_of
from .request_body import limit_silence
from .settings import DicomwebSettings
from .wado import instances_response, single_part_response
from .wado_uri_parameters import WadoUriRequest, region_of, wado_uri_request


def wado_uri_blueprint(
    storage: Storage, settings: DicomwebSettings | None = None, renderings: Renderings | None = None
) -> Blueprint:
    """WADO-URI over `storage`, to be registered with any Flask application; its one resource is the `url_prefix`."""
    settings = settings or DicomwebSettings()
    server = OriginServer(storage, settings, renderings or renderings_of(settings))
    blueprint = Blueprint("wado_uri", __name__)
    register_problem_handlers(blueprint)
    known_by = authenticator(storage, settings.authentication)
    register_guard(blueprint, known_by.identify if known_by is not None else None)
    register_cache_policy(blueprint)
    register_audit(blueprint, storage)

    @blueprint.before_request
    def before_request() -> None:
        limit_silence(request, settings.idle_timeout)

    @blueprint.get("", strict_slashes=False)
    def retrieve() -> Response:
        return _retrieve(server, wado_uri_request(request.args))

    return blueprint


def _retrieve(server: OriginServer, asked: WadoUriRequest) -> Response:
    instances = server.locate_whole(asked.resource)
    rendered = RenderedInstance(server.storage, instances[0], server.renderings)
    offers = _offers(rendered, asked)
    offer = choose(asked.media_types or (MediaType("*/*"),), offers)
    if offer is None:
        raise not_acceptable(offers, "contentType names nothing that the object can be given as.")
    if offer.media_type == DICOM:
        # what is asked for beside the object itself would change nothing in it (PS3.18 9.1.2.1)
        parameters = {"transfer-syntax": asked.transfer_syntax_uid} if asked.transfer_syntax_uid else {}
        return instances_response(server, instances, (MediaType(DICOM, parameters),))
    options = asked.options
    if rendered.is_image:
        rows, columns = rendered.size
        options = replace(options, viewport=region_of(asked, rows, columns))
    elif asked.region is not None:
        raise Problem(HTTPStatus.BAD_REQUEST, "A region is one of an image; this object is none.", parameter="region")
    numbers = None if asked.frame_number is None else [asked.frame_number]
    part = rendered_part(offer.media_type, rendered.render(numbers, options, offer.media_type))
    return guarded(single_part_response(part))


def _offers(rendered: RenderedInstance, asked: WadoUriRequest) -> tuple[Offer, ...]:
    """The default first: pictures of single frames, pages of texts, and for anything else the object itself."""
    shown = tuple(map(Offer, rendered.media_types))
    single = rendered.is_image and (rendered.number_of_frames == 1 or asked.frame_number is not None)
    if single or rendered.is_text:
        return (*shown, Offer(DICOM))
    return (Offer(DICOM), *shown)
