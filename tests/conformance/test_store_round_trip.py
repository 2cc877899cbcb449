"""Every file of the pydicom wheel and of the corpus: its metadata and bulk data, sent back, make the same object."""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient
from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement
from pydicom.encaps import generate_frames
from pydicom.uid import UID, ExplicitVRBigEndian, generate_uid

from fileroom_dicomweb import create_app
from fileroom_storage.parse.native_model import native_model
from fileroom_storage.storage import Storage, StorageSettings
from tests.conformance.every_file import File, every_file
from tests.dicomweb.objects import parts

pytestmark = [
    pytest.mark.timeout(1800),
    # pydicom's, about what stands in the files
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

STUDIES = "/dicom-web/studies"
JSON, XML = "application/dicom+json", "application/dicom+xml"
STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"
# what is written anew: UIDs, what the text is encoded in, where fragments are
NOT_COMPARED = {0x0020000D, 0x0020000E, 0x00080018, 0x00080005, 0x7FE00001, 0x7FE00002}
PIXEL_DATA = 0x7FE00010
# Files whose own encoding is wrong, so that pydicom reads something else in them than what they mean:
WRONG_IN_THEMSELVES = {
    "GH1339.dcm": "File Meta Information of a wrong length: pydicom finds no data set",
    "chrGB2312.dcm": "escape sequences that the character set does not have",
    "GH364.dcm": "an item behind the pixel data",
}


class Stored(NamedTuple):
    file: File
    metadata: dict[str, Any]
    bulk_data: list[tuple[str, str, bytes]]  # URI, Content-Type, content


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    settings = StorageSettings(tmp_path_factory.mktemp("round_trip") / "data", durability="relaxed")
    with Storage.open(settings) as storage:
        storage.create_schema_if_empty()
        yield create_app(storage).test_client()


def stored_files(client: FlaskClient) -> Iterator[Stored]:
    """Every file that can be stored, the first of each SOP Instance."""
    seen = set()
    for file in every_file():
        answer = client.post(STUDIES, data=file.path.read_bytes(), content_type="application/dicom")
        stored = json.loads(answer.text).get("00081199", {}).get("Value")
        url = stored[0]["00081190"]["Value"][0] if stored else None
        if url is None or url in seen:
            continue
        seen.add(url)
        (metadata,) = client.get(f"{url}/metadata").get_json()
        yield Stored(file, metadata, [part for uri in uris(metadata) for part in values(client, uri)])


def uris(data_set: dict[str, Any]) -> Iterator[str]:
    for element in data_set.values():
        if "BulkDataURI" in element:
            yield element["BulkDataURI"]
        elif element["vr"] == "SQ":
            for item in element.get("Value", ()):
                yield from uris(item)


def values(client: FlaskClient, uri: str) -> Iterator[tuple[str, str, bytes]]:
    answer = client.get(uri)
    assert answer.status_code == 200, uri
    if not answer.content_type.startswith("multipart"):
        yield uri, answer.content_type, answer.data
        return
    for head, content in parts(answer.content_type, answer.data):
        yield uri, head.partition("\r\n")[0], content


def sent_back(client: FlaskClient, stored: Stored, media_type: str) -> Dataset:
    """As the store has it now, under UIDs of its own."""
    uids = {tag: generate_uid() for tag in (STUDY, SERIES, INSTANCE)}
    metadata = stored.metadata | {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}
    text = native_model(metadata) if media_type == XML else json.dumps(metadata).encode()
    body = f"--B\r\nContent-Type: {media_type}\r\n\r\n".encode() + text
    for uri, content_type, content in stored.bulk_data:
        body += f"\r\n--B\r\nContent-Type: {content_type}\r\nContent-Location: {uri}\r\n\r\n".encode() + content
    content_type = f'multipart/related; type="{media_type}"; boundary=B'
    answer = client.post(STUDIES, data=body + b"\r\n--B--", content_type=content_type)
    assert answer.status_code == 200, f"{stored.file.name}: {answer.text[:500]}"
    url = f"{STUDIES}/{uids[STUDY]}/series/{uids[SERIES]}/instances/{uids[INSTANCE]}"
    back = client.get(url, headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'})
    ((_, content),) = parts(back.content_type, back.data)
    return dcmread(BytesIO(content))


def test_every_file_comes_back_as_it_was(client: FlaskClient) -> None:
    compared, different = 0, []
    for stored in stored_files(client):
        if stored.file.path.name in WRONG_IN_THEMSELVES:
            continue
        before = dcmread(stored.file.path, force=True)
        compared += 1
        for media_type in (JSON, XML):
            after = sent_back(client, stored, media_type)
            found = differences(before, after, media_type)
            different += [f"{stored.file.name} as {media_type}: {line}" for line in found]
    assert different == []
    assert compared > 100


def differences(before: Dataset, after: Dataset, media_type: str, path: str = "") -> Iterator[str]:
    for tag in sorted(set(before.keys()) | set(after.keys())):
        if tag in NOT_COMPARED or not tag.element or tag.group == 2:
            continue
        place = f"{path}{tag}"
        if tag not in before or tag not in after:
            yield f"{place} is only {'before' if tag in before else 'after'}"
            continue
        old, new = before[tag], after[tag]
        if old.VR == "SQ" == new.VR and len(old.value) == len(new.value):
            for number, (one, other) in enumerate(zip(old.value, new.value, strict=True)):
                yield from differences(one, other, media_type, f"{place}[{number}]")
        elif tag == PIXEL_DATA and not path:
            if pixels(before) != pixels(after):
                yield f"{place}: other pixels"
        elif old.VR != new.VR or comparable(old, media_type) != comparable(new, media_type):
            yield f"{place} {old.VR} {new.VR}"


def comparable(element: DataElement, media_type: str) -> Any:
    """Without the padding of values in the middle, which pydicom keeps and DICOM JSON drops."""
    many = element.value if element.VM > 1 else [element.value or ""]
    if element.VR == "PN":
        # PS3.19 A.1: XML has components, so those at the end that are empty cannot be told
        return [str(name).rstrip("^") if media_type == XML else str(name) for name in many]
    return [value.strip(" \0") if isinstance(value, str) else value for value in many]


def pixels(ds: Dataset) -> list[bytes]:
    syntax: UID = ds.file_meta.TransferSyntaxUID if "TransferSyntaxUID" in ds.file_meta else UID("1.2.840.10008.1.2")
    if ds["PixelData"].is_undefined_length:
        number_of_frames = int(ds.get("NumberOfFrames") or 1)
        if syntax.startswith("1.2.840.10008.1.2.4.10"):
            number_of_frames = 1
        frames = generate_frames(ds.PixelData, number_of_frames=number_of_frames)
        return [frame.rstrip(b"\0") for frame in frames]
    value = ds.PixelData or b""
    if syntax == ExplicitVRBigEndian and (ds["PixelData"].VR == "OW" or ds.BitsAllocated > 8):
        word = max(ds.BitsAllocated // 8, 2)
        value = b"".join(value[start : start + word][::-1] for start in range(0, len(value), word))
    return [value.rstrip(b"\0")]
