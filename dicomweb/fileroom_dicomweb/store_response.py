"""The Store Instances Response Module (PS3.18 Annex I): what became of each object of a request."""

from http import HTTPStatus
from typing import Any

import orjson
from flask import Response

from fileroom_storage.parse.native_model import native_model
from fileroom_storage.storage import StoreOutcome

from .media_types import DICOM_JSON, DICOM_XML, JSON_OFFERS, Offer, choose
from .origin_server import Resource, accepted
from .status import OUT_OF_RESOURCES, RETRY_AFTER_SECONDS, warning_reason

_REFERENCED_SOP_CLASS_UID = "00081150"
_REFERENCED_SOP_INSTANCE_UID = "00081155"
_RETRIEVE_URL = "00081190"
_WARNING_REASON = "00081196"
_FAILURE_REASON = "00081197"
_FAILED_SOP_SEQUENCE = "00081198"
_REFERENCED_SOP_SEQUENCE = "00081199"
_OTHER_FAILURES_SEQUENCE = "0008119A"
_ERROR_COMMENT = "00000902"
_OFFERS = (*JSON_OFFERS, Offer(DICOM_XML))
_COMMENT_LENGTH = 64  # VR LO

Item = dict[str, Any]


class StoreResponse:
    """Collects outcomes; becomes the answer."""

    def __init__(self, root_url: str, study_instance_uid: str | None) -> None:
        self._root_url = root_url
        self._studies: set[str] = {study_instance_uid} if study_instance_uid else set()
        self._stored: list[Item] = []
        self._failed: list[Item] = []
        self._unidentified: list[Item] = []
        self._warned = False
        self.unavailable = HTTPStatus.SERVICE_UNAVAILABLE  # the status where nothing could be stored now
        self._warnings: list[str] = []

    @property
    def stored_instance_uids(self) -> list[str]:
        return [item[_REFERENCED_SOP_INSTANCE_UID]["Value"][0] for item in self._stored]

    def add_stored(self, outcome: StoreOutcome) -> None:
        resource = Resource(outcome.study_instance_uid, outcome.series_instance_uid, outcome.sop_instance_uid)
        item = {
            _REFERENCED_SOP_CLASS_UID: _uid(outcome.sop_class_uid),
            _REFERENCED_SOP_INSTANCE_UID: _uid(outcome.sop_instance_uid),
            _RETRIEVE_URL: _url(self._root_url + resource.path),
        }
        reason = warning_reason(outcome.conflicts)
        if reason is not None:
            item[_WARNING_REASON] = {"vr": "US", "Value": [reason]}
            self._warned = True
        self._studies.add(outcome.study_instance_uid)
        self._stored.append(item)

    def add_failed(self, reason: int, comment: str, sop_class_uid: str | None, sop_instance_uid: str | None) -> None:
        """An object whose UIDs are not known goes into Other Failures Sequence."""
        item: Item = {
            _FAILURE_REASON: {"vr": "US", "Value": [reason]},
            # not of the module; it tells people what the code does not
            _ERROR_COMMENT: {"vr": "LO", "Value": [_short(comment)]},
        }
        if sop_class_uid is None or sop_instance_uid is None:
            self._unidentified.append(item)
        else:
            item[_REFERENCED_SOP_CLASS_UID] = _uid(sop_class_uid)
            item[_REFERENCED_SOP_INSTANCE_UID] = _uid(sop_instance_uid)
            self._failed.append(item)

    def warn(self, text: str) -> None:
        """Of something that was dropped."""
        self._warnings.append(text)

    def __len__(self) -> int:
        return len(self._stored) + len(self._failed) + len(self._unidentified)

    def response(self) -> Response:
        body: Item = {}
        study_url = self._root_url + Resource(*self._studies).path if len(self._studies) == 1 else None
        if self._stored:
            # type 2: several studies have no common one
            body[_RETRIEVE_URL] = _url(study_url) if study_url else {"vr": "UR"}
        for tag, items in (
            (_FAILED_SOP_SEQUENCE, self._failed),
            (_REFERENCED_SOP_SEQUENCE, self._stored),
            (_OTHER_FAILURES_SEQUENCE, self._unidentified),
        ):
            if items:
                body[tag] = {"vr": "SQ", "Value": items}
        status = self._status()
        response = _response(body, status)
        if self._stored and study_url:
            response.headers["Location"] = study_url
        for text in self._warnings:
            response.headers.add("Warning", f"299 {self._root_url}: {text}")
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response

    def _status(self) -> HTTPStatus:
        """PS3.18 Table 10.5.3-1."""
        failures = self._failed + self._unidentified
        if self._stored:
            return HTTPStatus.ACCEPTED if failures or self._warned or self._warnings else HTTPStatus.OK
        if all(item[_FAILURE_REASON]["Value"] == [OUT_OF_RESOURCES] for item in failures):
            return self.unavailable
        return HTTPStatus.CONFLICT


def _response(body: Item, status: HTTPStatus) -> Response:
    """XML where it is liked better; JSON also where neither is: what was stored has to be told."""
    offer = choose(accepted(), _OFFERS)
    if offer is not None and offer.media_type == DICOM_XML:
        return Response(native_model(body), status, content_type=DICOM_XML)
    return Response(orjson.dumps(body, option=orjson.OPT_SORT_KEYS), status, content_type=DICOM_JSON)


def _short(comment: str) -> str:
    """What is wrong; what to do about it only where there is room."""
    return comment if len(comment) <= _COMMENT_LENGTH else comment.partition(";")[0][:_COMMENT_LENGTH]


def _uid(value: str) -> Item:
    return {"vr": "UI", "Value": [value]}


def _url(value: str) -> Item:
    return {"vr": "UR", "Value": [value]}
