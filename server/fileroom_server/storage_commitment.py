"""Storage Commitment Push Model SCP (PS3.4 J.3): the request of an N-ACTION, and the information of the report."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from pydicom.datadict import tag_for_keyword
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION

from fileroom_server.dimse import Request, Response
from fileroom_server.dimse_audit import actor_of
from fileroom_server.event_reports import Event
from fileroom_server.negotiation import STORAGE_COMMITMENT_PUSH_MODEL, STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE
from fileroom_server.status import (
    SUCCESS,
    InvalidArgumentValue,
    InvalidRequest,
    MissingAttribute,
    MissingAttributeValue,
    NoSuchAction,
    NoSuchSopClass,
    NoSuchSopInstance,
)
from fileroom_storage.parse.data_set_encoding import Element, encode_data_set
from fileroom_storage.parse.header import parse_header
from fileroom_storage.storage import CommitmentRequest, Reference

_log = logging.getLogger(__name__)

_REQUEST_STORAGE_COMMITMENT = 1  # PS3.4 Table J.3-1
_SUCCESSFUL, _FAILURES_EXIST = 1, 2  # PS3.4 Table J.3-2

# PS3.5 9.1 allows digits and dots; storage keeps devices' letters too
_UID = re.compile(r"[0-9A-Za-z._-]{1,64}")


class CommitmentRequests(Protocol):
    """Where requests go; returns once they are durable."""

    def take(self, request: CommitmentRequest, association: Association, context_id: int) -> None: ...


def handle_n_action(request: Request, commitments: CommitmentRequests) -> Iterator[Response]:
    """Success once the request is durable; the report comes by itself."""
    message = request.message
    if not isinstance(message, N_ACTION):
        raise InvalidRequest("this is no N-ACTION")
    if request.abstract_syntax != STORAGE_COMMITMENT_PUSH_MODEL or request.sop_class_uid != request.abstract_syntax:
        raise NoSuchSopClass("there is no N-ACTION for this SOP Class")
    if request.sop_instance_uid != STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE:
        raise NoSuchSopInstance(f"the one instance is {STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE}")
    if message.ActionTypeID != _REQUEST_STORAGE_COMMITMENT:
        raise NoSuchAction("the one action type is 1, Request Storage Commitment")
    transaction_uid, references = read_action_information(request.data_set, request.transfer_syntax)
    actor = actor_of(request.association)
    asked = CommitmentRequest(
        transaction_uid=transaction_uid,
        references=references,
        calling_ae_title=request.calling_ae_title,
        called_ae_title=actor.called_ae_title or str(request.association.acceptor.ae_title).strip(" "),
        remote_address=actor.remote_address,
    )
    commitments.take(asked, request.association, request.context_id)
    _log.info(
        "%s asks for storage commitment of %d instances: %s", asked.calling_ae_title, len(references), transaction_uid
    )
    yield Response(SUCCESS)


def read_action_information(data_set: memoryview, transfer_syntax_uid: str) -> tuple[str, list[Reference]]:
    """The Transaction UID and what it is about (PS3.4 Table J.3-1). Raises ArgumentError, UnusableObject."""
    if not data_set:
        raise MissingAttribute("the action information is missing", "TransactionUID")
    elements = parse_header(data_set, transfer_syntax_uid).dicom_json()
    transaction_uid = _uid(elements, "TransactionUID")
    items = _values(elements, "ReferencedSOPSequence")
    if not items:
        raise MissingAttributeValue("ReferencedSOPSequence has no item", "ReferencedSOPSequence")
    if not all(isinstance(item, Mapping) for item in items):
        raise InvalidArgumentValue("ReferencedSOPSequence is no sequence", "ReferencedSOPSequence")
    references = [
        Reference(_uid(item, "ReferencedSOPClassUID"), _uid(item, "ReferencedSOPInstanceUID")) for item in items
    ]
    return transaction_uid, references


def commitment_event(
    transaction_uid: str,
    references: Sequence[Reference],
    failures: Mapping[Reference, int],
    retrieve_ae_title: str,
    transfer_syntax_uid: str,
) -> Event:
    """What is reported of a request (PS3.4 Table J.3-2); `failures` has the Failure Reason of what is not committed."""
    committed = [_item(reference) for reference in references if reference not in failures]
    failed = [_item(reference, failures[reference]) for reference in references if reference in failures]
    elements: dict[str, Element] = {
        "00080054": {"vr": "AE", "Value": [retrieve_ae_title]},
        "00081195": {"vr": "UI", "Value": [transaction_uid]},
    }
    if failed:
        elements["00081198"] = {"vr": "SQ", "Value": failed}
    if committed:
        elements["00081199"] = {"vr": "SQ", "Value": committed}
    return Event(
        STORAGE_COMMITMENT_PUSH_MODEL,
        STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE,
        _FAILURES_EXIST if failed else _SUCCESSFUL,
        encode_data_set(elements, transfer_syntax_uid),
    )


def _item(reference: Reference, failure_reason: int | None = None) -> dict[str, Element]:
    item: dict[str, Element] = {
        "00081150": {"vr": "UI", "Value": [reference.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [reference.sop_instance_uid]},
    }
    if failure_reason is not None:
        item["00081197"] = {"vr": "US", "Value": [failure_reason]}
    return item


def _values(elements: Mapping[str, Element], keyword: str) -> list[Any]:
    element = elements.get(f"{tag_for_keyword(keyword):08X}")
    if element is None:
        raise MissingAttribute(f"{keyword} is missing", keyword)
    return list(element.get("Value", ()))


def _uid(elements: Mapping[str, Element], keyword: str) -> str:
    values = _values(elements, keyword)
    if not values or not values[0]:
        raise MissingAttributeValue(f"{keyword} has no value", keyword)
    text = str(values[0]).strip(" \0")
    if len(values) > 1 or not _UID.fullmatch(text):
        raise InvalidArgumentValue(f"{keyword} is not one UID (PS3.5 9.1)", keyword)
    return text
