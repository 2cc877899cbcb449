"""The lists of DICOM files that other tests run over."""

from pathlib import Path

import pytest

from tests import corpus as corpus_module
from tests.corpus import corpus_files, corpus_studies, manifest, parameters, pydicom_files


def test_the_wheel_of_pydicom_has_its_files() -> None:
    files = pydicom_files()
    assert {"CT_small.dcm", "chrH31.dcm", "DICOMDIR"} <= {path.name for path in files}
    assert len({str(parameter.id) for parameter in parameters(files)}) == len(files) > 150


def test_the_manifest_and_the_folder_agree(corpus: Path) -> None:
    assert len(manifest()) > 400
    assert corpus_files() == sorted(path for path in (corpus / "files").rglob("*") if path.is_file())
    assert {path.relative_to(corpus / "studies").parts[0] for path in corpus_studies()} >= {"petct", "ecg", "dx-htj2k"}


def test_an_absent_corpus_is_one_visible_skip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(corpus_module, "CORPUS", tmp_path / "none")
    assert not manifest()
    assert not corpus_studies()
    (parameter,) = parameters(corpus_files())
    (mark,) = parameter.marks
    assert not isinstance(mark, str)
    assert "FILEROOM_CORPUS" in str(mark)
