"""What has to hold whatever happens: looked at from outside, over HTTP, in SQL, and in the files."""

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import requests
from sqlalchemy import create_engine, text

from fileroom_storage.parse.part10 import read_file_meta
from tests.faults.objects import Place, data_set
from tests.faults.service import ManagedServer, fileroom

_PART_HEAD_END = b"\r\n\r\n"
# each says which rows have a count that is not that of the rows below
_WRONG_COUNTS = {
    "series": """
        SELECT r.series_instance_uid FROM dicom_series r
        LEFT JOIN (SELECT series_pk, count(*) n, sum(size) s FROM dicom_instance GROUP BY series_pk) i
        ON i.series_pk = r.pk
        WHERE i.n IS NULL OR r.number_of_series_related_instances <> i.n OR r.size <> i.s
    """,
    "study": """
        SELECT r.study_instance_uid FROM dicom_study r
        LEFT JOIN (
            SELECT study_pk, count(*) n, sum(number_of_series_related_instances) i, sum(size) s
            FROM dicom_series GROUP BY study_pk
        ) e ON e.study_pk = r.pk
        WHERE e.n IS NULL OR r.number_of_study_related_series <> e.n
        OR r.number_of_study_related_instances <> e.i OR r.size <> e.s
    """,
    "patient": """
        SELECT r.patient_id FROM dicom_patient r
        LEFT JOIN (
            SELECT patient_pk, count(*) n, sum(number_of_study_related_series) e,
            sum(number_of_study_related_instances) i
            FROM dicom_study GROUP BY patient_pk
        ) s ON s.patient_pk = r.pk
        WHERE s.n IS NULL OR r.number_of_patient_related_studies <> s.n
        OR r.number_of_patient_related_series <> s.e OR r.number_of_patient_related_instances <> s.i
    """,
}


def by_study(uids: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for uid in uids:
        found[Place.of_uid(uid).study_instance_uid].add(uid)
    return found


def retrieved(session: requests.Session, server: ManagedServer, study: str) -> dict[str, bytes]:
    """The data sets of a study by SOP Instance UID, as they are retrieved all at once."""
    accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    answer = session.get(f"{server.dicomweb}/studies/{study}", headers=accept, timeout=120)
    if answer.status_code == 404:
        return {}
    answer.raise_for_status()
    boundary = b"--" + answer.headers["Content-Type"].split("boundary=")[1].split(";")[0].strip('"').encode()
    first, *parts, last = answer.content.split(boundary)
    assert first.strip() == b""
    assert last.strip() == b"--", "a body that was cut short"
    found: dict[str, bytes] = {}
    for part in parts:
        body = part.partition(_PART_HEAD_END)[2].removesuffix(b"\r\n")
        meta = read_file_meta(body)
        uid = str(meta.media_storage_sop_instance_uid)
        assert uid not in found, f"{uid} comes twice"
        found[uid] = body[meta.data_set_offset :]
    return found


def assert_kept(server: ManagedServer, acknowledged: Iterable[str], sent: Callable[[], set[str]]) -> int:
    """Holds what is retrieved against what was acknowledged; whatever else is there must have been sent by then.

    Returns how many objects were there.
    """
    others: set[str] = set()
    seen = 0
    with requests.Session() as session:
        for study, uids in by_study(acknowledged).items():
            there = retrieved(session, server, study)
            lost = uids - there.keys()
            assert not lost, f"acknowledged and lost: {sorted(lost)}"
            others |= there.keys() - uids
            for uid, content in there.items():
                assert content == data_set(Place.of_uid(uid)), f"{uid} has other bytes than were sent"
            seen += len(there)
    assert others <= sent()
    return seen


def assert_counts_exact(database_url: str) -> int:
    """In one snapshot, so that it holds at any moment; returns how many instances there were."""
    engine = create_engine(database_url)
    options = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    try:
        with engine.connect().execution_options(**options) as connection:
            number = connection.execute(text("SELECT count(*) FROM dicom_instance")).scalar_one()
            for level, statement in _WRONG_COUNTS.items():
                wrong = connection.execute(text(statement)).scalars().all()
                assert not wrong, f"{level} with counts that are not exact: {wrong[:5]}"
            return int(number)
    finally:
        engine.dispose()


def conflicts(database_url: str) -> int:
    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM conflict")).scalar_one())
    finally:
        engine.dispose()


def make_old(data: Path, seconds: float = 3600.0) -> int:
    """Makes objects look as if they had been written before, so that those without a row count as left behind."""
    then = time.time() - seconds
    paths = list((data / "objects").rglob("*.dcm"))
    for path in paths:
        os.utime(path, (then, then))
    return len(paths)


def check(server: ManagedServer, *options: str) -> Mapping[str, object]:
    """What `fileroom check` says."""
    finished = fileroom("check", "--json", *options, server=server)
    assert finished.stdout, finished.stderr
    found: dict[str, object] = json.loads(finished.stdout)
    assert (finished.returncode == 0) == found["good"]
    return found


def assert_clean(server: ManagedServer) -> None:
    """Index and object store agree, every byte is as it came, and nothing waits to be looked at."""
    assert check(server, "--verify") == {"good": True, "findings": [], "young": 0}


def assert_clean_but_young(server: ManagedServer) -> None:
    """Files of refused objects may wait for the next adoption; nothing else may be wrong."""
    found = check(server, "--verify")
    assert found["good"] is True, found
    assert found["findings"] == []
