"""Every row of the views of `dicom_db`, held against the files it came from, read by pydicom."""

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from sqlalchemy import Engine, text

from fileroom_storage.errors import UnusableObject
from fileroom_storage.index.engine import create_engine
from fileroom_storage.index.tables import NO_PATIENT_ID
from fileroom_storage.storage import Provenance, Storage, StorageSettings
from tests.corpus import corpus_files, pydicom_files
from tests.databases import DATABASES, Databases

Rows = list[dict[str, Any]]
Read = Callable[[Dataset, str], Any]


class Filled:
    """A storage with files in it, and what pydicom reads from those it took, in the order they came."""

    def __init__(self, storage: Storage, engine: Engine) -> None:
        self._engine = engine
        self.datasets: dict[str, Dataset] = {}
        for path in [
            *pydicom_files(),
            *(path for path in corpus_files() if "vendors" in str(path) or "rt" in str(path)),
        ]:
            self._store(storage, path)

    def _store(self, storage: Storage, path: Path) -> None:
        incoming = storage.receive()
        incoming.write(path.read_bytes())
        try:
            outcome = incoming.store(Provenance("import"))
        except UnusableObject:
            return
        if outcome.status == "stored" and not outcome.conflicts:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.datasets[outcome.sop_instance_uid] = dcmread(path, stop_before_pixels=True, force=True)

    def rows(self, statement: str) -> Rows:
        with self._engine.connect() as connection:
            # PostgreSQL folds the names: compare them in lower case everywhere
            return [
                {name.lower(): value for name, value in row.items()}
                for row in connection.execute(text(statement)).mappings()
            ]

    def of(self, keyword: str, uid: str) -> list[Dataset]:
        return [dataset for dataset in self.datasets.values() if dataset.get(keyword) == uid]


@pytest.fixture(scope="module", params=DATABASES)
def filled(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Filled]:
    folder = tmp_path_factory.mktemp("views")
    with databases.fresh(request.param, folder) as url:
        settings = StorageSettings(data=folder / "data", database=url, durability="relaxed")
        engine = create_engine(url)
        with Storage.open(settings) as storage:
            storage.create_schema_if_empty()
            yield Filled(storage, engine)
        engine.dispose()


def plain(dataset: Dataset, keyword: str) -> str | None:
    value = dataset.get(keyword)
    if isinstance(value, MultiValue):
        return "\\".join("" if part is None else str(part).strip() for part in value) or None
    return (str(value).rstrip("=").strip() if value is not None else "") or None


def date(dataset: Dataset, keyword: str) -> str | None:
    digits = (plain(dataset, keyword) or "").replace(".", "")
    return digits if re.fullmatch(r"\d{8}", digits) else None


def time(dataset: Dataset, keyword: str) -> str | None:
    match = re.fullmatch(r"(\d\d):?(\d\d)?:?(\d\d)?(\.\d{1,6})?", plain(dataset, keyword) or "")
    if match is None:
        return None
    hour, minute, second, fraction = match.groups()
    return f"{hour}{minute or '00'}{second or '00'}{(fraction or '').rstrip('0').rstrip('.')}"


def number(dataset: Dataset, keyword: str) -> float | None:
    value = plain(dataset, keyword)
    return float(value) if value else None


def numbers(dataset: Dataset, keyword: str) -> list[float] | None:
    value = plain(dataset, keyword)
    return [float(part) for part in value.split("\\")] if value else None


def shown(value: Any, read: Read) -> Any:
    if read is numbers:
        return [float(part) for part in value.split("\\")] if value else None
    return float(value) if read is number and value is not None else value


def first(datasets: list[Dataset], keyword: str, read: Read) -> Any:
    """The first object to tell a value decides."""
    return next((value for dataset in datasets if (value := read(dataset, keyword)) is not None), None)


PATIENT: dict[str, Read] = {
    "PatientName": plain,
    "PatientSex": plain,
    "PatientBirthDate": date,
    "PatientIdentityRemoved": plain,
}
STUDY: dict[str, Read] = {
    "StudyDescription": plain,
    "StudyDate": date,
    "StudyTime": time,
    "StudyID": plain,
    "ReferringPhysicianName": plain,
}
SERIES: dict[str, Read] = {
    "SeriesDescription": plain,
    "Modality": plain,
    "PatientPosition": plain,
    "BodyPartExamined": plain,
}
FIRST_INSTANCE: dict[str, Read] = {
    "SliceThickness": number,
    "PixelSpacing": numbers,
    "ImagePositionPatient": numbers,
    "ImageOrientationPatient": numbers,
    "Rows": number,
    "Columns": number,
    "ImageType": plain,
    "AcquisitionNumber": number,
    "InstanceNumber": number,
    "ExposureTime": number,
    "KVP": number,
    "TableHeight": number,
    "SliceLocation": number,
    "ScanOptions": plain,
    "ReconstructionDiameter": number,
    "DistanceSourceToPatient": number,
    "GantryDetectorTilt": number,
    "RotationDirection": plain,
    "ConvolutionKernel": plain,
}
SLICE: dict[str, Read] = {
    "AcquisitionDate": date,
    "AcquisitionTime": time,
    "ContrastBolusAgent": plain,
    "SliceLocation": number,
    "SliceThickness": number,
    "PixelPaddingValue": number,
    "RescaleIntercept": number,
    "RescaleSlope": number,
}


def test_slice_metadata(filled: Filled) -> None:
    rows = filled.rows("SELECT v.*, i.sop_instance_uid FROM SliceMetadata v JOIN dicom_instance i ON i.pk = v.SliceID")
    assert len(rows) > 50
    seen = 0
    for row in rows:
        dataset = filled.datasets.get(row["sop_instance_uid"])
        if dataset is None:
            continue  # its hierarchy is in conflict: the row says what an earlier object said
        seen += 1
        assert row["seriesinstanceuid"] == dataset.SeriesInstanceUID
        for keyword, read in SLICE.items():
            assert shown(row[keyword.lower()], read) == read(dataset, keyword), keyword
        assert row["slicenumber"] == number(dataset, "InstanceNumber")
        assert row["accessionnumber"] == first(
            filled.of("StudyInstanceUID", dataset.StudyInstanceUID), "AccessionNumber", plain
        )
        assert row["longitudinaltemporalinfo"] == plain(dataset, "LongitudinalTemporalInformationModified")
    assert seen > 50


def test_series(filled: Filled) -> None:
    rows = filled.rows("SELECT * FROM Series")
    assert len(rows) > 30
    for row in rows:
        datasets = filled.of("SeriesInstanceUID", row["seriesinstanceuid"])
        if not datasets:
            continue
        assert row["studyinstanceuid"] == datasets[0].StudyInstanceUID
        for keyword, read in SERIES.items():
            assert row[keyword.lower()] == first(datasets, keyword, read), keyword
        first_instance = min(
            datasets, key=lambda dataset: (value := number(dataset, "InstanceNumber")) is None or value
        )
        for keyword, read in FIRST_INSTANCE.items():
            assert shown(row[keyword.lower()], read) == read(first_instance, keyword), keyword


def test_study(filled: Filled) -> None:
    rows = filled.rows("SELECT * FROM Study")
    assert len(rows) > 20
    for row in rows:
        datasets = filled.of("StudyInstanceUID", row["studyinstanceuid"])
        if not datasets:
            continue
        assert row["patientid"] == (first(datasets, "PatientID", plain) or NO_PATIENT_ID)
        for keyword, read in STUDY.items():
            assert row[keyword.lower()] == first(datasets, keyword, read), keyword
        dates = [value for dataset in datasets if (value := date(dataset, "SeriesDate"))]
        assert row["seriesdate"] == (min(dates) if dates else None)


def test_patient(filled: Filled) -> None:
    rows = filled.rows("SELECT * FROM Patient")
    assert len(rows) > 15
    checked = 0
    for row in rows:
        datasets = filled.of("PatientID", row["patientid"])
        if row["patientid"] == NO_PATIENT_ID or not datasets:
            continue  # several patients without an ID look alike here
        if len({str(dataset.get("IssuerOfPatientID")) for dataset in datasets}) > 1:
            continue
        checked += 1
        for keyword, read in PATIENT.items():
            assert row[keyword.lower()] == first(datasets, keyword, read), keyword
        assert row["deidentificationmethod"] == first(datasets, "DeidentificationMethod", plain)
        ages = {plain(dataset, "PatientAge") for dataset in datasets}
        assert row["patientage"] in ages
        menstrual = {date(dataset, "LastMenstrualDate") for dataset in datasets}
        assert row["lastmenstrualdate"] in menstrual
    assert checked > 15
