"""What is looked at for a scrape, where what is looked at is not well."""

import socket
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from fileroom_server.metrics import sampled
from fileroom_server.metrics.sampled import Sampler
from fileroom_storage.index.audit.event import Action, Actor, AuditEvent, EventId
from fileroom_storage.storage import Claim, CommitmentRequest, Reference, Storage, StorageSettings
from tests.made import CT_IMAGE_STORAGE, uid


def samples(sampler: Sampler) -> dict[str, float]:
    return {
        "".join([sample.name, *sample.labels.values()]): sample.value
        for family in sampler()
        for sample in family.samples
        if sample.name != "fileroom_build_info"
    }


def test_an_index_that_hangs_does_not_keep_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampled, "_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mariadb://root@127.0.0.1:{silent.getsockname()[1]}/fileroom"
        with Storage.open(StorageSettings(tmp_path / "data", database=url)) as storage:
            sampler = Sampler(storage, lambda: {"dicom": None}, lambda: 3)
            for _ in range(2):
                seen = samples(sampler)
                assert seen["fileroom_readystorage"] == 0
                assert seen["fileroom_readydicom"] == 1
                assert seen["fileroom_associations_open"] == 3
                assert seen["fileroom_data_free_bytes"] > 0
                assert "fileroom_conflicts_open" not in seen


def test_counting_what_waits_may_take_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is slow behind the look at readiness is left out; an index that never answers is not ready by the next."""
    monkeypatch.setattr(sampled, "_PATIENCE", 0.3)
    end = threading.Event()
    with Storage.open(StorageSettings(tmp_path / "data")) as storage:
        storage.create_schema_if_empty()
        storage.check_ready()
        monkeypatch.setattr(storage.plugins, "failures", lambda: end.wait(30) and {})
        sampler = Sampler(storage, dict, lambda: 0)
        try:
            seen = samples(sampler)
            assert (seen["fileroom_readystorage"], seen["fileroom_commitments_pending"]) == (1, 0)
            seen = samples(sampler)
            assert seen["fileroom_readystorage"] == 0
            assert "fileroom_commitments_pending" not in seen
        finally:
            end.set()


def test_what_is_not_ready_is_told_by_part(tmp_path: Path) -> None:
    with Storage.open(StorageSettings(tmp_path / "data")) as storage:
        sampler = Sampler(storage, lambda: {"dicom": "a receiver is gone"}, lambda: 0)
        seen = samples(sampler)
        assert (seen["fileroom_readystorage"], seen["fileroom_readydicom"]) == (0, 0)  # there is no schema yet
        storage.create_schema_if_empty()
        seen = samples(sampler)
        assert (seen["fileroom_readystorage"], seen["fileroom_conflicts_open"]) == (1, 0)
        assert "fileroom_audit_events_waiting" not in seen  # nobody is to get them


def test_what_waits_is_told_with_its_age(tmp_path: Path) -> None:
    with Storage.open(StorageSettings(tmp_path / "data", audit=True)) as storage:
        storage.create_schema_if_empty()
        sampler = Sampler(storage, dict, lambda: 0, audit_is_sent=True)
        names = [
            *("commitments_pending", "commitments_oldest_age_seconds"),
            *("audit_events_waiting", "audit_events_oldest_age_seconds"),
        ]
        before = samples(sampler)
        assert [before[f"fileroom_{name}"] for name in names] == [0, 0, 0, 0]
        references = [Reference(CT_IMAGE_STORAGE, uid(1, 1, 1))]
        request = CommitmentRequest(uid(77), references, "MODALITY", "FILEROOM")
        storage.commitments.request(request, Claim("host:104/0", timedelta(minutes=5)), timedelta(days=7))
        storage.audit.record_at_once(AuditEvent(EventId.QUERY, Action.EXECUTE, Actor("HTTP")))
        pending, age, waiting, age_of_events = (samples(sampler)[f"fileroom_{name}"] for name in names)
        assert (pending, waiting) == (1, 1)
        assert 0 < age < 3600
        assert 0 < age_of_events < 3600
