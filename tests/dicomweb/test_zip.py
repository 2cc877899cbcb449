"""WADO-RS as a ZIP archive, read by Python's zipfile."""

from io import BytesIO
from zipfile import ZipFile

import pytest
from flask.testing import FlaskClient
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, generate_uid

from fileroom_dicomweb import zip_archive
from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import data_set, part10


@pytest.fixture
def study(store: Store) -> dict[str, bytes]:
    """Three objects in two series, by their names in the archive."""
    uid, objects = generate_uid(), {}
    for count in (2, 1):
        series = generate_uid()
        for number in range(count):
            ds = data_set(StudyInstanceUID=uid, SeriesInstanceUID=series, InstanceNumber=number, Rows=8, Columns=8)
            objects[f"{uid}/{series}/{ds.SOPInstanceUID}.dcm"] = part10(ds)
    assert store(*objects.values()).status_code == 200
    return objects


def path_of(name: str) -> str:
    study, series, instance = name.removesuffix(".dcm").split("/")
    return f"/dicom-web/studies/{study}/series/{series}/instances/{instance}"


@pytest.mark.parametrize("steps", [0, 1, 2], ids=["instance", "series", "study"])
def test_contents(client: FlaskClient, study: dict[str, bytes], steps: int) -> None:
    first = next(iter(study))
    path = path_of(first).rsplit("/", 2 * steps)[0]
    expected = {name: file for name, file in study.items() if path_of(name).startswith(path)}
    for answer in (
        client.get(path, headers={"Accept": "application/zip"}),
        client.get(f"{path}?accept=application/zip", headers={"Accept": "text/html"}),
    ):
        assert answer.status_code == 200
        assert answer.content_type == "application/zip"
        assert answer.headers["Content-Disposition"] == f"attachment; filename={first.partition('/')[0]}.zip"
        with ZipFile(BytesIO(answer.data)) as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == expected


def test_in_another_transfer_syntax(client: FlaskClient, study: dict[str, bytes]) -> None:
    path = path_of(next(iter(study))).rsplit("/", 4)[0]
    answer = client.get(path, headers={"Accept": f"application/zip; transfer-syntax={JPEGLSLossless}"})
    with ZipFile(BytesIO(answer.data)) as archive:
        assert archive.namelist() == list(study)
        for name in archive.namelist():
            read = dcmread(BytesIO(archive.read(name)))
            assert read.file_meta.TransferSyntaxUID == JPEGLSLossless
            assert (read.pixel_array == dcmread(BytesIO(study[name])).pixel_array).all()


def test_entries_of_zip64(client: FlaskClient, study: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_archive, "_LONG", 0)
    path = path_of(next(iter(study))).rsplit("/", 4)[0]
    answer = client.get(path, headers={"Accept": "application/zip"})
    with ZipFile(BytesIO(answer.data)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == study
    # version needed to extract: 4.5, which has ZIP64
    assert answer.data[4] == 45


def test_names_say_nothing_of_the_patient(client: FlaskClient, store: Store) -> None:
    ds: Dataset = data_set(PatientName="Zyx^Secret", PatientID="SECRET", SeriesDescription="SECRET")
    store(part10(ds, ExplicitVRLittleEndian))
    answer = client.get(f"/dicom-web/studies/{ds.StudyInstanceUID}", headers={"Accept": "application/zip"})
    with ZipFile(BytesIO(answer.data)) as archive:
        assert archive.namelist() == [f"{ds.StudyInstanceUID}/{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}.dcm"]
    assert "secret" not in str(answer.headers).lower()


def test_the_pieces_come_while_it_is_made(client: FlaskClient, study: dict[str, bytes]) -> None:
    path = path_of(next(iter(study))).rsplit("/", 4)[0]
    answer = client.get(path, headers={"Accept": "application/zip"}, buffered=False)
    pieces = answer.iter_encoded()
    # the first object's entry is out before the last object is read
    assert b"".join(next(pieces) for _ in range(2)).startswith(b"PK\x03\x04")
    answer.close()
