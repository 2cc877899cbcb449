"""Four senders and those who delete, all at once in one study, against a model that is nothing but a dictionary.

What happens at once may happen in any order; the change feed tells which. Replayed on the model, it has to make sense
at every step, agree with what everybody was answered, and lead to what is found.
"""

import itertools
import os
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Engine, create_engine, text

from tests.databases import DATABASES, Databases
from tests.faults.objects import Place, data_set, digest
from tests.faults.promises import assert_clean_but_young, assert_counts_exact, retrieved
from tests.faults.sender import Stores
from tests.faults.service import ManagedServer

LONG = int(os.environ.get("FAULT_ROUNDS", "20")) > 20
_SENDERS = 4
_ROOT = "903"
_studies = itertools.count(1)


@dataclass(frozen=True)
class Store:
    """An object sent by one of the senders; another version has other bytes under the same UID."""

    sender: int
    series: int
    instance: int
    version: int


@dataclass(frozen=True)
class Delete:
    """A study, a series of it, or an instance of that."""

    series: int | None
    instance: int | None


STORES = st.builds(
    Store,
    sender=st.integers(0, _SENDERS - 1),
    series=st.integers(1, 2),
    instance=st.integers(1, 3),
    # other bytes are the exception
    version=st.sampled_from([0, 0, 0, 0, 1]),
)
DELETES = st.one_of(
    st.just(Delete(None, None)),
    st.builds(Delete, series=st.integers(1, 2), instance=st.none()),
    st.builds(Delete, series=st.integers(1, 2), instance=st.integers(1, 3)),
)


class Site:
    """A server with four senders; every example has a study of its own in it."""

    def __init__(self, server: ManagedServer) -> None:
        self.server = server
        self.senders = [Stores(server.dicom_port) for _ in range(_SENDERS)]
        self.threads = ThreadPoolExecutor(_SENDERS + 2)
        self.session = requests.Session()
        self.engine: Engine = create_engine(server.database_url)

    def close(self) -> None:
        self.threads.shutdown()
        for sender in self.senders:
            sender.close()
        self.session.close()
        self.engine.dispose()


class Interleaving(RuleBasedStateMachine):
    """`present`: SOP Instance UID → the version whose bytes are kept."""

    site: Site

    @initialize()
    def begin(self) -> None:
        self.study = next(_studies)
        self.present: dict[str, int] = {}
        self.seen = 0

    def place(self, operation: Store) -> Place:
        return Place(_ROOT, self.study, operation.series, operation.instance, operation.version)

    @property
    def study_uid(self) -> str:
        return Place(_ROOT, self.study, 1, 1).study_instance_uid

    @rule(operations=st.lists(STORES, min_size=1, max_size=8))
    def store(self, operations: list[Store]) -> None:
        self.at_once(operations, [])

    @rule(operations=st.lists(STORES, min_size=1, max_size=8), deletes=st.lists(DELETES, min_size=1, max_size=2))
    def store_and_delete(self, operations: list[Store], deletes: list[Delete]) -> None:
        self.at_once(operations, deletes)

    @rule(delete=DELETES)
    def delete(self, delete: Delete) -> None:
        self.at_once([], [delete])

    def at_once(self, stores: list[Store], deletes: list[Delete]) -> None:
        before = dict(self.present)
        queues: dict[int, list[Store]] = defaultdict(list)
        for operation in stores:
            queues[operation.sender].append(operation)
        sending = [self.site.threads.submit(self.send, sender, queue) for sender, queue in queues.items()]
        deleting = [self.site.threads.submit(self.remove, delete) for delete in deletes]
        for future in sending:
            future.result()
        deletions = sum(future.result() for future in deleting)
        self.replay(before, stores, deletions)

    def send(self, sender: int, operations: list[Store]) -> None:
        for operation in operations:
            assert self.site.senders[sender].send(self.place(operation)) == "stored"

    def remove(self, delete: Delete) -> bool:
        """Whether there was something."""
        path = f"{self.site.server.dicomweb}/studies/{self.study_uid}"
        if delete.series is not None:
            path += f"/series/{self.study_uid}.{delete.series}"
            if delete.instance is not None:
                path += f"/instances/{self.study_uid}.{delete.series}.{delete.instance}"
        answer = self.site.session.delete(path, timeout=120)
        assert answer.status_code in (200, 404), answer.text
        return answer.status_code == 200

    def replay(self, before: dict[str, int], stores: list[Store], deletions: int) -> None:
        """The change feed on the model."""
        sent: dict[str, set[int]] = defaultdict(set)
        for operation in stores:
            sent[self.place(operation).sop_instance_uid].add(operation.version)
        there = dict.fromkeys(before, True)
        actions: Counter[tuple[str, str]] = Counter()
        for action, uid in self.changes():
            actions[action, uid] += 1
            if action == "stored":
                assert uid in sent, "stored, and nobody sent it"
                assert not there.get(uid), "stored twice"
            else:
                assert action == "deleted"
                assert there.get(uid), "deleted, and not there"
            there[uid] = action == "stored"
        for uid in sent:
            # everybody was told that it is stored
            assert uid in before or actions["stored", uid], "acknowledged, and never there"
            assert actions["stored", uid] <= sum(self.place(one).sop_instance_uid == uid for one in stores)
        gone = sum(number for (action, _), number in actions.items() if action == "deleted")
        assert gone >= deletions
        assert deletions or not gone
        kept = self.kept_digests()
        assert kept.keys() == {uid for uid, is_there in there.items() if is_there}
        self.present = {}
        for uid, kept_digest in kept.items():
            possible = {before[uid]} if uid in before and not actions["stored", uid] else sent[uid]
            [self.present[uid]] = [version for version in possible if digest(self.of(uid, version)) == kept_digest]

    def of(self, uid: str, version: int) -> Place:
        place = Place.of_uid(uid)
        return Place(place.root, place.study, place.series, place.instance, version)

    def changes(self) -> list[tuple[str, str]]:
        # its name is a word of SQL
        change = self.site.engine.dialect.identifier_preparer.quote_identifier("change")
        statement = text(
            f"SELECT sequence, action, sop_instance_uid FROM {change}"
            " WHERE sequence > :seen AND study_instance_uid = :study ORDER BY sequence"
        )
        with self.site.engine.connect() as connection:
            rows = connection.execute(statement, {"seen": self.seen, "study": self.study_uid}).all()
        if rows:
            self.seen = rows[-1].sequence
        return [(row.action, row.sop_instance_uid) for row in rows]

    def kept_digests(self) -> dict[str, str]:
        statement = text(
            "SELECT i.sop_instance_uid, i.digest FROM dicom_instance i JOIN dicom_series e ON e.pk = i.series_pk"
            " JOIN dicom_study s ON s.pk = e.study_pk WHERE s.study_instance_uid = :study"
        )
        with self.site.engine.connect() as connection:
            rows = connection.execute(statement, {"study": self.study_uid})
            return {row.sop_instance_uid: row.digest for row in rows}

    @invariant()
    def what_is_found_is_what_is_there(self) -> None:
        there = retrieved(self.site.session, self.site.server, self.study_uid)
        assert there.keys() == self.present.keys()
        for uid, content in there.items():
            assert content == data_set(self.of(uid, self.present[uid]))
        assert_counts_exact(self.site.server.database_url)


@pytest.mark.timeout(0 if LONG else 300)
@pytest.mark.parametrize("kind", DATABASES)
def test_interleaving(kind: str, databases: Databases, tmp_path: Path) -> None:
    with databases.fresh(kind, tmp_path) as url:
        receivers = {"FILEROOM_DICOM__PROCESSES": str(_SENDERS)}
        with ManagedServer(tmp_path / "data", tmp_path / "serve.log", database=url, **receivers) as server:
            site = Site(server)
            machine = type("InterleavingOf" + kind, (Interleaving,), {"site": site})
            try:
                run_state_machine_as_test(
                    machine,
                    settings=settings(
                        max_examples=200 if LONG else 8,
                        stateful_step_count=20 if LONG else 8,
                        deadline=None,  # nothing here depends on the speed of the machine
                        database=None,
                        suppress_health_check=list(HealthCheck),
                    ),
                )
                assert_clean_but_young(server)
            finally:
                site.close()
            assert "Traceback" not in server.output
