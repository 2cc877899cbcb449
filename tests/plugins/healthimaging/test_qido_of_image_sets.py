"""QIDO-RS of a real server: image sets of the corpus answer as the same objects that were stored, on each database."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from tests.corpus import ABSENT, CORPUS, corpus_studies
from tests.databases import DATABASES, Databases
from tests.plugins.healthimaging.indexed import index_of, is_stored, opened, versions_of
from tests.plugins.healthimaging.test_every_object import DIFFERENT_IN_ROWS  # other VRs, the same values
from tests.served import Served

pytestmark = pytest.mark.timeout(300)

_OF_EACH_STUDY = 8  # files
_TRANSFER_SYNTAX = "00083002"  # of native frames it is Explicit VR Little Endian, whatever the file had
_STUDY, _SERIES, _SOP_INSTANCE = "0020000D", "0020000E", "00080018"
_PLUGIN = {"FILEROOM_PLUGINS__HEALTHIMAGING__INDEX_LEVEL": "frame"}

Answers = dict[str, dict[str, Any]]  # by UID


class Pair:
    """Two servers: one has the objects, the other the image sets that they are in."""

    def __init__(self, of_objects: Served, of_image_sets: Served) -> None:
        self._servers = (of_objects, of_image_sets)

    def same(self, path: str, key: str, **matches: str) -> Answers:
        """What both answer, with all that they have."""
        expected, found = (_answers(served, path, key, matches) for served in self._servers)
        assert found.keys() == expected.keys()
        for uid, one in expected.items():
            assert found[uid] == one, uid
        return found


def _answers(served: Served, path: str, key: str, matches: dict[str, str]) -> Answers:
    parameters = {"includefield": "all", **matches}
    headers = {"Accept": "application/dicom+json"}
    answer = requests.get(f"{served.dicomweb}/{path}", params=parameters, headers=headers, timeout=60)
    answer.raise_for_status()
    if answer.status_code == 204:
        return {}
    text = answer.content.replace(served.url.encode(), b"http://server")  # Retrieve URL
    found = {one[key]["Value"][0]: _comparable(one) for one in orjson.loads(text)}
    assert len(found) == len(answer.json())
    return found


def _comparable(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        tag: element["Value"] if tag in DIFFERENT_IN_ROWS else element
        for tag, element in answer.items()
        if tag != _TRANSFER_SYNTAX
    }


@pytest.fixture(scope="module")
def contents() -> list[bytes]:
    """Some objects of each study folder of the corpus."""
    files = corpus_studies()
    if not files:
        pytest.skip(ABSENT)
    by_folder: dict[str, list[Path]] = {}
    for path in files:
        by_folder.setdefault(path.relative_to(CORPUS / "studies").parts[0], []).append(path)
    return [
        path.read_bytes()
        for of_it in by_folder.values()
        # from all over the folder, so that there are several series
        for path in of_it[:: max(1, len(of_it) // _OF_EACH_STUDY)][:_OF_EACH_STUDY]
    ]


@pytest.fixture(scope="module", params=DATABASES)
def pair(
    request: pytest.FixtureRequest,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
    contents: list[bytes],
) -> Iterator[Pair]:
    with ExitStack() as stack:
        servers = []
        for has in ("objects", "image-sets"):
            folder = tmp_path_factory.mktemp(has)
            url = stack.enter_context(databases.fresh(request.param, folder))
            with opened(folder, url) as storage:
                if has == "objects":
                    contents = [one for one in contents if is_stored(storage, one)]
                else:
                    outcomes = index_of(storage).tell(versions_of(contents))
                    assert {(one.error, one.unusable) for one in outcomes} == {(None, ())}
            servers.append(stack.enter_context(Served(folder / "data", url, **_PLUGIN)))
        yield Pair(*servers)


def test_studies_series_and_instances(pair: Pair) -> None:
    assert len(pair.same("studies", _STUDY)) > 4
    assert len(pair.same("series", _SERIES)) > 6
    assert len(pair.same("instances", _SOP_INSTANCE)) > 20


def test_what_is_below_a_study_and_a_series(pair: Pair) -> None:
    instances = 0
    for study in pair.same("studies", _STUDY):
        pair.same(f"studies/{study}/instances", _SOP_INSTANCE)
        for series in pair.same(f"studies/{study}/series", _SERIES):
            instances += len(pair.same(f"studies/{study}/series/{series}/instances", _SOP_INSTANCE))
    assert instances == len(pair.same("instances", _SOP_INSTANCE))


def test_matching(pair: Pair) -> None:
    studies = pair.same("studies", _STUDY)
    for one in studies.values():
        name = one["00100010"].get("Value", [{}])[0].get("Alphabetic", "")
        matches = {
            "PatientName": f"{name[:3]}*",
            "PatientID": one["00100020"].get("Value", [""])[0],
            "StudyDate": one["00080020"].get("Value", [""])[0],
            "ModalitiesInStudy": one["00080061"].get("Value", [""])[0],
        }
        for keyword, value in matches.items():
            if value:
                assert pair.same("studies", _STUDY, **{keyword: value}), keyword
    modalities = {one["00080060"]["Value"][0] for one in pair.same("series", _SERIES).values()}
    for modality in sorted(modalities):
        assert pair.same("series", _SERIES, Modality=modality)
        assert pair.same("instances", _SOP_INSTANCE, Modality=modality)
    assert pair.same("instances", _SOP_INSTANCE, InstanceNumber="1")
    assert not pair.same("studies", _STUDY, PatientID="nobody")
