"""DICOMweb for fileroom in Flask: QIDO-RS, WADO-RS and STOW-RS over fileroom_storage."""

from .app import create_app
from .blueprint import dicomweb_blueprint
from .health import Readiness, health_blueprint
from .metrics import Exposition, metrics_blueprint
from .settings import DicomwebSettings
from .wado_uri import wado_uri_blueprint

__all__ = [
    "DicomwebSettings",
    "Exposition",
    "Readiness",
    "create_app",
    "dicomweb_blueprint",
    "health_blueprint",
    "metrics_blueprint",
    "wado_uri_blueprint",
]
