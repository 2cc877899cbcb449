"""The objects that are sent: CT slices made from pydicom's CT_small.dcm, whose header has 256 elements."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

SMALL = "39 KB"
LARGE = "525 KB"


@dataclass(frozen=True)
class Study:
    """One study of one series, its files in one folder."""

    folder: Path
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uids: tuple[str, ...]
    patient_id: str
    patient_name: str


@dataclass(frozen=True)
class Work:
    """Studies by size of their objects. Four small ones, two large ones: six in all."""

    small: tuple[Study, ...]
    large: tuple[Study, ...]

    @property
    def studies(self) -> tuple[Study, ...]:
        return self.small + self.large


def make_work(folder: Path, small: int, large: int) -> Work:
    """`small` objects of 39 KB in four studies, `large` ones of 525 KB in two."""
    return Work(
        tuple(_make_study(folder / f"small-{number}", number, small // 4, 128) for number in range(4)),
        tuple(_make_study(folder / f"large-{number}", 4 + number, large // 2, 512) for number in range(2)),
    )


def quarters(studies: Sequence[Study]) -> list[list[Path]]:
    """The files of the studies in four lists of the same length, for four associations."""
    files = [path for study in studies for path in sorted(study.folder.iterdir())]
    size = len(files) // 4
    return [files[number * size : (number + 1) * size] for number in range(4)]


def _make_study(folder: Path, number: int, instances: int, edge: int) -> Study:
    folder.mkdir(parents=True)
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    study_instance_uid, series_instance_uid = generate_uid(), generate_uid()
    data_set.PatientID = f"BENCH{number}"
    data_set.PatientName = f"Bench{number}^Mark"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study_instance_uid, series_instance_uid
    data_set.AccessionNumber = f"A{number}"
    data_set.Rows = data_set.Columns = edge
    tiles = edge // 128
    data_set.PixelData = np.tile(data_set.pixel_array if tiles == 1 else _pixels(), (tiles, tiles)).tobytes()
    uids = []
    for instance in range(instances):
        uid = generate_uid()
        uids.append(uid)
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = uid
        data_set.InstanceNumber = instance + 1
        data_set.SliceLocation = instance * 2.5
        data_set.save_as(folder / f"{instance:05d}.dcm")
    return Study(
        folder, study_instance_uid, series_instance_uid, tuple(uids), data_set.PatientID, str(data_set.PatientName)
    )


def _pixels() -> np.ndarray:
    return pydicom.dcmread(get_testdata_file("CT_small.dcm")).pixel_array
