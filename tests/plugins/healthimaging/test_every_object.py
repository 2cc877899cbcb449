"""Every object that the core takes, made a document and a data set again: the index and /metadata have the same of it.

What cannot be the same: Specific Character Set, as JSON is UTF-8; pixel data, which the service keeps as frames or, of
icons, not at all; and what `DIFFERENT` says, element by element, where a document has no place for what an object said.
Text survives in every object, broken character sets included: a document has what the index would have read of it.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from pydicom.datadict import tag_for_keyword

from fileroom_healthimaging.document import read_document
from fileroom_healthimaging.encoded_instances import encoded_instances
from fileroom_storage.attributes import Level, standard_registry
from fileroom_storage.errors import UnusableObject
from fileroom_storage.index.arrival import EntityRow, instance_uids
from fileroom_storage.index.entity_rows import EntityRows
from fileroom_storage.parse.header import Header, parse_header
from fileroom_storage.parse.part10 import read_file_meta
from tests.conformance.every_file import every_file
from tests.conformance.expected_outcomes import EXPECTED, STORED
from tests.corpus import CORPUS
from tests.fakes.image_set_documents import image_set_document
from tests.plugins.healthimaging.documents import EXPLICIT_VR_LITTLE_ENDIAN

pytestmark = pytest.mark.timeout(600)

Json = dict[str, Any]

OTHER_VR = "the object has a VR that is not the dictionary's, and the same value"
TWO_VRS = "private tags of several creators in one object: DICOMVRs has one VR for a tag, and no creator"
NO_SEQUENCE = "text where the dictionary has a sequence: kept as UN by the index, and left out here"

DIFFERENT = {
    "00181200": OTHER_VR,  # DS instead of DA
    "00280120": OTHER_VR,  # US where Pixel Representation makes it SS
    "00280303": OTHER_VR,  # SH instead of CS
    "00409094/00409096/00409216": OTHER_VR,  # SS without a Pixel Representation
    "00880200/00281101": OTHER_VR,  # SS likewise
    "00880200/00281102": OTHER_VR,
    "00880200/00281103": OTHER_VR,
    "0040A020/0040A730/0040A170": NO_SEQUENCE,
    "200D110D/200D1001": TWO_VRS,  # of Philips ultrasound
    "200D110D/200D1014": TWO_VRS,
    **{
        f"52009230/002110FE/002110{last}": TWO_VRS for last in ("1C", "33", "45", "49", "51", "53", "5B", "5E")
    },  # of Agfa
}
# the same of what has a row: its residue tells the VR
DIFFERENT_IN_ROWS = {"00280120", "00280303"}

_CHARACTER_SET = "00080005"
_PIXEL_DATA = "7FE00010"


def test_every_object_from_its_document() -> None:
    rows_of = EntityRows(standard_registry())
    taken: dict[str, int] = defaultdict(int)
    different: set[str] = set()
    different_rows: set[str] = set()
    for file in every_file():
        content = file.path.read_bytes()
        try:
            meta = read_file_meta(content)
            header = parse_header(content, meta.transfer_syntax_uid, meta.data_set_offset)
            instance_uids(header)
        except UnusableObject:
            continue
        taken[file.category] += 1
        ours, left_out = _from_document(content)
        for path, of_object, of_document in _differences(header.dicom_json(), ours.dicom_json()):
            reason = DIFFERENT.get(path)
            assert reason is not None, (file.name, path)
            if reason == OTHER_VR:
                assert of_object.get("Value") == of_document.get("Value"), (file.name, path)
            different.add(path)
        assert {_path(path) for path in left_out} <= {path for path, why in DIFFERENT.items() if why != OTHER_VR}
        different_rows |= set(_different_rows(rows_of(header), rows_of(ours)))
    expected = {name: known[STORED] for name, known in EXPECTED["STOW-RS"].items()}
    if CORPUS.is_dir():
        assert taken == expected
        assert different == DIFFERENT.keys()  # nothing stands there in vain
        assert different_rows == DIFFERENT_IN_ROWS
    else:
        assert taken == {name: count for name, count in expected.items() if name.startswith("pydicom")}


def _from_document(content: bytes) -> tuple[Header, tuple[str, ...]]:
    document, _ = image_set_document([content])
    [one] = encoded_instances(read_document(orjson.dumps(document)))
    return parse_header(one.data_set, EXPLICIT_VR_LITTLE_ENDIAN), one.left_out


def _differences(of_object: Json, of_document: Json, within: str = "") -> Iterator[tuple[str, Json, Json]]:
    """The path of each element that differs, without numbers of items, and both."""
    for tag in sorted(of_object.keys() | of_document.keys()):
        one, other = of_object.get(tag, {}), of_document.get(tag, {})
        if one == other or tag == _CHARACTER_SET or (within and tag == _PIXEL_DATA and not other):
            continue
        items, other_items = one.get("Value", []), other.get("Value", [])
        if one.get("vr") == other.get("vr") == "SQ" and len(items) == len(other_items):
            for item, other_item in zip(items, other_items, strict=True):
                yield from _differences(item, other_item, f"{within}{tag}/")
        else:
            yield f"{within}{tag}", one, other


def _path(keywords: str) -> str:
    tags = [tag_for_keyword(step) for step in keywords.split("/")[::2]]
    steps = zip(tags, keywords.split("/")[::2], strict=True)
    return "/".join(step if tag is None else f"{tag:08X}" for tag, step in steps)


def _different_rows(of_object: dict[Level, EntityRow], of_document: dict[Level, EntityRow]) -> Iterator[str]:
    for level, row in of_object.items():
        other = of_document[level]
        assert (row.columns, row.names, row.words, row.items) == (other.columns, other.names, other.words, other.items)
        for tag in row.residue.keys() | other.residue.keys():
            if row.residue.get(tag) != other.residue.get(tag):
                yield tag
