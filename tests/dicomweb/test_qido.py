"""QIDO-RS: the six resources, what answers hold, paging, and the cursor behind them."""

from collections.abc import Generator
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydicom import Dataset

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_storage.errors import StorageUnavailable
from fileroom_storage.storage import Query, Storage
from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import data_set, json_of, part10
from tests.made import uid

ROOT = "http://localhost/dicom-web"
STUDY_A, STUDY_B = uid(1), uid(2)
SERIES = [uid(1, 1), uid(1, 2), uid(2, 1)]


@pytest.fixture
def archive(store: Store) -> list[Dataset]:
    """Study A: an MR series of two and a CT series of one; study B: one nameless object with next to nothing."""
    common = {"StudyInstanceUID": STUDY_A, "PatientName": "Müller^Jürgen", "PatientID": "A1", "StudyDate": "20200131"}
    request = [{"RequestedProcedureID": "RP1", "ScheduledProcedureStepID": "SPS1"}]
    objects = [
        data_set(**common, SeriesInstanceUID=SERIES[0], Modality="MR", InstanceNumber=1, SeriesNumber=1),
        data_set(**common, SeriesInstanceUID=SERIES[0], Modality="MR", InstanceNumber=2, SeriesNumber=1),
        data_set(
            **common, SeriesInstanceUID=SERIES[1], Modality="CT", RequestAttributesSequence=request, SeriesNumber=2
        ),
        data_set(
            StudyInstanceUID=STUDY_B, SeriesInstanceUID=SERIES[2], Modality=None, PatientName=None, PatientID=None
        ),
    ]
    assert store(*(part10(ds) for ds in objects)).status_code == 200
    return objects


def found(client: FlaskClient, path: str, tag: str) -> list[Any]:
    answer = client.get(f"/dicom-web/{path}")
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/dicom+json"
    return [one[tag]["Value"][0] for one in json_of(answer)]


@pytest.mark.parametrize(
    ("path", "tag", "count", "url"),
    [
        ("studies", "0020000D", 2, f"{ROOT}/studies/"),
        ("series", "0020000E", 3, f"{ROOT}/studies/"),
        ("instances", "00080018", 4, f"{ROOT}/studies/"),
        (f"studies/{STUDY_A}/series", "0020000E", 2, f"{ROOT}/studies/{STUDY_A}/series/"),
        (f"studies/{STUDY_A}/instances", "00080018", 3, f"{ROOT}/studies/{STUDY_A}/series/"),
        (
            f"studies/{STUDY_A}/series/{SERIES[0]}/instances",
            "00080018",
            2,
            f"{ROOT}/studies/{STUDY_A}/series/{SERIES[0]}/instances/",
        ),
    ],
)
def test_resources(client: FlaskClient, archive: list[Dataset], path: str, tag: str, count: int, url: str) -> None:
    uids = found(client, path, tag)
    assert len(uids) == len(set(uids)) == count
    for found_uid, retrieve_url in zip(uids, found(client, path, "00081190"), strict=True):
        assert retrieve_url.startswith(url)
        assert retrieve_url.endswith(f"/{found_uid}")
        assert client.get(retrieve_url).status_code == 200
    assert found(client, f"{path}/", tag) == uids


def test_a_study(client: FlaskClient, archive: list[Dataset]) -> None:
    (answer,) = json_of(client.get("/dicom-web/studies?PatientName=muller*"))
    assert list(answer) == sorted(answer)
    assert answer.pop("00081190")["Value"] == [f"{ROOT}/studies/{STUDY_A}"]
    assert {tag: element.get("Value") for tag, element in answer.items()} == {
        "00080005": ["ISO_IR 192"],
        "00080020": ["20200131"],
        "00080030": None,
        "00080050": None,
        "00080056": ["ONLINE"],
        "00080061": ["CT", "MR"],
        "00080090": None,
        "00100010": [{"Alphabetic": "Müller^Jürgen"}],
        "00100020": ["A1"],
        "00100030": None,
        "00100040": None,
        "0020000D": [STUDY_A],
        "00200010": None,
        "00201206": [2],
        "00201208": [3],
    }


def test_no_modality_without_a_value(client: FlaskClient, archive: list[Dataset]) -> None:
    for path in ("studies", "series", "instances", "studies?includefield=all", "series?includefield=all"):
        for answer in json_of(client.get(f"/dicom-web/{path}")):
            assert "Value" in answer.get("00080060", {"Value": []})
            assert "Value" in answer.get("00080061", {"Value": []})


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("series?Modality=MR", 1),
        ("series?00080060=MR,CT", 2),
        ("series?RequestAttributesSequence.RequestedProcedureID=RP1", 1),
        ("series?00400275.00401001=RP*&00400275.00400009=SPS1", 1),
        ("series?00400275.00401001=RP1&00400275.00400009=SPS2", 0),
        ("studies?ModalitiesInStudy=CT%2CUS", 1),
        ("studies?Modality=CT%2CUS", 1),
        ("studies?00080060=US", 0),
        ("studies?ModalitiesInStudy=CT%5CMR", 1),
        ("studies?PatientName=J%C3%9CRGEN&fuzzymatching=true", 1),
        ("studies?StudyDate=20200101-20201231", 1),
        ("studies?StudyDate=20200131&StudyTime=", 1),
        (f"studies?StudyInstanceUID={STUDY_A},{STUDY_B}", 2),
        (f"instances?SeriesInstanceUID={SERIES[0]}&InstanceNumber=2", 1),
        ("studies?StudyDate=20210101-", 0),
        ("studies/1.2.3/series", 0),
    ],
)
def test_matching(client: FlaskClient, archive: list[Dataset], query: str, count: int) -> None:
    answer = client.get(f"/dicom-web/{query}")
    assert answer.status_code == 200
    assert len(json_of(answer)) == count
    assert "Warning" not in answer.headers
    if not count:
        assert answer.data == b"[]"


def test_the_request_of_ohif(client: FlaskClient, archive: list[Dataset]) -> None:
    query = (
        "studies?PatientName=*ller*&00100020=*A*&ModalitiesInStudy=CT%2CMR&StudyDate=20200101-20201231&limit=101&offset=0"
        f"&StudyInstanceUID={STUDY_A}%5C{STUDY_B}&fuzzymatching=false&includefield=00081030%2C00080060&AccessionNumber="
    )
    assert found(client, query, "0020000D") == [STUDY_A]


def test_include_field(client: FlaskClient, archive: list[Dataset]) -> None:
    (answer,) = json_of(client.get("/dicom-web/studies?PatientID=A1&includefield=RetrieveAETitle,SOPClassesInStudy"))
    assert answer["00080054"]["Value"] == ["FILEROOM"]
    assert answer["00080062"]["Value"] == [archive[0].SOPClassUID]
    instance = archive[0].SOPInstanceUID
    (everything,) = json_of(client.get(f"/dicom-web/instances?SOPInstanceUID={instance}&includefield=all"))
    assert set(answer) - {"00080061"} < set(everything)
    assert everything["00280010"]["Value"] == [8]


def test_pages_follow_each_other(client: FlaskClient, archive: list[Dataset]) -> None:
    everything = found(client, "instances", "00080018")
    pages = [found(client, f"instances?limit=1&offset={offset}", "00080018") for offset in range(5)]
    assert pages == [[uid] for uid in everything] + [[]]
    assert found(client, "instances?offset=2", "00080018") == everything[2:]
    assert found(client, "instances?limit=0", "00080018") == []


def test_pages_of_101_as_ohif_asks_for_them(client: FlaskClient, store: Store) -> None:
    """Most studies of one date: what comes first among equals has to come first on every page."""
    objects = [part10(StudyDate="20200101" if number % 5 else "20200102", StudyTime=None) for number in range(230)]
    assert store(*objects).status_code == 200
    pages = [found(client, f"studies?limit=101&offset={offset}", "0020000D") for offset in (0, 101, 202, 303)]
    assert [len(page) for page in pages] == [101, 101, 28, 0]
    everything = [uid for page in pages for uid in page]
    assert len(set(everything)) == 230
    assert everything == found(client, "studies", "0020000D")
    overlapping = found(client, "studies?limit=50&offset=80", "0020000D")
    assert overlapping == everything[80:130]
    for size in (64, 100):
        assert [
            uid
            for start in range(0, 230, size)
            for uid in found(client, f"studies?limit={size}&offset={start}", "0020000D")
        ] == everything


@pytest.mark.parametrize(
    ("query", "more"),
    [("limit=3", True), ("limit=4", False), ("limit=2&offset=2", False), ("limit=2&offset=1", True), ("", False)],
)
@pytest.mark.parametrize("peeked", [True, False])
def test_more_results_are_announced(
    client: FlaskClient, archive: list[Dataset], query: str, more: bool, peeked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not peeked:
        monkeypatch.setattr("fileroom_dicomweb.qido._PEEKED_LIMIT", 0)
    answer = client.get(f"/dicom-web/instances?{query}")
    warning = f"299 {ROOT}: There are additional results that can be requested"
    assert answer.headers.getlist("Warning") == ([warning] if more else [])


def test_the_most_that_one_answer_holds(storage: Storage, archive: list[Dataset]) -> None:
    client = create_app(storage, DicomwebSettings(maximum_results=3)).test_client()
    answer = client.get("/dicom-web/instances")
    assert len(json_of(answer)) == 3
    assert "additional results" in answer.headers["Warning"]


def test_ignored_attributes_are_named(client: FlaskClient, archive: list[Dataset]) -> None:
    answer = client.get("/dicom-web/studies?ReasonForStudy=x&00091001=y")
    assert len(json_of(answer)) == 2
    (warning,) = answer.headers.getlist("Warning")
    assert warning.startswith(f"299 {ROOT}: ")
    assert warning.endswith("ReasonForStudy, 00091001")


@pytest.mark.parametrize(
    "query",
    [
        "studies?limit=x",
        "studies?StudyDate=yesterday",
        "studies?StudyTime=25",
        "studies?Nonsense=1",
        "studies?SeriesDescription=x",
        "series?SeriesNumber=x",
        "series?RequestAttributesSequence=x",
        "studies?PatientID=%00",
        "studies/1.2*/series",
        "studies?StudyDate=2020%271231",
    ],
)
def test_bad_requests(client: FlaskClient, archive: list[Dataset], query: str) -> None:
    answer = client.get(f"/dicom-web/{query}")
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert json_of(answer)["detail"]


@pytest.mark.parametrize("accept", ["application/dicom+json", "application/json", "*/*", "application/*", None])
def test_accept(client: FlaskClient, archive: list[Dataset], accept: str | None) -> None:
    answer = client.get("/dicom-web/studies", headers={"Accept": accept} if accept else {})
    assert answer.status_code == 200
    assert answer.content_type == "application/dicom+json"


class _Cursor:
    """Stands in for Storage.find; tells whether its generator was closed."""

    def __init__(self, answers: int, fails_after: int | None = None) -> None:
        self._answers, self._fails_after = answers, fails_after
        self.given = 0
        self.closed = False

    def __call__(self, query: Query) -> Generator[dict[str, Any], None, None]:
        try:
            for number in range(self._answers):
                if number == self._fails_after:
                    raise StorageUnavailable("the database is away; try again later")
                self.given += 1
                yield {"0020000D": {"vr": "UI", "Value": [f"1.2.{number}"]}}
        finally:
            self.closed = True


def test_long_answers_are_streamed_and_the_cursor_is_closed(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = _Cursor(1_000_000)
    monkeypatch.setattr(storage, "find", cursor)
    answer = client.get("/dicom-web/studies", buffered=False)
    assert bytes(next(iter(answer.iter_encoded()))).startswith(b"[{")
    assert cursor.given < 10_000
    assert not cursor.closed
    answer.close()
    assert cursor.closed


def test_head_closes_the_cursor(client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = _Cursor(1_000_000)
    monkeypatch.setattr(storage, "find", cursor)
    answer = client.head("/dicom-web/studies")
    answer.close()
    assert (answer.status_code, answer.data, cursor.closed) == (200, b"", True)


def test_an_error_at_the_first_answer_is_a_status(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "find", _Cursor(5, fails_after=0))
    answer = client.get("/dicom-web/studies")
    assert answer.status_code == 503
    assert json_of(answer)["detail"] == "the database is away; try again later"
    assert int(answer.headers["Retry-After"]) > 0


def test_an_error_in_the_middle_breaks_the_answer_off(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cursor = _Cursor(1_000_000, fails_after=5000)
    monkeypatch.setattr(storage, "find", cursor)
    with pytest.raises(ConnectionResetError), client.get("/dicom-web/studies", buffered=False) as answer:
        for _ in answer.response:
            pass
    assert cursor.closed
    assert "unexpected StorageUnavailable" in caplog.text
