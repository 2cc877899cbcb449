"""A multi-frame object of 2 GiB goes out with less than 300 MB of memory a process: measured on a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_large_retrieval import got, read, stored
from tests.large_bodies import MEBIBYTE, large_fragments, new_study
from tests.served import Served

LIMIT = 300_000_000
FRAMES = 2048


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path / "data") as served:
        yield served


@pytest.mark.timeout(3600)
def test_an_object_of_2_gib(served: Served) -> None:
    study = new_study()
    path = stored(served, large_fragments(FRAMES, MEBIBYTE, study))
    for name in ("", f"/frames/1-{FRAMES}", "/bulkdata"):
        assert read(f"{path}{name}") > FRAMES * MEBIBYTE
    got(served, study, "+xt")
    peaks = served.peak_memory()
    print({process: f"{peak / 1e6:.0f} MB" for process, peak in peaks.items()})  # noqa: T201
    assert max(peaks.values()) < LIMIT, peaks
