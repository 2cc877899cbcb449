"""The Flask application that fileroom serves: DICOMweb, health, and a page that says so."""

from flask import Flask, Response, request

from fileroom_storage.storage import Storage

from .blueprint import dicomweb_blueprint
from .forwarded import BehindProxy
from .health import Readiness, health_blueprint
from .origin_server import server_url
from .problem import register_problem_handlers
from .settings import DicomwebSettings
from .start_page import start_page


def create_app(storage: Storage, settings: DicomwebSettings | None = None, readiness: Readiness | None = None) -> Flask:
    """The whole of it. `readiness` tells of the parts that DICOMweb does not know; see health.Readiness."""
    settings = settings or DicomwebSettings()
    app = Flask("fileroom_dicomweb", static_folder=None, template_folder=None)
    register_problem_handlers(app)
    app.register_blueprint(dicomweb_blueprint(storage, settings), url_prefix=settings.prefix)
    app.register_blueprint(health_blueprint(storage, readiness), url_prefix="/health")

    @app.get("/")
    def start() -> Response:
        base_url = (settings.base_url or server_url() + request.root_path).rstrip("/")
        root_url = base_url + settings.prefix
        links = {"The newest studies": f"{root_url}/studies?limit=25", "Health": f"{base_url}/health/ready"}
        return start_page(root_url, links)

    app.wsgi_app = BehindProxy(app.wsgi_app, settings.trusted_proxies, settings.trusted_hops)  # type: ignore[method-assign]
    return app
