"""Every file of the pydicom wheel and of the corpus: metadata over HTTP is what pydicom's own `to_json_dict` says.

What PS3.18 wants otherwise than pydicom has it, or pydicom does not read, is in tests/storage/parse/test_dicom_json.py:
`from_pydicom` and `expected` say it of values, `MORE_THAN_PYDICOM` and `DIFFERENT` of files.
"""

import xml.etree.ElementTree as ET
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterator

import pydicom
import pytest
import requests

from tests.conformance.every_file import File, every_file
from tests.conformance.expected_outcomes import EXPECTED, REFUSED, STORED
from tests.corpus import CORPUS
from tests.native_model import attributes_of
from tests.served import Served
from tests.storage.parse.test_dicom_json import (
    DIFFERENT,
    MORE_THAN_PYDICOM,
    PIXEL_DATA_TAGS,
    JsonDataSet,
    expected,
    from_pydicom,
    without,
)

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore::UserWarning")]  # of pydicom, at odd values

SAME = "the same as pydicom's"

# Files that pydicom does not read, or less of than there is; MORE_THAN_PYDICOM says of each why. All else that is
# stored is compared, and what is refused is in expected_outcomes.py.
ODD = "more than pydicom reads"
ODD_FILES = {"corpus compressed": 1, "corpus charset-broken": 3}

UTF_8 = {"vr": "CS", "Value": ["ISO_IR 192"]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("every-file") / "data"
    with Served(data, FILEROOM_STORAGE__DURABILITY="relaxed") as served:
        yield served


def test_metadata_of_every_file(served: Served) -> None:
    session = requests.Session()
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    different: list[str] = []
    for file in every_file():
        url = _store(session, served, file)
        if url is None:
            outcomes[file.category][REFUSED] += 1
            continue
        ours = _metadata(session, url)
        outcome = SAME
        if file.path.name in MORE_THAN_PYDICOM:
            outcome = ODD
        elif not _is_the_same(ours, file):
            different.append(file.name)
        _check_xml(session, url, ours)
        # so that another object of the same UID is one of its own
        assert session.delete(url, timeout=60).ok
        outcomes[file.category][outcome] += 1
    assert different == []
    for category, known in EXPECTED["STOW-RS"].items():
        if CORPUS.is_dir() or category.startswith("pydicom"):
            odd = ODD_FILES.get(category, 0)
            assert outcomes.pop(category) == Counter(
                {SAME: known[STORED] - odd, ODD: odd, REFUSED: known.get(REFUSED, 0)}
            ), category
    assert outcomes == {}


def _is_the_same(ours: JsonDataSet, file: File) -> bool:
    theirs = from_pydicom(pydicom.dcmread(file.path, force=True))
    tags = DIFFERENT.get(file.path.name, set())
    return without(ours, tags) == without(expected(_in_utf_8(theirs), ours), tags)


def _store(session: requests.Session, served: Served, file: File) -> str | None:
    """The URL of the instance; None for what is refused."""
    headers = {"Content-Type": "application/dicom"}
    answer = session.post(f"{served.dicomweb}/studies", file.path.read_bytes(), headers=headers, timeout=60)
    if answer.status_code not in (200, 202):
        assert 400 <= answer.status_code < 500, (file.name, answer.text)
        return None
    (reference,) = answer.json()["00081199"]["Value"]
    return str(reference["00081190"]["Value"][0])


def _metadata(session: requests.Session, url: str) -> JsonDataSet:
    """With what is by URI put inline, but for pixels: pydicom's side has none."""
    answer = session.get(f"{url}/metadata", timeout=60)
    assert answer.status_code == 200, answer.text
    data_set: JsonDataSet
    (data_set,) = answer.json()
    del data_set["00083002"]  # Available Transfer Syntax UID is ours
    for tag in PIXEL_DATA_TAGS:
        pixels = data_set.pop(f"{tag:08X}", None)
        assert pixels is None or pixels["BulkDataURI"] == f"{url}/bulkdata/{tag:08X}"
    _inline(session, data_set)
    return data_set


def _inline(session: requests.Session, data_set: JsonDataSet) -> None:
    for element in data_set.values():
        if "BulkDataURI" in element:
            answer = session.get(element.pop("BulkDataURI"), headers={"Accept": "*/*"}, timeout=60)
            assert answer.status_code == 200, answer.text
            element["InlineBinary"] = b64encode(answer.content).decode()
        for item in element.get("Value", ()) if element["vr"] == "SQ" else ():
            _inline(session, item)


def _in_utf_8(data_set: JsonDataSet) -> JsonDataSet:
    """PS3.18 F.2: JSON is UTF-8, and says so in Specific Character Set; pydicom leaves what the file had."""
    for tag, element in data_set.items():
        if tag == "00080005":
            data_set[tag] = UTF_8
        elif element.get("vr") == "SQ":
            for item in element.get("Value", ()):
                _in_utf_8(item)
    return data_set


def _check_xml(session: requests.Session, url: str, ours: JsonDataSet) -> None:
    """XML is made of the same elements (tests/storage/parse/test_native_model.py holds it against dcmtk)."""
    answer = session.get(f"{url}/metadata", headers={"Accept": "application/dicom+xml"}, timeout=60)
    assert answer.status_code == 200, answer.text
    keywords = {tag for (tag, creator), _ in attributes_of(ET.fromstring(answer.content)).items() if creator is None}
    public = {tag for tag in ours if int(tag[3], 16) % 2 == 0}
    assert public <= keywords
