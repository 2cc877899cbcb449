"""Store requests of metadata and bulk data, and what became of them."""

import json
from io import BytesIO
from typing import Any

from flask.testing import FlaskClient
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from werkzeug.test import TestResponse

from fileroom_storage.storage import Storage
from tests.dicomweb.objects import json_of

STUDIES = "/dicom-web/studies"
JSON, XML, OCTETS = "application/dicom+json", "application/dicom+xml", "application/octet-stream"
PIXELS = bytes(range(128))
PRIVATE = {"00090010": {"vr": "LO", "Value": ["ACME 1.1"]}, "00091001": {"vr": "FD", "Value": [1.5]}}

Elements = dict[str, dict[str, Any]]
Part = tuple[str, str, bytes]  # Content-Type, other headers, content


def metadata(**elements: Any) -> Elements:
    """An 8 × 8 image of 16 bits whose pixels are at `pixels`; elements by tag replace, None leaves out."""
    values: dict[str, tuple[str, Any]] = {
        "00080016": ("UI", "1.2.840.10008.5.1.4.1.1.2"),
        "00080018": ("UI", generate_uid()),
        "00080060": ("CS", "CT"),
        "00100010": ("PN", {"Alphabetic": "Doe^Jane"}),
        "00100020": ("LO", "P1"),
        "0020000D": ("UI", generate_uid()),
        "0020000E": ("UI", generate_uid()),
        "00280002": ("US", 1),
        "00280004": ("CS", "MONOCHROME2"),
        "00280010": ("US", 8),
        "00280011": ("US", 8),
        "00280100": ("US", 16),
        "00280101": ("US", 16),
        "00280102": ("US", 15),
        "00280103": ("US", 0),
    }
    image: Elements = {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in values.items()}
    image["7FE00010"] = {"vr": "OW", "BulkDataURI": "pixels"}
    image |= elements
    for tag in [tag for tag, element in elements.items() if element is None]:
        del image[tag]
    return image


def body(*parts: Part) -> bytes:
    whole = b"".join(
        f"\r\n--B\r\nContent-Type: {kind}\r\n{headers}\r\n".encode() + content for kind, headers, content in parts
    )
    return whole + b"\r\n--B--\r\n"


def located(content: bytes, location: str = "pixels", kind: str = OCTETS) -> Part:
    return kind, f"Content-Location: {location}\r\n", content


def send(client: FlaskClient, data_sets: Any, *parts: Part, path: str = STUDIES, **options: Any) -> TestResponse:
    content = data_sets if isinstance(data_sets, bytes) else json.dumps(data_sets).encode()
    content_type = f'multipart/related; type="{JSON}"; boundary=B'
    return client.post(path, data=body((JSON, "", content), *parts), content_type=content_type, **options)


def send_xml(client: FlaskClient, *documents: bytes, parts: tuple[Part, ...] = ()) -> TestResponse:
    content_type = f'multipart/related; type="{XML}"; boundary=B'
    return client.post(STUDIES, data=body(*((XML, "", one) for one in documents), *parts), content_type=content_type)


def failures(answer: TestResponse) -> list[str]:
    response = json_of(answer)
    items = [item for tag in ("00081198", "0008119A") for item in response.get(tag, {}).get("Value", ())]
    assert all(item["00081197"]["Value"] for item in items)
    comments = [item["00000902"]["Value"][0] for item in items]
    assert all(len(comment) <= 64 for comment in comments)
    return comments


def back(storage: Storage, elements: Elements) -> Dataset:
    """The object as pydicom reads it out of the object store."""
    (instance,) = storage.locate({"SOPInstanceUID": elements["00080018"]["Value"][0]})
    with storage.open_object(instance) as file:
        return dcmread(BytesIO(file.read()))


def object_count(storage: Storage) -> int:
    return sum(1 for path in storage.settings.data.rglob("*") if path.suffix in (".dcm", ".part"))
