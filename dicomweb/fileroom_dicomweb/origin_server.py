"""The origin server of PS3.18: storage and settings, and the addresses that its answers name."""

import logging
import re
from dataclasses import dataclass, field
from http import HTTPStatus

from flask import request, url_for

from fileroom_storage.errors import InstanceNotFound
from fileroom_storage.storage import Scope, Storage, StoredInstance

from . import audit
from .access import principal
from .media_types import MediaType, Offer, accept_ranges, choose
from .problem import Problem, not_acceptable
from .renderings import Renderings
from .settings import DicomwebSettings

_log = logging.getLogger(__name__)

_DAMAGED_NAMED = 100

# PS3.5 9.1 allows digits and dots; storage keeps devices' letters too, but nothing that could be a path
_UID = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Resource:
    """A study, a series of it, or an instance of that, as the path of a URL names it."""

    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None

    @property
    def unique_keys(self) -> dict[str, str]:
        keys = {
            "StudyInstanceUID": self.study_instance_uid,
            "SeriesInstanceUID": self.series_instance_uid,
            "SOPInstanceUID": self.sop_instance_uid,
        }
        return {keyword: uid for keyword, uid in keys.items() if uid is not None}

    def check(self) -> None:
        """Raises Problem for what can be no UID."""
        for keyword, uid in self.unique_keys.items():
            if not _UID.fullmatch(uid):
                raise Problem(
                    HTTPStatus.BAD_REQUEST,
                    f"{keyword} is no UID: 1 to 64 characters, digits parted by dots (PS3.5 9.1).",
                )

    @property
    def path(self) -> str:
        steps = zip(("studies", "series", "instances"), self.unique_keys.values(), strict=False)
        return "".join(f"/{name}/{uid}" for name, uid in steps)


def resource_of(instance: StoredInstance) -> Resource:
    return Resource(instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid)


@dataclass(frozen=True, slots=True)
class OriginServer:
    """What every transaction needs."""

    storage: Storage
    settings: DicomwebSettings
    renderings: Renderings = field(default_factory=Renderings)

    def root_url(self) -> str:
        """The absolute URL of the DICOMweb root as this request's client sees it, without a slash at its end."""
        root = url_for(f"{request.blueprint}.search_for_studies").removesuffix("/studies")
        if self.settings.base_url is None:
            return server_url() + root
        return self.settings.base_url.rstrip("/") + root.removeprefix(request.root_path)

    @property
    def scope(self) -> Scope:
        """Whose patients this request may see."""
        return principal().scope

    def locate(self, resource: Resource) -> list[StoredInstance]:
        """The instances of a resource, at least one. Raises Problem, InstanceNotFound."""
        resource.check()
        instances = list(self.storage.locate(resource.unique_keys, self.scope))
        if not instances:
            raise InstanceNotFound("Nothing is stored under these UIDs; a search tells what is.")
        audit.located(instances)
        return instances

    def locate_whole(self, resource: Resource) -> list[StoredInstance]:
        """As `locate`, for answers that hold all instances: raises Problem where one of their objects is lost or cut.

        Nothing of a study is given then: a part of it must never be taken for the whole.
        """
        instances = self.locate(resource)
        self.check_whole(instances)
        return instances

    def check_whole(self, instances: list[StoredInstance]) -> None:
        """Raises Problem where one of their objects is lost or cut."""
        damaged = [instance.sop_instance_uid for instance in self.storage.damaged(instances)]
        if damaged:
            named = damaged[:_DAMAGED_NAMED]
            _log.error("%d objects are lost or damaged; run `fileroom check`: %s", len(damaged), " ".join(named))
            raise Problem(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                f"The object store has lost {len(damaged)} of the {len(instances)} objects, or parts of them; "
                "run `fileroom check`. The others can be had one by one.",
                damaged=named,
            )


def accepted() -> tuple[MediaType, ...]:
    """The media types that this request takes."""
    return accept_ranges(request.headers.get("Accept"), request.query_string.decode("latin-1"))


def server_url() -> str:
    """Scheme and host as the client sees them, without a slash at the end. Raises Problem."""
    if not request.host:
        raise Problem(HTTPStatus.BAD_REQUEST, "The Host header names no host.")
    url = request.host_url.rstrip("/")
    environ = request.environ
    name, port = environ.get("SERVER_NAME", ""), environ.get("SERVER_PORT", "")
    forwarded = "HTTP_FORWARDED" in environ or "HTTP_X_FORWARDED_HOST" in environ
    own_names = {name, "localhost"} if name in ("127.0.0.1", "::1") else {name}
    if request.host in own_names and not forwarded and port.isdigit() and port not in ("0", "80", "443"):
        # dicomweb-client leaves the port out of its Host header; nobody but us has our own address for a name
        return f"{url}:{port}"
    return url


def negotiate(*offers: Offer, listed: tuple[Offer, ...] | None = None) -> Offer:
    """The offer that the client likes best. Raises Problem, with what is `listed`, where it takes none."""
    offer = choose(accepted(), offers)
    if offer is None:
        raise not_acceptable(listed or offers)
    return offer
