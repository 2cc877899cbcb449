"""Several processes are told of image sets of one study at once: none is lost, and none has what another has."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from fileroom_storage.storage import Storage
from tests.made import uid
from tests.plugins.healthimaging.documents import STUDY, document, instance
from tests.plugins.healthimaging.indexed import contents, emptied, index_of, of_study, opened, version
from tests.storage.stored import exact_counts

LETTERS = "abcefg"


@pytest.fixture
def storages(tmp_path: Path, database_url: str) -> Iterator[list[Storage]]:
    with ExitStack() as stack:
        yield [stack.enter_context(opened(tmp_path, database_url)) for _ in range(3)]


def test_image_sets_of_one_study_at_once(storages: list[Storage]) -> None:
    told = [
        version(
            letter,
            number,
            of_study(
                document(
                    *(instance(uid(1, 1, one)) for one in {position, position + 1}),
                    study={"StudyDescription": f"of {letter} {number}"},
                ),
                STUDY,
                uid(1, 1),
            ),
            is_primary=letter == "g",
        )
        for position, letter in enumerate(LETTERS, 1)
        for number in (1, 2)
    ]
    first = storages[0]
    index_of(first).tell(told)
    expected = contents(first)
    emptied(first)
    with ThreadPoolExecutor(len(storages)) as pool:
        indexes = [index_of(storage) for storage in storages]
        taken = [pool.submit(indexes[turn % len(indexes)].tell, [one]) for turn, one in enumerate([*told, *told])]
        assert {one.result()[0].error for one in taken} == {None}
    assert contents(first) == expected
    assert exact_counts(first)
    first.purge_expired()
    assert list(first.check(verify=True)) == []
