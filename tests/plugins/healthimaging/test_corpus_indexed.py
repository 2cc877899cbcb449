"""Every study of the corpus, told as image sets: the same answers as from its files, at each level."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from fileroom_storage.attributes import Level
from fileroom_storage.storage import Query, Storage
from tests.corpus import ABSENT, corpus_studies
from tests.plugins.healthimaging.indexed import index_of, is_stored, opened, versions_of
from tests.plugins.healthimaging.test_every_object import DIFFERENT_IN_ROWS  # other VRs, the same values

pytestmark = pytest.mark.timeout(300)

_BATCH = 40
_TRANSFER_SYNTAX = "00083002"  # of native frames it is Explicit VR Little Endian, whatever the file had


def test_image_sets_answer_as_their_objects_do(tmp_path: Path) -> None:
    files = corpus_studies()
    if not files:
        pytest.skip(ABSENT)
    with (
        opened(tmp_path / "objects", f"sqlite:///{tmp_path}/objects.db") as of_objects,
        opened(tmp_path / "image-sets", f"sqlite:///{tmp_path}/image-sets.db") as of_image_sets,
    ):
        contents = [content for path in files if is_stored(of_objects, content := path.read_bytes())]
        assert len(contents) > len(files) / 2
        versions = versions_of(contents)
        for start in range(0, len(versions), _BATCH):
            outcomes = index_of(of_image_sets).tell(versions[start : start + _BATCH])
            assert {(one.error, one.unusable) for one in outcomes} == {(None, ())}
        for level in Level:
            expected, found = _answers(of_objects, level), _answers(of_image_sets, level)
            assert len(expected) == len(found) > 0
            for one, other in zip(expected, found, strict=True):
                assert one == other


def _answers(storage: Storage, level: Level) -> list[dict[str, Any]]:
    found = [
        {
            tag: element["Value"] if tag in DIFFERENT_IN_ROWS else element
            for tag, element in one.items()
            if tag != _TRANSFER_SYNTAX
        }
        for one in storage.find(Query(level, {}))
    ]
    return sorted(found, key=lambda one: orjson.dumps(one, option=orjson.OPT_SORT_KEYS))
