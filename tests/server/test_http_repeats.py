"""Requests that come again byte for byte: answered alike, and never once anything could be different."""

import random
import re
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fileroom_server.http_repeats import Repeats
from fileroom_storage.index.writer import utc_now
from fileroom_storage.storage import Storage, StorageSettings
from tests.made import made, uid
from tests.served import Served
from tests.storage.stored import store

ADDRESS = "127.0.0.1"
GET = b"GET /dicom-web/studies HTTP/1.1\r\nHost: pacs\r\n\r\n"
LINES = ["HTTP/1.1 200 OK\r\n", "Date: yesterday\r\n", "Connection: keep-alive\r\n", "Content-Length: 2\r\n", "\r\n"]


class Pair:
    """A client's connection and ours, and a version of the index that can be set."""

    def __init__(self) -> None:
        self.client, self.ours = socket.socketpair()
        self.client.settimeout(10)
        self.version: int | None = 1
        self.repeats = Repeats(lambda: self.version, 5.0)

    def ask(self, head: bytes = GET, address: str = ADDRESS, lines: list[str] | None = None) -> bytes | None:
        """What is answered without anybody else; if nothing is, the request is read and an answer kept."""
        self.client.sendall(head)
        if self.repeats.answer(self.ours, address):
            return self.client.recv(1 << 16)
        self.ours.setblocking(True)
        assert self.ours.recv(1 << 16) == head
        self.repeats.keep(self.ours, self.version, lines or LINES, b"[]")
        return None


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.client.close()
    pair.ours.close()


def test_the_second_is_answered_with_the_date_of_now(pair: Pair) -> None:
    assert pair.ask() is None
    answers = [pair.ask() for _ in range(3)]
    assert answers[0]
    date = re.search(rb"Date: (.*)\r\n", answers[0])
    assert date
    assert b"yesterday" not in date[1]
    assert answers[0].replace(date[1], b"yesterday") == "".join(LINES).encode() + b"[]"
    assert time.strftime("%Y").encode() in date[1]


def test_nothing_is_answered_once_the_index_has_changed(pair: Pair) -> None:
    pair.ask()
    pair.version = 2
    assert pair.ask() is None
    assert pair.ask()
    pair.version = None
    assert pair.ask() is None
    assert pair.ask() is None


@pytest.mark.parametrize(
    ("head", "lines"),
    [
        pytest.param(GET.replace(b"GET", b"HEAD"), LINES, id="no GET"),
        pytest.param(GET[:-2] + b"Content-Length: 2\r\n\r\n", LINES, id="a body follows"),
        pytest.param(GET[:-2] + b"transfer-encoding: chunked\r\n\r\n", LINES, id="a body follows in chunks"),
        pytest.param(GET[:-2] + b"Upgrade: h2c\r\n\r\n", LINES, id="another protocol"),
        pytest.param(GET[:-10], LINES, id="not all of it"),
        pytest.param(GET + GET, LINES, id="two at once"),
        pytest.param(GET + b"GET", LINES, id="more than one"),
        pytest.param(GET, ["Connection: close\r\n" if "Conn" in line else line for line in LINES], id="the last one"),
    ],
)
def test_what_is_not_answered_again(pair: Pair, head: bytes, lines: list[str]) -> None:
    assert pair.ask(head, lines=lines) is None
    assert pair.ask(head, lines=lines) is None


def test_nobody_is_answered_longer_than_they_are_believed(pair: Pair) -> None:
    """A token is among the bytes that are asked with; when it is over, nothing of the index has changed."""
    for seconds, expected in ((60.0, True), (-0.001, False)):
        head = GET.replace(b"Host", b"Authorization: Bearer %d\r\nHost" % seconds)
        pair.client.sendall(head)
        assert not pair.repeats.answer(pair.ours, ADDRESS)
        pair.ours.setblocking(True)
        assert pair.ours.recv(1 << 16) == head
        pair.repeats.keep(pair.ours, 1, LINES, b"[]", valid_until=time.monotonic() + seconds)
        pair.client.sendall(head)
        assert pair.repeats.answer(pair.ours, ADDRESS) is expected
        if expected:
            assert pair.client.recv(1 << 16).endswith(b"[]")
        else:
            pair.ours.setblocking(True)
            assert pair.ours.recv(1 << 16) == head


def test_another_request_or_another_client_is_another(pair: Pair) -> None:
    pair.ask()
    assert pair.ask(GET.replace(b"pacs", b"PACS")) is None
    assert pair.ask(address="10.0.0.1") is None
    assert pair.ask()


def test_nothing_to_read_is_nothing_to_answer(pair: Pair) -> None:
    pair.ask()
    assert not pair.repeats.answer(pair.ours, ADDRESS)
    pair.client.shutdown(socket.SHUT_WR)
    assert not pair.repeats.answer(pair.ours, ADDRESS)


def test_a_client_that_reads_nothing_is_given_up(pair: Pair) -> None:
    repeats = Repeats(lambda: 1, 0.2)
    pair.client.sendall(GET)
    assert not repeats.answer(pair.ours, ADDRESS)
    repeats.keep(pair.ours, 1, LINES, bytes(8 << 20))
    with pytest.raises(OSError, match="timed out"):
        repeats.answer(pair.ours, ADDRESS)


def test_an_answer_is_that_of_the_request_before_it_on_its_connection(pair: Pair) -> None:
    """Of another connection, or when another request was read meanwhile, nothing is kept."""
    other, theirs = socket.socketpair()
    pair.client.sendall(GET)
    assert not pair.repeats.answer(pair.ours, ADDRESS)
    pair.repeats.keep(theirs, 1, LINES, b"[1]")
    pair.repeats.keep(pair.ours, 1, LINES, b"[2]")
    assert not pair.repeats.answer(pair.ours, ADDRESS)
    pair.repeats.forget()
    pair.repeats.keep(pair.ours, 1, LINES, b"[3]")
    assert not pair.repeats.answer(pair.ours, ADDRESS)
    pair.repeats.keep(pair.ours, 1, LINES, b"[4]")
    assert pair.repeats.answer(pair.ours, ADDRESS)
    assert pair.client.recv(1 << 16).endswith(b"[4]")
    for one in (other, theirs):
        one.close()


class Client:
    """HTTP by hand, over one connection."""

    def __init__(self, served: Served) -> None:
        self._connection = socket.create_connection(("127.0.0.1", served.http_port), 20)
        self._stream = self._connection.makefile("rb")

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def answer(self) -> tuple[bytes, bytes]:
        """Head, without its date, and body."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._stream.readline()
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length, head
        return re.sub(rb"Date: .*\r\n", b"", head), self._stream.read(int(length[1]))

    def close(self) -> None:
        self._stream.close()
        self._connection.close()


def test_a_server_answers_as_if_each_were_the_first(tmp_path: Path) -> None:
    ask = b"GET /dicom-web/studies?PatientID=P1 HTTP/1.1\r\nHost: pacs\r\nAccept: application/dicom+json\r\n\r\n"
    other = ask.replace(b"P1", b"P2")
    with Served(tmp_path / "data", FILEROOM_HTTP__WORKERS="1").wait_until_ready() as served:
        client = Client(served)
        with Storage.open(StorageSettings(served.data)) as storage:
            for number in range(1, 5):
                store(storage, made(SOPInstanceUID=uid(1, 1, number)))
                answers = []
                for _ in range(6):
                    client.send(ask)
                    answers.append(client.answer())
                assert len(set(answers)) == 1
                assert b'"00201208":{"Value":[%d],"vr":"IS"}' % number in answers[0][1]
        # however they come
        for data in (ask + ask, ask + other, other + ask + ask):
            client.send(data)
            for part in data.split(b"\r\n\r\n")[:-1]:
                assert client.answer()[1] == (answers[0][1] if b"P1" in part else b"[]")
        client.send(ask[:30])
        time.sleep(0.2)
        client.send(ask[30:])
        assert client.answer() == answers[0]
        client.send(ask.replace(b"GET", b"HEAD"))
        client.send(ask.replace(b"Host", b"Connection: close\r\nHost"))
        client.close()


def test_one_thread_tells_its_connections_apart(tmp_path: Path) -> None:
    """What it answers to the first request of one is not what the last request of another has asked for."""
    ask = b"GET /dicom-web/studies?PatientID=P1 HTTP/1.1\r\nHost: pacs\r\n\r\n"
    asks = [ask.replace(b"P1", b"P%d" % number) for number in range(1, 9)]
    environment = {"FILEROOM_HTTP__WORKERS": "1", "FILEROOM_HTTP__THREADS": "1"}
    with Served(tmp_path / "data", **environment).wait_until_ready() as served:
        with Storage.open(StorageSettings(served.data)) as storage:
            for number in range(1, 9):
                instance = made(
                    PatientID=f"P{number}",
                    StudyInstanceUID=uid(number),
                    SeriesInstanceUID=uid(number, 1),
                    SOPInstanceUID=uid(number, 1, 1),
                )
                store(storage, instance)
        chance, clients = random.Random(3), [Client(served)]
        for _ in range(400):
            if chance.random() < 0.3:
                clients.append(Client(served))
            if len(clients) > 4:
                clients.pop(0).close()
            client, number = chance.choice(clients), chance.randrange(8)
            client.send(asks[number])
            assert b'"P%d"' % (number + 1) in client.answer()[1]
        for client in clients:
            client.close()


def test_a_key_that_is_revoked_is_answered_no_more(tmp_path: Path) -> None:
    """Byte for byte the same request, over one connection, of a server with all that it keeps."""
    environment = {"FILEROOM_HTTP__WORKERS": "1", "FILEROOM_HTTP__AUTHENTICATION__METHODS": "api_keys"}
    with Served(tmp_path / "data", **environment) as served, Storage.open(StorageSettings(served.data)) as storage:
        store(storage, made())
        head = "GET /dicom-web/studies HTTP/1.1\r\nHost: pacs\r\nX-API-Key: %s\r\n\r\n"
        texts = [storage.api_keys.create(name, ["read"])[1] for name in ("one", "two")]
        _, over = storage.api_keys.create("over", ["read"], expires_at=utc_now() + timedelta(seconds=4))
        client = Client(served)

        def status(text: str) -> int:
            client.send((head % text).encode())
            return int(client.answer()[0].split()[1])

        assert [status(text) for text in [*texts, over] * 4] == [200] * 12
        assert status("frk_") == 401
        storage.api_keys.revoke("one")
        deadline = time.monotonic() + 60
        while status(texts[0]) == 200:
            assert time.monotonic() < deadline
        assert status(texts[1]) == 200
        while status(over) == 200:
            assert time.monotonic() < deadline
        assert status(texts[1]) == 200
        client.close()
