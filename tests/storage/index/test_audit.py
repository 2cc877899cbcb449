"""The audit log: every row chained to the one before it, whoever writes, and whatever is done to the table found."""

import multiprocessing
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select, text, update

from fileroom_storage.index.audit.chain import FIRST_HASH, row_hash
from fileroom_storage.index.audit.event import Action, Actor, AuditEvent, EventId, Outcome
from fileroom_storage.index.audit.reading import AuditRow
from fileroom_storage.index.engine import create_engine
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.storage import Provenance, Resolution, Storage, StorageSettings
from tests.made import made, part10, uid

ROWS = 6
LOG = standard_tables().audit_log
HEADS = standard_tables().audit_chain
SOMEBODY = Actor("HTTP", "somebody", "192.0.2.7")


@pytest.fixture
def storage(database_url: str, tmp_path: Path) -> Iterator[Storage]:
    with Storage.open(StorageSettings(data=tmp_path / "data", database=database_url, audit=True)) as storage:
        storage.create_schema_if_empty()
        yield storage


def event(number: int, **values: Any) -> AuditEvent:
    return AuditEvent(
        EventId.QUERY, Action.EXECUTE, SOMEBODY, query=b"PatientName=D*", detail={"number": number}, **values
    )


def write(storage: Storage, number: int = ROWS) -> None:
    for one in range(number):
        storage.audit.record_at_once(
            event(one, study_instance_uid=uid(one), patient_id=f"P{one} é", outcome=Outcome.SUCCESS)
        )


def in_database(storage: Storage, change: Callable[[Connection], object]) -> None:
    """As somebody does who may write to the database."""
    engine = create_engine(storage.settings.database_url)
    with engine.begin() as connection:
        change(connection)
    engine.dispose()


def breaches(storage: Storage) -> list[tuple[int, str]]:
    return [(breach.sequence, breach.reason) for breach in storage.audit.verify().breaches]


def rows(storage: Storage) -> list[AuditRow]:
    storage.audit.flush()
    return list(storage.audit.rows())


def test_what_is_written_is_read_and_unbroken(storage: Storage) -> None:
    write(storage)
    found = rows(storage)
    assert [row.sequence for row in found] == list(range(1, ROWS + 1))
    assert [(row.study_instance_uid, row.patient_id) for row in found] == [(uid(n), f"P{n} é") for n in range(ROWS)]
    assert {(row.user_id, row.remote_address, row.query) for row in found} == {
        ("somebody", "192.0.2.7", b"PatientName=D*")
    }
    verified = storage.audit.verify()
    assert (verified.is_unbroken, verified.rows) == (True, ROWS)
    assert [(head.sequence, head.hash) for head in verified.heads] == [(ROWS, found[-1].hash)]
    assert [row.sequence for row in storage.audit.rows(study=uid(2))] == [3]
    assert [row.sequence for row in storage.audit.rows(since=found[3].at)] == [4, 5, 6]
    assert [row.sequence for row in storage.audit.rows(until=found[3].at)] == [1, 2, 3]


@pytest.mark.parametrize("user", ["Jörg 東京", "a\0b", "\ud800", "x" * 10_000, "a\nb\x1b[31m", ""])
def test_any_text_comes_back_as_it_was_hashed(storage: Storage, user: str) -> None:
    storage.audit.record_at_once(
        AuditEvent(
            EventId.SECURITY_ALERT,
            Action.EXECUTE,
            Actor("DIMSE", user, "\N{SNOWMAN}"),
            detail={"reason": user.encode("utf-8", "replace").decode()},
        )
    )
    assert storage.audit.verify().is_unbroken
    assert len(rows(storage)) == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", None),
        ("event", "110103"),
        ("action", "R"),
        ("outcome", 8),
        ("user_id", "somebody else"),
        ("remote_address", None),
        ("study_instance_uid", uid(77)),
        ("patient_id", "P2 é "),
        ("detail", "{}"),
        ("previous_hash", "0" * 64),
        ("hash", "f" * 64),
    ],
)
def test_a_changed_row_is_found(storage: Storage, column: str, value: object) -> None:
    write(storage)
    third = (LOG.c.chain == 0, LOG.c.sequence == 3)

    def change(connection: Connection) -> None:
        new = value
        if column == "at":
            new = connection.execute(select(LOG.c.at).where(LOG.c.sequence == 4)).scalar()
        connection.execute(update(LOG).where(*third).values({column: new}))

    in_database(storage, change)
    assert 3 in [sequence for sequence, _ in breaches(storage)]


def test_a_changed_row_with_a_new_hash_of_its_own_is_found(storage: Storage) -> None:
    write(storage)

    def change(connection: Connection) -> None:
        row = dict(connection.execute(select(LOG).where(LOG.c.sequence == 3)).mappings().one())
        row["user_id"] = "nobody"
        row["hash"] = row_hash(row)
        connection.execute(update(LOG).where(LOG.c.sequence == 3).values(row))

    in_database(storage, change)
    assert breaches(storage) == [(4, "the row does not follow the one before it")]


@pytest.mark.parametrize("gone", [1, 3, ROWS])
def test_a_removed_row_is_found(storage: Storage, gone: int) -> None:
    write(storage)
    in_database(storage, lambda connection: connection.execute(delete(LOG).where(LOG.c.sequence == gone)))
    assert breaches(storage)[0][0] == gone


def test_rows_that_change_places_are_found(storage: Storage) -> None:
    write(storage)

    def swap(connection: Connection) -> None:
        for before, after in ((2, 99), (5, 2), (99, 5)):
            connection.execute(update(LOG).where(LOG.c.sequence == before).values(sequence=after))

    in_database(storage, swap)
    assert {2, 5} <= {sequence for sequence, _ in breaches(storage)}


def test_an_inserted_row_is_found(storage: Storage) -> None:
    write(storage)

    def insert_one(connection: Connection) -> None:
        row = dict(connection.execute(select(LOG).where(LOG.c.sequence == ROWS)).mappings().one())
        row |= {"sequence": ROWS + 1, "previous_hash": row["hash"]}
        row["hash"] = row_hash(row)
        connection.execute(insert(LOG).values(row))

    in_database(storage, insert_one)
    assert breaches(storage) == [(ROWS + 1, "there are rows behind the one that the chain's head names")]


def test_an_end_that_was_cut_off_with_its_head_is_found_by_a_head_kept_elsewhere(storage: Storage) -> None:
    write(storage)
    known = storage.audit.heads()

    def cut_off(connection: Connection) -> None:
        connection.execute(delete(LOG).where(LOG.c.sequence > 4))
        fourth = connection.execute(select(LOG.c.hash).where(LOG.c.sequence == 4)).scalar()
        connection.execute(update(HEADS).where(HEADS.c.chain == 0).values(sequence=4, hash=fourth))

    in_database(storage, cut_off)
    assert storage.audit.verify().is_unbroken, "within the database nothing tells"
    assert [(one.sequence, one.reason) for one in storage.audit.verify(known).breaches] == [
        (ROWS, "a head that was kept names a row that is not there any more")
    ]


def test_a_log_that_was_emptied_is_found(storage: Storage) -> None:
    write(storage)
    in_database(storage, lambda connection: connection.execute(delete(LOG)))
    assert breaches(storage) == [(1, f"rows are missing at the end: the chain's head names {ROWS}")]
    in_database(storage, lambda connection: connection.execute(delete(HEADS).where(HEADS.c.chain == 0)))
    assert (0, "the chain's head is gone") in breaches(storage)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_single_change_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """On SQLite, where a copy of the whole index is a file."""
    origin = _written_once(tmp_path_factory)
    target = tmp_path_factory.mktemp("copy")
    with sqlite3.connect(origin / "index.sqlite") as source, sqlite3.connect(target / "index.sqlite") as copy:
        source.backup(copy)
        _change(copy, data)
    copy.close()
    source.close()
    with Storage.open(StorageSettings(data=target, audit=True)) as storage:
        assert storage.audit.verify().breaches


def _change(copy: sqlite3.Connection, data: st.DataObject) -> None:
    """Changes, removes, moves or repeats one row."""
    names = [row[1] for row in copy.execute("PRAGMA table_info(audit_log)")]
    row = data.draw(st.integers(1, ROWS))
    kind = data.draw(st.sampled_from(["change", "delete", "swap", "duplicate"]))
    if kind == "delete":
        copy.execute("DELETE FROM audit_log WHERE sequence = ?", [row])
    elif kind == "swap":
        other = data.draw(st.integers(1, ROWS).filter(lambda number: number != row))
        for before, after in ((row, 99), (other, row), (99, other)):
            copy.execute("UPDATE audit_log SET sequence = ? WHERE sequence = ?", [after, before])
    elif kind == "duplicate":
        columns = ", ".join(f'"{name}"' for name in names if name != "sequence")
        place = data.draw(st.sampled_from([-2, -1, 0, ROWS + 1, ROWS + 2, ROWS + 5]))
        source = f"SELECT {place}, {columns} FROM audit_log WHERE sequence = ?"
        copy.execute(f"INSERT INTO audit_log (sequence, {columns}) {source}", [row])
    else:
        name = data.draw(st.sampled_from([name for name in names if name not in ("chain", "sequence", "at")]))
        [(before,)] = copy.execute(f'SELECT "{name}" FROM audit_log WHERE sequence = ?', [row])
        texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=70)
        values = st.integers(-9, 9) if isinstance(before, int) else texts
        changed = data.draw(values.filter(lambda value: value != before))
        copy.execute(f'UPDATE audit_log SET "{name}" = ? WHERE sequence = ?', [changed, row])


_WRITTEN: list[Path] = []


def _written_once(factory: pytest.TempPathFactory) -> Path:
    if not _WRITTEN:
        _WRITTEN.append(factory.mktemp("origin"))
        with Storage.open(StorageSettings(data=_WRITTEN[0], audit=True)) as storage:
            storage.create_schema_if_empty()
            write(storage)
            assert storage.audit.verify().is_unbroken
    return _WRITTEN[0]


def _write_from_another_process(settings_: StorageSettings, number: int) -> None:
    with Storage.open(settings_) as storage:
        for _ in range(number):
            storage.audit.record_at_once(event(1), event(2))


def test_several_processes_write_one_log(storage: Storage) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_from_another_process, args=(storage.settings, 40)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    verified = storage.audit.verify()
    assert (verified.breaches, verified.rows) == ((), 3 * 40 * 2)


@pytest.mark.parametrize("database_url", ["mariadb", "postgresql"], indirect=True)
def test_a_writer_that_is_stuck_does_not_keep_others_out(storage: Storage) -> None:
    """A transaction that holds the lock of a chain, as that of a frozen process."""
    write(storage)
    engine = create_engine(storage.settings.database_url)
    with engine.connect() as stuck, stuck.begin():
        stuck.execute(select(HEADS).where(HEADS.c.chain == 0).with_for_update())
        storage.audit.record_at_once(event(1))
    engine.dispose()
    verified = storage.audit.verify()
    assert (verified.breaches, verified.rows) == ((), ROWS + 1)
    assert {head.chain for head in verified.heads} == {0, 1}
    # chain 1 has seen the end of chain 0, so that chain 0 cannot be cut off there even with its head
    in_database(storage, lambda connection: connection.execute(delete(LOG).where(LOG.c.chain == 0)))
    in_database(
        storage,
        lambda connection: connection.execute(
            update(HEADS).where(HEADS.c.chain == 0).values(sequence=0, hash=FIRST_HASH)
        ),
    )
    assert breaches(storage) == [(ROWS, "the row that 1:1 has seen is not there any more")]


def _store(storage: Storage, number: int, provenance: Provenance, **attributes: Any) -> None:
    incoming = storage.receive()
    incoming.write(part10(made(SOPInstanceUID=uid(1, 1, number), **attributes)))
    incoming.store(provenance)


def test_a_transfer_has_begun_when_its_first_object_is_durable_and_counts_at_its_end(storage: Storage) -> None:
    transfer = storage.audit.transfer(
        Actor("DIMSE", "CT1", "192.0.2.9", "FILEROOM"),
        EventId.DICOM_INSTANCES_TRANSFERRED,
        Action.CREATE,
        {"by": "C-STORE"},
    )
    assert transfer is not None
    provenance = Provenance("C-STORE", transfer=transfer)
    for number in range(3):
        _store(storage, number, provenance)
    # not flushed: whatever happens to this process now, the log says that objects of the study came in
    [opening] = storage.audit.rows()
    assert (opening.event, opening.study_instance_uid, opening.patient_id) == ("110102", uid(1), "P1")
    transfer.end()
    assert [(row.event, row.action, row.sop_classes) for row in rows(storage)] == [
        ("110102", "E", {}),
        ("110104", "C", {"1.2.840.10008.5.1.4.1.1.2": 3}),
    ]
    assert storage.audit.verify().is_unbroken


def test_deletion_restoration_and_purge_are_in_the_log_with_the_transaction(storage: Storage) -> None:
    _store(storage, 1, Provenance("import"))
    deletion = storage.delete({"StudyInstanceUID": uid(1)}, SOMEBODY)
    storage.restore(deletion.pk, SOMEBODY)
    second = storage.delete({"StudyInstanceUID": uid(1), "SeriesInstanceUID": uid(1, 1)}, SOMEBODY)
    storage.purge(second.pk, SOMEBODY)
    found = list(storage.audit.rows())
    assert [(row.event, row.action, row.user_id, row.study_instance_uid, row.sop_classes) for row in found] == [
        ("110105", "D", "somebody", uid(1), {"": 1}),
        ("110103", "U", "somebody", uid(1), {"": 1}),
        ("110103", "D", "somebody", uid(1), {"": 1}),
        ("110103", "D", "somebody", uid(1), {"": 1}),
    ]
    assert found[0].patient_id == found[2].patient_id == "P1"


def test_a_resolved_conflict_is_in_the_log(storage: Storage) -> None:
    _store(storage, 1, Provenance("import"))
    _store(storage, 1, Provenance("import"), InstanceNumber=7)
    [conflict] = storage.conflicts()
    storage.resolve_conflict(conflict.pk, Resolution.KEEP, SOMEBODY)
    [row] = storage.audit.rows()
    assert (row.action, row.user_id, row.study_instance_uid) == ("U", "somebody", uid(1))
    assert "resolved: keep" in row.detail["reason"]


def test_the_same_again_is_counted_not_written(storage: Storage) -> None:
    tally = storage.audit.tally("key", lambda: event(1))
    assert tally is not None
    for _ in range(5):
        tally.again()
    storage.audit.tally("key", lambda: event(1))
    assert len(rows(storage)) == 1
    storage.audit._tallies.report()
    assert [row.detail.get("times") for row in rows(storage)] == [None, 6]
    storage.audit._tallies.report()
    assert len(storage.audit._tallies) == 0, "what does not come again is forgotten"


def test_a_log_that_is_off_writes_nothing(database_url: str, tmp_path: Path) -> None:
    with Storage.open(StorageSettings(data=tmp_path / "data", database=database_url)) as storage:
        storage.create_schema_if_empty()
        storage.audit.record(event(1))
        storage.audit.record_at_once(event(1))
        assert storage.audit.transfer(SOMEBODY, EventId.QUERY, Action.EXECUTE) is None
        _store(storage, 1, Provenance("import"))
        storage.delete({"StudyInstanceUID": uid(1)}, SOMEBODY)
        assert rows(storage) == []


def test_events_wait_while_the_database_is_away(storage: Storage, tmp_path: Path) -> None:
    """Here: while the table is."""
    in_database(storage, lambda connection: connection.execute(text("ALTER TABLE audit_log RENAME TO elsewhere")))
    storage.audit.record(event(1))
    with pytest.raises(Exception, match="audit_log"):
        storage.audit.flush()
    in_database(storage, lambda connection: connection.execute(text("ALTER TABLE elsewhere RENAME TO audit_log")))
    assert len(rows(storage)) == 1


def test_what_a_crash_or_a_lost_disk_left_is_in_the_log(storage: Storage) -> None:
    _store(storage, 1, Provenance("import"))
    _store(storage, 2, Provenance("import"))
    first, second = sorted(storage.locate({"StudyInstanceUID": uid(1)}), key=lambda found: found.sop_instance_uid)
    (storage.settings.data / "objects" / first.location).unlink()
    in_database(storage, lambda connection: _forget(connection, second.location))
    orphan = storage.settings.data / "objects" / second.location
    os.utime(orphan, (0, 0))  # old enough to have been left by a crash
    assert len([finding for finding in storage.check(repair=True, actor=SOMEBODY) if finding.is_repaired]) == 2
    lost, begin, adopted = rows(storage)
    assert (lost.action, lost.user_id, lost.study_instance_uid) == ("D", "somebody", uid(1))
    assert (lost.detail["reason"], lost.detail["sop_instance_uid"]) == (
        "the object store has lost it",
        first.sop_instance_uid,
    )
    assert (begin.event, adopted.event, adopted.user_id) == ("110102", "110104", "somebody")
    assert (adopted.detail["by"], sum(adopted.sop_classes.values())) == ("adoption", 1)
    assert storage.audit.verify().is_unbroken


def _forget(connection: Connection, location: str) -> None:
    """As a crash between an object and its row."""
    instance = standard_tables().instance
    connection.execute(delete(instance).where(instance.c.location == location))


def test_the_backlog_is_what_a_collector_does_not_have(storage: Storage) -> None:
    delivery = storage.audit.delivery("syslog")
    assert delivery.backlog() == (0, None)
    write(storage)
    moments = sorted(row.at for row in storage.audit.rows())
    assert delivery.backlog() == (ROWS, moments[0])
    assert delivery.claim("somebody", moments[0], 30)
    heads = {head.chain: head for head in storage.audit.heads()}
    # all but the last row of each chain
    [*_, row] = [row for row in storage.audit.rows() if row.chain == next(iter(heads))]
    before = heads[row.chain]._replace(sequence=row.sequence - 1)
    assert delivery.delivered("somebody", [*(head for head in heads.values() if head.chain != row.chain), before])
    assert delivery.backlog() == (1, row.at)
    assert delivery.delivered("somebody", heads.values())
    assert delivery.backlog() == (0, None)
