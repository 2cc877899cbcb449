"""Every study of the corpus, told as image sets: the same rows and answers as from its files, at each level."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from fileroom_storage.attributes import Level
from fileroom_storage.storage import Query, Storage
from tests.corpus import ABSENT, corpus_studies
from tests.plugins.healthimaging.indexed import index_of, is_stored, opened, versions_of
from tests.plugins.healthimaging.test_every_object import DIFFERENT_IN_ROWS  # other VRs, the same values
from tests.storage.stored import tables_of

pytestmark = pytest.mark.timeout(300)

_BATCH = 40
_TRANSFER_SYNTAX = "00083002"  # of native frames it is Explicit VR Little Endian, whatever the file had
# what an index says of itself, of the file that an object is in, and of where its pixels are; the residue tells VRs,
# and is held against the other's by the answers
_OF_STORING = {
    *("created_at", "updated_at", "received_at", "source", "external_source", "external_key"),
    *("size", "location", "digest", "data_set_offset", "residue"),
    *("pixel_data_offset", "pixel_data_length", "frame_table", "frame_length"),
}


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
        of_files, of_documents = tables_of(of_objects), tables_of(of_image_sets)
        for table in (name for name in of_files if name.startswith("dicom_")):
            assert _rows(of_files[table]) == _rows(of_documents[table]), table


def _rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Without keys and times of the index, and without what is of a file."""
    return sorted(
        repr(
            sorted((name, value) for name, value in row.items() if name not in _OF_STORING and not name.endswith("pk"))
        )
        for row in rows
    )


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
