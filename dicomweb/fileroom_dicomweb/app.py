"""The Flask application that fileroom serves: DICOMweb, health, and a page that says so."""

from collections.abc import Mapping
from http import HTTPStatus

from flask import Blueprint, Flask, Response, request

from fileroom_storage.storage import Storage

from .access import PLUGIN_ENDPOINTS, register_guard
from .authentication import Identifying, authenticator
from .blueprint import dicomweb_blueprint
from .compression import register_compression
from .cors import register_cors
from .forwarded import BehindProxy
from .health import Readiness, health_blueprint
from .metrics import Exposition, metrics_blueprint
from .origin_server import server_url
from .problem import register_problem_handlers
from .recent_answers import RecentResponses
from .renderings import renderings_of
from .request_facts import register_request_facts
from .settings import DicomwebSettings
from .start_page import start_page
from .viewer import PATH as VIEWER_PATH
from .viewer import base_path, is_installed, viewer_blueprint
from .wado_uri import wado_uri_blueprint


def create_app(
    storage: Storage,
    settings: DicomwebSettings | None = None,
    readiness: Readiness | None = None,
    exposition: Exposition | None = None,
    of_plugins: Mapping[str, Blueprint] | None = None,
) -> Flask:
    """The whole of it. `of_plugins` are blueprints by the name of their plugin.

    `readiness` tells of the parts that DICOMweb does not know; see health.Readiness.

    `exposition` is what /metrics answers; without it there is none.
    """
    settings = settings or DicomwebSettings()
    app = Flask("fileroom_dicomweb", static_folder=None, template_folder=None)
    register_request_facts(app)
    register_problem_handlers(app)
    register_compression(app)
    register_cors(app, settings.cors_origins, (settings.prefix, "/wado", "/api"))
    known_by = authenticator(storage, settings.authentication)
    register_guard(app, known_by.identify if known_by is not None else None)
    renderings = renderings_of(settings)
    app.register_blueprint(dicomweb_blueprint(storage, settings, renderings), url_prefix=settings.prefix)
    # where viewers look for it: OHIF's wadoUriRoot
    app.register_blueprint(wado_uri_blueprint(storage, settings, renderings), url_prefix="/wado")
    app.register_blueprint(health_blueprint(storage, readiness), url_prefix="/health")
    for name, blueprint in (of_plugins or {}).items():
        app.register_blueprint(blueprint, url_prefix=f"/api/{name}", name=f"{PLUGIN_ENDPOINTS}{name}")
    if exposition is not None:
        app.register_blueprint(metrics_blueprint(exposition))
    app.register_blueprint(viewer_blueprint(settings))

    @app.get("/")
    def start() -> Response:
        if not is_installed(settings):
            return about()
        response = Response(status=HTTPStatus.FOUND, headers={"Location": f"{base_path(settings)}{VIEWER_PATH}/"})
        response.headers["Cache-Control"] = "no-store"  # the viewer may be removed
        return response

    @app.get("/about")
    def about() -> Response:
        base_url = (settings.base_url or server_url() + request.root_path).rstrip("/")
        root_url = base_url + settings.prefix
        links = {"The newest studies": f"{root_url}/studies?limit=25", "Health": f"{base_url}/health/ready"}
        viewer_url = f"{base_url}{VIEWER_PATH}/" if is_installed(settings) else None
        return start_page(root_url, links, viewer_url)

    app.wsgi_app = RecentResponses(  # type: ignore[method-assign]
        app.wsgi_app, storage.version, storage.open_stretches, storage.monitor
    )
    if known_by is not None:
        app.wsgi_app = Identifying(app.wsgi_app, known_by)  # type: ignore[method-assign]
    app.wsgi_app = BehindProxy(app.wsgi_app, settings.trusted_proxies, settings.trusted_hops)  # type: ignore[method-assign]
    return app
