"""Clients that are known: by an API key of the storage itself."""

from collections.abc import Iterable

from flask.testing import FlaskClient

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_dicomweb.access import Permission
from fileroom_dicomweb.authentication_settings import AuthenticationSettings
from fileroom_storage.storage import Scope, Storage

ALL = tuple(Permission)


def key(storage: Storage, name: str, permissions: Iterable[Permission] = ALL, scope: Scope = None) -> dict[str, str]:
    """The headers of requests by a new key."""
    _, text = storage.api_keys.create(name, [permission.value for permission in permissions], scope)
    return {"X-API-Key": text}


def secured(storage: Storage, authentication: AuthenticationSettings | None = None) -> FlaskClient:
    settings = DicomwebSettings(authentication=authentication or AuthenticationSettings())
    return create_app(storage, settings).test_client()
