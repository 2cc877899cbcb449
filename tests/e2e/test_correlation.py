"""The log of a running server: one identifier for an association or a request, from its first line to the commit."""

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.dicomweb.objects import multipart
from tests.e2e.test_metrics import MULTIPART, associate, instance, send
from tests.made import part10, uid
from tests.served import Served

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    logging = {"FILEROOM_LOGGING__FORMAT": "json", "FILEROOM_LOGGING__LEVEL": "debug"}
    with Served(tmp_path / "data", **logging) as served:
        yield served


def records(served: Served) -> list[dict[str, Any]]:
    """Every line that the server has logged, each of which is a JSON object."""
    lines = [line for line in served.output.splitlines() if line.startswith("{")]
    assert lines
    return [json.loads(line) for line in lines]


def told(served: Served, identifier: str) -> list[str]:
    return [record["message"] for record in records(served) if record.get("correlation_id") == identifier]


def test_an_association_has_one_identifier(served: Served) -> None:
    for number, patient in ((1, "P1"), (2, "P2")):
        association = associate(served)
        assert send(association, instance(number, PatientID=patient)) == [0]
        association.release()
    with sqlite3.connect(served.data / "index.sqlite") as index:
        rows = index.execute("SELECT sop_instance_uid, association FROM dicom_instance").fetchall()
    of = dict(rows)
    first, second = of[uid(1, 1, 1)], of[uid(1, 1, 2)]
    assert first != second
    for identifier, number in ((first, 1), (second, 2)):
        messages = told(served, identifier)
        assert UUID.fullmatch(identifier)
        assert any(message.endswith("established") for message in messages)
        assert f"{uid(1, 1, number)} committed, in a batch of 1" in messages
        assert any(message.endswith("released") for message in messages)
    assert [f"{uid(1, 1, 2)} from SENDER conflicts with what is stored: study patient"] == [
        message for message in told(served, second) if "conflicts" in message
    ]


def test_objects_that_are_committed_by_others_are_told_for_their_senders(tmp_path: Path, database_url: str) -> None:
    """On a database server a thread of its own writes; its lines belong to what brought the objects all the same."""
    environment = {"FILEROOM_LOGGING__LEVEL": "debug", "FILEROOM_LOGGING__FORMAT": "json"}
    with Served(tmp_path / "data", database_url, **environment) as served:
        associations = [associate(served) for _ in range(3)]
        for number, association in enumerate(associations):
            assert send(association, instance(number + 1)) == [0]
            association.release()
    lines = records(served)
    committed = {}
    for identifier in {one["correlation_id"] for one in lines if one["message"].endswith("established")}:
        [line] = [message for message in told(served, identifier) if " committed, in a batch of " in message]
        committed[line.partition(" ")[0]] = identifier
    assert committed.keys() == {uid(1, 1, number) for number in (1, 2, 3)}


def test_a_request_has_that_of_its_client(served: Served) -> None:
    headers = {**MULTIPART, "X-Request-ID": "client-4711:a/b=="}
    answer = requests.post(f"{served.dicomweb}/studies", multipart(part10(instance(3))), headers=headers, timeout=30)
    assert answer.headers["X-Request-ID"] == "client-4711:a/b=="
    assert f"{uid(1, 1, 3)} committed, in a batch of 1" in told(served, "client-4711:a/b==")
    for _ in range(3):  # an answer that is kept names the request that it is given to
        for identifier in ("one", "two"):
            answer = requests.get(f"{served.dicomweb}/studies", headers={"X-Request-ID": identifier}, timeout=30)
            assert answer.headers["X-Request-ID"] == identifier
        assert "X-Request-ID" not in requests.get(f"{served.dicomweb}/studies", timeout=30).headers


def test_an_error_can_be_asked_about(served: Served) -> None:
    answer = requests.get(f"{served.dicomweb}/studies?0", timeout=30)
    assert answer.status_code == 400
    assert UUID.fullmatch(answer.headers["X-Request-ID"])


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, '"}', "é", "{json}", "<b>"])
def test_what_is_no_identifier_is_not_taken_for_one(served: Served, given: str) -> None:
    answer = requests.get(f"{served.dicomweb}/nothing", headers={"X-Request-ID": given.encode()}, timeout=30)
    assert UUID.fullmatch(answer.headers["X-Request-ID"])


def test_names_cannot_forge_lines(served: Served) -> None:
    """Whatever stands in an object or a request, each line of the log is a record of ours, and none tells a name."""
    forged = '\n{"level": "info", "message": "forged"}\r\n2026-01-01 ERROR forged'
    association = associate(served)
    hostile = instance(5, PatientID=f"P5{forged}", PatientName=f"Doe^Jane{forged}", Modality="C\nT")
    assert send(association, instance(4), hostile) == [0, 0]
    assert send(association, instance(6, StudyInstanceUID=f"1.2{forged[:30]}")) == [0xC006]
    association.release()
    requests.get(f"{served.dicomweb}/studies", params={"PatientName": forged, "0": forged}, timeout=30)
    requests.get(f"{served.dicomweb}/studies/{forged}/metadata", timeout=30)
    for record in records(served):
        assert record["message"] != "forged"
        assert record["logger"].partition(".")[0] in {"fileroom_server", "fileroom_storage", "fileroom_dicomweb"}
    assert not [line for line in served.output.splitlines() if line.startswith("2026-01-01")]
    assert "Doe" not in served.output
