"""Clients that are silent or slow, over real connections; and the threads that wait for them."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from fileroom_server import http_clients
from fileroom_server.http_clients import ClientSocket
from fileroom_server.http_threads import RequestThreads

_SECONDS = 20.0  # more than anything here takes


class Pair:
    """Our end of a connection, and the client's."""

    def __init__(self, threads: RequestThreads, minimum_rate: int = 0) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname(), timeout=_SECONDS)
            self.ours = ClientSocket.of(listener.accept()[0], threads, minimum_rate)

    def close(self) -> None:
        self.client.close()
        self.ours.close()


@pytest.fixture
def threads() -> Iterator[RequestThreads]:
    threads = RequestThreads(2, 3)
    yield threads
    threads.shutdown()


def test_what_comes_is_received_and_what_is_taken_is_sent(threads: RequestThreads) -> None:
    pair = Pair(threads)
    content = bytes(range(256)) * 40_000
    received = bytearray()

    def take() -> None:
        while len(received) < len(content):
            received.extend(pair.client.recv(1 << 16))
        pair.client.sendall(b"all of it")

    taking = threading.Thread(target=take)
    taking.start()
    pair.ours.settimeout(_SECONDS)
    pair.ours.sendall(content)
    assert pair.ours.recv(100) == b"all of it"
    taking.join()
    assert received == content
    pair.client.close()
    assert pair.ours.recv(100) == b""
    pair.close()


def test_silence(threads: RequestThreads) -> None:
    pair = Pair(threads)
    pair.ours.settimeout(0.1)
    with pytest.raises(TimeoutError, match="silent"):
        pair.ours.recv(100)
    with pytest.raises(TimeoutError, match="silent"):
        pair.ours.sendall(bytes(64 << 20))
    pair.ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        pair.ours.recv(100)
    with pytest.raises(BlockingIOError):
        pair.ours.sendall(bytes(64 << 20))
    pair.close()


def test_a_client_below_the_minimum_rate(threads: RequestThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte in a while is no silence, and yet it would take for ever."""
    monkeypatch.setattr(http_clients, "_RATE_COUNTS_AFTER", 0.5)
    slow, prompt = Pair(threads, 1000), Pair(threads, 1000)
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.05):
            slow.client.send(b"x")
            prompt.client.send(bytes(1000))

    dripping = threading.Thread(target=drip)
    dripping.start()
    for pair in (slow, prompt):
        pair.ours.settimeout(_SECONDS)
    with pytest.raises(TimeoutError, match="too slow"):
        assert all(len(slow.ours.recv(100)) < 100 for _ in range(1000))
    received = 0
    while received < 30_000:
        received += len(prompt.ours.recv(100))
    # the next request is counted anew
    slow.ours.begin_request()
    assert slow.ours.recv(1) == b"x"
    over.set()
    dripping.join()
    slow.close()
    prompt.close()


def test_who_waits_lets_others_work(threads: RequestThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two work at a time, three more may wait; of more, the one that waits longest is cut off."""
    monkeypatch.setattr("fileroom_server.http_threads._LEAST_SILENCE", 0.0)
    pairs = [Pair(threads) for _ in range(8)]

    def receive(pair: Pair) -> bytes:
        return pair.ours.recv(100)

    waiting = [threads.submit(receive, pair) for pair in pairs[:3]]
    assert threads.submit(lambda: "worked").result(_SECONDS) == "worked"
    for pair in pairs[:3]:
        pair.client.sendall(b"on")
    assert [one.result(_SECONDS) for one in waiting] == [b"on"] * 3

    waiting = [threads.submit(receive, pair) for pair in pairs]
    assert threads.submit(lambda: "worked").result(_SECONDS) == "worked"
    with pytest.raises(TimeoutError, match="make room"):
        waiting[0].result(_SECONDS)
    for pair in pairs:
        pair.client.close()
    for one in waiting:
        assert one.exception(_SECONDS) is None or isinstance(one.exception(), TimeoutError)
    for pair in pairs:
        pair.close()


def test_no_more_work_at_a_time_than_they_may(threads: RequestThreads) -> None:
    """Also when all who waited go on at once."""
    lock = threading.Lock()
    working = most = 0

    def work() -> None:
        nonlocal working, most
        for _ in range(20):
            with threads.aside():
                time.sleep(0.0005)
            with lock:
                working += 1
                most = max(most, working)
            time.sleep(0.0005)
            with lock:
                working -= 1

    for one in [threads.submit(work) for _ in range(30)]:
        one.result(_SECONDS)
    assert most == 2
    assert threads.queued == 0
    assert not threads.is_full


def test_who_has_waited_for_a_thread_for_too_long(threads: RequestThreads) -> None:
    over = threading.Event()
    busy = [threads.submit(over.wait, _SECONDS) for _ in range(2)]
    late = threads.submit(lambda: "too late")
    assert threads.is_full
    assert threads.queued == 1
    assert threads.withdraw(_SECONDS) == []
    [(future, arguments)] = threads.withdraw(0.0)
    assert (future, arguments) == (late, ())
    assert future.cancel()
    over.set()
    assert [one.result(_SECONDS) for one in busy] == [True, True]


def test_an_error_is_told(threads: RequestThreads) -> None:
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(_SECONDS)
    assert threads.submit(lambda: 1).result(_SECONDS) == 1
