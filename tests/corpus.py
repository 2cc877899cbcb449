"""The DICOM files that tests run over: those inside the pydicom wheel, and the corpus where it is present."""

import csv
import os
from collections.abc import Iterable
from pathlib import Path

import pydicom.data
import pytest
from _pytest.mark import ParameterSet

CORPUS = Path(os.environ.get("FILEROOM_CORPUS") or Path(__file__).parents[2] / "shared" / "corpus")
PYDICOM = Path(pydicom.data.__file__).parent
ABSENT = f"the corpus is absent: {CORPUS} is no folder; FILEROOM_CORPUS names another"


def pydicom_files() -> list[Path]:
    """Every file of pydicom's own test data, those that are not DICOM included."""
    folders = (PYDICOM / "test_files", PYDICOM / "charset_files")
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


def corpus_files() -> list[Path]:
    """Every file of the corpus that its manifest lists; none where the corpus is absent."""
    return sorted(CORPUS / row["file"] for row in manifest())


def corpus_studies() -> list[Path]:
    """Every file of the corpus' whole studies; none where the corpus is absent."""
    return sorted(path for path in (CORPUS / "studies").rglob("*") if path.is_file())


def manifest() -> list[dict[str, str]]:
    """The rows of the corpus' MANIFEST.tsv, among them `file` and `category`; none where the corpus is absent."""
    if not CORPUS.is_dir():
        return []
    with (CORPUS / "MANIFEST.tsv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def parameters(files: Iterable[Path]) -> list[ParameterSet]:
    """The files for `pytest.mark.parametrize`; one visible skip where there are none."""
    known = [pytest.param(path, id=_name(path)) for path in files]
    return known or [pytest.param(CORPUS, id="corpus", marks=pytest.mark.skip(reason=ABSENT))]


def _name(path: Path) -> str:
    for root in (CORPUS, PYDICOM):
        if path.is_relative_to(root):
            return str(path.relative_to(root))
    return path.name
