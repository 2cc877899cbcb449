"""A database server that is away, slow, silent, full of connections, or replaced by another."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psycopg
import pymysql
import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from tests.databases import PrivateServer
from tests.faults.durable_databases import copy_of, durable
from tests.faults.modality import Modality, modality
from tests.faults.proxy import Proxy
from tests.faults.service import ManagedServer, wait_until

KINDS = ("mariadb", "postgresql")
LONG = int(os.environ.get("FAULT_ROUNDS", "20")) > 20
_STATEMENT_TIMEOUT = 2.0
_PATIENCE = 20.0  # of the writer, for a database that is away
_NAME = "fileroom_faults"
# an account without the administrator's rights: those may write where nobody else may, and get in where it is full
_ACCOUNT = {
    "mariadb": [
        f"CREATE DATABASE {_NAME}",
        "CREATE USER fileroom@'%' IDENTIFIED BY 'secret'",
        f"GRANT ALL ON {_NAME}.* TO fileroom@'%'",
    ],
    "postgresql": [
        "CREATE ROLE fileroom LOGIN PASSWORD 'secret'",
        f"CREATE DATABASE {_NAME} OWNER fileroom",
    ],
}


def url_of(server: PrivateServer, port: int) -> str:
    url = make_url(server.url(_NAME)).set(username="fileroom", password="secret", port=port)
    return url.render_as_string(hide_password=False)


class Site:
    """A server, its database, and the network between them."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.database = durable(kind, connections=40)
        self.database.start()
        for statement in _ACCOUNT[kind]:
            self.database.execute(statement)
        self.proxy = Proxy(self.database.port)
        url = url_of(self.database, self.proxy.port)
        timeout = {"FILEROOM_DATABASE__STATEMENT_TIMEOUT": str(_STATEMENT_TIMEOUT)}
        self.server = ManagedServer(folder / "data", folder / "serve.log", database=url, **timeout)
        self.server.start()
        self.server.wait_until_ready()

    def close(self) -> None:
        with self.proxy:
            self.server.stop()
        self.database.stop()

    def admin(self) -> Engine:
        return create_engine(self.database.url(_NAME))


@pytest.fixture(scope="module", params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests of a database: what one fault does must not hurt after it."""
    site = Site(request.param, tmp_path_factory.mktemp(request.param))
    yield site
    site.close()


@pytest.fixture
def sender(site: Site) -> Iterator[Modality]:
    with modality(site.server) as sender:
        assert sender.send().is_success
        yield sender
        assert sender.send().is_success
        assert sender.search() == 200
        wait_until(site.server.is_ready, "the server is ready again")


@contextmanager
def after(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_away_for_a_moment(site: Site, sender: Modality) -> None:
    """Senders wait, and do not notice."""
    site.proxy.refuse()
    with after(2.0, site.proxy.listen_again):
        answer = sender.send()
    assert answer.is_success, answer
    assert answer.seconds > 1.5


@pytest.mark.skipif(not LONG, reason="waits for half a minute; `make faults` does")
def test_away_for_long(site: Site, sender: Modality) -> None:
    """The first sender waits for a time, those after it are told at once; nobody for ever."""
    site.proxy.refuse()
    try:
        first = sender.send()
        assert first.is_out_of_resources
        assert first.seconds < _PATIENCE + 15
        again = sender.send_again()
        assert again.is_out_of_resources
        assert again.seconds < 5
        assert sender.search() == 503
        health = site.server.health()
        assert health["status"] == "not ready"
        assert "index" in health["parts"]["storage"]
    finally:
        site.proxy.listen_again()
    assert sender.send_again().is_success


def test_slow(site: Site, sender: Modality) -> None:
    site.proxy.delay = 0.02
    try:
        answers = [sender.send() for _ in range(3)]
        assert sender.search() == 200
    finally:
        site.proxy.delay = 0.0
    assert all(answer.is_success for answer in answers), answers


def test_silent(site: Site, sender: Modality) -> None:
    """Neither side's TCP notices, so the time decides."""
    if site.kind == "mariadb" and not LONG:
        pytest.skip("waits for half a minute; `make faults` does it for each database")
    site.proxy.hang()
    try:
        answer = sender.send()
        assert answer.is_out_of_resources
        assert answer.seconds < 50
        assert sender.search() == 503
        assert site.server.health()["status"] == "not ready"
    finally:
        site.proxy.flow()
    wait_until(lambda: sender.send_again().is_success, "the object is stored after all")


def is_stored(sender: Modality, number: int) -> bool:
    return sender.send(number).is_success


def test_an_answer_that_is_lost(site: Site, sender: Modality) -> None:
    """Connections that break at any moment, that of a commit's answer among them: what is sent again is the same."""
    stop = threading.Event()

    def cut_again_and_again() -> None:
        while not stop.wait(0.05):
            site.proxy.cut()

    cutting = threading.Thread(target=cut_again_and_again)
    cutting.start()
    try:
        answers = [sender.send() for _ in range(20)]
    finally:
        stop.set()
        cutting.join()
    assert all(answer.is_success or answer.is_out_of_resources for answer in answers)
    for number in range(1, len(answers) + 2):
        wait_until(partial(is_stored, sender, number), "it can be sent again")


def test_a_row_that_somebody_holds(site: Site, sender: Modality) -> None:
    """For a moment: the sender waits."""
    engine = site.admin()
    with engine.connect() as connection:
        connection.execute(text("SELECT pk FROM dicom_patient ORDER BY pk FOR UPDATE")).all()
        with after(1.0, connection.rollback):
            answer = sender.send()
    engine.dispose()
    assert answer.is_success, answer


def test_deadlocks(site: Site, sender: Modality) -> None:
    """Somebody who locks in the opposite order is somebody who gets in the way now and then."""
    engine = site.admin()
    stop = threading.Event()
    deadlocks: list[Exception] = []

    def lock_upwards() -> None:
        while not stop.is_set():
            try:
                with engine.connect() as connection:
                    for level in ("series", "study", "patient"):
                        connection.execute(text(f"SELECT pk FROM dicom_{level} ORDER BY pk DESC FOR UPDATE")).all()
                        time.sleep(0.005)
                    connection.rollback()
            except Exception as error:  # noqa: BLE001  # that is what this is for
                deadlocks.append(error)
            time.sleep(0.005)

    locking = threading.Thread(target=lock_upwards)
    locking.start()
    try:
        answers = [sender.send() for _ in range(40)]
    finally:
        stop.set()
        locking.join()
        engine.dispose()
    assert all(answer.is_success for answer in answers)


def test_no_connection_to_be_had(site: Site, sender: Modality) -> None:
    others: list[pymysql.Connection | psycopg.Connection] = []

    def connect() -> pymysql.Connection | psycopg.Connection:
        if site.kind == "mariadb":
            return pymysql.connect(host="127.0.0.1", port=site.database.port, user="fileroom", password="secret")
        address = f"host=127.0.0.1 port={site.database.port} user=fileroom password=secret dbname={_NAME}"
        return psycopg.connect(address)

    def let_go() -> None:
        while others:
            others.pop().close()

    try:
        site.proxy.cut()
        with suppress(pymysql.OperationalError, psycopg.OperationalError):
            while True:
                others.append(connect())
        assert sender.search() == 503
        assert site.server.health()["status"] == "not ready"
        with after(1.0, let_go):
            answer = sender.send()
        assert answer.is_success, answer
    finally:
        let_go()


def read_only(database: PrivateServer, kind: str, *, on: bool) -> None:
    word = "ON" if on else "OFF"
    if kind == "mariadb":
        database.execute(f"SET GLOBAL read_only = {word}")
    else:
        database.execute(f"ALTER SYSTEM SET default_transaction_read_only = {word}")
        database.execute("SELECT pg_reload_conf()")


@pytest.mark.skipif(not LONG, reason="waits for half a minute; `make faults` does")
def test_read_only(site: Site, sender: Modality) -> None:
    read_only(site.database, site.kind, on=True)
    try:
        answer = sender.send()
        assert answer.is_out_of_resources
        assert answer.seconds < _PATIENCE + 15
        assert sender.search() == 200
        health = site.server.health()
        assert health["status"] == "not ready"
        assert "read-only" in health["parts"]["storage"]
    finally:
        read_only(site.database, site.kind, on=False)
    assert sender.send_again().is_success


def test_failover(site: Site, sender: Modality) -> None:
    """The server that was is read-only now, and its connections stand; who writes is another. Has to be the last."""
    old, new = site.database, copy_of(site.database)
    try:
        assert sender.send_again().is_success
        read_only(old, site.kind, on=True)
        with after(1.0, lambda: setattr(site.proxy, "target", new.port)):
            answer = sender.send()
        assert answer.is_success, answer
    finally:
        site.proxy.target, site.database = new.port, new
        old.stop()
