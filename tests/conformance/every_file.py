"""Every DICOM file there is to test with, as pydicom sees it: what to send, and what has to come back."""

import warnings
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.uid import ImplicitVRLittleEndian

from tests.corpus import CORPUS, PYDICOM, corpus_files, corpus_studies, manifest, pydicom_files

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True)
class File:
    """A file and what to say of it in a C-STORE request. `data_set`: what follows preamble and file meta information.

    Where the file does not name its SOP Class or Instance, or is no DICOM at all, something has to be said anyway.
    """

    path: Path
    category: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes

    @property
    def name(self) -> str:
        root = CORPUS if self.path.is_relative_to(CORPUS) else PYDICOM
        return str(self.path.relative_to(root))


@cache
def every_file() -> tuple[File, ...]:
    categories = {CORPUS / row["file"]: f"corpus {row['category']}" for row in manifest()}
    named = [(path, f"pydicom {path.relative_to(PYDICOM).parts[0]}") for path in pydicom_files()]
    named += [(path, categories[path]) for path in corpus_files()]
    named += [(path, "corpus studies") for path in corpus_studies()]
    return tuple(_file(path, category) for path, category in named)


def _file(path: Path, category: str) -> File:
    data = path.read_bytes()
    stream = BytesIO(data)
    meta = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_preamble(stream, force=True)
        start = stream.tell()
        try:
            meta = _read_file_meta_info(stream)
            start = stream.tell()
        except Exception:  # noqa: BLE001  # a file that is broken on purpose, or not DICOM at all
            pass
        try:
            dataset: Dataset = dcmread(path, force=True, stop_before_pixels=True)
        except Exception:  # noqa: BLE001  # as above
            dataset = Dataset()
        return File(
            path,
            category,
            str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or _SECONDARY_CAPTURE),
            str(dataset.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID") or "1.2.3"),
            str(dataset.get("StudyInstanceUID")),
            str(dataset.get("SeriesInstanceUID")),
            str(meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian),
            data[start:],
        )
