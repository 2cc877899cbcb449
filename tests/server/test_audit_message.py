"""Audit messages, whatever a row holds, against the schema of PS3.15 A.5.1."""

import datetime as dt
from base64 import b64decode
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from fileroom_server.audit_message import encoded_message
from fileroom_storage.index.audit.event import Action, Actor, AuditEvent, EventId, EventType, Outcome
from fileroom_storage.index.audit.reading import AuditRow
from tests.made import CT_IMAGE_STORAGE, uid


@cache
def schema() -> etree.RelaxNG:
    return etree.RelaxNG.from_rnc_string((Path(__file__).parent / "audit-message.rnc").read_text())


def row_of(event: AuditEvent) -> AuditRow:
    place = {"chain": 3, "sequence": 17, "hash": "ab" * 32}
    return AuditRow.of_row({**event.columns(event.patient_id), **place})


def valid(event: AuditEvent) -> "etree._Element":
    message = etree.fromstring(encoded_message(row_of(event)))
    schema().assertValid(message)
    return message


TEXTS = st.one_of(st.none(), st.text(max_size=40))


@settings(max_examples=300, deadline=None)
@given(
    event=st.sampled_from(EventId),
    kind=st.one_of(st.none(), st.sampled_from(EventType)),
    action=st.sampled_from(Action),
    outcome=st.sampled_from(Outcome),
    actor=st.builds(Actor, st.sampled_from(["DIMSE", "HTTP", "command line", "server"]), TEXTS, TEXTS, TEXTS),
    study=TEXTS,
    patient=TEXTS,
    classes=st.dictionaries(st.text(max_size=10), st.integers(0, 10**9), max_size=3),
    query=st.one_of(st.none(), st.binary(max_size=200)),
    detail=st.dictionaries(
        st.sampled_from(["by", "reason", "path", "times", "destination", "transfer", "sop_class_uid", "deletion"]),
        st.text(max_size=30),
    ),
)
def test_every_row_becomes_a_valid_message(
    event: EventId,
    kind: EventType | None,
    action: Action,
    outcome: Outcome,
    actor: Actor,
    study: str | None,
    patient: str | None,
    classes: dict[str, int],
    query: bytes | None,
    detail: dict[str, str],
) -> None:
    message = valid(AuditEvent(event, action, actor, outcome, kind, study, patient, classes, query, detail))
    found = message.findall("ParticipantObjectIdentification")
    # the last one says where the row is in the log, and what its hash is
    assert found[-1].get("ParticipantObjectID") == "fileroom:audit_log:3:17"
    [hash_] = found[-1].findall("ParticipantObjectDetail")
    assert b64decode(hash_.get("value") or "") == b"ab" * 32


def test_instances_that_were_stored() -> None:
    modality = Actor("DIMSE", "CT1", "192.0.2.9", "FILEROOM")
    at = dt.datetime(2026, 11, 27, 9, 30, 0, 120)
    message = valid(
        AuditEvent(
            EventId.DICOM_INSTANCES_TRANSFERRED,
            Action.CREATE,
            modality,
            study_instance_uid=uid(1),
            patient_id="P1",
            sop_classes={CT_IMAGE_STORAGE: 30},
            detail={"by": "C-STORE"},
            at=at,
        )
    )
    event = message.find("EventIdentification")
    assert event is not None
    assert dict(event.items()) == {
        "EventActionCode": "C",
        "EventDateTime": "2026-11-27T09:30:00.000120Z",
        "EventOutcomeIndicator": "0",
    }
    code = event.find("EventID")
    assert code is not None
    assert (code.get("csd-code"), code.get("codeSystemName"), code.get("originalText")) == (
        "110104",
        "DCM",
        "DICOM Instances Transferred",
    )
    # PS3.15 A.5.3.7: the source is who sends, the destination who receives
    theirs, ours = message.findall("ActiveParticipant")
    assert (theirs.get("UserID"), theirs.get("UserIsRequestor"), theirs.get("NetworkAccessPointID")) == (
        "CT1",
        "true",
        "192.0.2.9",
    )
    assert theirs.get("AlternativeUserID") == "AETITLES=CT1"
    assert [role.get("csd-code") for role in theirs.findall("RoleIDCode")] == ["110153"]
    assert [role.get("csd-code") for role in ours.findall("RoleIDCode")] == ["110152"]
    study, patient, _ = message.findall("ParticipantObjectIdentification")
    assert study.get("ParticipantObjectID") == uid(1)
    [sop_class] = study.iter("SOPClass")
    assert dict(sop_class.items()) == {"UID": CT_IMAGE_STORAGE, "NumberOfInstances": "30"}
    assert patient.get("ParticipantObjectID") == "P1"


@pytest.mark.parametrize("text", ["\x00", "\x1b[31m", "\ud800", "\ufffe", "]]><x/>&\"'"])
def test_what_xml_does_not_have_is_replaced(text: str) -> None:
    alert = (EventId.SECURITY_ALERT, Action.EXECUTE, Actor("DIMSE", f"A{text}B", text, text), Outcome.MINOR_FAILURE)
    valid(AuditEvent(*alert, study_instance_uid=text, patient_id=text, detail={"reason": "x"}))
