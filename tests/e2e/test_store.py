"""Store Transactions of several clients at once, and of clients that leave, against a whole server."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from pydicom.uid import generate_uid

from tests.dicomweb.objects import data_set, multipart, part10
from tests.served import Served

MULTIPART = 'multipart/related; type="application/dicom"; boundary=a-boundary'
METADATA = 'multipart/related; type="application/dicom+json"; boundary=a-boundary'
PIXELS = bytes(range(256)) * 2048


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("store") / "data", FILEROOM_HTTP__TIMEOUT="4") as served:
        yield served


def metadata_body(data_sets: list[dict[str, Any]], *bulk_data: bytes) -> bytes:
    body = b"--a-boundary\r\nContent-Type: application/dicom+json\r\n\r\n" + json.dumps(data_sets).encode()
    for number, content in enumerate(bulk_data):
        body += f"\r\n--a-boundary\r\nContent-Location: {number}\r\n\r\n".encode() + content
    return body + b"\r\n--a-boundary--"


def metadata(study: str, uri: str = "0") -> dict[str, Any]:
    uids = {"00080016": "1.2.840.10008.5.1.4.1.1.2", "0020000D": study, "0020000E": generate_uid()}
    uids["00080018"] = generate_uid()
    elements: dict[str, Any] = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}
    return {**elements, "7FE00010": {"vr": "OW", "BulkDataURI": uri}}


def instances(served: Served, study: str) -> set[str]:
    found = requests.get(f"{served.dicomweb}/studies/{study}/instances", timeout=30).json()
    return {instance["00080018"]["Value"][0] for instance in found}


def test_many_clients_store_into_the_same_study(served: Served) -> None:
    study, shared = generate_uid(), part10(StudyInstanceUID=(common := generate_uid()))

    def send(number: int) -> list[str]:
        if number % 2:
            objects = [data_set(StudyInstanceUID=study) for _ in range(5)]
            body, content_type = multipart(shared, *map(part10, objects)), MULTIPART
            uids = [ds.SOPInstanceUID for ds in objects]
        else:
            data_sets = [metadata(study, str(place % 2)) for place in range(5)]
            body, content_type = metadata_body(data_sets, PIXELS, PIXELS[::-1]), METADATA
            uids = [one["00080018"]["Value"][0] for one in data_sets]
        answer = requests.post(f"{served.dicomweb}/studies", body, headers={"Content-Type": content_type}, timeout=120)
        assert answer.status_code == 200, answer.text[:1000]
        return uids

    with ThreadPoolExecutor(12) as clients:
        sent = [uid for uids in clients.map(send, range(24)) for uid in uids]
    assert instances(served, study) == set(sent)
    assert len(instances(served, common)) == 1
    assert list(Path(served.data, "incoming").iterdir()) == []


def converse(served: Served, sent: bytes, *, leave: bool) -> bytes:
    """All that comes back; without waiting for it where the client leaves."""
    with socket.create_connection(("127.0.0.1", served.http_port), timeout=60) as connection:
        connection.sendall(sent)
        received = b""
        while not leave and (chunk := connection.recv(65536)):
            received += chunk
        return received


@pytest.mark.parametrize("leave", [True, False])
def test_metadata_that_never_comes_whole(served: Served, *, leave: bool) -> None:
    study = generate_uid()
    body = metadata_body([metadata(study)], PIXELS)
    head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {METADATA}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-100]
    received = converse(served, request, leave=leave)
    assert leave or received.startswith(b"HTTP/1.1 408 ")
    assert instances(served, study) == set()
    answer = requests.post(f"{served.dicomweb}/studies", body, headers={"Content-Type": METADATA}, timeout=60)
    assert answer.status_code == 200
    assert len(instances(served, study)) == 1
    assert "Traceback" not in served.output


def test_what_dicomweb_client_retrieved_can_be_stored_as_metadata(served: Served) -> None:
    client = DICOMwebClient(served.dicomweb)
    original = data_set(PatientName="Müller^Zoë", SpecificCharacterSet="ISO_IR 192")
    part10(original)  # gives it file meta information
    client.store_instances([original])
    uids = (original.StudyInstanceUID, original.SeriesInstanceUID, original.SOPInstanceUID)
    (header,) = client.retrieve_study_metadata(uids[0])
    (pixels,) = client.retrieve_bulkdata(header["7FE00010"]["BulkDataURI"])
    header["7FE00010"]["BulkDataURI"] = "0"
    header["00080018"]["Value"] = [copy := generate_uid()]
    body = metadata_body([header], pixels)
    answer = requests.post(f"{served.dicomweb}/studies/{uids[0]}", body, headers={"Content-Type": METADATA}, timeout=60)
    assert answer.status_code == 200, answer.text
    stored: Dataset = client.retrieve_instance(*uids[:2], copy)
    original.SOPInstanceUID = copy
    assert list(stored) == list(original)
