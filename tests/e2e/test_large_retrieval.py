"""Large objects out of a whole server: its processes do not grow with them. tests/large has the same with 2 GiB."""

import subprocess
from collections.abc import Callable, Iterator

import pytest
import requests

from tests.large_bodies import MEBIBYTE, MULTIPART, large_fragments, large_object, message, new_study
from tests.served import Served

MOST_GROWTH = 60 * MEBIBYTE
SIZE = 300 * MEBIBYTE


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("large") / "data") as served:
        yield served


def stored(served: Served, content: Iterator[bytes]) -> str:
    """The path of the instance."""
    answer = requests.post(
        f"{served.dicomweb}/studies", message(content), headers={"Content-Type": MULTIPART}, timeout=280
    )
    assert answer.status_code == 200, answer.text[:1000]
    (item,) = answer.json()["00081199"]["Value"]
    return str(item["00081190"]["Value"][0])


def read(url: str) -> int:
    headers = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*, */*; q=0.5"}
    with requests.get(url, headers=headers, stream=True, timeout=280) as answer:
        assert answer.status_code == 200
        return sum(len(chunk) for chunk in answer.iter_content(MEBIBYTE))


def got(served: Served, study: str, preferred: str) -> None:
    command = ["getscu", "-v", "-S", "--ignore", preferred, "-aec", "FILEROOM", "127.0.0.1", str(served.dicom_port)]
    command += ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert "Number of Completed Suboperations : 1" in done.stdout + done.stderr


def test_memory_is_flat(served: Served) -> None:
    frames = SIZE // 50_000
    objects: dict[str, tuple[Callable[..., Iterator[bytes]], tuple[int, ...], tuple[int, ...], tuple[str, ...]]] = {
        "+xe": (large_object, (SIZE,), (1 * MEBIBYTE,), ("", "/bulkdata/7FE00010", "/bulkdata")),
        "+xt": (large_fragments, (frames, 50_000), (frames, 50), ("", f"/frames/1-{frames}", "/bulkdata")),
    }
    for preferred, (made, size, small_size, names) in objects.items():
        study, warm_up = new_study(), new_study()
        path, small_path = stored(served, made(*size, study)), stored(served, made(*small_size, warm_up))
        # what every first request loads is no growth
        for name in names * 4:
            read(f"{small_path}{name}")
        for _ in range(8):
            got(served, warm_up, preferred)
        before = served.peak_memory()
        for name in names:
            assert read(f"{path}{name}") > SIZE - MEBIBYTE
        got(served, study, preferred)
        growth = {process: peak - before.get(process, 0) for process, peak in served.peak_memory().items()}
        assert max(growth.values()) < MOST_GROWTH, (preferred, growth)
