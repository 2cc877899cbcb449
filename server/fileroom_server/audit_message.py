"""A row of the audit log as a message of the Audit Trail Message Format Profile (PS3.15 A.5)."""

import base64
import ipaddress
import re
from collections.abc import Iterable
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from fileroom_storage.index.audit.event import EventId, EventType
from fileroom_storage.index.audit.reading import AuditRow

_MEANINGS: dict[str, str] = {
    one.value: one.name.replace("_", " ").title().replace("Dicom", "DICOM").replace(" Of ", " of ")
    for one in (*EventId, *EventType)
}
# PS3.16 CID 402
_DESTINATION = ("110152", "DCM", "Destination Role ID")
_SOURCE = ("110153", "DCM", "Source Role ID")
_APPLICATION = ("110150", "DCM", "Application")
# PS3.15 A.5.1.2.3, PS3.16 CID 404
_STUDY_INSTANCE_UID = ("110180", "DCM", "Study Instance UID")
_SOP_CLASS_UID = ("110181", "DCM", "SOP Class UID")
_NODE_ID = ("110182", "DCM", "Node ID")
_PATIENT_NUMBER = ("2", "RFC-3881", "Patient Number")
_URI = ("12", "RFC-3881", "URI")

_TRANSFERS = frozenset(
    {
        EventId.BEGIN_TRANSFERRING_DICOM_INSTANCES,
        EventId.DICOM_INSTANCES_TRANSFERRED,
        EventId.EXPORT,
        EventId.IMPORT,
        EventId.QUERY,
    }
)
# XML 1.0 2.2 has no other characters
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def meaning(code: str) -> str:
    """Of a code for an event or its type."""
    return _MEANINGS.get(code, code)


def audit_message(row: AuditRow) -> Element:
    """An AuditMessage of the schema of PS3.15 A.5.1; its last participant object says where the row is in the log."""
    message = Element("AuditMessage")
    _add_event(message, row)
    _add_participants(message, row)
    title = row.called_ae_title or "fileroom"
    source = SubElement(message, "AuditSourceIdentification", AuditSourceID=_text(f"{title}@{_host(row)}"))
    SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})  # application server
    _add_objects(message, row)
    return message


def encoded_message(row: AuditRow) -> bytes:
    encoded: bytes = tostring(audit_message(row), encoding="utf-8", xml_declaration=True)
    return encoded


def _add_event(message: Element, row: AuditRow) -> None:
    event = SubElement(
        message,
        "EventIdentification",
        EventActionCode=row.action,
        EventDateTime=f"{row.at.isoformat(timespec='microseconds')}Z",
        EventOutcomeIndicator=str(row.outcome),
    )
    _add_code(event, "EventID", (row.event, "DCM", meaning(row.event)))
    if row.type is not None:
        _add_code(event, "EventTypeCode", (row.type, "DCM", meaning(row.type)))
    if row.outcome and row.detail.get("reason"):
        SubElement(event, "EventOutcomeDescription").text = _text(row.detail["reason"])


def _add_participants(message: Element, row: AuditRow) -> None:
    """Who asked for it, fileroom itself, and whom a C-MOVE sends to (PS3.15 A.5.3)."""
    is_transfer = row.event in _TRANSFERS
    # instances go from us to others, but for those that are brought; queries come from others
    brings = row.action == "C" or row.detail.get("transfer") == EventId.IMPORT or row.detail.get("by") in _BRINGING
    comes_in = row.event in (EventId.QUERY, EventId.IMPORT) or brings
    moved_to = row.detail.get("destination")
    theirs, ours = (_SOURCE, _DESTINATION) if comes_in else (_DESTINATION, _SOURCE)
    if row.source != "server":
        user = row.user_id or row.remote_address or "unknown"
        attributes = {"UserID": _text(user), "UserIsRequestor": "true"}
        if row.source == "DIMSE":
            attributes["AlternativeUserID"] = _text(f"AETITLES={user}")  # PS3.15 A.5.2.2
        roles = [theirs] if is_transfer and not moved_to else []
        _add_participant(message, attributes, row.remote_address or _host(row), roles)
    attributes = {"UserID": str(row.detail.get("process", "fileroom"))}
    attributes["UserIsRequestor"] = "true" if row.source == "server" else "false"
    if row.called_ae_title:
        attributes["AlternativeUserID"] = _text(f"AETITLES={row.called_ae_title}")
    roles = [ours] if is_transfer else [_APPLICATION] if row.event == EventId.APPLICATION_ACTIVITY else []
    _add_participant(message, attributes, _host(row), roles)
    if moved_to:
        attributes = {"UserID": _text(moved_to), "AlternativeUserID": _text(f"AETITLES={moved_to}")}
        _add_participant(message, {**attributes, "UserIsRequestor": "false"}, None, [_DESTINATION])


_BRINGING = frozenset({"C-STORE", "STOW-RS", "import"})


def _add_participant(
    message: Element, attributes: dict[str, str], address: str | None, roles: Iterable[tuple[str, str, str]]
) -> None:
    participant = SubElement(message, "ActiveParticipant", attributes)
    if address:
        participant.set("NetworkAccessPointID", _text(address))
        participant.set("NetworkAccessPointTypeCode", "2" if _is_ip_address(address) else "1")
    for role in roles:
        _add_code(participant, "RoleIDCode", role)


def _add_objects(message: Element, row: AuditRow) -> None:
    details = _details(row)
    if row.study_instance_uid is not None:
        study = _add_object(message, row.study_instance_uid, "2", "3", _STUDY_INSTANCE_UID)
        SubElement(study, "ParticipantObjectName").text = _text(row.study_instance_uid)
        _add_details(study, details)
        if row.sop_classes:
            description = SubElement(study, "ParticipantObjectDescription")
            for uid, number in row.sop_classes.items():
                attributes = {"UID": _text(uid)} if uid else {}
                SubElement(description, "SOPClass", attributes, NumberOfInstances=str(number))
    if row.patient_id is not None:
        patient = _add_object(message, row.patient_id, "1", "1", _PATIENT_NUMBER)
        SubElement(patient, "ParticipantObjectName")  # names are not kept in the log
    query = row.query
    if query is not None:
        # PS3.15 A.5.3.10: a C-FIND is known by its SOP Class; what HTTP asks has an address
        asked, kind = (row.detail.get("sop_class_uid"), _SOP_CLASS_UID)
        if not asked:
            asked, kind = (row.detail.get("path", ""), _URI)
        searched = _add_object(message, str(asked), "2", "3" if kind is _SOP_CLASS_UID else "24", kind)
        SubElement(searched, "ParticipantObjectQuery").text = base64.b64encode(query).decode()
        if "transfer_syntax_uid" in row.detail:
            _add_details(searched, {"TransferSyntax": row.detail["transfer_syntax_uid"]})
        if row.study_instance_uid is None:
            _add_details(searched, details)
    if row.event in (EventId.SECURITY_ALERT, EventId.USER_AUTHENTICATION):
        node = _add_object(message, row.remote_address or _host(row), "2", "13", _NODE_ID)
        SubElement(node, "ParticipantObjectName").text = _text(row.user_id or "")
        _add_details(node, {"Alert Description": row.detail.get("reason", ""), **details})
    if row.event == EventId.AUDIT_LOG_USED:
        log = _add_object(message, "fileroom:audit_log", "2", "13", _URI)
        SubElement(log, "ParticipantObjectName").text = "Security Audit Log"  # PS3.15 A.5.3.2
    place = _add_object(message, f"fileroom:audit_log:{row.position}", "2", "13", _URI)
    SubElement(place, "ParticipantObjectName").text = f"audit log row {row.position}"
    _add_details(place, {"hash": row.hash})


def _details(row: AuditRow) -> dict[str, Any]:
    names = ("times", "path", "by", "series_instance_uid", "sop_instance_uid", "deletion", "reason")
    return {name: row.detail[name] for name in names if name in row.detail}


def _add_object(message: Element, identifier: str, kind: str, role: str, of: tuple[str, str, str]) -> Element:
    element = SubElement(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_text(identifier),
        ParticipantObjectTypeCode=kind,
        ParticipantObjectTypeCodeRole=role,
    )
    _add_code(element, "ParticipantObjectIDTypeCode", of)
    return element


def _add_details(element: Element, details: dict[str, Any]) -> None:
    for name, value in details.items():
        encoded = base64.b64encode(str(value).encode("utf-8", "replace")).decode()
        SubElement(element, "ParticipantObjectDetail", type=name, value=encoded)


def _add_code(parent: Element, name: str, code: tuple[str, str, str]) -> None:
    value, system, text = code
    SubElement(parent, name, {"csd-code": value, "codeSystemName": system, "originalText": text})


def _host(row: AuditRow) -> str:
    return str(row.detail.get("host", "unknown"))


def _text(value: object) -> str:
    return _NO_XML.sub("\ufffd", str(value))


def _is_ip_address(address: str) -> bool:
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return True
