"""Storage commitment with a real server: what was asked for is reported, whatever happens to either side."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.databases import DATABASES, Databases, free_port
from tests.e2e.orthanc import Orthanc
from tests.made import CT_IMAGE_STORAGE, encoded, made, part10, uid
from tests.served import Served
from tests.server.cli.commands import fileroom
from tests.server.cli.senders import is_running, processes_below, wait_until
from tests.server.dimse.requester import Requester
from tests.server.dimse.scu import store_bytes

TRANSACTION = uid(77, 1)
# the modality is not there to be told
NOT_AT_ONCE = {"FILEROOM_STORAGE_COMMITMENT__SAME_ASSOCIATION": "false"}


class ServedAt(Served):
    """At a DICOM port that others know already."""

    def __init__(self, port: int, data: Path, database: str, **environment: str) -> None:
        self._chosen = port
        super().__init__(data, database, **environment)

    def choose_dicom_port(self) -> int:
        return self._chosen


class Site:
    """A server that may be started again, on the same index, folder and port, and a modality that knows it."""

    def __init__(self, stack: ExitStack, database: str, folder: Path) -> None:
        self._stack = stack
        self.database = database
        self.folder = folder
        self.port = free_port()
        self.modality = Requester()
        self.modality_port = free_port()

    def served(self, dicom_port: int | None = None, /, **environment: str) -> Served:
        peers = [{"ae_title": "MODALITY", "host": "127.0.0.1", "port": self.modality_port}]
        served = ServedAt(
            dicom_port or self.port,
            self.folder / "data",
            self.database,
            FILEROOM_PEERS=json.dumps(peers),
            FILEROOM_STORAGE_COMMITMENT__FIRST_PAUSE="0.2",
            FILEROOM_STORAGE_COMMITMENT__LONGEST_PAUSE="1",
            **environment,
        )
        self._stack.callback(served.close)
        return served.wait_until_ready()

    def send(self, number: int) -> list[str]:
        """So many instances, acknowledged one by one; their UIDs."""
        uids = [uid(1, 1, instance) for instance in range(number)]
        with self.modality.calling(self.port, CT_IMAGE_STORAGE) as association:
            for instance, sop_instance_uid in enumerate(uids):
                dataset = made(SOPInstanceUID=sop_instance_uid, InstanceNumber=instance)
                data_set = encoded(dataset, implicit=True)
                response = store_bytes(association, data_set, CT_IMAGE_STORAGE, sop_instance_uid, context_id=3)
                assert response.Status == 0x0000
        return uids

    def states(self) -> dict[str, str]:
        """By Transaction UID."""
        where = ("--data", str(self.folder / "data"), "--database", self.database)
        finished = fileroom("commitments", "list", "--all", "--json", *where)
        assert finished.returncode == 0, finished.stderr
        return {one["transaction_uid"]: one["state"] for one in json.loads(finished.stdout)}


@pytest.fixture(params=DATABASES)
def site(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Site]:
    with databases.fresh(request.param, tmp_path) as url, ExitStack() as stack:
        yield Site(stack, url, tmp_path)


@pytest.fixture(params=["mariadb", "postgresql"])
def shared_site(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Site]:
    """One whose index several hosts may share."""
    with databases.fresh(request.param, tmp_path) as url, ExitStack() as stack:
        yield Site(stack, url, tmp_path)


def kill_all(served: Served) -> None:
    """`kill -9` of everything at once, as a power failure does."""
    pids = [served.process.pid, *processes_below(served.process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    served.process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in pids))


def test_a_thousand_instances(site: Site) -> None:
    site.served()
    uids = site.send(1000)
    with site.modality.listening(site.modality_port), site.modality.calling(site.port) as association:
        assert site.modality.ask(association, TRANSACTION, uids) == 0x0000
        report = site.modality.report(120)
    assert report.event_type == 1
    assert [sop_instance_uid for _, sop_instance_uid in report.committed] == uids
    wait_until(lambda: site.states() == {TRANSACTION: "reported"}, 120)


def test_killed_between_the_response_and_the_report(site: Site) -> None:
    served = site.served(**NOT_AT_ONCE)
    uids = site.send(5)
    [lost, *_] = sorted((served.data / "objects").rglob("*.dcm"))
    lost.unlink()
    with site.modality.calling(site.port) as association:
        assert site.modality.ask(association, TRANSACTION, [*uids, uid(9)]) == 0x0000
        kill_all(served)
    assert site.modality.reports.empty()
    assert site.states() == {TRANSACTION: "pending"}
    with site.modality.listening(site.modality_port):
        site.served()
        report = site.modality.report(120)
        wait_until(lambda: site.states() == {TRANSACTION: "reported"}, 120)
    assert report.event_type == 2
    assert Counter(report.failed.values()) == {0x0110: 1, 0x0112: 1}
    assert len(report.committed) == 4
    assert site.modality.reports.empty()


def test_a_receiver_that_dies_leaves_its_requests_to_the_next(site: Site) -> None:
    served = site.served(**NOT_AT_ONCE)
    uids = site.send(2)
    with site.modality.calling(site.port) as association:
        assert site.modality.ask(association, TRANSACTION, uids) == 0x0000
        for pid, name in processes_below(served.process.pid).items():
            if name == "fileroom-dicom":
                os.kill(pid, signal.SIGKILL)
    with site.modality.listening(site.modality_port):
        assert len(site.modality.report(120).committed) == 2
        wait_until(lambda: site.states() == {TRANSACTION: "reported"}, 120)


def test_stopped_while_the_peer_is_away(site: Site) -> None:
    served = site.served()
    uids = site.send(2)
    with site.modality.calling(site.port) as association:
        assert site.modality.ask(association, TRANSACTION, uids) == 0x0000
    assert served.stop() == 0
    assert site.states() == {TRANSACTION: "pending"}
    with site.modality.listening(site.modality_port):
        site.served()
        assert len(site.modality.report(120).committed) == 2
        wait_until(lambda: site.states() == {TRANSACTION: "reported"}, 120)


def test_two_servers_on_one_index_send_each_report_once(shared_site: Site) -> None:
    site = shared_site
    site.served()
    site.served(free_port())
    uids = site.send(2)
    transactions = [uid(77, number) for number in range(40)]
    for transaction in transactions:
        with site.modality.calling(site.port) as association:
            assert site.modality.ask(association, transaction, uids) == 0x0000
    with site.modality.listening(site.modality_port):
        wait_until(lambda: set(site.states().values()) == {"reported"}, 120)
    reports = [site.modality.reports.get() for _ in range(site.modality.reports.qsize())]
    assert Counter(report.transaction_uid for report in reports) == Counter(transactions)


def test_orthanc_is_told(databases: Databases, tmp_path: Path) -> None:
    port = free_port()
    with (
        databases.fresh("sqlite", tmp_path) as url,
        Orthanc(tmp_path / "orthanc", {"fileroom": ("FILEROOM", "127.0.0.1", port)}) as orthanc,
        ServedAt(
            port,
            tmp_path / "data",
            url,
            FILEROOM_PEERS=json.dumps([{"ae_title": "ORTHANC", "host": "127.0.0.1", "port": orthanc.dicom_port}]),
        ),
    ):
        stored = [
            orthanc.post("instances", part10(made(SOPInstanceUID=uid(1, 1, number), InstanceNumber=number)))["ID"]
            for number in range(2)
        ]
        missing = orthanc.post("instances", part10(made(SOPInstanceUID=uid(1, 1, 9))))["ID"]
        orthanc.post("modalities/fileroom/store", stored)

        def outcome(resources: list[str]) -> Any:
            path = orthanc.post("modalities/fileroom/storage-commitment", {"Resources": resources})["Path"]
            wait_until(lambda: orthanc.get(path.lstrip("/"))["Status"] != "Pending", 120)
            return orthanc.get(path.lstrip("/"))

        committed = outcome(stored)
        assert (committed["Status"], committed["RemoteAET"]) == ("Success", "FILEROOM"), orthanc.log
        failed = outcome([*stored, missing])
        assert failed["Status"] == "Failure"
        assert {one["SOPInstanceUID"]: one["FailureReason"] for one in failed["Failures"]} == {uid(1, 1, 9): 0x0112}
        assert len(failed["Success"]) == 2
