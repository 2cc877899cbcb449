"""What a whole server occupies: large objects by C-STORE, idle associations, thousands of stores. Counted, not timed.

`make bench-memory` measures the same with 2 GiB and 50,000 stores.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.large_bodies import JPEG_LS, MEBIBYTE, fragmented, multi_frame, new_study
from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.served import Served
from tests.streaming_scu import EXPLICIT, IMPLICIT, STUDY_ROOT_GET, VERIFICATION, StreamingScu

MOST_GROWTH = 60 * MEBIBYTE
SIZE = 300 * MEBIBYTE


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = {"FILEROOM_DICOM__PROCESSES": "1", "FILEROOM_DICOM__MAXIMUM_ASSOCIATIONS_PER_ADDRESS": "64"}
    with Served(tmp_path_factory.mktemp("memory") / "data", **settings) as served:
        yield served


def resident(served: Served) -> dict[int, int]:
    """Bytes by process, now."""
    pages = {process: Path(f"/proc/{process}/statm").read_text().split()[1] for process in served.peak_memory()}
    return {process: int(count) * 4096 for process, count in pages.items()}


def descriptors(served: Served) -> dict[int, int]:
    return {process: len(list(Path(f"/proc/{process}/fd").iterdir())) for process in served.peak_memory()}


def store_and_get(served: Served, syntax: str, size: int) -> int:
    """How many bytes come back."""
    study = new_study()
    instance = f"{study}.1.1"
    native = syntax == EXPLICIT
    data_set = (
        multi_frame(2 * size // MEBIBYTE, study, instance)
        if native
        else fragmented(size // 20_000, 20_000, study, instance)
    )
    contexts = [(CT_IMAGE_STORAGE, syntax), (STUDY_ROOT_GET, IMPLICIT)]
    with StreamingScu(served.dicom_port, contexts, gets=[CT_IMAGE_STORAGE]) as scu:
        assert scu.store(CT_IMAGE_STORAGE, instance, data_set) == 0
        return scu.get(study)


@pytest.mark.parametrize("syntax", [EXPLICIT, JPEG_LS], ids=["native", "fragments"])
def test_a_large_object_is_never_whole_in_memory(served: Served, syntax: str) -> None:
    for _ in range(4):
        store_and_get(served, syntax, MEBIBYTE)  # what every first object loads is no growth
    before = served.peak_memory()
    assert store_and_get(served, syntax, SIZE) > SIZE - MEBIBYTE
    growth = {process: peak - before[process] for process, peak in served.peak_memory().items()}
    assert max(growth.values()) < MOST_GROWTH, growth


def small(number: int) -> tuple[str, bytes]:
    """A slice of a study of ten."""
    study, instance = uid(5, 10_000 + number // 10), uid(5, 10_000 + number // 10, number + 1)
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": instance}
    return instance, encoded(
        made(**uids, PatientID=f"P{number // 10}", InstanceNumber=number, SliceLocation=f"{number / 8}")
    )


def store(served: Served, numbers: range) -> None:
    with StreamingScu(served.dicom_port, [(CT_IMAGE_STORAGE, EXPLICIT)]) as scu:
        for number in numbers:
            instance, data_set = small(number)
            assert scu.store(CT_IMAGE_STORAGE, instance, [data_set]) == 0


def test_fifty_idle_associations(served: Served) -> None:
    store(served, range(50))
    before = resident(served)
    large = encoded(made(SOPInstanceUID=uid(5, 1), StudyInstanceUID=uid(5), BitsAllocated=8, PixelData=bytes(MEBIBYTE)))
    with ExitStack() as stack:
        contexts = [(CT_IMAGE_STORAGE, EXPLICIT), (VERIFICATION, IMPLICIT)]
        associations = [stack.enter_context(StreamingScu(served.dicom_port, contexts)) for _ in range(50)]
        for scu in associations:
            assert scu.store(CT_IMAGE_STORAGE, uid(5, 1), [large]) == 0
        assert all(scu.echo() == 0 for scu in associations)
        cost = sum(resident(served).values()) - sum(before.values())
    assert cost < 100_000_000


def test_stores_leave_nothing(tmp_path: Path) -> None:
    environment = {"FILEROOM_DICOM__PROCESSES": "1", "FILEROOM_STORAGE__DURABILITY": "relaxed"}
    with Served(tmp_path / "data", **environment) as served:
        for start in range(0, 3000, 100):
            store(served, range(start, start + 100))
        before, open_before = resident(served), descriptors(served)
        for start in range(3000, 6000, 100):
            store(served, range(start, start + 100))
        after, open_after = resident(served), descriptors(served)
    assert all(after[process] < 1.1 * before[process] for process in before), (before, after)
    assert all(open_after[process] < open_before[process] + 70 for process in before), (open_before, open_after)
