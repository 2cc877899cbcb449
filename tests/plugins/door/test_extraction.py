"""Rows of plugins come, go and come back with their instances; what a plugin does wrong harms nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from fileroom_storage.errors import PluginUnusable
from fileroom_storage.index import plugin_backfill
from fileroom_storage.monitor import Monitor
from fileroom_storage.plugin import Event, InstanceDeleted, InstanceStored, PluginContext
from fileroom_storage.storage import ConflictState, Provenance, Resolution, Storage
from tests.made import made, part10, uid
from tests.plugins.door.plugins import failures, note, noted, notes, opened
from tests.storage.stored import store, tables_of


class Counting(Monitor):
    def __init__(self) -> None:
        self.failed: list[str] = []

    def extraction_failed(self, plugin: str) -> None:
        self.failed.append(plugin)


@pytest.fixture
def storage(tmp_path: Path, database_url: str) -> Iterator[Storage]:
    with opened(tmp_path, database_url, notes(tmp_path / "revisions"), monitor=Counting()) as storage:
        yield storage


def instance(number: int, **attributes: object) -> Dataset:
    return made(SOPInstanceUID=uid(1, 1, number), **{"InstanceNumber": number, **attributes})


def test_rows_live_as_long_as_their_instance(storage: Storage) -> None:
    for number in (1, 2, 3):
        store(storage, instance(number))
    store(storage, instance(3))
    store(storage, instance(4, InstanceNumber=None))
    assert noted(storage) == [(uid(1, 1, number), number) for number in (1, 2, 3)]
    deletion = storage.delete({"SOPInstanceUID": uid(1, 1, 2)})
    assert noted(storage) == [(uid(1, 1, 1), 1), (uid(1, 1, 3), 3)]
    storage.restore(deletion.pk)
    assert noted(storage) == [(uid(1, 1, number), number) for number in (1, 2, 3)]
    # other bytes under a known UID, which a person accepts
    store(storage, instance(1, InstanceNumber=11))
    assert noted(storage)[0] == (uid(1, 1, 1), 1)
    [conflict] = storage.conflicts(ConflictState.OPEN)
    storage.resolve_conflict(conflict.pk, Resolution.ACCEPT)
    assert noted(storage)[0] == (uid(1, 1, 1), 11)
    assert storage.plugins.progress("notes").failures == 0


@pytest.mark.parametrize(
    ("patient", "error"),
    [("RAISES", "ValueError"), ("UNKNOWN TABLE", "LookupError"), ("NO NUMBER", None)],
)
def test_an_object_is_stored_whatever_a_plugin_does(
    storage: Storage, patient: str, error: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """And those that share its transaction have their rows."""
    incoming = []
    for number in (1, 2, 3):
        one = storage.receive()
        study = uid(number)
        one.write(
            part10(
                instance(
                    number,
                    PatientID=patient if number == 2 else "P",
                    StudyInstanceUID=study,
                    SeriesInstanceUID=uid(number, 1),
                )
            )
        )
        incoming.append(one)
    assert [getattr(outcome, "status", outcome) for outcome in storage.store_many(incoming, Provenance("import"))] == [
        "stored"
    ] * 3
    assert noted(storage) == [(uid(1, 1, 1), 1), (uid(1, 1, 3), 3)]
    [(sop_instance_uid, told, attempts)] = failures(storage)
    assert (sop_instance_uid, attempts) == (uid(1, 1, 2), 1)
    assert told == error or (error is None and told in ("IntegrityError", "NotNullViolation", "OperationalError"))
    assert isinstance(storage.monitor, Counting)
    assert storage.monitor.failed == ["notes"]
    assert "plugin notes" in caplog.text
    assert "of a patient" not in caplog.text
    # deleting it leaves nothing
    storage.delete({"SOPInstanceUID": uid(1, 1, 2)})
    assert failures(storage) == []


def test_backfill(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored before, in pages; a run that is cut short goes on; failures are tried again."""
    monkeypatch.setattr(plugin_backfill, "_PAGE", 2)
    with opened(tmp_path, database_url) as storage:
        for number in range(1, 7):
            store(storage, instance(number, PatientID="RAISES" if number == 3 else "P"))
        storage.delete({"SOPInstanceUID": uid(1, 1, 5)})
    expected = [(uid(1, 1, number), number) for number in (1, 2, 4, 6)]

    class CutShort(Exception):
        pass

    def cut(done: int, total: int) -> None:
        assert total == 5
        if done == 4:
            raise CutShort

    with opened(tmp_path, database_url, notes(tmp_path / "revisions")) as storage:
        assert storage.plugins.pending("notes") == 5
        with pytest.raises(CutShort):
            storage.plugins.backfill("notes", progress=cut)
        assert noted(storage) == expected[:3]
        assert storage.plugins.pending("notes") == 1
        done = storage.plugins.backfill("notes")
        assert (done.instances, done.failures) == (1, 1)
        assert noted(storage) == expected
        # the failure has been tried again at the end
        assert failures(storage) == [(uid(1, 1, 3), "ValueError", 2)]
        for again, instances in ((False, 0), (True, 5)):
            assert storage.plugins.backfill("notes", again=again).instances == instances
            assert noted(storage) == expected
        # one that a server stores meanwhile has its row already
        store(storage, instance(7))
        assert storage.plugins.backfill("notes").instances == 1
        assert noted(storage) == [*expected, (uid(1, 1, 7), 7)]

    def better(header: object) -> dict[str, list[dict[str, object]]]:
        return {"notes_image": [{"number": 0}]}

    with opened(tmp_path, database_url, notes(tmp_path / "revisions", better)) as storage:
        done = storage.plugins.backfill("notes")
        assert (done.instances, done.failures) == (0, 0)
        assert (uid(1, 1, 3), 0) in noted(storage)
        assert failures(storage) == []


def test_an_object_that_is_damaged_is_a_failure(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'index.sqlite'}"
    with opened(tmp_path, database) as storage:
        store(storage, instance(1))
        [row] = tables_of(storage)["dicom_instance"]
        next((tmp_path / "data" / "objects").rglob("*.dcm")).unlink()
    with opened(tmp_path, database, notes(tmp_path / "revisions")) as storage:
        assert storage.plugins.backfill("notes").failures == 1
        assert failures(storage) == [(row["sop_instance_uid"], "ObjectMissing", 2)]


def test_only_the_sop_classes_that_a_plugin_names(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'index.sqlite'}"
    with opened(tmp_path, database, notes(tmp_path / "revisions", sop_classes={"1.2.3"})) as storage:
        store(storage, instance(1))
        store(storage, instance(2, SOPClassUID="1.2.3"))
        assert noted(storage) == [(uid(1, 1, 2), 2)]
        assert storage.plugins.backfill("notes", again=True).instances == 1


def test_observers_and_start(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'index.sqlite'}"
    heard: list[Event] = []

    def observe(context: PluginContext, event: Event) -> None:
        assert context.name == "notes"
        heard.append(event)
        raise RuntimeError

    started: list[PluginContext] = []
    with opened(tmp_path, database, notes(tmp_path / "revisions", observe=observe, start=started.append)) as storage:
        assert [context.storage for context in started] == [storage]
        outcome = store(storage, instance(1))
        assert outcome.status == "stored"
        storage.delete({"SOPInstanceUID": uid(1, 1, 1)})
        assert [type(event) for event in heard] == [InstanceStored, InstanceDeleted]
        with started[0].database.write() as connection:
            connection.execute(started[0].database.tables.plugin_state.delete())

    def fail(_: PluginContext) -> None:
        raise ZeroDivisionError

    with (
        pytest.raises(PluginUnusable, match="notes could not be started: ZeroDivisionError"),
        opened(tmp_path, database, notes(tmp_path / "revisions", note, start=fail)),
    ):
        pass
