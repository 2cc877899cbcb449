"""The matching table through C-FIND and QIDO-RS of a running server, on every database."""

from io import BytesIO
from typing import Any

import pytest
import requests
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from fileroom_storage.attributes import Level
from tests.conformance.matching_table import ROWS, Row
from tests.conformance.stored_objects import objects, target
from tests.made import made, part10
from tests.served import Served
from tests.server.dimse.scu import STUDY_ROOT_FIND, associated

_RESOURCES = {Level.STUDY: "/studies", Level.SERIES: "/series", Level.IMAGE: "/instances"}


@pytest.fixture(scope="module")
def filled(served: Served) -> Served:
    body = BytesIO()
    for dataset in objects():
        body.write(b"\r\n--part\r\nContent-Type: application/dicom\r\n\r\n" + part10(dataset))
    body.write(b"\r\n--part--\r\n")
    answer = requests.post(
        f"{served.dicomweb}/studies",
        data=body.getvalue(),
        headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=part'},
        timeout=300,
    )
    assert answer.status_code == 200, answer.text
    return served


def identifier(row: Row) -> Dataset:
    place = target(row)
    keys: dict[str, Any] = {**place.unique_keys, **dict(row.also)}
    numeric = dictionary_VR(row.keyword) in ("IS", "DS")
    keys[row.keyword] = [row.query] if isinstance(row.query, dict) else "0" if numeric else row.query
    if dictionary_VR(row.keyword) == "US":
        keys[row.keyword] = int(row.query)  # it is encoded as a number, and has no wild card
    absent = dict.fromkeys(
        ("SOPClassUID", "SOPInstanceUID", "PatientID", "PatientName", "Modality", "SeriesInstanceUID")
    )
    dataset = made(**{**absent, **keys, "QueryRetrieveLevel": place.level.value})
    if numeric:
        # pydicom writes numbers only; the implicit encoding does not tell that this is text
        tag = dataset[row.keyword].tag
        dataset[tag] = DataElement(tag, "LO", row.query, validation_mode=IGNORE)
    return dataset


def through_c_find(served: Served, rows: list[Row], extended: bytes) -> list[str]:
    wrong = []
    context = (STUDY_ROOT_FIND, [ImplicitVRLittleEndian])
    with associated(served.dicom_port, context, extended={STUDY_ROOT_FIND: extended}) as association:
        for row in rows:
            *answers, (status, _) = association.send_c_find(identifier(row), STUDY_ROOT_FIND)
            assert status.Status == 0x0000, (row.id, status)
            found = [answer.StudyInstanceUID for _, answer in answers if answer] == [target(row).study_instance_uid]
            if found is not row.found:
                wrong.append(row.id)
    return wrong


@pytest.mark.filterwarnings("ignore:.*value.*VR:UserWarning", "ignore:.*maximum length:UserWarning")
def test_c_find(filled: Served) -> None:
    # PS3.4 C.5.2.1: relational queries, combined date-time matching, fuzzy semantic matching
    wrong = through_c_find(filled, [row for row in ROWS if not row.fuzzy and not row.combined], b"\x00\x00\x00")
    wrong += through_c_find(filled, [row for row in ROWS if row.combined], b"\x00\x01\x00")
    wrong += through_c_find(filled, [row for row in ROWS if row.fuzzy], b"\x00\x00\x01")
    assert wrong == []


def parameters(row: Row) -> dict[str, str]:
    place = target(row)
    result = {**place.unique_keys, **dict(row.also)}
    if isinstance(row.query, dict):
        result |= {f"{row.keyword}.{item}": value for item, value in row.query.items()}
    else:
        result[row.keyword] = row.query
    return result | ({"fuzzymatching": "true"} if row.fuzzy else {})


def test_qido_rs(filled: Served) -> None:
    wrong = []
    with requests.Session() as session:
        for row in ROWS:
            if row.also and not row.combined:
                continue  # QIDO-RS always combines dates and times (PS3.18 8.3.4.1)
            place = target(row)
            url = filled.dicomweb + _RESOURCES[place.level]
            answer = session.get(url, params=parameters(row), timeout=30)
            studies = [entity["0020000D"]["Value"] for entity in answer.json()] if answer.ok else answer.text
            if (studies == [[place.study_instance_uid]]) is not row.found:
                wrong.append((row.id, studies))
    assert wrong == []


def test_hex_names_match_as_keywords_do(filled: Served) -> None:
    row = next(row for row in ROWS if row.keyword == "PatientName" and row.found and row.query == "doe*")
    uid = target(row).study_instance_uid
    answer = requests.get(
        f"{filled.dicomweb}/studies", params={"00100010": "doe*", "StudyInstanceUID": uid}, timeout=30
    )
    assert [study["0020000D"]["Value"] for study in answer.json()] == [[uid]]
