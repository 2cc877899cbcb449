"""DICOMweb inside a Flask application of your own: `flask --app own_flask_app run`."""

from pathlib import Path

from flask import Flask

from fileroom_dicomweb import dicomweb_blueprint
from fileroom_storage.storage import Storage, StorageSettings


def create_app(data: Path = Path("fileroom-data")) -> Flask:
    """Your application; DICOMweb is one blueprint of it, under the prefix you choose."""
    storage = Storage.open(StorageSettings(data))
    storage.create_schema_if_empty()

    app = Flask(__name__)
    app.register_blueprint(dicomweb_blueprint(storage), url_prefix="/images/dicom-web")

    @app.get("/")
    def index() -> str:
        return "DICOMweb is at /images/dicom-web"

    app.extensions["fileroom"] = storage  # storage.close() when the application ends
    return app
