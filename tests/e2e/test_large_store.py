"""Large bodies to a whole server: its processes do not grow with them. tests/large has the same with 4 GiB."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.large_bodies import (
    MEBIBYTE,
    METADATA_MULTIPART,
    MULTIPART,
    large_fragments,
    large_object,
    message,
    metadata_message,
    new_study,
    pixel_bytes,
)
from tests.served import Served

MOST_GROWTH = 60 * MEBIBYTE


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("large") / "data") as served:
        # what every first request loads is no growth
        for size in (1, 20):
            for content_type, body in bodies(size * MEBIBYTE).values():
                for _ in range(4):
                    stored(served, content_type, body(new_study()))
        yield served


Body = tuple[str, Callable[[str], Iterator[bytes]]]


def bodies(size: int) -> dict[str, Body]:
    return {
        "one object": (MULTIPART, lambda study: message(large_object(size, study))),
        "fragments": (MULTIPART, lambda study: message(large_fragments(size // 50_000, 50_000, study))),
        "many objects": (MULTIPART, lambda study: message(*(large_object(size // 20, study) for _ in range(20)))),
        "bulk data": (METADATA_MULTIPART, lambda study: metadata_message(metadata(study), pixel_bytes(size))),
    }


def metadata(study: str) -> bytes:
    uids = {"00080016": "1.2.840.10008.5.1.4.1.1.2", "0020000D": study, "0020000E": f"{study}.1"}
    uids["00080018"] = f"{study}.1.1"
    elements = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}
    return json.dumps([{**elements, "7FE00010": {"vr": "OW", "BulkDataURI": "0"}}]).encode()


def stored(served: Served, content_type: str, body: Iterator[bytes]) -> None:
    answer = requests.post(f"{served.dicomweb}/studies", body, headers={"Content-Type": content_type}, timeout=280)
    assert answer.status_code == 200, answer.text[:1000]


@pytest.mark.parametrize("kind", ["one object", "fragments", "many objects", "bulk data"])
def test_memory_is_flat(served: Served, kind: str) -> None:
    content_type, body = bodies(200 * MEBIBYTE)[kind]
    before = served.peak_memory()
    stored(served, content_type, body(new_study()))
    after = served.peak_memory()
    assert after.keys() == before.keys()
    growth = {process: after[process] - before[process] for process in after}
    assert max(growth.values()) < MOST_GROWTH, growth


def test_the_folder_for_what_comes_in_is_empty_afterwards(served: Served) -> None:
    assert list(Path(served.data, "incoming").iterdir()) == []
