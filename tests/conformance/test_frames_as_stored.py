"""Every frame of every file of the wheel and the corpus by WADO-RS: the bytes that pydicom finds in the file."""

import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import ExplicitVRBigEndian

from fileroom_dicomweb import create_app
from fileroom_storage.errors import UnusableObject
from fileroom_storage.index.arrival import Provenance
from fileroom_storage.storage import Storage, StorageSettings
from tests.corpus import corpus_files, corpus_studies, pydicom_files
from tests.dicomweb.objects import parts

_AS_STORED = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
_LEAST_FRAMES = 2000


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    settings = StorageSettings(tmp_path_factory.mktemp("frames") / "data", durability="relaxed")
    with Storage.open(settings) as storage:
        storage.create_schema_if_empty()
        yield storage


def test_every_frame(storage: Storage) -> None:
    client = create_app(storage).test_client()
    compared = 0
    different = []
    for path in (*pydicom_files(), *corpus_files(), *corpus_studies()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of what these files hold
            expected = expected_frames(path)
        if expected is None:
            continue
        keys = store(storage, path)
        if keys is None:
            continue
        resource = "/dicom-web/studies/{StudyInstanceUID}/series/{SeriesInstanceUID}/instances/{SOPInstanceUID}"
        if frames_by_http(client, resource.format(**keys), len(expected)) != expected:
            different.append(path.name)
        compared += len(expected)
        # many of these files share a SOP Instance UID
        storage.delete(keys)
    assert different == []
    assert compared > _LEAST_FRAMES or not corpus_files()


def store(storage: Storage, path: Path) -> dict[str, str] | None:
    """The unique keys of the instance; None for what is refused."""
    incoming = storage.receive()
    incoming.write(path.read_bytes())
    try:
        outcome = incoming.store(Provenance("import"))
    except UnusableObject:
        return None
    assert outcome.status == "stored"
    return {
        "StudyInstanceUID": outcome.study_instance_uid,
        "SeriesInstanceUID": outcome.series_instance_uid,
        "SOPInstanceUID": outcome.sop_instance_uid,
    }


def expected_frames(path: Path) -> list[bytes] | None:
    try:
        return frames_of(dcmread(path, force=True))
    except (InvalidDicomError, NotImplementedError, OSError, ValueError, struct.error):
        # files that are broken on purpose
        return None


def frames_by_http(client: FlaskClient, resource: str, count: int) -> list[bytes] | int:
    answer = client.get(f"{resource}/frames/1-{count}", headers={"Accept": _AS_STORED})
    if answer.status_code != 200:
        return answer.status_code
    return [content for _, content in parts(answer.content_type, answer.data)]


def frames_of(ds: FileDataset) -> list[bytes] | None:
    """None where pydicom does not tell: no pixel data, fewer of it than declared, or fragments of no known frame."""
    if not ds.get("PixelData") or "TransferSyntaxUID" not in ds.file_meta:
        return None
    try:
        count = int(ds.get("NumberOfFrames") or 1)
        if not ds.file_meta.TransferSyntaxUID.is_encapsulated:
            return _native(ds, count)
        frames = list(generate_frames(ds.PixelData, number_of_frames=count))
    except ValueError:
        return None
    return frames if len(frames) == count else None


def _native(ds: FileDataset, count: int) -> list[bytes] | None:
    try:
        bits = get_expected_length(ds, "bytes") * 8 if ds.BitsAllocated > 1 else ds.Rows * ds.Columns * count
    except (AttributeError, TypeError):
        return None
    pixel_data: bytes = ds.PixelData
    if not bits or len(pixel_data) * 8 < bits:
        return None
    if ds.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
        word = max(ds.BitsAllocated // 8, 2 if ds["PixelData"].VR == "OW" else 1)
        pixel_data = np.frombuffer(pixel_data, f">u{word}").astype(f"<u{word}").tobytes()
    if ds.BitsAllocated > 1:
        length = bits // 8 // count
        return [pixel_data[number * length : (number + 1) * length] for number in range(count)]
    single = np.unpackbits(np.frombuffer(pixel_data, np.uint8), bitorder="little")[:bits].reshape(count, -1)
    return [np.packbits(frame, bitorder="little").tobytes() for frame in single]
