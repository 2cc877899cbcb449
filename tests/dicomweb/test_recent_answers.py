"""Answers that are kept: never given once anything has been committed, nor to a request that differs in anything."""

import threading
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fileroom_dicomweb import DicomwebSettings, create_app, recent_answers
from fileroom_storage.storage import Resolution, Storage, StorageSettings
from tests.databases import DATABASES, Databases
from tests.made import made, uid
from tests.storage.stored import store

STUDIES = "/dicom-web/studies?PatientID=P1"


def made_searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each search that the index is asked."""
    asked: list[str] = []
    find = Storage.find

    def counted(self: Storage, query: Any) -> Any:
        asked.append(str(query.level))
        return find(self, query)

    monkeypatch.setattr(Storage, "find", counted)
    return asked


def instances(client: FlaskClient) -> int:
    [study] = client.get(STUDIES).get_json(force=True)
    return int(study["00201208"]["Value"][0])


def test_it_is_made_once(storage: Storage, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    store(storage, made())
    asked = made_searches(monkeypatch)
    answers = [client.get(STUDIES) for _ in range(3)]
    assert len(asked) == 1
    assert len({answer.data for answer in answers}) == 1
    assert {tuple(answer.headers) for answer in answers} == {tuple(answers[0].headers)}
    assert answers[0].content_length == len(answers[0].data)


@pytest.mark.parametrize("kind", DATABASES)
def test_whatever_another_process_commits_counts_at_once(kind: str, databases: Databases, tmp_path: Path) -> None:
    with databases.fresh_index(kind, tmp_path) as url:
        options = StorageSettings(tmp_path / "data", url)
        with Storage.open(options) as ours, Storage.open(options) as theirs:
            client = create_app(ours, DicomwebSettings()).test_client()
            assert client.get(STUDIES).get_json(force=True) == []
            for number in range(1, 40):
                store((ours, theirs)[number % 2], made(SOPInstanceUID=uid(1, 1, number)))
                assert instances(client) == number
            deletion = theirs.delete({"SOPInstanceUID": uid(1, 1, 1)})
            assert instances(client) == 38
            theirs.restore(deletion.pk)
            assert instances(client) == 39
            store(theirs, made(SOPInstanceUID=uid(1, 1, 99), PatientName="Roe^Richard"))
            assert instances(client) == 40
            [conflict] = theirs.conflicts()
            theirs.resolve_conflict(conflict.pk, Resolution.ACCEPT)
            [study] = client.get(STUDIES).get_json(force=True)
            assert study["00100010"]["Value"] == [{"Alphabetic": "Roe^Richard"}]


def test_many_who_ask_while_others_store(storage: Storage, client: FlaskClient) -> None:
    """Whoever has had a success finds it: no answer is older than the request."""
    app = client.application
    store(storage, made(SOPInstanceUID=uid(1, 1, 1)))
    stored, wrong = [1], []
    done = threading.Event()

    def ask() -> None:
        own = app.test_client()
        while not done.is_set():
            least = stored[-1]
            found = instances(own)
            if found < least:
                wrong.append((least, found))

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    with Storage.open(storage.settings) as other:
        for number in range(2, 80):
            store((storage, other)[number % 2], made(SOPInstanceUID=uid(1, 1, number)))
            stored.append(number)
    done.set()
    for asker in askers:
        asker.join()
    assert wrong == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "application/dicom+xml"},
        {"Accept-Encoding": "gzip"},
        {"Host": "pacs.example.org"},
        {"X-Forwarded-Host": "other.example.org"},
        {"Origin": "https://viewer.example.org"},
        {"Accept": "image/png"},
    ],
)
def test_another_request_has_its_own(storage: Storage, client: FlaskClient, headers: dict[str, str]) -> None:
    store(storage, made(StudyDescription="x" * 2000))
    fresh = create_app(storage, DicomwebSettings()).test_client().get(STUDIES, headers=headers)
    client.get(STUDIES)
    answer = client.get(STUDIES, headers=headers)
    assert (answer.status, answer.mimetype, answer.headers.get("Content-Encoding")) == (
        fresh.status,
        fresh.mimetype,
        fresh.headers.get("Content-Encoding"),
    )
    if answer.mimetype != "multipart/related":  # whose boundary is new each time
        assert answer.data == fresh.data


def test_a_search_that_fails_is_made_again(
    storage: Storage, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = made_searches(monkeypatch)
    for _ in range(2):
        assert client.get("/dicom-web/studies?limit=many").status_code == 400
        assert client.get("/dicom-web/studies?StudyDate=nonsense").status_code == 400
    assert storage.version() is not None
    assert len(asked) == 2


def test_what_is_kept_is_bounded(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    store(storage, made())
    monkeypatch.setattr(recent_answers, "_MOST_BYTES", 20_000)
    client = create_app(storage, DicomwebSettings()).test_client()
    asked = made_searches(monkeypatch)
    for number in range(50):
        client.get(f"{STUDIES}&_={number}")
    client.get(f"{STUDIES}&_=49")
    assert len(asked) == 50
    client.get(f"{STUDIES}&_=0")
    assert len(asked) == 51


def test_a_long_answer_is_streamed_and_not_kept(
    storage: Storage, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        store(storage, made(SOPInstanceUID=uid(1, 1, number)))
    path = "/dicom-web/instances?includefield=all"
    whole = client.get(path)
    monkeypatch.setattr(recent_answers, "_LONGEST_ANSWER", 100)
    asked = made_searches(monkeypatch)
    for number in range(2):
        answer = client.get(f"{path}&_={number % 1}")
        assert answer.get_json(force=True) == whole.get_json(force=True)
    assert len(asked) == 2


def test_the_version_moves_with_commits_and_with_nothing_else(storage: Storage) -> None:
    first = storage.version()
    list(storage.locate({"SOPInstanceUID": uid(1, 1, 1)}))
    assert storage.version() == first
    store(storage, made())
    second = storage.version()
    assert second != first
    assert storage.version() == second


def test_an_index_that_is_not_there_has_no_version(tmp_path: Path) -> None:
    with Storage.open(StorageSettings(tmp_path / "data", f"sqlite:///{tmp_path}/none/index.sqlite")) as storage:
        assert storage.version() is None
