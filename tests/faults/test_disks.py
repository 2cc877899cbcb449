"""Disks that are full or read-only: nothing is stored while it lasts, all else goes on, and nobody has to restart."""

import http.client
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.databases import Databases
from tests.faults.disk import small_disk
from tests.faults.modality import Modality, modality
from tests.faults.objects import Place, part10
from tests.faults.service import ManagedServer, wait_until

_ENOUGH = 40  # objects; the disk has room for some of them


@contextmanager
def served(data: Path, folder: Path, database: str) -> Iterator[tuple[ManagedServer, Modality]]:
    with ManagedServer(data, folder / "serve.log", database=database) as server, modality(server) as sender:
        yield server, sender


def posted(server: ManagedServer, place: Place) -> tuple[int, bytes]:
    """The status of a STOW-RS request, and its body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=120)
    connection.request("POST", "/dicom-web/studies", part10(place), {"Content-Type": "application/dicom"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def assert_nothing_is_stored(server: ManagedServer, sender: Modality, reason: str) -> None:
    """Every sender is told to try again; what is stored is found and retrieved; the state says what is the matter."""
    for _ in range(5):
        assert sender.send_again().is_out_of_resources
    status, body = posted(server, Place("902", 1, 1, 1))
    assert status == 507, body
    assert b"42752" in body  # 0xA700, the Failure Reason (0008,1197)
    assert sender.search() == 200
    sender.assert_kept()
    health = server.health()
    assert health["status"] == "not ready"
    assert reason in health["parts"]["storage"]


def assert_all_is_well(server: ManagedServer, sender: Modality) -> None:
    wait_until(server.is_ready, lambda: f"not ready: {server.health()}")
    assert sender.send_again().is_success
    sender.sent.add(Place("902", 1, 1, 1).sop_instance_uid)
    assert posted(server, Place("902", 1, 1, 1))[0] == 200
    assert sender.search() == 200


def send_until_refused(sender: Modality) -> None:
    assert any(sender.send().is_out_of_resources for _ in range(_ENOUGH))


@pytest.mark.parametrize("kind", ["sqlite", "mariadb", "postgresql"])
def test_objects_on_a_full_disk(kind: str, databases: Databases, tmp_path: Path) -> None:
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk", "4m"))
        database = stack.enter_context(databases.fresh(kind, tmp_path))
        server, sender = stack.enter_context(served(disk.folder / "data", tmp_path, database))
        assert sender.send().is_success
        disk.fill()
        send_until_refused(sender)
        assert_nothing_is_stored(server, sender, "full")
        disk.make_room()
        assert_all_is_well(server, sender)


def test_objects_on_a_read_only_disk(tmp_path: Path) -> None:
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk", "16m"))
        server, sender = stack.enter_context(
            served(disk.folder / "data", tmp_path, f"sqlite:///{tmp_path / 'index.sqlite'}")
        )
        assert sender.send().is_success
        disk.make_read_only()
        assert sender.send().is_out_of_resources
        assert_nothing_is_stored(server, sender, "read-only")
        disk.make_writable()
        assert_all_is_well(server, sender)


def test_an_index_on_a_full_disk(tmp_path: Path) -> None:
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk", "32m"))
        server, sender = stack.enter_context(
            served(tmp_path / "data", tmp_path, f"sqlite:///{disk.folder / 'index.sqlite'}")
        )
        assert sender.send().is_success
        disk.fill()
        send_until_refused(sender)
        assert_nothing_is_stored(server, sender, "full")
        disk.make_room()
        assert_all_is_well(server, sender)


def test_a_server_starts_on_a_full_disk(tmp_path: Path) -> None:
    """What it has can be read."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        database = f"sqlite:///{tmp_path / 'index.sqlite'}"
        server = ManagedServer(disk.folder / "data", tmp_path / "serve.log", database=database)
        server.start()
        server.wait_until_ready()
        with modality(server) as sender:
            assert sender.send().is_success
            assert server.stop() == 0
            sender.close()
            disk.fill()
            server.start()
            wait_until(lambda: sender.search() == 200, "a full disk can be read")
            sender.assert_kept()
            assert "disk is full" in server.health()["parts"]["storage"]
            disk.make_room()
            wait_until(lambda: sender.send().is_success, "there is room again")
            wait_until(server.is_ready, "ready")
        assert server.stop() == 0
