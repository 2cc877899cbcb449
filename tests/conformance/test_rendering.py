"""Every file there is, rendered: within one grey level of the reference, and nothing drops out unseen."""

import io
import warnings
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from flask.testing import FlaskClient
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_storage.storage import Storage, StorageSettings
from tests.conformance.every_file import File, every_file
from tests.conformance.expected_outcomes import REFUSED, STUDIES
from tests.conformance.reference_rendering import reference
from tests.corpus import CORPUS
from tests.dicomweb.objects import multipart

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

RENDERED, OTHER, NOTHING, UNDECODABLE = "image", "page or document or drawing", "nothing to show", "not decodable"
NO_REFERENCE = "rendered, yet pydicom cannot read the file"

# "not decodable" is named one by one below
EXPECTED: dict[str, dict[str, int]] = {
    "corpus charset-broken": {RENDERED: 24, NO_REFERENCE: 1, OTHER: 1, NOTHING: 3, UNDECODABLE: 2, REFUSED: 9},
    "corpus compressed": {RENDERED: 155, OTHER: 3, UNDECODABLE: 11, REFUSED: 8},
    "corpus enhanced-mr": {RENDERED: 13},
    "corpus mixed": {RENDERED: 37, OTHER: 1, NOTHING: 3, REFUSED: 4},
    "corpus mr-ct-vendors": {RENDERED: 111},
    "corpus pt-us": {RENDERED: 4},
    "corpus rt": {RENDERED: 5, NOTHING: 7},
    "corpus seg-sr-op": {RENDERED: 6, OTHER: 2, NOTHING: 1},
    "corpus seg-sr-pm": {RENDERED: 19, OTHER: 1, NOTHING: 1},
    "corpus seg-sr-sm-ann": {RENDERED: 22, OTHER: 2, NOTHING: 1},
    STUDIES: {RENDERED: 509, OTHER: 5, NOTHING: 3},
    "pydicom charset_files": {RENDERED: 12, NOTHING: 3, REFUSED: 3},
    "pydicom test_files": {RENDERED: 85, OTHER: 4, NOTHING: 54, UNDECODABLE: 3, REFUSED: 30},
}

_TWELVE_BITS = "there is no decoder here for JPEG Extended of 12 bits"
_CORNERSTONE = "files/cornerstonejs_cornerstone3D/packages/dicomImageLoader/testImages/"
_FO_DICOM = "files/fo-dicom_fo-dicom/Tests/FO-DICOM.Tests/Test Data/"
_ROBYOUNG = "files/robyoung_dicom-test-files/data/WG04/JPLY/"
_PYLIBJPEG = "files/pydicom_pylibjpeg-data/ljdata/ds/JPEGExtended/"
NOT_DECODABLE: dict[str, str] = {
    "test_files/JPEG-lossy.dcm": _TWELVE_BITS,
    "test_files/JPGExtended.dcm": _TWELVE_BITS,
    # made for readers of fragments; its codestream is none
    "test_files/JPEG2000-embedded-sequence-delimiter.dcm": "the compressed frame has 1024 rows of 3722445056 pixels",
    f"{_CORNERSTONE}CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": _TWELVE_BITS,
    f"{_CORNERSTONE}CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm": _TWELVE_BITS,
    # retired: JPEG with spectral selection and full progression
    f"{_CORNERSTONE}CTImage.dcm_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm": "no decoder here for the",
    f"{_CORNERSTONE}CTImage.dcm_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm": "no decoder here for the",
    # its pixel data has no fragment
    f"{_FO_DICOM}GH1146.dcm": "the pixel data has no frames",
    # zeros that are called JPEG
    f"{_FO_DICOM}genFile.dcm": "the frame is damaged",
    f"{_PYLIBJPEG}RG2_JPLY.dcm": _TWELVE_BITS,
    f"{_PYLIBJPEG}RG2_JPLY_fixed.dcm": _TWELVE_BITS,
    **{f"{_ROBYOUNG}{name}_JPLY": _TWELVE_BITS for name in ("MR2", "MR3", "MR4", "RG3", "XA1")},
}

_JPEG_STEP = 10


@dataclass
class Results:
    """What became of each file, and the worst difference of each picture, by name."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    undecodable: dict[str, str] = field(default_factory=dict)
    differences: dict[str, int] = field(default_factory=dict)
    jpeg_errors: dict[str, tuple[float, float]] = field(default_factory=dict)


class Servers:
    """As many stores as there are different objects of one SOP Instance UID."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._clients: list[tuple[FlaskClient, set[str]]] = []

    def without(self, sop_instance_uid: str) -> FlaskClient:
        for client, held in self._clients:
            if sop_instance_uid not in held:
                held.add(sop_instance_uid)
                return client
        settings = StorageSettings(self._folder / str(len(self._clients)), durability="relaxed")
        storage = self._stack.enter_context(Storage.open(settings))
        storage.create_schema_if_empty()
        client = create_app(storage, DicomwebSettings()).test_client()
        self._clients.append((client, {sop_instance_uid}))
        return client


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    results = Results()
    with ExitStack() as stack:
        servers = Servers(tmp_path_factory.mktemp("rendering"), stack)
        for number, file in enumerate(_files()):
            _look_at(results, servers, file, number)
    return results


@cache
def _files() -> tuple[File, ...]:
    return tuple(every_file())


def _look_at(results: Results, servers: Servers, file: File, number: int) -> None:
    counts = results.outcomes.setdefault(file.category, Counter())
    client = servers.without(file.sop_instance_uid)
    stored = client.post(
        "/dicom-web/studies",
        data=multipart(file.path.read_bytes()),
        content_type='multipart/related; type="application/dicom"; boundary=a-boundary',
    )
    if stored.status_code not in (200, 202):
        counts[REFUSED] += 1
        return
    [item] = stored.get_json()["00081199"]["Value"]
    path = item["00081190"]["Value"][0].partition("/dicom-web")[2]
    answer = client.get(f"/dicom-web{path}/rendered", headers={"Accept": "image/png, */*;q=0.5"})
    if answer.status_code == 406:
        detail = answer.get_json()["detail"]
        counts[NOTHING if "nothing to be rendered" in detail else UNDECODABLE] += 1
        if "nothing to be rendered" not in detail:
            results.undecodable[file.name] = detail
        return
    assert answer.status_code == 200, (file.name, answer.data)
    ds = _dataset(file)
    if ds is None:
        counts[NO_REFERENCE] += 1
        return
    if answer.content_type != "image/png" or "Rows" not in ds:
        counts[OTHER] += 1
        return
    counts[RENDERED] += 1
    for frame in _frames(ds):
        answer = client.get(f"/dicom-web{path}/frames/{frame}/rendered", headers={"Accept": "image/png"})
        assert answer.status_code == 200, (file.name, frame, answer.data)
        expected = reference(ds, frame - 1)
        shown = _pixels(answer.data)
        assert shown.shape == expected.shape, file.name
        results.differences[f"{file.name}, frame {frame}"] = int(np.abs(shown - expected.astype(int)).max())
        if number % _JPEG_STEP == 0:
            results.jpeg_errors[f"{file.name}, frame {frame}"] = _jpeg_errors(client, path, frame, expected)


def _dataset(file: File) -> Dataset | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ds = dcmread(file.path, force=True)
        except OSError:
            return None
        try:
            int(ds.get("NumberOfFrames") or 1)
        except ValueError:
            del ds["NumberOfFrames"]  # not a number: there is one frame
        if "TransferSyntaxUID" not in ds.file_meta:
            implicit, little_endian = ds.original_encoding
            explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
            ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        return ds


def _frames(ds: Dataset) -> list[int]:
    """The first, the middle and the last."""
    number_of_frames = int(ds.get("NumberOfFrames") or 1)
    return sorted({1, (number_of_frames + 1) // 2, number_of_frames})


def _jpeg_errors(client: FlaskClient, path: str, frame: int, expected: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """The mean difference of a JPEG of quality 100, and of one of the default quality."""
    errors = []
    for query in ("?quality=100", ""):
        answer = client.get(f"/dicom-web{path}/frames/{frame}/rendered{query}", headers={"Accept": "image/jpeg"})
        assert answer.content_type == "image/jpeg"
        errors.append(float(np.abs(_pixels(answer.data) - expected.astype(int)).mean()))
    return errors[0], errors[1]


def _pixels(data: bytes) -> npt.NDArray[np.int_]:
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


def test_what_can_be_rendered(results: Results) -> None:
    assert CORPUS.is_dir() == (results.outcomes.keys() == EXPECTED.keys())
    expected = {category: EXPECTED[category] for category in results.outcomes}
    assert {category: dict(counts) for category, counts in results.outcomes.items()} == expected


def test_what_cannot_be_decoded_is_known(results: Results) -> None:
    here = {file.name for file in _files()}
    expected = {name: reason for name, reason in NOT_DECODABLE.items() if name in here}
    assert results.undecodable.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in results.undecodable[name], name


def test_each_picture_is_within_one_grey_level_of_the_reference(results: Results) -> None:
    assert len(results.differences) >= sum(counts[RENDERED] for counts in results.outcomes.values())
    assert {name: worst for name, worst in results.differences.items() if worst > 1} == {}


def test_a_jpeg_is_as_near_as_its_quality_says(results: Results) -> None:
    assert results.jpeg_errors
    assert {name: errors for name, errors in results.jpeg_errors.items() if errors[0] > 1.0 or errors[1] > 4.0} == {}
