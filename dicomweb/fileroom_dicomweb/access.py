"""Who may do what over HTTP: the permissions, and what every endpoint needs, in one place (docs/security.md)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from flask import Blueprint, Flask, g, request

from fileroom_storage.storage import Authority, Scope

from .problem import Problem
from .request_body import discard_rest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# in the WSGI environment, where something before Flask has found it out: an Identity or an AccessRefused
IDENTITY = "fileroom.identity"
_GUARDED = "fileroom.guarded"
_REALM = 'Bearer realm="fileroom"'


class Permission(StrEnum):
    READ = "read"  # search and retrieve
    WRITE = "write"  # store
    DELETE = "delete"  # delete, reject, restore, and see what was deleted
    ADMIN = "admin"  # all of these, and what tells of the server itself


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `scope` are the issuers of Patient ID whose patients they see; None is all."""

    name: str
    permissions: frozenset[Permission]
    scope: Scope = None

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions or Permission.ADMIN in self.permissions

    @property
    def authority(self) -> Authority | None:
        """What they may do with objects that they bring; None is everything."""
        may_reject = self.may(Permission.DELETE)
        return None if self.scope is None and may_reject else Authority(self.scope, may_reject)


# Nameless: where there is no authentication, and where there is, but not for this resource.
ANYBODY = Principal("", frozenset(Permission))
NOBODY = Principal("", frozenset(), frozenset())


class Identity(NamedTuple):
    """A principal, and until when that may be believed, on the monotonic clock."""

    principal: Principal
    valid_until: float


class AccessRefused(Problem):
    """An answer that says what is missing (RFC 6750 3)."""

    def __init__(self, status: HTTPStatus, detail: str, error: str | None = None, **attributes: str) -> None:
        super().__init__(status, detail)
        challenge = _REALM
        if error is not None:
            challenge += "".join(f', {name}="{value}"' for name, value in {"error": error, **attributes}.items())
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            self.headers = {"WWW-Authenticate": challenge}


# finds out who sent a request; never raises
Identify = Callable[["WSGIEnvironment"], Identity | AccessRefused]

NOTHING: Final = "nothing"
LOGIN: Final = "login"  # anybody who is known

# By endpoint, without the name of the DICOMweb blueprint, which others may register under another one. An endpoint that
# is not here needs the permission admin; a test holds that all are.
NEEDED: Mapping[str, Permission | str] = {
    "search_for_studies": Permission.READ,
    "search_for_series": Permission.READ,
    "search_for_instances": Permission.READ,
    "retrieve": Permission.READ,
    "metadata": Permission.READ,
    "frames": Permission.READ,
    "all_bulk_data": Permission.READ,
    "bulk_data": Permission.READ,
    "rendered": Permission.READ,
    "thumbnail": Permission.READ,
    "wado_uri.retrieve": Permission.READ,
    "store": Permission.WRITE,
    "store_to_study": Permission.WRITE,
    "delete": Permission.DELETE,
    "reject": Permission.DELETE,
    "deletions": Permission.DELETE,
    "deletion": Permission.DELETE,
    "restore": Permission.DELETE,
    "capabilities_page": LOGIN,
    "openapi_document": LOGIN,
    # numbers, and nothing of a patient: Prometheus has a key of its own
    "metrics.metrics": LOGIN,
    # load balancers and orchestrators have no token; nothing of a patient is told
    "health.live": NOTHING,
    "health.ready": NOTHING,
    # the viewer is a program that anybody can have from npm; it logs its user in, and then asks for data
    "viewer.file_or_route": NOTHING,
    "viewer.without_slash": NOTHING,
    "viewer.mode_at_the_root": NOTHING,
    "start": NOTHING,
    "about": NOTHING,
}
# Endpoints of plugins are named so, and need what their method says.
PLUGIN_ENDPOINTS = "plugin_"
_NEEDED_BY_METHOD = {"GET": Permission.READ, "HEAD": Permission.READ, "DELETE": Permission.DELETE}
_BESIDE = ("wado_uri.", "health.", "metrics.", "viewer.")


def needed(endpoint: str) -> Permission | str:
    """What an endpoint needs."""
    name = endpoint if endpoint.startswith(_BESIDE) else endpoint.rpartition(".")[2]
    return NEEDED.get(name, Permission.ADMIN)


def principal() -> Principal:
    """Who sent this request; what has not been through a guard has none."""
    found: Principal = g.principal
    return found


def register_guard(target: Flask | Blueprint, identify: Identify | None) -> None:
    """Lets only those in who may, and says who it is in `flask.g.principal`; without `identify` everybody."""

    def guard() -> None:
        if _GUARDED in request.environ:
            return  # by the application, before the blueprint
        request.environ[_GUARDED] = True  # not in g, which may be older than the request
        g.principal = ANYBODY if identify is None else NOBODY
        if identify is None or request.endpoint is None:
            return  # what has no endpoint is a 404 or a 405
        try:
            g.principal = _admitted(identify, _needed_by_request(request.endpoint))
        except AccessRefused:
            discard_rest(request)
            raise

    target.before_request(guard)


def _needed_by_request(endpoint: str) -> Permission | str:
    if request.method == "OPTIONS":
        # browsers send no credentials with a preflight (https://fetch.spec.whatwg.org/#cors-protocol-and-credentials)
        return NOTHING if "Access-Control-Request-Method" in request.headers else LOGIN
    if endpoint.startswith(PLUGIN_ENDPOINTS):
        return _NEEDED_BY_METHOD.get(request.method, Permission.WRITE)
    return needed(endpoint)


def _admitted(identify: Identify, need: Permission | str) -> Principal:
    found = request.environ.get(IDENTITY) or identify(request.environ)
    if isinstance(found, AccessRefused):
        if need == NOTHING:
            return NOBODY
        raise found
    who: Principal = found.principal
    if isinstance(need, Permission) and not who.may(need):
        raise AccessRefused(
            HTTPStatus.FORBIDDEN,
            f"This needs the permission {need.value}, which you do not have; ask who runs this server for it.",
            "insufficient_scope",
            scope=need.value,
        )
    if who.scope is not None and (request.endpoint or "").startswith(PLUGIN_ENDPOINTS):
        detail = "Plugins know nothing of scopes, and you may see the patients of some issuers only."
        raise AccessRefused(HTTPStatus.FORBIDDEN, detail, "insufficient_scope")
    return who
