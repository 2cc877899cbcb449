"""Objects of 2 GiB come in by C-STORE with less than 300 MB of memory a process: measured on a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.large_bodies import JPEG_LS, fragmented, multi_frame, new_study
from tests.made import CT_IMAGE_STORAGE
from tests.served import Served
from tests.streaming_scu import EXPLICIT, IMPLICIT, STUDY_ROOT_GET, StreamingScu

LIMIT = 300_000_000


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path / "data") as served:
        yield served


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["4,096 native frames", "100,000 fragments"])
def test_an_object_of_2_gib(served: Served, kind: str) -> None:
    study = new_study()
    instance = f"{study}.1.1"
    native = kind.endswith("frames")
    data_set = multi_frame(4096, study, instance) if native else fragmented(100_000, 21_400, study, instance)
    contexts = [(CT_IMAGE_STORAGE, EXPLICIT if native else JPEG_LS), (STUDY_ROOT_GET, IMPLICIT)]
    with StreamingScu(served.dicom_port, contexts, gets=[CT_IMAGE_STORAGE]) as scu:
        assert scu.store(CT_IMAGE_STORAGE, instance, data_set) == 0
        assert scu.get(study) > 2_100_000_000
    peaks = served.peak_memory()
    print({process: f"{peak / 1e6:.0f} MB" for process, peak in peaks.items()})  # noqa: T201
    assert max(peaks.values()) < LIMIT, peaks
