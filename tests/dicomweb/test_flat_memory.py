"""A study in another transfer syntax, as a ZIP archive and by frames, under gunicorn: memory grows with one object."""

from typing import Any

import numpy as np
import pytest
import requests
from pydicom.uid import ImplicitVRLittleEndian, JPEGLSLossless, generate_uid

from tests.dicomweb.gunicorn_process import GunicornProcess
from tests.dicomweb.objects import part10

_MEBIBYTE = 1 << 20
_OBJECTS = 10
_GROWTH = 60 * _MEBIBYTE


@pytest.fixture
def study(gunicorn: GunicornProcess) -> str:
    """10 objects of 16 MiB and four frames each."""
    study, series = generate_uid(), generate_uid()
    pixels = np.arange(4 * 2048 * 1024, dtype="<u2").tobytes()
    image: dict[str, Any] = {"Rows": 2048, "Columns": 1024, "NumberOfFrames": 4, "PixelData": pixels}
    for _ in range(_OBJECTS):
        content = part10(StudyInstanceUID=study, SeriesInstanceUID=series, **image)
        headers = {"Content-Type": "application/dicom"}
        answer = requests.post(f"{gunicorn.dicomweb_url}/studies", content, headers=headers, timeout=60)
        assert answer.status_code == 200
    return f"{gunicorn.dicomweb_url}/studies/{study}"


def test_memory(gunicorn: GunicornProcess, study: str) -> None:
    accepted = [
        f"multipart/related; type=application/dicom; transfer-syntax={syntax}"
        for syntax in (ImplicitVRLittleEndian, JPEGLSLossless)
    ]
    accepted.append("application/zip")
    for accept in accepted:
        # the first loads what is needed for it, and frees what one object takes
        read(gunicorn, f"{study}", accept, most=20 * _MEBIBYTE)
        before = gunicorn.anonymous_memory()
        assert read(gunicorn, study, accept) - before < _GROWTH, accept


def read(gunicorn: GunicornProcess, url: str, accept: str, most: int | None = None) -> int:
    """Reads the answer, or so much of it; returns the most memory that the server had meanwhile."""
    highest = length = 0
    with requests.get(url, headers={"Accept": accept}, stream=True, timeout=120) as answer:
        assert answer.status_code == 200
        for number, chunk in enumerate(answer.iter_content(_MEBIBYTE)):
            length += len(chunk)
            if number % 8 == 0:
                highest = max(highest, gunicorn.anonymous_memory())
            if most is not None and length > most:
                break
    assert length
    return max(highest, gunicorn.anonymous_memory())
