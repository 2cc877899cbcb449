"""Tags are applied: UpdateImageSetMetadata, begun once and followed to its end whatever dies in between."""

import logging
import random
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping

from fileroom_storage.plugin import Actor, AuditEvent, StorageUnavailable

from .aws_errors import AwsConflict, AwsNotFound, AwsRefused, AwsUnavailable
from .due_work import ClaimLost, NotYet, new_owner
from .image_set_version import ImageSetName
from .invalid_document import InvalidDocument
from .json_text import read_json
from .tag_and_job_tables import REASON_LENGTH
from .tagged_image_sets import Properties, TaggedImageSets, TakeIn, take_in
from .tags import Tag, TagLevel, Tags, TagState
from .tags_in_metadata import has_value, misplaced

_log = logging.getLogger(__name__)

_NOT_OF_A_PRIMARY = (
    "attributes of patient and series of a primary image set cannot be updated; import the objects again as they "
    "should be, or ask with --force to have the service decide"
)


@dataclass(frozen=True, slots=True)
class UpdatePace:
    """How long one attempt waits for the service to be done with an image set, and how often it begins anew."""

    wait: float = 30.0  # seconds
    first_poll: float = 0.1
    longest_poll: float = 2.0
    conflicts: int = 5


class _CannotApply(Exception):
    """Why a tag is given up."""


class TagUpdates:
    """What one process does of the work on tags. A tag is one process' at a time; the service is asked what is done.

    `take` has the index take in what was applied, before the service's event of it arrives.
    """

    def __init__(
        self,
        tags: Tags,
        service: TaggedImageSets,
        actor: Actor,
        take: TakeIn | None = None,
        pace: UpdatePace | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._tags = tags
        self._service = service
        self._actor = actor
        self._take = take
        self._pace = pace or UpdatePace()
        self._stop = stop or threading.Event()
        self._owner = new_owner()

    def apply_next(self, pks: Collection[int] | None = None) -> Tag | None:
        """Works on what has been due for longest, of `pks` where they are given; None where nothing is due.

        Raises AwsNotAllowed and StorageUnavailable; the tag is due again at once then.
        """
        pk = self._tags.work.claim(self._owner, pks)
        if pk is None:
            return None
        try:
            self._work_on(pk)
        except ClaimLost:
            _log.info("tag %d is worked on by another process", pk)
        except BaseException:
            self._release()
            raise
        return self._tags.read(pk)

    def _release(self) -> None:
        try:
            self._tags.work.release(self._owner)
        except StorageUnavailable as error:
            _log.warning("tags that this process was at are due when its claim ends: %s", error)

    def _work_on(self, pk: int) -> None:
        row = self._tags.work.change(pk, self._owner, {})
        try:
            self._drive(row)
        except (AwsRefused, _CannotApply) as error:
            self._fail(pk, str(error))
        except (AwsUnavailable, AwsConflict, AwsNotFound, NotYet) as error:
            # as it is now: what was begun meanwhile counts
            row = self._tags.work.change(pk, self._owner, {})
            if not self._tags.work.postpone(row, self._owner, str(error)):
                self._fail(pk, f"given up: {error}")

    # -- one tag -------------------------------------------------------------------------------------------

    def _drive(self, row: RowMapping) -> None:
        """Goes on from wherever the tag is; returns once it is settled."""
        for attempt in range(2 * self._pace.conflicts):
            tag = Tag.of_row(row)
            image_set_id = tag.image_set_id or tag.request.image_set_id or self._image_set_of(tag)
            properties = self._unlocked(tag, image_set_id)
            if properties is None:
                row = self._begin_anew(tag, image_set_id)
                continue
            latest = int(properties["versionId"])
            found = self._version_with_it(tag, image_set_id, latest)
            if found is not None:
                self._succeed(tag, image_set_id, found)
                return
            self._check(tag, image_set_id, latest, properties)
            # should this process die behind the call, whoever comes looks whether the next version has it
            intent = {"image_set_id": image_set_id, "base_version": latest, "version": None}
            row = self._tags.work.change(tag.pk, self._owner, intent | {"state": TagState.REQUESTED.value})
            try:
                version = self._service.update(
                    tag.request.datastore_id,
                    image_set_id,
                    latest,
                    tag.request.updatable_attributes(),
                    forced=tag.request.forced,
                    with_study=tag.request.level is TagLevel.STUDY and bool(properties.get("isPrimary")),
                )
            except AwsConflict:
                self._pause(self._pace.first_poll * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
                continue
            row = self._tags.work.change(
                tag.pk, self._owner, {"state": TagState.UPDATING.value, "version": version, "last_error": None}
            )
        raise NotYet("the image set is changed by others all the time")

    def _image_set_of(self, tag: Tag) -> str:
        """The primary one, or the only one, of the series."""
        found = list(self._service.of_series(tag.request.datastore_id, tag.request.series_instance_uid))
        if not found:
            raise NotYet("the data store has no image set of the series yet")
        primary = [image_set_id for image_set_id, is_primary in found if is_primary]
        if len(chosen := primary or [image_set_id for image_set_id, _ in found]) > 1:
            raise _CannotApply(
                f"the series has {len(chosen)} image sets of which none is the primary one; name one with --image-set"
            )
        return chosen[0]

    def _unlocked(self, tag: Tag, image_set_id: str) -> Properties | None:
        """The properties, once no operation has it locked; None where the image set is deleted."""
        deadline, poll = time.monotonic() + self._pace.wait, self._pace.first_poll
        while True:
            try:
                properties = self._service.properties(tag.request.datastore_id, image_set_id)
            except AwsNotFound:
                return None
            if properties["imageSetState"] == "DELETED":
                return None
            if properties["imageSetState"] != "LOCKED":
                return properties
            if time.monotonic() > deadline:
                raise NotYet(f"the image set is still {properties.get('imageSetWorkflowStatus', 'LOCKED')}")
            self._pause(poll)
            poll = min(2 * poll, self._pace.longest_poll)

    def _begin_anew(self, tag: Tag, image_set_id: str) -> RowMapping:
        """The image set is gone: another may have taken its place, unless this very one was named."""
        if tag.request.image_set_id is not None:
            raise _CannotApply("the image set does not exist, or is deleted")
        if tag.image_set_id is None:
            raise NotYet("the image set that the search has found is deleted")
        values = {"image_set_id": None, "base_version": None, "version": None, "state": TagState.REQUESTED.value}
        _log.info("tag %d: image set %s is deleted; another is looked for", tag.pk, image_set_id)
        return self._tags.work.change(tag.pk, self._owner, values)

    def _version_with_it(self, tag: Tag, image_set_id: str, latest: int) -> int | None:
        """The version that has the attribute as it is asked for; None where the update is still to be made.

        Raises _CannotApply where ours has failed.
        """
        request = tag.request
        if tag.state is TagState.UPDATING and tag.version is not None:
            properties = self._service.properties(request.datastore_id, image_set_id, tag.version)
            workflow = properties.get("imageSetWorkflowStatus")
            if workflow == "UPDATE_FAILED":
                raise _CannotApply(str(properties.get("message") or "the service has failed to update the image set"))
            if workflow == "UPDATED":
                return tag.version
        # one that was begun without hearing the answer is the version after: what came later may have changed it again
        begun = tag.version or (tag.base_version + 1 if tag.base_version is not None else latest)
        for version in sorted({min(begun, latest), latest}):
            if has_value(self._document(tag, image_set_id, version), request):
                return version
        return None

    def _check(self, tag: Tag, image_set_id: str, latest: int, properties: Properties) -> None:
        """Raises _CannotApply for what the service would refuse, or do in another way than was meant."""
        request = tag.request
        if properties.get("isPrimary") and request.level in (TagLevel.PATIENT, TagLevel.SERIES) and not request.forced:
            raise _CannotApply(_NOT_OF_A_PRIMARY)
        if (reason := misplaced(self._document(tag, image_set_id, latest), request)) is not None:
            raise _CannotApply(reason)

    def _document(self, tag: Tag, image_set_id: str, version: int) -> Any:
        try:
            return read_json(self._service.document(tag.request.datastore_id, image_set_id, version))
        except InvalidDocument as error:
            raise NotYet(f"the metadata of the image set cannot be read: {error}") from error

    # -- the end -------------------------------------------------------------------------------------------

    def _succeed(self, tag: Tag, image_set_id: str, version: int) -> None:
        if self._take is not None:
            take_in(self._take, {ImageSetName(tag.request.datastore_id, image_set_id): version})
        values = {"image_set_id": image_set_id, "version": version, "last_error": None}
        self._settle(tag.pk, TagState.APPLIED, values)

    def _fail(self, pk: int, reason: str) -> None:
        _log.warning("tag %d cannot be applied; `fileroom healthimaging tag list --all` says why", pk)
        self._settle(pk, TagState.FAILED, {"last_error": reason[:REASON_LENGTH]})

    def _settle(self, pk: int, state: TagState, values: dict[str, Any]) -> None:
        def events(connection: Connection, row: RowMapping) -> list[AuditEvent]:
            return [self._tags.event(connection, row, self._actor)]

        self._tags.work.settle(pk, self._owner, {**values, "state": state.value, "pending_key": None}, events)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise NotYet("stopped")
